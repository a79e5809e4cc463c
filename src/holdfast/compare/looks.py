"""What a side has of given keys: when each ends, what it takes, and its value where that is not too big, in pipelines."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.compare.judge import ABSENT, Look
from holdfast.compare.side import PASSING, Node, Side
from holdfast.engine.connection import CommandRefused, NodeDenied
from holdfast.engine.pipeline import Raw, pack, refusal

GROUP_BYTES = 4 << 20
"""Of values that are asked for at once from one side."""
TEXT_BYTES = 512
"""Strings from this size on are read as they are."""
UNKNOWN_BYTES = 64 * 1024
"""What a value counts for where the user may not ask its size: so few are asked for at once that they may be large."""


@dataclass(frozen=True)
class Unread:
    """A key that could not be looked at just now, and the engine's words."""

    words: str


@dataclass(frozen=True)
class Measured:
    """What a side said of keys before any value is asked for, in their order."""

    ends: list[Raw]
    """Unix time in ms; -1 never, -2 no key."""
    sizes: list[Raw]
    """What the engine reckons that each takes, in bytes; None where there is no key."""
    margin_ms: int = 0
    """How far the times may be off."""


async def measure(side: Side, database: int, keys: Sequence[bytes]) -> Measured:
    """When each key ends and what it takes. Raises: NodeGone, NodeSilent."""
    if not side.keyspace.cluster:
        return await _measured(side, side.node(0), database, keys)
    shares = _by_owner(side, keys, range(len(keys)))
    told = await asyncio.gather(
        *(_measured(side, node, database, [keys[at] for at in places]) for node, places in shares)
    )
    ends: list[Raw] = [-2] * len(keys)
    sizes: list[Raw] = [None] * len(keys)
    for (_, places), each in zip(shares, told, strict=True):
        for at, end, size in zip(places, each.ends, each.sizes, strict=True):
            ends[at], sizes[at] = end, size
    return Measured(ends, sizes, max(each.margin_ms for each in told))


def in_groups(first: Measured, second: Measured, big_bytes: int) -> list[Sequence[int]]:
    """The places of all keys in runs whose values together take no more than a group may, on either side."""
    weights = [
        max(_weight(one, big_bytes), _weight(other, big_bytes))
        for one, other in zip(first.sizes, second.sizes, strict=True)
    ]
    if sum(weights) <= GROUP_BYTES:
        return [range(len(weights))]
    groups: list[Sequence[int]] = []
    began = room = 0
    for place, weight in enumerate(weights):
        if weight > room:
            if place > began:
                groups.append(range(began, place))
            began, room = place, GROUP_BYTES
        room -= weight
    groups.append(range(began, len(weights)))
    return groups


def _weight(size: Raw, big_bytes: int) -> int:
    return size if type(size) is int and size <= big_bytes else 0


async def look_at(side: Side, database: int, keys: Sequence[bytes]) -> list[Look | Unread]:
    """What the side has of a few keys, with the values that are not too big.

    Raises: NodeGone, NodeSilent; CommandRefused or NodeDenied when the user may not read.
    """
    return await looks(side, database, keys, await measure(side, database, keys), range(len(keys)))


async def looks(
    side: Side, database: int, keys: Sequence[bytes], told: Measured, places: Sequence[int]
) -> list[Look | Unread]:
    """The same of those of the keys that stand at `places`, after what was told of all of them."""
    ends, sizes, big = told.ends, told.sizes, side.big_bytes
    wanted = [
        at
        for at in places
        if type(sizes[at]) is int and sizes[at] <= big and type(ends[at]) is int and ends[at] != -2
    ]
    got = await _each(side, database, b"DUMP", keys, wanted)
    margin_ms = told.margin_ms
    return [
        Look(True, dump, ends[at] if ends[at] >= 0 else None, margin_ms, sizes[at])
        if type(dump := got.get(at)) is bytes
        else _other_look(side, keys[at], ends[at], sizes[at], dump, margin_ms)
        for at in places
    ]


def large_at(told: tuple[Measured, Measured], places: Sequence[int], big_bytes: int) -> list[int]:
    """Those of the places whose values, where they are strings, are better read as they are: for a DUMP the engine tries to
    compress them, which takes ten times as long as all the rest.

    Args: `told`, what both sides said of the keys; `big_bytes`, beyond which no value is asked for whole.
    """
    one, other = told
    return [
        at
        for at in places
        if type(one.sizes[at]) is type(other.sizes[at]) is type(one.ends[at]) is type(other.ends[at]) is int
        and min(one.sizes[at], other.sizes[at]) >= TEXT_BYTES
        and max(one.sizes[at], other.sizes[at]) <= big_bytes
    ]


async def strings_of(side: Side, database: int, keys: Sequence[bytes], places: Sequence[int]) -> list[int]:
    """Those of the places at which the side has a string."""
    kinds = await _each(side, database, b"TYPE", keys, places)
    return [at for at in places if kinds[at] == b"string"]


async def texts(side: Side, database: int, keys: Sequence[bytes], places: Sequence[int]) -> dict[int, Raw]:
    """The strings at those places as they are; what is none, an engine's words of why."""
    return await _each(side, database, b"GET", keys, places)


async def _each(
    side: Side, database: int, command: bytes, keys: Sequence[bytes], places: Sequence[int]
) -> dict[int, Raw]:
    """What the owners of the keys at `places` answer to one command about each: place -> reply."""
    if not places:
        return {}
    if not side.keyspace.cluster:
        node = side.node(0)
        return dict(zip(places, await _asked(side, node, database, command, keys, places), strict=True))
    shares = _by_owner(side, keys, places)
    found = await asyncio.gather(
        *(_asked(side, node, database, command, keys, share) for node, share in shares)
    )
    return {
        at: reply
        for (_, share), replies in zip(shares, found, strict=True)
        for at, reply in zip(share, replies, strict=True)
    }


async def _asked(
    side: Side, node: Node, database: int, command: bytes, keys: Sequence[bytes], places: Sequence[int]
) -> list[Raw]:
    form = b"*2\r\n$%d\r\n%b\r\n$%%d\r\n%%b\r\n" % (len(command), command)
    packed = b"".join([form % (len(keys[at]), keys[at]) for at in places])
    return await side.raw(node, database, packed, len(places))


def _by_owner(side: Side, keys: Sequence[bytes], places: Sequence[int]) -> list[tuple[Node, list[int]]]:
    """The places whose keys each server holds."""
    found: dict[int, list[int]] = {}
    for at in places:
        found.setdefault(side.owner(keys[at]), []).append(at)
    return [(side.node(shard), share) for shard, share in found.items()]


async def are_there(side: Side, database: int, keys: Sequence[bytes]) -> list[bool | Unread]:
    """Whether the side has each key. Raises: as `look_at`."""
    if not side.keyspace.cluster:
        # One question for all of them, which nearly always says that all are there; in a cluster each slot needs its own.
        unique = list(dict.fromkeys(keys))
        (count,) = await side.raw(side.node(0), database, pack("EXISTS", *unique), 1)
        if count == len(unique):
            return [True] * len(keys)
    found: list[bool | Unread] = [False] * len(keys)
    for place, reply in (await _each(side, database, b"EXISTS", keys, range(len(keys)))).items():
        said = refusal(reply)
        found[place] = _unread(side.node_of(keys[place]), said) if said else reply == 1
    return found


def _other_look(side: Side, key: bytes, end: Raw, size: Raw, dump: Raw, margin_ms: int) -> Look | Unread:
    """What is to be said of a key whose value did not come: absent, too big, or not to be read now."""
    if said := refusal(end) or refusal(size) or refusal(dump):
        return _unread(side.node_of(key), said)
    if end == -2 or size is None or size <= side.big_bytes:
        return ABSENT
    return Look(True, None, end if end >= 0 else None, margin_ms, size)


async def _measured(side: Side, node: Node, database: int, keys: Sequence[bytes]) -> Measured:
    absolute = side.tells_absolute_ttl
    form = b"*2\r\n$11\r\nPEXPIRETIME\r\n$%d\r\n%b\r\n" if absolute else b"*2\r\n$4\r\nPTTL\r\n$%d\r\n%b\r\n"
    if side.knows_sizes:
        form += b"*3\r\n$6\r\nMEMORY\r\n$5\r\nUSAGE\r\n$%d\r\n%b\r\n"
        parts = [form % (size, key, size, key) for key in keys for size in (len(key),)]
    else:
        parts = [form % (len(key), key) for key in keys]
    each = 2 if side.knows_sizes else 1
    count = len(keys) * each
    if absolute:
        replies = await side.raw(node, database, b"".join(parts), count)
        margin_ms = 0
    else:
        clock = pack("TIME")
        began, *replies, ended = await side.raw(node, database, clock + b"".join(parts) + clock, count + 2)
        early_ms, late_ms = _clock_ms(began), _clock_ms(ended)
        margin_ms = late_ms - early_ms + 1
        replies[::each] = [
            left + early_ms if type(left) is int and left >= 0 else left for left in replies[::each]
        ]
    sizes = replies[1::2] if side.knows_sizes else [UNKNOWN_BYTES] * len(keys)
    return Measured(replies[::each], sizes, margin_ms)


def _unread(node: Node, said: str) -> Unread:
    if said.startswith(PASSING):
        return Unread(said)
    endpoint = node.pipe.endpoint
    if said.startswith(("NOPERM", "NOAUTH")):
        user = endpoint.credentials.user if endpoint.credentials else "default"
        raise NodeDenied(str(endpoint), user, "a command that reads a key", said)
    raise CommandRefused(str(endpoint), "a command that reads a key", said)


def _clock_ms(reply: Raw) -> int:
    return int(reply[0]) * 1000 + int(reply[1]) // 1000
