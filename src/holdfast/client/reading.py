"""One key read from the servers: its bytes made into a value, and the value put into the first tier."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from holdfast.client.calls import ReadFrom, WrongType, read, request
from holdfast.client.errors import ValueUnreadable
from holdfast.client.first_tier import ENTRY_BYTES, FillToken
from holdfast.client.kept import Entry
from holdfast.client.operations import Policy
from holdfast.client.rules import early_by_ms
from holdfast.client.shared import Family, Shared, unreadable
from holdfast.client.values import Stored, Unreadable, Values, take_apart


@dataclass(frozen=True, slots=True)
class Read:
    """One read as the caller asked for it."""

    family: Family
    values: Values
    key: str
    where: ReadFrom
    within_s: float


@dataclass(slots=True)
class Found:
    """What a key holds: nothing (`stored` is None), a lease, a remembered absence, or a value."""

    stored: Stored | None
    value: Any = None
    ttl_ms: int = -1
    """What the server still gives it; -1: no end, or not asked."""
    token: FillToken | None = field(default=None, repr=False)
    read_at: float = 0.0
    in_the_way: bytes | None = None
    """Bytes that are no value of this namespace; empty for something that is no string."""

    @property
    def is_value(self) -> bool:
        return self.stored is not None and not self.stored.is_lease and not self.stored.is_nothing


def fetch(shared: Shared, wanted: Read) -> Policy:
    """Read a key from the cache (second tier) and fill the first. Result: Found. Raises: as `ask`."""
    family, key = wanted.family, wanted.key
    commands: tuple[tuple[Any, ...], ...] = (("GET", key),)
    if family.in_l1:
        commands = (("GET", key), ("PTTL", key))
    sent = request(shared, key, *commands, within_s=wanted.within_s)
    if family.in_l1:
        sent.watch = key
    try:
        reply = yield from read(
            shared,
            sent,
            wanted.where,
            _missing_pair if family.in_l1 else _missing,
            family.declared.stale_bound_ms,
            key,
        )
    except WrongType as wrong:
        unreadable(shared, ValueUnreadable(family.name, key, str(wrong)))
        return Found(None, in_the_way=b"")
    raw, ttl_ms = reply if family.in_l1 else (reply, -1)
    found = opened(shared, wanted.family, wanted.values, key, raw)
    found.ttl_ms, found.token, found.read_at = ttl_ms, sent.token, sent.read_at
    keep_near(shared, wanted, found)
    return found


def opened(shared: Shared, family: Family, values: Values, key: str, raw: bytes | None) -> Found:
    """Make a value of the bytes; what cannot be read is reported and counts as missing."""
    if raw is None:
        return Found(None)
    try:
        stored = take_apart(raw, values.codec)
        if stored.is_lease or stored.is_nothing:
            return Found(stored)
        return Found(stored, values.decode(stored))
    except Unreadable as wrong:
        unreadable(shared, ValueUnreadable(family.name, key, str(wrong)))
        return Found(None, in_the_way=raw)


def keep_near(shared: Shared, wanted: Read, found: Found) -> None:
    """Put a value into the first tier: no longer than the server keeps it, and a chance shorter where it is refreshed early."""
    stored = found.stored
    if not wanted.family.in_l1 or stored is None or stored.is_lease or found.token is None:
        return
    left_s = float(shared.profile.l1_ttl_s)
    if found.ttl_ms >= 0:
        left_s = min(left_s, found.ttl_ms / 1000)
    if stored.fresh_until_ms:
        early = early_by_ms(stored.load_ms, wanted.family.early_beta, shared.clock.chance())
        left_s = min(left_s, (stored.fresh_until_ms - early - shared.clock.wall_ms()) / 1000)
    if left_s <= 0:
        return
    size = len(stored.raw) + len(wanted.key) + ENTRY_BYTES
    entry = Entry(found.value, wanted.values, found.read_at + left_s, found.token.trust, size)
    shared.l1.fill(found.token, wanted.key, entry)


def _missing(reply: Any) -> bool:
    return reply is None


def _missing_pair(reply: Any) -> bool:
    return reply[0] is None


def get(shared: Shared, wanted: Read) -> Policy:
    """The value of a key, or None. Raises: as `ask`."""
    found = yield from fetch(shared, wanted)
    if found.stored is not None and 0 < found.stored.fresh_until_ms <= shared.clock.wall_ms():
        found = Found(None)  # it has ended, and is kept for whoever cannot load it anew
    count(shared, found)
    return found.value


def count(shared: Shared, found: Found) -> None:
    """Book one read of the second tier."""
    if found.is_value:
        shared.figures.hits_l2 += 1
    elif found.stored is not None and found.stored.is_nothing:
        shared.figures.negative_hits += 1
    else:
        shared.figures.misses += 1
