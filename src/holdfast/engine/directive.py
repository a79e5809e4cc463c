"""One line of a server's configuration file: its words, where it comes from, and how it is written safely.

A configuration file is read by the engine word by word, with double quotes around words that hold more than
plain characters; a value that could end its line is refused here, so that no value can add a directive.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from holdfast.engine.build import EngineBuild
from holdfast.errors import HoldfastError

_PLAIN_WORD = re.compile(r"[A-Za-z0-9_./:@%+,=-]+")
_UNWRITABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_SAVE = "save"

CHANGED_LIVE = frozenset({
    "acl-pubsub-default", "aof-load-truncated", "appendfsync", "appendonly", "auto-aof-rewrite-min-size",
    "auto-aof-rewrite-percentage", "cluster-allow-replica-migration", "cluster-announce-bus-port",
    "cluster-announce-ip", "cluster-announce-port", "cluster-announce-tls-port", "cluster-node-timeout",
    "cluster-replica-validity-factor", "cluster-require-full-coverage", "crash-log-enabled", "hz",
    "latency-monitor-threshold", "lazyfree-lazy-expire", "loglevel", "masterauth", "masteruser", "maxclients",
    "maxmemory", "maxmemory-policy", "maxmemory-samples", "min-replicas-max-lag", "min-replicas-to-write",
    "primaryauth", "primaryuser", "protected-mode", "rdbcompression", "repl-backlog-size",
    "repl-diskless-load", "repl-diskless-sync", "repl-diskless-sync-delay",
    "repl-diskless-sync-max-replicas", "replica-announce-ip", "replica-announce-port", "replica-read-only",
    "replica-serve-stale-data", "save", "shutdown-timeout", "slowlog-log-slower-than", "slowlog-max-len",
    "stop-writes-on-bgsave-error", "tcp-keepalive", "timeout", "tls-auth-clients", "tls-ca-cert-file",
    "tls-cert-file", "tls-cluster", "tls-key-file", "tls-protocols", "tls-replication",
})  # fmt: skip
"""Directives that CONFIG SET changes on every engine from 6.2 on; the rest need a restart of the server."""

_UNLISTED = frozenset({"cluster-config-file", "include"})
"""Directives that every engine takes in its file although not every one lists them in CONFIG GET (6.2)."""


@dataclass(eq=False)
class ValueNotWritable(HoldfastError):
    """A value that no configuration file can hold without becoming something else."""

    name: str
    path: str
    value: str

    def __str__(self) -> str:
        return (
            f"{self.path} cannot be written as {self.name} of a server: {self.value!r} holds a line break or a "
            "control character. Nothing was written. Use a value without them."
        )


@dataclass(frozen=True)
class Directive:
    """One directive of one server: `words` as the file writes them, `value` as CONFIG SET takes them."""

    name: str
    words: tuple[str, ...]
    field: str
    """The spec's field, such as "memory.maxmemory", or "holdfast: " and the reason."""
    secret: bool = False

    @property
    def value(self) -> str:
        return " ".join(self.words)

    @property
    def live(self) -> bool:
        """Whether a running server takes the change."""
        return self.name in CHANGED_LIVE

    def __repr__(self) -> str:
        shown = "(secret)" if self.secret else self.value
        return f"Directive({self.name} {shown!r}, from {self.field!r})"


def directive(name: str, value: object, field: str, *, secret: bool = False) -> Directive:
    """A directive of one word; True and False become yes and no.

    Raises: ValueNotWritable.
    """
    return words(name, (value,), field, secret=secret)


def words(name: str, values: Iterable[object], field: str, *, secret: bool = False) -> Directive:
    """A directive of several words, such as bind, save or replicaof.

    Raises: ValueNotWritable.
    """
    texts = tuple(_text(value) for value in values)
    for text in texts:
        if _UNWRITABLE.search(text):
            raise ValueNotWritable(name, field, "(secret)" if secret else text)
    return Directive(name, texts, field, secret)


def known_to(build: EngineBuild, directives: Iterable[Directive]) -> tuple[Directive, ...]:
    """Only the directives this build understands: an unknown one would keep it from starting."""
    return tuple(each for each in directives if knows(build, each.name))


def knows(build: EngineBuild, name: str) -> bool:
    return name in _UNLISTED or build.knows_directive(name)


def render(directives: Iterable[Directive], opening: str, *, save_rule_per_line: bool = False) -> str:
    """The file's text: under each comment that names a field stand the lines that come from it.

    `save_rule_per_line`: 6.2 reads one save rule from a line; from 7.0 on the last line replaces those before.
    """
    lines = [f"# {line}" for line in opening.splitlines()]
    field = None
    for each in directives:
        if each.field != field:
            field = each.field
            lines += ["", f"# {field}"]
        lines += _lines(each, save_rule_per_line)
    return "\n".join(lines) + "\n"


def _lines(each: Directive, save_rule_per_line: bool) -> list[str]:
    if save_rule_per_line and each.name == _SAVE and len(each.words) > 2:
        pairs = zip(each.words[::2], each.words[1::2], strict=True)
        return [f"{_SAVE} {after_s} {changes}" for after_s, changes in pairs]
    return [" ".join((each.name, *(_quoted(word) for word in each.words)))]


def _quoted(word: str) -> str:
    if _PLAIN_WORD.fullmatch(word):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
