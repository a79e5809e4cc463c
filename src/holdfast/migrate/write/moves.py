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
from holdfast.engine.connection import EngineNode
from holdfast.errors import HoldfastError
from holdfast.migrate.ends import End, Side
from holdfast.migrate.observe import ask_server
from holdfast.migrate.write.checkpoint import Place
from holdfast.migrate.write.clean import remove_keys
from holdfast.migrate.write.errors import SlotMovedAtSource
from holdfast.migrate.write.kept import Kept
from holdfast.migrate.write.keys import key_places
from holdfast.migrate.write.notes import ReadShard
from holdfast.migrate.write.way import Way, Ways, reached
from holdfast.topology.shards import Keyspace, discover
from holdfast.topology.slots import Slots, expand, ranges

LOOK_EVERY_S = 0.05
MAP_EVERY_S = 0.5
SETTLE_S = 1.0
COMES_WITHIN_S = 5.0
"""A slot does not come that has not by then, while the cluster says that none is on its way."""
COMES_WITHIN_WHOLE_S = 60.0
"""The same for engines that do not say so."""
STUCK_S = 10.0
"""Two ways that have waited for each other for this long will not end."""
PIECE_BYTES = 1 << 20
WHOLE_SLOTS_FROM = {"valkey": (9, 0, 0), "redis": (8, 4, 0)}
"""Engines that move slots by a snapshot and a stream of their own, and not key by key."""
_NONE: frozenset[bytes] = frozenset()
_NO_SLOTS: Slots = frozenset()


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
            keyspace, giver = await making.keyspace(self.to.other), self._owner(slot)
            whole = keyspace.version >= WHOLE_SLOTS_FROM[keyspace.engine]
            if await slots_on_the_move(self.kept.book.journal.end(self.to.other)):
                moved_s = time.monotonic()
            if time.monotonic() - moved_s > (COMES_WITHIN_WHOLE_S if whole else COMES_WITHIN_S):
                # It went there and back before it was seen, or its move was given up: this stream's part has no place any more.
                raise SlotMovedAtSource(slot, f"shard {number}")
            if giver == number:
                return  # it came while this was asked
            if await self._agreed(making, keyspace, giver, number, slots):
                break
            await asyncio.sleep(MAP_EVERY_S)
        if giver is None:
            await self._hand_over(keyspace, giver, number, slots)
            return
        others = expand(making.same(number, keyspace).slots) & expand(self._shards()[giver].slots)
        together = await self._agreed(making, keyspace, giver, number, others)
        if await self._behind(making, giver, number, slot) and together:
            slots = slots | others  # seldom is one moved alone, and each handing over costs the stream a wait
        await self._hand_over(keyspace, giver, number, slots)

    async def settle(self) -> None:
        """Hand over the slots that were moved without a word of them in any stream: empty ones, and ones at rest.

        Those that the way before still writes stay with it until the next time. Raises: as `claim`.
        """
        making = Ways(self.kept, self.to)
        keyspace = await making.keyspace(self.to.other)
        if making.as_read(keyspace):
            return
        for number in range(len(self._shards())):
            for giver in range(len(self._shards())):
                theirs = expand(self._shards()[giver].slots)
                slots = expand(making.same(number, keyspace).slots) & theirs if giver != number else _NO_SLOTS
                if not slots or not await self._agreed(making, keyspace, giver, number, slots):
                    continue
                if await reached([self.ways()[giver]], [await self._offset(making, giver)], SETTLE_S):
                    await self._hand_over(keyspace, giver, number, slots)

    async def _hand_over(self, keyspace: Keyspace, giver: int | None, number: int, slots: Slots) -> None:
        """The taker's checkpoints first, then the journal, then the giver's: cut off between, all of it is done again."""
        taker = self.ways()[number].writer
        target = taker.target
        if keyspace.version >= WHOLE_SLOTS_FROM[keyspace.engine]:
            # The taker's stream brings every key, and the giver's may not have deleted each.
            await remove_keys(target, 0, slots)
        await taker.mark(slots, Place(taker.history.spool.replid, taker.position, taker.database))
        notes, shards = self.kept.notes, list(self._shards())
        if giver is not None:
            shards[giver] = replace(shards[giver], slots=ranges(expand(shards[giver].slots) - slots))
        shards[number] = replace(shards[number], slots=ranges(expand(shards[number].slots) | slots))
        self.kept.note(notes.with_read(self.to.other, tuple(shards)))
        taker.own(expand(shards[number].slots))
        if giver is not None:
            self.ways()[giver].writer.own(expand(shards[giver].slots))
        told = ", ".join(map(str, ranges(slots)))
        self.kept.folder.tell(f"slots {told} were moved at the {self.to.other.value}, and are followed there")

    async def _agreed(
        self, making: Ways, keyspace: Keyspace, giver: int | None, number: int, slots: Slots
    ) -> bool:
        """Whether both primaries say that the slots are the taker's: any other node's map may be of the past."""
        for each in {number, number if giver is None else giver}:
            view = await discover([making.same(each, keyspace).primary])
            if not slots <= expand(making.same(number, view).slots):
                return False
        return True

    def _shards(self) -> tuple[ReadShard, ...]:
        return self.kept.notes.read[self.to.other]

    def _owner(self, slot: int) -> int | None:
        """The way that writes the slot now."""
        owners = (number for number, shard in enumerate(self._shards()) if slot in expand(shard.slots))
        return next(owners, None)

    async def _behind(self, making: Ways, giver: int, number: int, slot: int) -> bool:
        """Wait until the giver has written all that it has on the slot; whether it has written all that its shard had, too."""
        offset = await self._offset(making, giver)
        way = self.ways()[giver]
        end_s = 0.0
        while not way.has(offset):
            if way.writer.waits_for >= 0 and way.relay.spool.end >= offset:
                if not _tells_of(way, offset, slot):
                    return False
                end_s = end_s or time.monotonic() + STUCK_S
                if time.monotonic() > end_s:
                    raise SlotMovedAtSource(slot, f"shard {number}")
            else:
                end_s = 0.0
            await asyncio.sleep(LOOK_EVERY_S)
        return True

    async def _offset(self, making: Ways, number: int) -> int:
        """How far that shard's primary has written."""
        shard = making.same(number, await making.keyspace(self.to.other))
        address = (shard.primary.host, shard.primary.port)
        async with await EngineNode.connect(shard.primary) as node:
            return (await ask_server(node, address)).offset


async def slots_on_the_move(end: End) -> bool:
    """Whether a primary of the cluster is giving slots away, or getting some."""
    for address in end.servers:
        try:
            async with await EngineNode.connect(end.endpoint(address)) as node:
                text = str(await node.ask("CLUSTER", "NODES"))
        except HoldfastError:
            continue  # away, or of no cluster
        own = next((line for line in text.splitlines() if "myself" in line), "")
        if "master" in own and "[" in own:
            return True
    return False


def _tells_of(way: Way, end: int, slot: int) -> bool:
    """Whether the stream between what the way has written and `end` has a command on the slot."""
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
            if any(key_slot(words[each]) == slot for each in key_places(name, words)):
                return True
        at += whole
    return False
