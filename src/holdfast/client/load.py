"""Get or load: one load for all who ask at once, here and in other processes; what is old serves when loading fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.client.calls import ask, request
from holdfast.client.errors import CacheClosed, CacheError, CacheUnavailable, ValueRefused
from holdfast.client.operations import Await, FlightGivenUp, Later, Load, Pause, Policy
from holdfast.client.reading import Read, count, fetch
from holdfast.client.rules import early_by_ms
from holdfast.client.shared import Shared
from holdfast.client.values import FRESH_UNTIL_AT, LEASE, NOTHING, Stored, fresh_until_bytes, with_header
from holdfast.client.wire import DELETE_IF_SAME, STORE_IF_SAME, WRITE_FORWARD_IF_SAME, eval_if_same
from holdfast.client.writing import written, wrote

LEASE_BEGINS = with_header(LEASE, b"")
FIRST_POLL_S, LONGEST_POLL_S = 0.004, 0.1
"""How often a caller looks whether another process has finished its load."""
LEASE_PATIENCE_S = 1.0
"""Beyond twice the lease: for one that does not end."""


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
