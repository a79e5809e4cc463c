"""Decides about one key: what each side showed of it, whether that is the same, and if not, what differs. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

FOOTER_BYTES = 10
"""What ends a DUMP: two bytes of RDB version and eight of checksum. Source: createDumpPayload in src/cluster.c."""


class Kind(StrEnum):
    """What is not the same."""

    MISSING = "missing"
    """The first side has the key, the second has not."""
    EXTRA = "extra"
    """Only the second side has it."""
    TYPE = "type"
    VALUE = "value"
    TTL = "ttl"
    FIELD_TTL = "field-ttl"
    """Fields of a hash are the same and live for another time."""
    GROUPS = "groups"
    """Entries of a stream are the same, its consumer groups are not."""


@dataclass(frozen=True)
class Difference:
    """One thing that differs, for people and for programs."""

    kind: Kind
    detail: str
    """One clause, without the values themselves: they may be secret."""


class Look(NamedTuple):
    """What one side showed of one key at one moment. A tuple, for millions are made."""

    there: bool
    dump: bytes | None = None
    """Its DUMP as it came, footer and all; None when the value is too big to be fetched whole."""
    expires_ms: int | None = None
    """Unix time at which the key ends; None when it does not."""
    margin_ms: int = 0
    """How far that time may be off, for engines that only tell what is left of it."""
    size_bytes: int = 0
    """What the engine reckons that the value takes."""

    @property
    def body(self) -> bytes | None:
        """Type and value as the engine stores them, comparable between engines of any version."""
        return None if self.dump is None else self.dump[:-FOOTER_BYTES]

    @property
    def rdb_version(self) -> int:
        """The dialect that the DUMP names; 0 where there is none."""
        return int.from_bytes(self.dump[-10:-8], "little") if self.dump else 0


ABSENT = Look(there=False)


@dataclass(frozen=True)
class Tolerance:
    """What may differ without being a difference."""

    ttl_ms: int = 1000
    """Of a key's or a field's time to live."""
    delivery_ms: int = 1000
    """Of the time at which a stream entry was last delivered."""
    any_field_ttl: bool = False
    """Fields of hashes may live for any time: one side cannot have times for them, and that was agreed to."""


class Verdict(StrEnum):
    """What two looks say before anything is decoded."""

    SAME = "same"
    DIFFERENT = "different"
    UNDECIDED = "undecided"
    """The bytes differ, and may be two forms of one value."""


def judge(first: Look, second: Look, tolerance: Tolerance) -> tuple[Verdict, Difference | None]:
    """Compare two looks at one key as far as bytes go.

    Returns: SAME and None; DIFFERENT and what; UNDECIDED and None, when the values have to be decoded or read in pieces.
    """
    if not first.there or not second.there:
        if first.there == second.there:
            return Verdict.SAME, None
        if first.there:
            return Verdict.DIFFERENT, Difference(Kind.MISSING, "the first side has it, the second has not")
        return Verdict.DIFFERENT, Difference(Kind.EXTRA, "the second side has it, the first has not")
    if (apart := ttl_difference(first, second, tolerance)) is not None:
        return Verdict.DIFFERENT, apart
    if first.dump is None or second.dump is None or first.body != second.body:
        return Verdict.UNDECIDED, None
    return Verdict.SAME, None


def ttl_difference(first: Look, second: Look, tolerance: Tolerance) -> Difference | None:
    """What differs between the times at which a key ends, if anything."""
    one, other = first.expires_ms, second.expires_ms
    if one is None and other is None:
        return None
    if one is None or other is None:
        side = "second" if one is None else "first"
        return Difference(Kind.TTL, f"only the {side} side lets it expire")
    apart_ms = other - one
    if abs(apart_ms) <= tolerance.ttl_ms + first.margin_ms + second.margin_ms:
        return None
    word = "later" if apart_ms > 0 else "earlier"
    return Difference(Kind.TTL, f"it expires {abs(apart_ms)} ms {word} on the second side")
