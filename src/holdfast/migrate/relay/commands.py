"""What becomes of a command of the source's stream that the target cannot run as it is. Pure.

`judge` is asked for those commands only: all others pass as bytes, unread. Sources: how each command is propagated was
seen in the streams of Redis 6.2 to 8.0 and Valkey 8.0 to 9.1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from holdfast.codec.rdb.dialect import dialect_of_engine
from holdfast.codec.rdb.functions import can_load
from holdfast.migrate.relay.grammar import Release, Said, Unsayable, say, shorter

SENTINEL_CHANNEL = b"__sentinel__:hello"
"""Where Sentinels make themselves known to those that watch the same server. Those of the one end must not hear those of the
other: where both call what they watch alike, they would take each other for their own, and its address with it.
Source: sentinelProcessHelloMessage in src/sentinel.c; a primary passes every PUBLISH on to its replicas.
"""
PASS_ALWAYS = frozenset({b"PING", b"REPLCONF", b"MULTI", b"EXEC", b"SELECT"})
_FIELD_TTL = frozenset(
    {b"HEXPIRE", b"HPEXPIRE", b"HEXPIREAT", b"HPEXPIREAT", b"HPERSIST", b"HSETEX", b"HGETEX"}
)


_REDIS_ONLY = frozenset(
    b"VADD VREM VSETATTR ARDEL ARDELRANGE ARINSERT ARMSET ARRING ARSEEK ARSET DELEX INCREX TRIMSLOTS XACKDEL XCFGSET XDELEX "
    b"XIDMPRECORD XNACK".split()
)
_FIELD_TTL_FAMILY = _FIELD_TTL | {b"HGETDEL"}


def names_spoken(known: frozenset[bytes], *, valkey: bool, field_ttls: bool) -> frozenset[bytes]:
    """Which of the source's commands a reader understands that cannot be asked.

    Args: `known`, those of the source; `valkey`, the reader is one, and so has none that only Redis has; `field_ttls`, it has them.
    """
    lacking = (_REDIS_ONLY if valkey else frozenset()) | (frozenset() if field_ttls else _FIELD_TTL_FAMILY)
    return known - lacking


@dataclass(frozen=True)
class Pass:
    """It goes on as it came."""


@dataclass(frozen=True)
class Instead:
    """Another command, not longer than it, goes on in its place."""

    words: tuple[bytes, ...]
    lost: str = ""
    """What of its effect the other one does not have; empty for nothing."""


@dataclass(frozen=True)
class Drop:
    """Nothing of it can be carried."""

    lost: str
    """Empty where nobody misses it."""


@dataclass(frozen=True)
class Stop:
    """It cannot be carried, and going on without it would make the target wrong without a word."""

    why: str


Verdict = Pass | Instead | Drop | Stop

Payload = Callable[[bytes], tuple[bytes, str] | None]
"""Translates a DUMP payload: the new one and what is lost, or None where the target cannot hold the value."""


@dataclass(frozen=True)
class TargetCommands:
    """What the target understands."""

    names: frozenset[bytes]
    """Commands it lists, upper case."""
    databases: int = 16
    dropped_databases: frozenset[int] = frozenset()
    """Databases that the operator has agreed to leave behind."""
    payload: Payload | None = None
    """How payloads of RESTORE are translated; None where both ends write the same."""
    reader: Release = Release()
    """Which words of the commands it knows."""
    beyond: frozenset[bytes] = frozenset()
    """Commands, upper case, that may come with words which it does not know."""

    def walked_over(self, *more: bytes) -> frozenset[bytes]:
        """Names, as sources write them, of commands that need no look. Args: `more`, commands that do this time."""
        looked_at = {b"SELECT", b"MULTI", b"EXEC", b"FUNCTION", *more}
        if self.payload is not None:
            looked_at |= {b"RESTORE", b"RESTORE-ASKING"}
        if self.dropped_databases:
            looked_at |= {b"MOVE", b"COPY", b"SWAPDB", b"FLUSHALL"}
        looked_at |= self.beyond
        return _forms((self.names | {b"PING", b"REPLCONF"}) - looked_at)

    def walked_over_when_plain(self) -> frozenset[bytes]:
        """Those of the others that need none when they have no more than three words."""
        return _forms(self.names & self.beyond & {b"SET"})


def _forms(names: frozenset[bytes]) -> frozenset[bytes]:
    """Names as sources write them."""
    return frozenset(form for name in names for form in (name, name.lower(), name.capitalize()))


def judge(words: list[bytes], target: TargetCommands, now_ms: int = 0) -> Verdict:
    """What becomes of one command. Args: `now_ms`, Unix time."""
    name = words[0].upper()
    if name in PASS_ALWAYS:
        return Pass()
    if name == b"PUBLISH" and words[1:2] == [SENTINEL_CHANNEL]:
        return Drop("")
    if name in {b"MOVE", b"COPY", b"SWAPDB"} and target.dropped_databases & _databases_named(name, words):
        return Stop(f"{name.decode()} reaches a database that is left behind")
    if name not in target.names:
        if name == b"HSETEX" and b"HSET" in target.names:
            return _hset(words)
        if (other := shorter(words)) is not None:
            return Instead(other)
        reason = "field TTLs" if name in _FIELD_TTL else "the target has no such command"
        return Drop(f"{_printable(name)}: {reason}")
    if name == b"FUNCTION" and len(words) > 2:
        return _functions(words, target)
    if name in {b"RESTORE", b"RESTORE-ASKING"} and target.payload is not None and len(words) > 3:
        return _restored(words, 3, target.payload)
    match say(words, target.reader, now_ms) if name in target.beyond else None:
        case Said(other, lost):
            return Instead(other, lost)
        case Unsayable(why):
            return Drop(f"{why}: the target is too old for it")
    return Pass()


def _hset(words: list[bytes]) -> Verdict:
    """HSETEX without its TTL. Its conditions held at the source, or it would not be in the stream."""
    upper = [word.upper() for word in words[2:]]
    if b"FIELDS" not in upper:
        return Drop("HSETEX: not understood")
    at = 2 + upper.index(b"FIELDS")
    return Instead((b"HSET", words[1], *words[at + 2 :]), "HSETEX: field TTLs")


def _functions(words: list[bytes], target: TargetCommands) -> Verdict:
    """FUNCTION LOAD [REPLACE] library, or RESTORE payload."""
    sub = words[1].upper()
    if sub == b"RESTORE" and target.payload is not None:
        return _restored(words, 2, target.payload)
    reader = target.reader
    dialect = dialect_of_engine(reader.engine, reader.version[0], reader.version[1])
    if sub == b"LOAD" and not can_load(words[-1], dialect):
        return Drop("FUNCTION LOAD: the target's engine cannot load such a library")
    return Pass()


def _restored(words: list[bytes], at: int, payload: Payload) -> Verdict:
    """The command with the payload that is its word `at` in the target's form."""
    name = _printable(words[0].upper())
    translated = payload(words[at])
    if translated is None:
        return Drop(f"{name}: the target cannot hold such a value")
    made, lost = translated
    if made == words[at]:
        return Pass()
    if len(made) > len(words[at]):
        return Drop(f"{name}: the value is longer in the target's form, and offsets would part")
    return Instead((*words[:at], made, *words[at + 1 :]), f"{name}: {lost}" if lost else "")


def _databases_named(name: bytes, words: list[bytes]) -> set[int]:
    if name == b"COPY":
        upper = [word.upper() for word in words]
        numbers = words[upper.index(b"DB") + 1 :][:1] if b"DB" in upper else []
    else:
        numbers = words[2:3] if name == b"MOVE" else words[1:3]
    return {int(each) for each in numbers if each.isdigit()}


def _printable(name: bytes) -> str:
    return name.decode("ascii", "backslashreplace")[:60]


def merged(losses: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    """Two accounts of what was lost, as one."""
    return {name: losses.get(name, 0) + more.get(name, 0) for name in {**losses, **more}}
