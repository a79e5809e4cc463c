"""Slots that are moved whole (see `jobs`) at the end that is read, while it is: each move is taken up in its place in the stream.

What the stream brings of a slot is all that it holds. So the way that had it has to have written what its shard wrote, the
target's keys of the slot go, and the other way brings them again. A move that was given up has brought nothing: what stands
of it in the stream is left out.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace

from holdfast.engine.connection import EngineNode
from holdfast.errors import HoldfastError
from holdfast.migrate.write.errors import SlotMovedAtSource
from holdfast.migrate.write.jobs import Ended, EndSeeker, Past, SlotJob, Verdict, next_job
from holdfast.migrate.write.moves import (
    LOOK_EVERY_S,
    MAP_EVERY_S,
    PIECE_BYTES,
    Moves,
    WholeMove,
    say,
    slots_on_the_move,
    whole_moves,
)
from holdfast.migrate.write.way import Way
from holdfast.migrate.write.ways import Ways
from holdfast.topology.slots import Slots, expand

FOUND_WITHIN_S = 60.0
"""The way that has the slots is known by then, while no slots are on the move."""


@dataclass
class ClaimsOfWay:
    """`Claims` of the way of that number."""

    moves: Moves
    number: int

    async def slot(self, slot: int) -> None:
        """See `Moves.claim`."""
        await self.moves.claim(self.number, slot)

    async def job(self, job: SlotJob) -> Past:
        """Raises: SlotMovedAtSource when the order cannot be kept; TargetBroke, and the connection's errors."""
        ended = await self._end_of(job)
        giver = await self._giver(job) if ended.verdict is Verdict.DONE else None
        if giver is None:
            past = replace(self._mine(), jobs_until=job.offset)
            if ended.verdict is Verdict.GIVEN_UP:
                self.moves.tell(f"a move of slots {say(job.slots)} was given up: nothing of it is carried")
                past = past.with_slots(job.slots, ended.offset)
            self._note(past)
            return past
        until, writer = await self._written_until(giver, job), self.moves.ways()[giver].writer
        # From here on it writes nothing to them, so that nothing of it comes behind what is removed.
        writer.own(
            (writer.standing.owned or frozenset()) - job.slots,
            writer.standing.past.with_slots(job.slots, until),
        )
        await self.moves.hand_over(self.number, giver, job.slots, WholeMove(until, job.offset))
        return self._mine()

    def anew(self) -> None:
        """A snapshot is written: what earlier streams told is of the past."""
        if self._mine() != Past():
            self._note(Past())

    def _mine(self) -> Past:
        return self.moves.shards()[self.number].past

    def _note(self, past: Past) -> None:
        shards = list(self.moves.shards())
        shards[self.number] = replace(shards[self.number], past=past)
        self.moves.note(shards)

    async def _end_of(self, job: SlotJob) -> Ended:
        """Wait for the end of the move: in the stream, or by the word of the shard that it is not known any more."""
        spool, seeker = self.moves.ways()[self.number].relay.spool, EndSeeker(job, job.offset)
        length, looked_at_s, over_by = PIECE_BYTES, time.monotonic(), -1
        while True:
            while piece := spool.read(seeker.at, length):
                ended, whole = seeker.feed(piece)
                if ended is not None:
                    return ended
                if whole:
                    length = PIECE_BYTES
                elif len(piece) < length:
                    break  # not whole yet
                else:
                    length *= 4
            if 0 <= over_by <= seeker.at:
                ours = await self._slots_of_shard() >= job.slots
                return Ended(Verdict.DONE if ours else Verdict.GIVEN_UP, seeker.at)
            if time.monotonic() - looked_at_s > MAP_EVERY_S:
                looked_at_s = time.monotonic()
                over_by = await self._over_by(job)
            await asyncio.sleep(LOOK_EVERY_S)

    async def _over_by(self, job: SlotJob) -> int:
        """Where the stream stood when its shard knew of no such move that goes on; -1 while it goes on, or nobody can be asked."""
        making = Ways(self.moves.kept, self.moves.to)
        try:
            shard = making.same(self.number, await making.keyspace(self.moves.to.other))
            async with await EngineNode.connect(shard.primary) as node:
                if (await whole_moves(node)).get(job.name, False):
                    return -1
            return await self.moves.offset(making, self.number)
        except HoldfastError:
            return -1

    async def _slots_of_shard(self) -> Slots:
        making = Ways(self.moves.kept, self.moves.to)
        return expand(making.same(self.number, await making.keyspace(self.moves.to.other)).slots)

    async def _giver(self, job: SlotJob) -> int | None:
        """The way that has the slots, once it has all: they may have to come to it first. None where they are ours already.

        Raises: SlotMovedAtSource.
        """
        began_s = time.monotonic()
        source = await self._way_of(job.source)
        while True:
            owners = {self.moves.owner(slot) for slot in job.slots}
            if source is not None and owners == {source}:
                return source
            if source is None and len(owners) == 1 and (known := owners.pop()) is not None:
                return known if known != self.number else None
            if await slots_on_the_move(self.moves.kept.book.journal.end(self.moves.to.other)):
                began_s = time.monotonic()
            if time.monotonic() - began_s > FOUND_WITHIN_S:
                raise SlotMovedAtSource(min(job.slots, default=-1), f"shard {self.number}")
            await asyncio.sleep(LOOK_EVERY_S)

    async def _way_of(self, node_id: str) -> int | None:
        """The way that reads the shard of that node; None where no server of it is known any more."""
        end = self.moves.kept.book.journal.end(self.moves.to.other)
        making = Ways(self.moves.kept, self.moves.to)
        shard = making.same(self.number, await making.keyspace(self.moves.to.other))
        async with await EngineNode.connect(shard.primary) as node:
            lines = str(await node.ask("CLUSTER", "NODES")).splitlines()
        for line in lines:
            words = line.split()
            if len(words) < 2 or words[0] != node_id:
                continue
            host, _, port = words[1].partition("@")[0].rpartition(":")
            address = (host, int(port))
            if address not in end.servers:
                return None
            shards = enumerate(self.moves.shards())
            return next((number for number, each in shards if address in each.members), None)
        return None

    async def _written_until(self, giver: int, job: SlotJob) -> int:
        """Wait until the giver has written what its shard wrote to the slots, or waits for slots itself; where that ends.

        What it had still to write to them then is void: all that they hold is brought.
        """
        making = Ways(self.moves.kept, self.moves.to)
        offset, way = await self.moves.offset(making, giver), self.moves.ways()[giver]
        while not way.has(offset):
            if way.writer.standing.waits_for and way.relay.spool.end >= offset:
                return self._before_they_come_back(way, offset, job.slots)
            await asyncio.sleep(LOOK_EVERY_S)
        return way.writer.position

    def _before_they_come_back(self, way: Way, end: int, slots: Slots) -> int:
        """Where in a way's stream, from what it has written to `end`, any of the slots is moved to it again; else `end`."""
        at, length = way.writer.position, PIECE_BYTES
        while at < end and (piece := way.relay.spool.read(at, length)):
            job, whole = next_job(piece, at, slots)
            if job is not None:
                return min(end, job.offset)
            if not whole and len(piece) < length:
                break
            length = PIECE_BYTES if whole else length * 4
            at += whole
        return end
