"""The comparison: every key of the first side against the second, every key of the second looked for on the first, and what
differed looked at again until it settles. Goes on from a report that was written down."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from holdfast.compare.check import Checker
from holdfast.compare.latency import LatencyProbe
from holdfast.compare.options import Options
from holdfast.compare.report import Found, Report
from holdfast.compare.settle import Fate, Suspect, restless, suspect, weigh
from holdfast.compare.side import Side
from holdfast.compare.throttle import Throttle
from holdfast.compare.walk import Walk
from holdfast.engine.connection import NodeGone, NodeSilent
from holdfast.errors import Refused

Done = TypeVar("Done")
PACE_EVERY_S = 0.1
SETTLE_EVERY_S = 0.05
SETTLE_AT_ONCE = 32
BURST_AFTER = 3
TRIES = 20
"""Of one batch, each after its side was mended."""


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
    _throttle: Throttle = field(init=False)

    async def run(self) -> Report:
        """Compare to the end.

        Returns: the report, complete.
        Raises: SideLost when a server stays away, CommandRefused or NodeDenied when a side may not be read, Refused when a
            database has no counterpart. `report` then still holds what is known.
        """
        began_s = time.monotonic() - self.report.took_s
        probe = LatencyProbe([shard.primary for shard in self.first.shards])
        probe.start()
        self._throttle = Throttle(self.options.pace, probe)
        now = time.monotonic()
        for database, key in self.report.suspects:
            self._suspects[database, key] = suspect(key, database, now, self.options.patience)
        keeper = asyncio.create_task(self._keep_pace(began_s))
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
        check: Callable[[int, list[bytes]], Awaitable[list[bytes]]],
        numbered: Mapping[int, int] | None = None,
    ) -> None:
        """All keys of one side. Args: `numbered`, the first side's number of each database, where that is another."""
        first_number = numbered or {each: each for each in databases}
        for database in databases:
            walk = Walk(self, direction, side, database, first_number[database], check)
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
        await self._throttle.turn(keys)

    async def lasting(self, work: Callable[[], Awaitable[Done]]) -> Done:
        """Do it; after a lost connection mend both sides and do it again."""
        for attempt in range(TRIES):
            try:
                with self._throttle.busy():
                    return await work()
            except (NodeGone, NodeSilent) as broken:
                if attempt == TRIES - 1:
                    raise
                await self.first.mend(broken)
                await self.second.mend(broken)
        raise AssertionError("unreachable")

    async def _keep_pace(self, began_s: float) -> None:
        await self._throttle.open()
        while True:
            await asyncio.sleep(PACE_EVERY_S)
            await self._throttle.listen(self.report.keys + self.report.keys_back)
            self.report.slowed = self._throttle.pace.slowed
            self.report.took_s = time.monotonic() - began_s
            self.tell(self.report)
