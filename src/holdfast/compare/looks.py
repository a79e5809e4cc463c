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


@dataclass(frozen=True)
class Unread:
    """A key that could not be looked at just now, and the engine's words."""

    words: str


async def look_at(side: Side, database: int, keys: Sequence[bytes]) -> list[Look | Unread]:
    """What the side has of each key, in their order, with the values that are not too big.

    Raises: NodeGone, NodeSilent; CommandRefused or NodeDenied when the user may not read.
    """
    if not side.keyspace.cluster:
        return await _look(side, side.node(0), database, keys)
    by_owner: dict[int, list[int]] = {}
    for place, key in enumerate(keys):
        by_owner.setdefault(side.owner(key), []).append(place)
    found = await asyncio.gather(
        *(
            _look(side, side.node(shard), database, [keys[place] for place in places])
            for shard, places in by_owner.items()
        )
    )
    looks: list[Look | Unread] = [ABSENT] * len(keys)
    for places, each in zip(by_owner.values(), found, strict=True):
        for place, look in zip(places, each, strict=True):
            looks[place] = look
    return looks


async def are_there(side: Side, database: int, keys: Sequence[bytes]) -> list[bool | Unread]:
    """Whether the side has each key. Raises: as `look_at`."""
    if not side.keyspace.cluster:
        # One question for all of them, which nearly always says that all are there; in a cluster each slot needs its own.
        unique = list(dict.fromkeys(keys))
        (count,) = await side.raw(side.node(0), database, pack("EXISTS", *unique), 1)
        if count == len(unique):
            return [True] * len(keys)
    by_owner: dict[int, list[int]] = {}
    for place, key in enumerate(keys):
        by_owner.setdefault(side.owner(key), []).append(place)
    found: list[bool | Unread] = [False] * len(keys)
    for node, places in [(side.node(shard), places) for shard, places in by_owner.items()]:
        packed = b"".join(b"*2\r\n$6\r\nEXISTS\r\n$%d\r\n%b\r\n" % (len(keys[at]), keys[at]) for at in places)
        replies = await side.raw(node, database, packed, len(places))
        for place, reply in zip(places, replies, strict=True):
            said = refusal(reply)
            found[place] = _unread(node, said) if said else reply == 1
    return found


async def _look(side: Side, node: Node, database: int, keys: Sequence[bytes]) -> list[Look | Unread]:
    ends, margin_ms, sizes = await _ends_and_sizes(side, node, database, keys)
    big = side.big_bytes
    wanted = [
        place
        for place, size in enumerate(sizes)
        if type(size) is int and size <= big and type(ends[place]) is int and ends[place] != -2
    ]
    dumps: list[Raw] = [None] * len(keys)
    for group in _groups(wanted, sizes):
        packed = b"".join([b"*2\r\n$4\r\nDUMP\r\n$%d\r\n%b\r\n" % (len(keys[at]), keys[at]) for at in group])
        for place, dump in zip(group, await side.raw(node, database, packed, len(group)), strict=True):
            dumps[place] = dump
    return [
        Look(True, dump, end if end >= 0 else None, margin_ms, size)
        if type(dump) is bytes
        else _other_look(side, node, end, size, dump, margin_ms)
        for end, size, dump in zip(ends, sizes, dumps, strict=True)
    ]


def _other_look(side: Side, node: Node, end: Raw, size: Raw, dump: Raw, margin_ms: int) -> Look | Unread:
    """What is to be said of a key whose value did not come: absent, too big, or not to be read now."""
    if said := refusal(end) or refusal(size) or refusal(dump):
        return _unread(node, said)
    if end == -2 or size is None or size <= side.big_bytes:
        return ABSENT
    return Look(True, None, end if end >= 0 else None, margin_ms, size)


async def _ends_and_sizes(
    side: Side, node: Node, database: int, keys: Sequence[bytes]
) -> tuple[list[Raw], int, list[Raw]]:
    """When each key ends (-1 never, -2 no key), how far off that may be, and what each takes."""
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
    return replies[::each], margin_ms, replies[1::2] if side.knows_sizes else [0] * len(keys)


def _unread(node: Node, said: str) -> Unread:
    if said.startswith(PASSING):
        return Unread(said)
    endpoint = node.pipe.endpoint
    if said.startswith(("NOPERM", "NOAUTH")):
        user = endpoint.credentials.user if endpoint.credentials else "default"
        raise NodeDenied(str(endpoint), user, "a command that reads a key", said)
    raise CommandRefused(str(endpoint), "a command that reads a key", said)


def _groups(places: Sequence[int], sizes: Sequence[int]) -> list[list[int]]:
    """The places in runs whose values together take no more than a group may."""
    if sum([sizes[place] for place in places]) <= GROUP_BYTES:
        return [list(places)] if places else []
    groups: list[list[int]] = []
    room = 0
    for place in places:
        if not groups or sizes[place] > room:
            groups.append([])
            room = GROUP_BYTES
        groups[-1].append(place)
        room -= sizes[place]
    return groups


def _clock_ms(reply: Raw) -> int:
    return int(reply[0]) * 1000 + int(reply[1]) // 1000
