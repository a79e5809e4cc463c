"""All keys of one side, in one direction: each shard scanned in batches, gone on with where it was left, and slots that moved
meanwhile read again."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from holdfast.compare.options import Options
from holdfast.compare.report import Lane, Report
from holdfast.compare.side import Side
from holdfast.engine.connection import NodeGone, NodeSilent
from holdfast.topology.slots import expand, parse_range

Done = TypeVar("Done")
MAPS_READ = 20
"""How often the map of a cluster is read while slots keep moving."""


class Course(Protocol):
    """What a walk needs of the comparison that it is part of."""

    options: Options
    report: Report

    def suspect(self, database: int, keys: Sequence[bytes]) -> None:
        """Keys to be looked at again."""

    async def turn(self, keys: int) -> None:
        """Wait until so many keys may be asked for."""

    async def lasting(self, work: Callable[[], Awaitable[Done]]) -> Done:
        """Do it; after a lost connection mend both sides and do it again."""


@dataclass
class Walk:
    """All shards of one side, one database, in one direction."""

    course: Course
    direction: str
    side: Side
    database: int
    numbered: int
    """The database's number on the first side."""
    check: Callable[[int, list[bytes]], Awaitable[list[bytes]]]
    _walked: dict[int, str] = field(default_factory=dict)
    """Slot -> the server on which it was walked."""

    async def all_shards(self) -> None:
        starts = [shard.slots[0].first for shard in self.side.shards]
        tasks = [asyncio.create_task(self._shard(start)) for start in starts]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if self.side.keyspace.cluster:
            await self._moved_slots()

    async def _shard(self, start: int) -> None:
        options, course = self.course.options, self.course
        lane = course.report.lanes.setdefault(f"{self.direction}/{self.database}/{start}", Lane())
        pending: deque[tuple[int, int, asyncio.Task[None]]] = deque()
        try:
            while not lane.done:
                if self.side.known(lane.run_id) is None:
                    index = self.side.owner_of_slot(start)
                    lane.run_id, lane.cursor, lane.keys = self.side.node(index).run_id, 0, 0
                    lane.slots = " ".join(str(each) for each in self.side.shards[index].slots)
                try:
                    await self._scan(lane, pending, options.window)
                except (NodeGone, NodeSilent) as broken:
                    await _drop(pending)
                    await self.side.mend(broken)
        finally:
            await _drop(pending)
        self._walked |= dict.fromkeys(expand(parse_range(each) for each in lane.slots.split()), lane.run_id)

    async def _scan(
        self, lane: Lane, pending: deque[tuple[int, int, asyncio.Task[None]]], window: int
    ) -> None:
        """From the lane's cursor to the end; the cursor moves on once a batch and all before it are compared."""
        cursor, count = lane.cursor, self.course.options.batch_keys
        while True:
            node = self.side.known(lane.run_id)
            if node is None:
                raise NodeGone("a server that was being read", "it is no longer one of its keyspace")
            cursor, keys = await self.side.scan(node, self.database, cursor, count)
            wanted = self._ours(keys)
            await self.course.turn(len(wanted))
            pending.append((cursor, len(wanted), asyncio.create_task(self._compare(wanted))))
            while pending and (len(pending) >= window or cursor == 0):
                at, compared, task = pending[0]
                await task
                pending.popleft()
                lane.cursor = at
                lane.keys += compared
            if cursor == 0:
                lane.done = True
                return

    def _ours(self, keys: list[bytes]) -> list[bytes]:
        ignore = self.course.options.ignore
        return [key for key in keys if not key.startswith(ignore)] if ignore else keys

    async def _compare(self, keys: list[bytes]) -> None:
        if keys:
            differ = await self.course.lasting(lambda: self.check(self.database, keys))
            self.course.suspect(self.numbered, differ)

    async def _moved_slots(self) -> None:
        """Slots that changed owners during the walk are walked again by name: a scan may have passed before their keys came."""
        for _ in range(MAPS_READ):
            await self.side.read_map()
            now = {
                slot: self.side.node(index).run_id
                for index, shard in enumerate(self.side.shards)
                for slot in expand(shard.slots)
            }
            moved = [slot for slot, run_id in now.items() if self._walked.get(slot) != run_id]
            if not moved:
                return
            for slot in moved:
                keys = self._ours(await self.side.keys_in_slot(slot))
                for at in range(0, len(keys), self.course.options.batch_keys):
                    piece = keys[at : at + self.course.options.batch_keys]
                    await self.course.turn(len(piece))
                    await self._compare(piece)
                self._walked[slot] = now[slot]


async def _drop(pending: deque[tuple[int, int, asyncio.Task[None]]]) -> None:
    """Give up batches that are under way: the lane's cursor stands before them."""
    tasks = [task for _, _, task in pending]
    pending.clear()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
