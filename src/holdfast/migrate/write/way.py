"""One shard's way from the end that is read into the end that is written: a relay that takes, a writer that gives."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from holdfast.migrate.relay.relay import Relay
from holdfast.migrate.relay.terms import Phase
from holdfast.migrate.write.history import Phase as WriterPhase
from holdfast.migrate.write.marks import Checkpoints, cells_of
from holdfast.migrate.write.target import Target
from holdfast.migrate.write.writer import Writer

LOOK_EVERY_S = 0.002
LAG_SAMPLES = 4096


@dataclass
class Way:
    """One source shard's way into the target."""

    relay: Relay
    writer: Writer
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _ends: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=LAG_SAMPLES))
    """When the stream's end was first seen where."""

    def take(self) -> None:
        """Have the relay fill the spool."""
        self.tasks.append(asyncio.create_task(self.relay.run()))

    def give(self) -> None:
        """Have the writer write what is spooled."""
        self.tasks.append(asyncio.create_task(self.writer.run()))

    def failure(self) -> BaseException | None:
        """What ended it, if anything did."""
        for task in self.tasks:
            if task.done() and not task.cancelled() and (failed := task.exception()) is not None:
                return failed
        return None

    @property
    def in_tail(self) -> bool:
        """Whether the snapshot is in the target and the stream is followed on both sides."""
        return self.relay.phase is Phase.TAIL and self.writer.phase is WriterPhase.TAIL

    @property
    def lag_bytes(self) -> int:
        """What has been taken and is not in the target yet."""
        return max(0, self.relay.spool.end - max(self.writer.position, self.relay.spool.base))

    def lag_s(self, now_s: float) -> float:
        """For how long the oldest of that has been waiting; to be asked often, for ends are sampled when it is."""
        end, position = self.relay.spool.end, self.writer.position
        if not self._ends or self._ends[-1][1] != end:
            self._ends.append((now_s, end))
        while self._ends and self._ends[0][1] <= position:
            self._ends.popleft()
        return now_s - self._ends[0][0] if self._ends and position >= 0 else 0.0

    def has(self, offset: int) -> bool:
        """Whether everything of the stream before `offset` is in the target."""
        return self.relay.spool.end >= offset and self.writer.position >= offset

    async def rest(self) -> None:
        """Stop, and let go of the files."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.tasks = []
        self.relay.spool.close()


def checkpoints_of(way: Way, target: Target) -> Checkpoints:
    """A way's marks, over a connection of one's own."""
    return Checkpoints(target, way.writer.settings.marks, cells_of(target, way.writer.standing.owned))


async def reached(ways: Sequence[Way], offsets: Sequence[int], bound_s: float) -> bool:
    """Wait until all have what their shards had written by then; false when they have not in time. Raises: what ended a way."""
    try:
        async with asyncio.timeout(bound_s):
            while not all(way.has(offset) for way, offset in zip(ways, offsets, strict=True)):
                for way in ways:
                    if (failure := way.failure()) is not None:
                        raise failure
                await asyncio.sleep(LOOK_EVERY_S)
            return True
    except TimeoutError:
        return False
