"""What can be wrong with RDB bytes: each error names where, in which key, what was expected and what was found."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.errors import HoldfastError

KEY_SHOWN_BYTES = 80


def show_key(key: bytes) -> str:
    """`key` for people: as text where it is UTF-8 and printable, escaped otherwise, cut at 80 bytes."""
    cut = key[:KEY_SHOWN_BYTES]
    try:
        text = cut.decode()
    except UnicodeDecodeError:
        text = ""
    shown = f'"{text}"' if text and text.isprintable() and '"' not in text else repr(cut)[1:]
    return shown if len(key) <= KEY_SHOWN_BYTES else f"{shown} and {len(key) - KEY_SHOWN_BYTES} bytes more"


class RdbError(HoldfastError):
    """RDB bytes that cannot be read or must not be written."""


@dataclass(eq=False)
class CorruptRdb(RdbError):
    """Bytes that no engine writes: reading on would be guessing."""

    offset: int
    """Bytes before the fault, counted from the header's first."""
    key: bytes | None
    """The key whose value is faulty, where there is one."""
    expected: str
    found: str

    def __str__(self) -> str:
        where = f" in key {show_key(self.key)}" if self.key is not None else ""
        return (
            f"the RDB is corrupt at byte {self.offset}{where}: expected {self.expected}, found {self.found}; "
            "nothing after that byte was read: use an earlier file, or take a new snapshot"
        )


@dataclass(eq=False)
class TruncatedRdb(RdbError):
    """The bytes end before the RDB does."""

    offset: int
    key: bytes | None
    expected: str

    def __str__(self) -> str:
        where = f" in key {show_key(self.key)}" if self.key is not None else ""
        return (
            f"the RDB ends too early, at byte {self.offset}{where}, where {self.expected} was expected; "
            "it was cut off while it was written or copied: use a whole one"
        )


@dataclass(eq=False)
class WrongChecksum(RdbError):
    """Every byte could be read, but they are not the bytes that were written."""

    stored: int
    computed: int

    def __str__(self) -> str:
        return (
            f"the RDB says its CRC-64 is {self.stored:016x} but its bytes give {self.computed:016x}: "
            "it was damaged on its way; a server that is given it ends itself, so use another copy"
        )


@dataclass(eq=False)
class UnknownRdbVersion(RdbError):
    """A header of an engine that this release does not know."""

    header: bytes

    def __str__(self) -> str:
        return (
            f"the RDB opens with {self.header!r}; known are REDIS0001 to REDIS0014 and VALKEY080. If that is a newer "
            "engine's header, a newer Holdfast is needed; nothing was read"
        )


@dataclass(eq=False)
class UnknownRdbType(RdbError):
    """A type or opcode whose length nobody can know, so that nothing after it can be read."""

    offset: int
    number: int
    dialect: str

    def __str__(self) -> str:
        return (
            f"type {self.number} at byte {self.offset} is unknown to {self.dialect}; what it holds does not say how "
            "long it is, so the rest cannot be read: the file is damaged, or from an engine newer than this Holdfast"
        )


@dataclass(eq=False)
class TooLong(RdbError):
    """A length beyond the bound that was set for it, so that no memory was given to it."""

    offset: int
    key: bytes | None
    what: str
    length: int
    bound: int

    def __str__(self) -> str:
        where = f" in key {show_key(self.key)}" if self.key is not None else ""
        return (
            f"{self.what} at byte {self.offset}{where} claims {self.length}, more than the {self.bound} that "
            "can be: the RDB is corrupt there, or the bound is too small for it"
        )


@dataclass(eq=False)
class WrongDumpPayload(RdbError):
    """Bytes that are no DUMP payload: too short, of another version, or with a wrong CRC."""

    what: str

    def __str__(self) -> str:
        return f"this is no DUMP payload that can be used: {self.what}; take it again with DUMP"
