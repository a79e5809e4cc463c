"""What every write has in common: the bytes with their TTL, and who must know of it before and after."""

from __future__ import annotations

from typing import Any

from holdfast.client.rules import jittered_ms
from holdfast.client.shared import OWN_WRITES, Family, Shared
from holdfast.client.values import Values


def written(
    shared: Shared, family: Family, values: Values, value: Any, ttl_ms: int | None, load_ms: int = 0
) -> tuple[bytes, int]:
    """The bytes of a value and the TTL that the server is to give it (0: none), jittered. Raises: ValueRefused."""
    lives_ms = family.ttl_ms if ttl_ms is None else ttl_ms
    if lives_ms is None:
        return values.encode(value), 0
    lives_ms = jittered_ms(lives_ms, family.declared.jitter_percent, shared.clock.chance())
    if not family.headed:
        return values.encode(value), lives_ms
    fresh_until_ms = shared.clock.wall_ms() + lives_ms
    raw = values.encode(value, fresh_until_ms=fresh_until_ms, load_ms=load_ms, headed=True)
    return raw, lives_ms + family.stale_ms


def wrote(shared: Shared, family: Family, key: str) -> None:
    """Before a write is sent: what else must know of it."""
    now = shared.clock.now()
    own = OWN_WRITES.get()
    if own is not None:
        own[key] = float("inf")  # until it is done nobody can say what a replica has
    if family.in_l1:
        if len(shared.own_writes_sent) > 1000:
            shared.own_writes_sent.clear()
        shared.own_writes_sent[key] = now


def done_writing(shared: Shared, key: str) -> None:
    """After a write, done or not: older reads are void, here and in flight."""
    shared.l1.invalidate(key)
    if (own := OWN_WRITES.get()) is not None:
        own[key] = shared.clock.now()
