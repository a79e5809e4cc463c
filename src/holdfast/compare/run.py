"""The comparison: every key of the first side against the second, every key of the second looked for on the first, and what
differed looked at again until it settles. Goes on from a report that was written down."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from holdfast.compare.check import Checker
from holdfast.compare.judge import Tolerance
from holdfast.compare.latency import LatencyProbe, undisturbed_ms
from holdfast.compare.pace import Pace, PaceLimits, heard, opening
from holdfast.compare.report import Found, Lane, Report
from holdfast.compare.settle import Fate, Patience, Suspect, restless, suspect, weigh
from holdfast.compare.side import Side
from holdfast.engine.connection import NodeGone, NodeSilent
from holdfast.errors import Refused
from holdfast.topology.slots import expand, parse_range

Done = TypeVar("Done")
PACE_EVERY_S = 0.1
SETTLE_EVERY_S = 0.05
SETTLE_AT_ONCE = 32
BURST_AFTER = 3
TRIES = 20
"""Of one batch, each after its side was mended."""


@dataclass(frozen=True)
class Options:
    """How to compare."""

    tolerance: Tolerance = Tolerance()
    patience: Patience = Patience()
    pace: PaceLimits = PaceLimits()
    databases: Mapping[int, int] | None = None
    """Database of the first side -> of the second; each to its own number without it."""
    ignore: tuple[bytes, ...] = ()
    """Keys that begin so are nobody's data (a migration's own marks)."""
    batch_keys: int = 1000
    window: int = 4
    """Batches in flight for each shard."""
    suspects_at_most: int = 20_000
    """While so many wait to settle, no new keys are looked at."""
    listed_at_most: int = 1_000


def _tell_nobody(report: Report) -> None:
    pass


@dataclass
class Comparison:
    """One comparison of two connected sides."""

    first: Side
    second: Side
    options: Options = field(default_factory=Options)
    report: Report = field(default_factory=Report)
    tell: Callable[[Report], None] = _tell_nobody
    """Called some times a second; what it is given may be written down and be gone on from."""
    _suspects: dict[tuple[int, bytes], Suspect] = field(default_factory=dict)
    _room: asyncio.Event = field(default_factory=asyncio.Event)
    _free_s: float = 0.0
    _pace: Pace | None = None

    async def run(self) -> Report:
        """Compare to the end.

        Returns: the report, complete.
        Raises: SideLost when a server stays away, CommandRefused or NodeDenied when a side may not be read, Refused when a
            database has no counterpart. `report` then still holds what is known.
        """
        began_s = time.monotonic() - self.report.took_s
        endpoints = [shard.primary for shard in self.first.shards]
        self._pace = opening(self.options.pace, await undisturbed_ms(endpoints))
        probe = LatencyProbe(endpoints)
        probe.start()
        now = time.monotonic()
        for database, key in self.report.suspects:
            self._suspects[database, key] = suspect(key, database, now, self.options.patience)
        keeper = asyncio.create_task(self._keep_pace(probe, began_s))
        settler = asyncio.create_task(self._settle())
        try:
            databases = await self._databases()
            checker = Checker(self.first, self.second, self.options.tolerance, databases, self.report)
            self._checker = checker
            back = {theirs: ours for ours, theirs in databases.items()}
            await self._with(settler, self._pass("forth", self.first, sorted(databases), checker.batch))
            await self._with(
                settler,
                self._pass(
                    "back",
                    self.second,
                    sorted(back),
                    lambda database, keys: checker.missing(back[database], keys),
                    back,
                ),
            )
            await self._with(settler, self._all_settled())
            self.report.complete = True
        finally:
            probe.stop()
            for task in (keeper, settler):
                task.cancel()
            await asyncio.gather(keeper, settler, return_exceptions=True)
            self.report.took_s = time.monotonic() - began_s
        self.tell(self.report)
        return self.report

    async def _databases(self) -> dict[int, int]:
        ours, theirs = await self.first.databases(), await self.second.databases()
        given = self.options.databases
        if given is not None:
            left = [f"database {each} of the first side" for each in ours if each not in given]
            left += [f"database {each} of the second side" for each in theirs if each not in given.values()]
            self.report.left_out = tuple(f"{each} is not named in the mapping" for each in left)
            return dict(given)
        pairs = {each: each for each in {*ours, *theirs}} or {0: 0}
        for side, word in ((self.first, "first"), (self.second, "second")):
            highest = max(pairs)
            if highest >= side.keyspace.databases or (
                side.keyspace.cluster and highest and side.keyspace.databases == 1
            ):
                raise Refused(
                    "the comparison",
                    f"the {word} side has no database {highest} and the other has",
                    "Say which database stands for which: --database 1=0",
                )
        return pairs

    async def _with(self, settler: asyncio.Task[None], work: Awaitable[None]) -> None:
        """Do the work; when settling fails meanwhile, that is the comparison's failure."""
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait({task, settler}, return_when=asyncio.FIRST_COMPLETED)
            if settler.done():
                await settler
            await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _pass(
        self,
        direction: str,
        side: Side,
        databases: Sequence[int],
        check: Callable[[int, Sequence[bytes]], Awaitable[list[bytes]]],
        numbered: Mapping[int, int] | None = None,
    ) -> None:
        """All keys of one side. Args: `numbered`, the first side's number of each database, where that is another."""
        first_number = numbered or {each: each for each in databases}
        for database in databases:
            walk = _Walk(self, direction, side, database, first_number[database], check)
            await walk.all_shards()

    async def _settle(self) -> None:
        """Look at suspects again whenever it is time, until cancelled."""
        while True:
            now = time.monotonic()
            due = [each for each in self._suspects.values() if each.next_s <= now][:SETTLE_AT_ONCE]
            if not due:
                await asyncio.sleep(SETTLE_EVERY_S)
                continue
            await asyncio.gather(*(self._look_again(each) for each in due))

    async def _look_again(self, seen: Suspect) -> None:
        glance = await self.lasting(lambda: self._checker.glance(seen.database, seen.key))
        fate, after = weigh(seen, glance, time.monotonic(), self.options.patience)
        if fate is not Fate.SAME and after.looks >= BURST_AFTER and restless(after):
            # A counter that is written all the time is never seen equal by single looks.
            follows = await self.lasting(lambda: self._checker.follows(seen.database, seen.key))
            fate = Fate.SAME if follows else fate
        if fate is Fate.WAIT:
            self._suspects[seen.database, seen.key] = after
            return
        del self._suspects[seen.database, seen.key]
        self.report.suspects.pop((seen.database, seen.key), None)
        if fate is Fate.SAME:
            self.report.settled += 1
            self.report.same += 1
        elif after.difference is not None:
            found = Found(seen.database, seen.key, after.difference, settled=fate is Fate.DIFFERS)
            self.report.add(found, self.options.listed_at_most)
        if len(self._suspects) < self.options.suspects_at_most:
            self._room.set()

    async def _all_settled(self) -> None:
        while self._suspects:  # noqa: ASYNC110 - the settler itself sleeps until the next is due
            await asyncio.sleep(SETTLE_EVERY_S)

    def suspect(self, database: int, keys: Sequence[bytes]) -> None:
        """Keys to be looked at again; those that already wait are not entered twice."""
        now = time.monotonic()
        for key in keys:
            if (database, key) not in self._suspects:
                self._suspects[database, key] = suspect(key, database, now, self.options.patience)
                self.report.suspects[database, key] = None

    async def turn(self, keys: int) -> None:
        """Wait until so many keys may be asked for."""
        while len(self._suspects) >= self.options.suspects_at_most:
            self._room.clear()
            await self._room.wait()
        assert self._pace is not None
        now = time.monotonic()
        self._free_s = max(now, self._free_s) + keys / self._pace.keys_per_s
        wait_s = self._free_s - keys / self._pace.keys_per_s - now
        if wait_s > 0:
            await asyncio.sleep(wait_s)

    async def lasting(self, work: Callable[[], Awaitable[Done]]) -> Done:
        """Do it; after a lost connection mend both sides and do it again."""
        for attempt in range(TRIES):
            try:
                return await work()
            except (NodeGone, NodeSilent) as broken:
                if attempt == TRIES - 1:
                    raise
                await self.first.mend(broken)
                await self.second.mend(broken)
        raise AssertionError("unreachable")

    async def _keep_pace(self, probe: LatencyProbe, began_s: float) -> None:
        before, before_s = self.report.keys + self.report.keys_back, time.monotonic()
        while True:
            await asyncio.sleep(PACE_EVERY_S)
            keys, now = self.report.keys + self.report.keys_back, time.monotonic()
            running = (keys - before) / max(now - before_s, 1e-3)
            before, before_s = keys, now
            for answer_ms in probe.newest_ms():
                assert self._pace is not None
                self._pace = heard(self._pace, answer_ms, running)
            self.report.slowed = self._pace.slowed if self._pace else 0
            self.report.took_s = now - began_s
            self.tell(self.report)


@dataclass
class _Walk:
    """All shards of one side, one database, in one direction."""

    comparison: Comparison
    direction: str
    side: Side
    database: int
    numbered: int
    """The database's number on the first side."""
    check: Callable[[int, Sequence[bytes]], Awaitable[list[bytes]]]
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
        options, comparison = self.comparison.options, self.comparison
        lane = comparison.report.lanes.setdefault(f"{self.direction}/{self.database}/{start}", Lane())
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
        cursor, count = lane.cursor, self.comparison.options.batch_keys
        while True:
            node = self.side.known(lane.run_id)
            if node is None:
                raise NodeGone("a server that was being read", "it is no longer one of its keyspace")
            cursor, keys = await self.side.scan(node, self.database, cursor, count)
            wanted = self._ours(keys)
            await self.comparison.turn(len(wanted))
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
        ignore = self.comparison.options.ignore
        return [key for key in keys if not key.startswith(ignore)] if ignore else keys

    async def _compare(self, keys: Sequence[bytes]) -> None:
        if keys:
            differ = await self.comparison.lasting(lambda: self.check(self.database, keys))
            self.comparison.suspect(self.numbered, differ)

    async def _moved_slots(self) -> None:
        """Slots that changed owners during the walk are walked again by name: a scan may have passed before their keys came."""
        for _ in range(TRIES):
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
                for at in range(0, len(keys), self.comparison.options.batch_keys):
                    piece = keys[at : at + self.comparison.options.batch_keys]
                    await self.comparison.turn(len(piece))
                    await self._compare(piece)
                self._walked[slot] = now[slot]


async def _drop(pending: deque[tuple[int, int, asyncio.Task[None]]]) -> None:
    """Give up batches that are under way: the lane's cursor stands before them."""
    tasks = [task for _, _, task in pending]
    pending.clear()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
