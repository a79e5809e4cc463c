"""Slots that change their owner at the end that is read, while it is: two streams tell of them, and those have no common order.

The one stream holds all that was written to a slot up to its move, and then the DELs that take its keys away; the other holds
the RESTOREs that bring them, and all that was written afterwards. So the whole of the first, on that slot, comes before the
whole of the second: the way that meets a slot which is not its own waits until the map says that it is, and the way before
it has written all that there is on the slot.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from holdfast.codec.crc import key_slot
from holdfast.codec.stream import read_command, walk_to
from holdfast.engine.connection import CommandRefused, EngineNode
from holdfast.errors import HoldfastError
from holdfast.migrate.ends import End, Side
from holdfast.migrate.observe import ask_server
from holdfast.migrate.write.checkpoint import Place
from holdfast.migrate.write.clean import remove_keys
from holdfast.migrate.write.errors import SlotMovedAtSource
from holdfast.migrate.write.jobs import under_way
from holdfast.migrate.write.kept import Kept
from holdfast.migrate.write.keys import key_places
from holdfast.migrate.write.notes import ReadShard
from holdfast.migrate.write.way import Way, reached
from holdfast.migrate.write.ways import Ways
from holdfast.topology.shards import Keyspace, discover
from holdfast.topology.slots import Slots, expand, ranges

LOOK_EVERY_S = 0.05
MAP_EVERY_S = 0.5
SETTLE_S = 1.0
COMES_WITHIN_S = 5.0
"""A slot does not come that has not by then, while the cluster says that none is on its way."""
COMES_WITHIN_UNSAID_S = 60.0
"""The same for engines that do not say so."""
STUCK_S = 10.0
"""Two ways that have waited for each other for this long will not end."""
PIECE_BYTES = 1 << 20
UNSAID_FROM = (8, 4, 0)
"""Redis moves slots by a snapshot and a stream of their own from there on, and its streams do not tell of it."""
_NONE: frozenset[bytes] = frozenset()
_NO_SLOTS: Slots = frozenset()


@dataclass(frozen=True)
class WholeMove:
    """The taker's stream brings every key of the slots: the target's go first."""

    written_until: int
    """Offset up to which what the giver's stream says of them is done, or void."""
    jobs_until: int
    """As `Past.jobs_until` of the taker."""


@dataclass
class Moves:
    """Gives slots from one way to another, in order."""

    kept: Kept
    to: Side
    ways: Callable[[], Sequence[Way]]

    async def claim(self, number: int, slot: int) -> None:
        """Wait until the way of that number may write the slot, then make it its own.

        Raises: SlotMovedAtSource when the order cannot be kept; TargetBroke, and the connection's errors.
        """
        making, slots = Ways(self.kept, self.to), frozenset({slot})
        moved_s = time.monotonic()
        while True:
            keyspace, giver = await making.keyspace(self.to.other), self.owner(slot)
            if await slots_on_the_move(self.kept.book.journal.end(self.to.other)):
                moved_s = time.monotonic()
            if time.monotonic() - moved_s > (COMES_WITHIN_UNSAID_S if unsaid(keyspace) else COMES_WITHIN_S):
                # It went there and back before it was seen, or its move was given up: this stream's part has no place any more.
                raise SlotMovedAtSource(slot, f"shard {number}")
            if giver == number:
                return  # it came while this was asked
            if await self._agreed(making, keyspace, giver, number, slots):
                break
            await asyncio.sleep(MAP_EVERY_S)
        # The taker's stream brings every key there, and the giver's may not have deleted each.
        jobs_until = self.shards()[number].past.jobs_until
        if giver is None:
            await self.hand_over(
                number, giver, slots, WholeMove(-1, jobs_until) if unsaid(keyspace) else None
            )
            return
        others = expand(making.same(number, keyspace).slots) & expand(self.shards()[giver].slots)
        together = await self._agreed(making, keyspace, giver, number, others)
        if await self._behind(making, giver, number, slot) and together:
            slots = slots | others  # seldom is one moved alone, and each handing over costs the stream a wait
        written = self.ways()[giver].writer.position
        await self.hand_over(
            number, giver, slots, WholeMove(written, jobs_until) if unsaid(keyspace) else None
        )

    async def settle(self) -> None:
        """Hand over the slots that were moved without a word of them in any stream: empty ones, and ones at rest.

        Those that the way before still writes stay with it until the next time. Raises: as `claim`.
        """
        making = Ways(self.kept, self.to)
        keyspace = await making.keyspace(self.to.other)
        if making.as_read(keyspace):
            return
        for number in range(len(self.shards())):
            for giver in range(len(self.shards())):
                theirs = expand(self.shards()[giver].slots)
                slots = expand(making.same(number, keyspace).slots) & theirs if giver != number else _NO_SLOTS
                if not slots or not await self._agreed(making, keyspace, giver, number, slots):
                    continue
                # The taker's too: its stream may tell of a move of whole slots that it has not come to yet.
                both = [giver, number]
                offsets = [await self.offset(making, each) for each in both]
                if await reached([self.ways()[each] for each in both], offsets, SETTLE_S):
                    await self.hand_over(number, giver, slots)

    async def hand_over(
        self, taker_number: int, giver: int | None, slots: Slots, whole: WholeMove | None = None
    ) -> None:
        """The giver has written all of it. The taker's checkpoints first, then the journal, then the giver's.

        Cut off between, all of it is done again. Raises: TargetBroke, CheckpointLost, and the connection's errors.
        """
        taker = self.ways()[taker_number].writer
        if whole is not None:
            await remove_keys(taker.target, 0, slots)
        await taker.mark(slots, Place(taker.history.spool.replid, taker.position, taker.standing.database))
        shards = list(self.shards())
        mine = shards[taker_number]
        jobs_until = mine.past.jobs_until if whole is None else whole.jobs_until
        past = replace(mine.past, jobs_until=jobs_until)
        shards[taker_number] = replace(mine, slots=ranges(expand(mine.slots) | slots), past=past)
        if giver is not None:
            theirs = shards[giver]
            until = self.ways()[giver].writer.position if whole is None else whole.written_until
            past = theirs.past.with_slots(slots, until)
            shards[giver] = replace(theirs, slots=ranges(expand(theirs.slots) - slots), past=past)
        self.note(shards)
        for number in (taker_number, giver):
            if number is not None:
                self.ways()[number].writer.own(expand(shards[number].slots), shards[number].past)
        self.tell(f"slots {say(slots)} were moved at the {self.to.other.value}, and are followed there")

    def note(self, shards: Sequence[ReadShard]) -> None:
        """Remember who reads what."""
        self.kept.note(self.kept.notes.with_read(self.to.other, tuple(shards)))

    def tell(self, words: str) -> None:
        """Say it to whoever looks at the job."""
        self.kept.folder.tell(words)

    async def _agreed(
        self, making: Ways, keyspace: Keyspace, giver: int | None, number: int, slots: Slots
    ) -> bool:
        """Whether both primaries say that the slots are the taker's: any other node's map may be of the past."""
        for each in {number, number if giver is None else giver}:
            view = await discover([making.same(each, keyspace).primary])
            if not slots <= expand(making.same(number, view).slots):
                return False
        return True

    def shards(self) -> tuple[ReadShard, ...]:
        return self.kept.notes.read[self.to.other]

    def owner(self, slot: int) -> int | None:
        """The way that writes the slot now."""
        owners = (number for number, shard in enumerate(self.shards()) if slot in expand(shard.slots))
        return next(owners, None)

    async def _behind(self, making: Ways, giver: int, number: int, slot: int) -> bool:
        """Wait until the giver has written all that it has on the slot; whether it has written all that its shard had, too."""
        offset = await self.offset(making, giver)
        way = self.ways()[giver]
        end_s = 0.0
        while not way.has(offset):
            if way.writer.standing.waits_for and way.relay.spool.end >= offset:
                if not tells_of(way, offset, frozenset({slot})):
                    return False
                end_s = end_s or time.monotonic() + STUCK_S
                if time.monotonic() > end_s:
                    raise SlotMovedAtSource(slot, f"shard {number}")
            else:
                end_s = 0.0
            await asyncio.sleep(LOOK_EVERY_S)
        return True

    async def offset(self, making: Ways, number: int) -> int:
        """How far that shard's primary has written."""
        shard = making.same(number, await making.keyspace(self.to.other))
        address = (shard.primary.host, shard.primary.port)
        async with await EngineNode.connect(shard.primary) as node:
            return (await ask_server(node, address)).offset


def unsaid(keyspace: Keyspace) -> bool:
    """Whether slots of the cluster may be moved whole without a word of it in its streams."""
    return keyspace.engine == "redis" and keyspace.version >= UNSAID_FROM


async def slots_on_the_move(end: End) -> bool:
    """Whether a primary of the cluster is giving slots away, or getting some."""
    for address in end.servers:
        try:
            async with await EngineNode.connect(end.endpoint(address)) as node:
                text = str(await node.ask("CLUSTER", "NODES"))
                own = next((line for line in text.splitlines() if "myself" in line), "")
                if "master" in own and ("[" in own or any((await whole_moves(node)).values())):
                    return True
        except HoldfastError:
            continue  # away, or of no cluster
    return False


async def whole_moves(node: EngineNode) -> dict[bytes, bool]:
    """Moves of whole slots that a node knows of, by name: whether they go on. Raises: the connection's errors."""
    try:
        return under_way(await node.ask("CLUSTER", "GETSLOTMIGRATIONS"))
    except CommandRefused:
        return {}  # an engine that has none


def say(slots: Slots) -> str:
    """For people."""
    return ", ".join(map(str, ranges(slots)))


def tells_of(way: Way, end: int, slots: Slots, passing_over: frozenset[bytes] = _NONE) -> bool:
    """Whether the stream between what the way has written and `end` has a command on one of the slots.

    Args: `passing_over`, names of commands that do not count.
    """
    spool, at, length = way.relay.spool, way.writer.position, PIECE_BYTES
    while at < end:
        piece = spool.read(at, length)
        whole, _ = walk_to(piece, 0, len(piece), _NONE)
        if not whole:
            if len(piece) < length:
                return True  # not whole yet: it is looked at again
            length *= 4
            continue
        place = 0
        while place < whole:
            if piece[place] == 10:
                place += 1
                continue
            words, place = read_command(piece, place)
            name = words[0].upper()
            if name in {b"FLUSHALL", b"FLUSHDB"}:
                return True
            if name not in passing_over and any(
                key_slot(words[each]) in slots for each in key_places(name, words)
            ):
                return True
        at += whole
    return False
