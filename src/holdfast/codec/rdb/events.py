"""What an RDB says, one event after another, as the parser gives it. Values are bytes until someone decodes them."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.codec.rdb.dialect import Dialect


@dataclass(frozen=True, slots=True)
class Header:
    """The first event of all."""

    dialect: Dialect


@dataclass(frozen=True, slots=True)
class Aux:
    """A note of the engine on itself or on the snapshot; an engine skips those it does not know."""

    field: bytes
    """"redis-ver", "valkey-ver", "redis-bits", "ctime", "used-mem", "repl-stream-db", "repl-id", "repl-offset", ..."""
    value: bytes


@dataclass(frozen=True, slots=True)
class SelectDb:
    """The keys that follow are of this database."""

    db: int


@dataclass(frozen=True, slots=True)
class ResizeDb:
    """How many keys the database at hand has, and how many of them expire: a hint, not a promise."""

    keys: int
    expires: int


@dataclass(frozen=True, slots=True)
class Function:
    """A function library."""

    source: bytes
    """With its `#!lua name=...` line."""


@dataclass(frozen=True, slots=True)
class ModuleAux:
    """A module's own data, apart from its keys. A server without that module ends itself when it meets this."""

    module: str
    """The module type's name, nine characters."""
    body: bytes | None
    """From the module id on; None when it is longer than the parser keeps whole (it is then left out)."""


@dataclass(frozen=True, slots=True)
class SlotInfo:
    """How many keys the slot whose keys follow has: a hint."""

    slot: int
    keys: int
    expires: int


@dataclass(frozen=True, slots=True)
class SlotImport:
    """Valkey 9: slots were being imported when the snapshot was taken."""

    job: bytes


class Key:
    """A key with its value.

    Made by the parser in its hot loop, so no dataclass; do not change one.
    """

    __slots__ = ("db", "expire_ms", "freq", "idle_s", "key", "meta", "offset", "type", "value")

    db: int
    key: bytes
    type: int
    """The number before the value; which kind of value it is: `types.KIND_OF`."""
    value: bytes | None
    """The value as it stands in the RDB, behind the key; None when it is longer than the parser keeps whole: it then follows
    in ValueChunk events, up to a ValueEnd."""
    expire_ms: int | None
    """When the key expires, in ms since 1970; None for never."""
    idle_s: int | None
    """Seconds since the key was last used, where the engine evicts by LRU."""
    freq: int | None
    """The engine's logarithmic counter of uses, 0 to 255, where it evicts by LFU."""
    meta: bytes | None
    """What modules noted on the key (Redis 8.6), with its opcode."""
    offset: int
    """Bytes of the RDB before the value's first."""

    def set_value(self, value: bytes) -> None:
        """For the parser: the value has come whole."""
        self.value = value

    def __repr__(self) -> str:
        held = "in chunks" if self.value is None else f"{len(self.value)} bytes"
        return (
            f"Key(db={self.db}, key={self.key!r}, type={self.type}, value={held}, expire_ms={self.expire_ms})"
        )


@dataclass(frozen=True, slots=True)
class ValueChunk:
    """Some more bytes of the value of the last Key."""

    data: bytes


@dataclass(frozen=True, slots=True)
class ValueEnd:
    """The value of the last Key is whole."""

    size: int
    """Bytes of it."""


@dataclass(frozen=True, slots=True)
class End:
    """The last event; the checksum was right, or `crc` is None when there is none (turned off, or an old version)."""

    crc: int | None


Event = (
    Header
    | Aux
    | SelectDb
    | ResizeDb
    | Function
    | ModuleAux
    | SlotInfo
    | SlotImport
    | Key
    | ValueChunk
    | ValueEnd
    | End
)
