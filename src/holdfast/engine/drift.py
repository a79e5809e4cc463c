"""Which directives of a running server differ from the wanted ones (pure).

The engine answers CONFIG GET in its own spelling: `5gb` comes back as bytes, `slave` for `replica`, texts in another
order. Both sides are brought into one normal form before they are compared.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from holdfast.engine.directive import Directive

_SIZE = re.compile(r"(\d+)([kmgt]?b?)", re.ASCII)
_SIZE_FACTORS = {"": 1, "b": 1, "k": 10**3, "kb": 1 << 10, "m": 10**6, "mb": 1 << 20, "g": 10**9, "gb": 1 << 30,
                 "t": 10**12, "tb": 1 << 40}  # fmt: skip
_CASE_MATTERS = frozenset({
    "aclfile", "appenddirname", "appendfilename", "cluster-config-file", "dbfilename", "dir", "logfile", "masterauth",
    "masteruser", "primaryauth", "primaryuser", "tls-ca-cert-file", "tls-cert-file", "tls-key-file", "unixsocket",
})  # fmt: skip
_UNORDERED = frozenset({"tls-protocols"})
_OCTAL = frozenset({"unixsocketperm"})
_OUTPUT_LIMIT = "client-output-buffer-limit"
_OLD_CLASS = {"slave": "replica"}

NOT_COMPARED = frozenset({"include", "dir", "replicaof", "slaveof"})
"""A role changes with every failover and is judged by the topology; `dir` comes back with its links resolved."""


@dataclass(frozen=True)
class Change:
    """One directive that should be something else."""

    name: str
    seen: str
    wanted: str
    """As CONFIG SET takes it."""
    live: bool
    """Whether CONFIG SET can do it; otherwise the server must be restarted."""
    field: str
    secret: bool = False

    def __str__(self) -> str:
        seen, wanted = ("(secret)", "(another)") if self.secret else (self.seen or '""', self.wanted or '""')
        return f"{self.name}: {seen} -> {wanted} ({self.field})"

    def __repr__(self) -> str:
        return f"Change({self}, live={self.live})"


def changed_directives(wanted: Iterable[Directive], seen: Mapping[str, str]) -> tuple[Change, ...]:
    """The directives whose live value, as CONFIG GET * answers, is not the wanted one.

    A directive that the engine takes but does not tell (6.2 has one) cannot be compared and is left out.
    """
    return tuple(
        Change(each.name, seen[each.name], each.value, each.live, each.field, each.secret)
        for each in wanted
        if each.name not in NOT_COMPARED
        and each.name in seen
        and normal_form(each.name, each.value) != normal_form(each.name, seen[each.name])
    )


def normal_form(name: str, value: str) -> tuple[str, ...]:
    """The value as words that are equal exactly when the engine means the same by them."""
    if name in _CASE_MATTERS:
        return (value,)
    texts = [_plain(word) for word in value.lower().split()]
    if name in _OCTAL:
        return tuple(text.lstrip("0") for text in texts)
    if name == _OUTPUT_LIMIT:
        return _output_limits(texts)
    return tuple(sorted(texts) if name in _UNORDERED else texts)


def _plain(word: str) -> str:
    """A size becomes bytes; every other word stays."""
    size = _SIZE.fullmatch(word)
    return str(int(size[1]) * _SIZE_FACTORS[size[2]]) if size else word


def _output_limits(texts: list[str]) -> tuple[str, ...]:
    """Groups of class, hard bytes, soft bytes, soft seconds, sorted by class."""
    groups = [texts[at : at + 4] for at in range(0, len(texts), 4)]
    named = [(_OLD_CLASS.get(group[0], group[0]), *group[1:]) for group in groups]
    return tuple(word for group in sorted(named) for word in group)
