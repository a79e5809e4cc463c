"""Values of one key: read through both tiers, load what is missing once, keep it, and serve what there is when that fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from holdfast.client.calls import ReadFrom, Request, WrongType, ask, own_write, read, request
from holdfast.client.errors import CacheClosed, CacheError, CacheUnavailable, ValueRefused, ValueUnreadable
from holdfast.client.first_tier import ENTRY_BYTES, Entry, FillToken
from holdfast.client.operations import Await, FlightGivenUp, Later, Load, Pause, Policy
from holdfast.client.rules import early_by_ms, jittered_ms
from holdfast.client.shared import OWN_WRITES, Family, Shared, unreadable
from holdfast.client.values import (
    FRESH_UNTIL_AT,
    LEASE,
    NOTHING,
    Stored,
    Unreadable,
    Values,
    fresh_until_bytes,
    take_apart,
    with_header,
)
from holdfast.client.wire import DELETE_IF_SAME, STORE_IF_SAME, WRITE_FORWARD_IF_SAME, eval_if_same

LEASE_BEGINS = with_header(LEASE, b"")
FIRST_POLL_S, LONGEST_POLL_S = 0.004, 0.1
"""How often a caller looks whether another process has finished its load."""
LEASE_PATIENCE_S = 1.0
"""Beyond twice the lease: for one that does not end."""


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


@dataclass(frozen=True, slots=True)
class Loading:
    """A read whose missing value is to be loaded."""

    read: Read
    loader: Callable[..., Any]
    fields: Mapping[str, Any]
    new_flight: Callable[[], Any]
    ttl_ms: int | None = None


def get_or_load(shared: Shared, wanted: Loading) -> Policy:
    """The value of a key; loaded when it is missing: once in this process, and once in all where a lease is declared.

    Raises: what the loader raises when there is nothing older to serve; never for the cache's own failures.
    """
    name = (wanted.read.key, wanted.read.values, wanted.read.where)
    while True:
        mine = wanted.new_flight()
        flight = shared.flights.setdefault(name, mine)
        if flight is not mine:
            if flight.is_callers:  # a loader that asks for the very key it loads
                return (yield Load(wanted.loader, wanted.fields))
            shared.figures.shared_loads += 1
            try:
                return (yield Await(flight, float("inf")))
            except FlightGivenUp:
                continue
        try:
            value = yield from _lead(shared, wanted)
        except GeneratorExit:
            mine.give_up()
            raise
        except BaseException as failed:
            mine.give_up() if not isinstance(failed, Exception) else mine.fail(failed)
            raise
        else:
            mine.land(value)
            return value
        finally:
            if shared.flights.get(name) is mine:
                del shared.flights[name]


def _lead(shared: Shared, wanted: Loading) -> Policy:
    """As the only caller of this process that does it."""
    pause_s, first_look = FIRST_POLL_S, True
    lease_ms = wanted.read.family.declared.lease_ms
    patience_until = shared.clock.now() + LEASE_PATIENCE_S + 2 * (lease_ms or 0) / 1000
    while True:
        try:
            found = yield from fetch(shared, wanted.read)
        except CacheClosed:
            raise
        except CacheError:
            return (yield from _load_without_cache(shared, wanted))
        if first_look:
            count(shared, found)
        stored = found.stored
        if stored is not None and stored.is_nothing:
            return None
        if found.is_value:
            assert stored is not None
            return (yield from _serve(shared, wanted, found.value, stored))
        if found.in_the_way is not None:
            return (yield from _load_and_keep(shared, wanted, found.in_the_way))
        lease = yield from _take_lease(shared, wanted, stored)
        if lease is not None:
            return (yield from _load_and_keep(shared, wanted, lease))
        if shared.clock.now() >= patience_until:
            return (yield from _load_and_keep(shared, wanted, None))
        shared.figures.lease_waits += first_look
        first_look = False
        yield Pause(pause_s * (0.5 + shared.clock.chance() / 2))
        pause_s = min(LONGEST_POLL_S, pause_s * 1.5)


def _serve(shared: Shared, wanted: Loading, value: Any, stored: Stored) -> Policy:
    """A value was found: as it is while it is fresh; loaded anew when it has ended, or early by chance."""
    if not stored.fresh_until_ms:
        return value
    family, now_ms = wanted.read.family, shared.clock.wall_ms()
    ended = now_ms >= stored.fresh_until_ms
    early = early_by_ms(stored.load_ms, family.early_beta, shared.clock.chance()) if family.early_beta else 0
    if not ended and now_ms + early < stored.fresh_until_ms:
        return value
    if not family.declared.writes:
        return value if not ended else (yield from _load_or_serve(shared, wanted, value, None))
    lease_ms = family.declared.lease_ms or 1000
    claimed = with_fresh_until(stored.raw, now_ms + lease_ms)
    script = eval_if_same(
        WRITE_FORWARD_IF_SAME,
        wanted.read.key,
        stored.raw,
        FRESH_UNTIL_AT,
        fresh_until_bytes(now_ms + lease_ms),
    )
    try:
        is_ours = yield from ask(shared, request(shared, wanted.read.key, script, repeatable=False))
    except CacheError:
        is_ours = 0
    if not is_ours:  # another process is at it, and its value will be there in a moment
        if ended:
            shared.figures.stale_serves += 1
        return value
    if not ended:
        shared.figures.early_refreshes += 1
        yield Later(_load_and_keep(shared, wanted, claimed))
        return value
    return (yield from _load_or_serve(shared, wanted, value, claimed))


def with_fresh_until(raw: bytes, at_ms: int) -> bytes:
    """The same value with another end in its header."""
    return raw[:FRESH_UNTIL_AT] + fresh_until_bytes(at_ms) + raw[FRESH_UNTIL_AT + 8 :]


def _load_or_serve(shared: Shared, wanted: Loading, value: Any, claimed: bytes | None) -> Policy:
    """Load a value that has ended; when that fails, the old one is still good for a while."""
    try:
        return (yield from _load_and_keep(shared, wanted, claimed))
    except Exception:
        shared.figures.stale_serves += 1
        return value


def _take_lease(shared: Shared, wanted: Loading, held: Stored | None) -> Policy:
    """Result: the bytes that the value may replace (b"": whatever is there), None while another process holds the key."""
    lease_ms, key = wanted.read.family.declared.lease_ms, wanted.read.key
    if lease_ms is None or not wanted.read.family.declared.writes:
        return b""
    if held is not None:
        return None
    mine = with_header(
        LEASE, shared.clock.chance().hex().encode() + shared.clock.wall_ms().to_bytes(8, "big")
    )
    try:
        done = yield from ask(
            shared, request(shared, key, ("SET", key, mine, "NX", "PX", lease_ms), repeatable=False)
        )
    except CacheUnavailable:
        return b""
    return mine if done is not None else None


def _load_and_keep(shared: Shared, wanted: Loading, lease: bytes | None) -> Policy:
    """Call the loader and keep what it returns, unless the key was changed or deleted meanwhile.

    The cache's failures are counted and do not reach the caller, who has the value.
    """
    shared.figures.loads += 1
    began_ms = shared.clock.wall_ms()
    try:
        value = yield Load(wanted.loader, wanted.fields)
    except GeneratorExit:
        raise
    except BaseException:
        shared.figures.load_failures += 1
        if lease:
            yield Later(_give_back(shared, wanted, lease))
        raise
    if not wanted.read.family.declared.writes or lease is None:
        return value
    try:
        yield from _keep(shared, wanted, value, lease, shared.clock.wall_ms() - began_ms)
    except ValueRefused:
        raise
    except CacheError:
        shared.figures.store_failures += 1
    return value


def _keep(shared: Shared, wanted: Loading, value: Any, lease: bytes, load_ms: int) -> Policy:
    family, key = wanted.read.family, wanted.read.key
    if value is None:
        if not family.declared.negative_ttl_s:
            if lease:
                yield from _give_back(shared, wanted, lease)
            return
        raw, ttl_ms = with_header(NOTHING, b""), int(family.declared.negative_ttl_s * 1000)
    else:
        raw, ttl_ms = written(shared, family, wanted.read.values, value, wanted.ttl_ms, load_ms)
    command = (
        eval_if_same(STORE_IF_SAME, key, lease, raw, ttl_ms)
        if lease
        else ("SET", key, raw, "PX", ttl_ms)
        if ttl_ms
        else ("SET", key, raw)
    )
    wrote(shared, family, key)
    done = yield from ask(shared, request(shared, key, command, repeatable=False))
    shared.l1.invalidate(key)
    if lease and not done:
        shared.figures.stores_refused += 1


def _give_back(shared: Shared, wanted: Loading, lease: bytes) -> Policy:
    """Let others load at once, where the lease is still there."""
    key = wanted.read.key
    if lease[: len(LEASE_BEGINS)] == LEASE_BEGINS:
        yield from ask(shared, request(shared, key, eval_if_same(DELETE_IF_SAME, key, lease)))


def _load_without_cache(shared: Shared, wanted: Loading) -> Policy:
    """The cache is gone: the loader, and if that fails too, what this process last knew."""
    try:
        return (yield from _load_and_keep(shared, wanted, None))
    except Exception:
        stale_s = wanted.read.family.stale_ms / 1000
        known = (
            shared.l1.peek(wanted.read.key, wanted.read.values, shared.clock.now() - stale_s)
            if stale_s
            else None
        )
        if known is None:
            raise
        shared.figures.stale_serves += 1
        return known.value


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


__all__ = [
    "Found",
    "Loading",
    "Read",
    "Request",
    "done_writing",
    "fetch",
    "get",
    "get_or_load",
    "own_write",
    "wrote",
]
