"""What a side has of given keys: when each ends, what it takes, and its value where that is not too big, in pipelines."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from holdfast.codec.measured import NO_KEY, NO_NUMBER, Measured
from holdfast.codec.replies import Replies, RepliesCorrupt, pack_each, pack_words
from holdfast.compare.judge import ABSENT, Look
from holdfast.compare.side import PASSING, Node, Side
from holdfast.engine.connection import CommandRefused, NodeDenied, NodeGone
from holdfast.engine.pipeline import pack, refusal
from holdfast.engine.spans import value_of

GROUP_BYTES = 4 << 20
"""Of values that are asked for at once from one side."""
TEXT_BYTES = 512
"""Strings from this size on are read as they are: for a DUMP the engine tries to compress them, which takes ten times as long as all
the rest."""
UNKNOWN_BYTES = 64 * 1024
"""What a value counts for where the user may not ask its size: so few are asked for at once that they may be large."""


@dataclass(frozen=True)
class Unread:
    """A key that could not be looked at just now, and the engine's words."""

    words: str


async def measure(side: Side, database: int, keys: list[bytes]) -> Measured:
    """When each key ends and what it takes. Raises: NodeGone, NodeSilent, CommandRefused."""
    ends = Replies(len(keys))
    sizes = Replies(len(keys)) if side.knows_sizes else None
    shares = _by_owner(side, keys, list(range(len(keys))))
    margins_ms = await asyncio.gather(
        *(_measured(side, node, database, keys, places, (ends, sizes)) for node, places in shares)
    )
    return Measured(ends, sizes, max(margins_ms, default=0), UNKNOWN_BYTES)


async def _measured(
    side: Side,
    node: Node,
    database: int,
    keys: list[bytes],
    places: list[int],
    into: tuple[Replies, Replies | None],
) -> int:
    """Ask one server about the keys at `places`; by how many ms the ends may be off."""
    ends, sizes = into
    commands, count, base_ms = [pack_each(b"PEXPIRETIME", keys, places)], len(places), 0
    if not side.tells_absolute_ttl:
        commands, count = [_TIME, pack_each(b"PTTL", keys, places), _TIME], count + 2
    if sizes is not None:
        commands.append(pack_each(b"MEMORY USAGE", keys, places))
        count += len(places)
    came, at = await side.read(node, database, b"".join(commands), count)
    try:
        if side.tells_absolute_ttl:
            at, margin_ms = ends.take(came, at, places), 0
        else:
            base_ms, at = _clock_ms(came, at)
            at = ends.take(came, at, places, base_ms)
            late_ms, at = _clock_ms(came, at)
            margin_ms = late_ms - base_ms + 1
        if sizes is not None:
            sizes.take(came, at, places)
    except (RepliesCorrupt, ValueError) as broken:
        raise NodeGone(str(node.pipe.endpoint), f"its replies make no sense ({broken})") from broken
    return margin_ms


_TIME = pack("TIME")


def _clock_ms(came: bytes, at: int) -> tuple[int, int]:
    """A reply to TIME as Unix time in ms, and the index behind it. Raises: ValueError when it is none."""
    after = at
    for _ in range(5):
        after = came.index(b"\n", after) + 1
    _, _, seconds, _, micros, _ = came[at:after].split(b"\r\n")
    return int(seconds) * 1000 + int(micros) // 1000, after


async def dumps(side: Side, database: int, keys: list[bytes], places: list[int]) -> Replies:
    """The values at those places as DUMP tells them."""
    return await _each(side, database, b"DUMP", keys, places)


async def texts(side: Side, database: int, keys: list[bytes], places: list[int]) -> Replies:
    """The strings at those places as they are; what is none, an engine's words of why."""
    return await _each(side, database, b"GET", keys, places)


async def strings_of(side: Side, database: int, keys: list[bytes], places: list[int]) -> list[int]:
    """Those of the places at which the side has a string."""
    kinds = await _each(side, database, b"TYPE", keys, places)
    others = set(kinds.other_than(b"+string\r\n", places))
    return [at for at in places if at not in others]


async def look_at(side: Side, database: int, keys: list[bytes]) -> list[Look | Unread]:
    """What the side has of a few keys, with the values that are not too big.

    Raises: NodeGone, NodeSilent; CommandRefused or NodeDenied when the user may not read.
    """
    return await looks(side, database, keys, await measure(side, database, keys), list(range(len(keys))))


async def looks(
    side: Side, database: int, keys: list[bytes], told: Measured, places: list[int]
) -> list[Look | Unread]:
    """The same of those of the keys that stand at `places`, after what was told of all of them."""
    wanted = [
        at
        for at in places
        if told.end_ms(at) not in {NO_KEY, NO_NUMBER}
        and (size := told.size(at)) != NO_NUMBER
        and size <= side.big_bytes
    ]
    got = await dumps(side, database, keys, wanted)
    return [look_of(side, keys[at], told, got, at) for at in places]


def look_of(side: Side, key: bytes, told: Measured, got: Replies, at: int) -> Look | Unread:
    """What the server said of the key at that place. Raises: CommandRefused, NodeDenied."""
    dump = value_of(got.reply(at)) if got.reply(at) else None
    end_ms, size = told.end_ms(at), told.size(at)
    if type(dump) is bytes and end_ms not in {NO_KEY, NO_NUMBER}:
        return Look(True, dump, end_ms if end_ms >= 0 else None, told.margin_ms, max(0, size))
    for reply in (told.ends.reply(at), told.sizes.reply(at) if told.sizes else b"", got.reply(at)):
        if reply.startswith(b"-"):
            return _unread(side.node_of(key), refusal(value_of(reply)))
    if end_ms in {NO_KEY, NO_NUMBER} or size <= side.big_bytes:
        return ABSENT
    return Look(True, None, end_ms if end_ms >= 0 else None, told.margin_ms, size)


async def absent_at(side: Side, database: int, keys: list[bytes]) -> list[int]:
    """The places of keys that the side does not have at this moment, or that it could not be asked about.

    Raises: as `look_at`.
    """
    places = list(range(len(keys)))
    if not side.keyspace.cluster:
        # One question for all of them, which nearly always says that all are there; in a cluster each slot needs its own.
        unique = list(dict.fromkeys(keys))
        (count,) = await side.raw(side.node(0), database, pack_words(b"EXISTS", unique), 1)
        if count == len(unique):
            return []
    found = await _each(side, database, b"EXISTS", keys, places)
    others = found.other_than(b":1\r\n", places)
    for at in others:
        if (reply := found.reply(at)).startswith(b"-"):
            _unread(side.node_of(keys[at]), refusal(value_of(reply)))
    return others


async def _each(side: Side, database: int, command: bytes, keys: list[bytes], places: list[int]) -> Replies:
    """What the owners of the keys at `places` answer to one command about each."""
    into = Replies(len(keys))
    shares = _by_owner(side, keys, places)
    await asyncio.gather(
        *(_asked(side, node, database, command, keys, share, into) for node, share in shares)
    )
    return into


async def _asked(
    side: Side,
    node: Node,
    database: int,
    command: bytes,
    keys: list[bytes],
    places: list[int],
    into: Replies,
) -> None:
    came, at = await side.read(node, database, pack_each(command, keys, places), len(places))
    try:
        into.take(came, at, places)
    except RepliesCorrupt as broken:
        raise NodeGone(str(node.pipe.endpoint), f"its replies make no sense ({broken})") from broken


def _by_owner(side: Side, keys: list[bytes], places: list[int]) -> list[tuple[Node, list[int]]]:
    """The places whose keys each server holds."""
    if not places:
        return []
    if not side.keyspace.cluster:
        return [(side.node(0), places)]
    found: dict[int, list[int]] = {}
    for at in places:
        found.setdefault(side.owner(keys[at]), []).append(at)
    return [(side.node(shard), share) for shard, share in found.items()]


def _unread(node: Node, said: str) -> Unread:
    if said.startswith(PASSING):
        return Unread(said)
    endpoint = node.pipe.endpoint
    if said.startswith(("NOPERM", "NOAUTH")):
        user = endpoint.credentials.user if endpoint.credentials else "default"
        raise NodeDenied(str(endpoint), user, "a command that reads a key", said)
    raise CommandRefused(str(endpoint), "a command that reads a key", said)
