"""A source's stream written into the target, behind its snapshot: batch after batch, checkpoints raised on the way.

What lies between a cell's checkpoint and an interruption is repeatable (see `keys.REPEATABLE`), and the whole of it is replayed;
whatever must not run twice runs in one transaction with the cell's checkpoint. The spool is trimmed only to a place that every
cell's checkpoint has passed and every connected replica of the target has acknowledged.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Self

from holdfast.engine.pipeline import pack
from holdfast.migrate.relay.serve import Way
from holdfast.migrate.write.alone import AloneRunner
from holdfast.migrate.write.batch import Batch, Batcher
from holdfast.migrate.write.checkpoint import Place
from holdfast.migrate.write.databases import Databases
from holdfast.migrate.write.history import (
    History,
    HistorySpool,
    Phase,
    Raised,
    Standing,
    WriterSettings,
    Written,
)
from holdfast.migrate.write.jobs import Past
from holdfast.migrate.write.load import SnapshotGone
from holdfast.migrate.write.marks import Checkpoints, cells_of
from holdfast.migrate.write.target import Target
from holdfast.migrate.write.units import Mark, name_of
from holdfast.topology.slots import Slots

READ_BYTES = 1 << 20
LARGEST_READ_BYTES = 1 << 30
COMMANDS_IN_CLUSTER = 8_000
COMMANDS_IN_ONE = 1_000
"""Of one transaction on a target outside a cluster: it holds the server for some milliseconds."""


@dataclass
class Tail:
    """The stream of one source on its way into a target that is connected; made anew with each connection."""

    history: History
    target: Target
    settings: WriterSettings
    standing: Standing
    written: Written
    batcher: Batcher
    marks: Checkpoints
    alone: AloneRunner

    @classmethod
    def into(
        cls,
        target: Target,
        history: History,
        settings: WriterSettings,
        standing: Standing,
        written: Written,
        *,
        holds_ttl: bool,
    ) -> Self:
        """Args: `holds_ttl`, times that are near are put off: the target would expire keys by itself."""
        count = target.keyspace.databases if target.keyspace and not target.cluster else 1
        databases = Databases(count, settings.databases, settings.marks.source)
        most = COMMANDS_IN_CLUSTER if target.cluster else COMMANDS_IN_ONE
        owned = standing.owned
        marks = Checkpoints(target, settings.marks, cells_of(target, owned))
        made = cls(
            history,
            target,
            settings,
            standing,
            written,
            Batcher(databases, target.cluster, owned, most, holds_ttl, standing.past),
            marks,
            AloneRunner(target, databases, marks, owned, settings.sole),
        )
        target.refused = made.refused
        return made

    def own(self, slots: Slots, past: Past) -> None:
        """See `Writer.own`."""
        self.standing.past = self.batcher.past = past
        self.standing.owned = self.batcher.owned = self.alone.owned = slots
        self.marks.cells = cells_of(self.target, slots)

    def acknowledged(self) -> None:
        """Every replica of the target has what is before the position."""
        standing = self.standing
        standing.raised = Raised(standing.position, time.monotonic(), standing.raised.read_at_s)
        self.history.heard(standing.position)

    def save_held(self) -> None:
        """Keep what the next process has to know of keys whose end was put off."""
        if self.settings.held_file is not None:
            self.standing.held.save(self.settings.held_file)

    async def follow(self) -> None:
        """Write what comes, until cancelled: while one batch is on its way, the next is made.

        Raises: TargetBroke, CheckpointLost, SnapshotGone when the history is not what was followed, and as `Writer.run`.
        """
        standing, spool = self.standing, self.history.spool
        standing.phase = Phase.TAIL
        writing: asyncio.Future[None] | None = None
        at, database, length = standing.position, standing.database, READ_BYTES
        try:
            while True:
                if spool.replid != standing.replid:
                    await _done(writing)
                    writing = None
                    if self.history.way(standing.replid, standing.position) is not Way.CONTINUE:
                        raise SnapshotGone
                    standing.replid = spool.replid
                    standing.raised.offset, standing.raised.hurry = (
                        -1,
                        True,
                    )  # the checkpoints are to name it soon
                seen = spool.end
                data = _read(spool, at, length)
                batch = self.batcher.make(data, at, database, standing.applied, now_ms()) if data else None
                if batch is None or (batch.end == at and batch.alone is None):
                    await _done(writing)
                    writing = None
                    if batch is not None and await self._claimed(batch):
                        continue
                    if data and len(data) == length < LARGEST_READ_BYTES:
                        length *= 4  # a command longer than what was read
                        continue
                    if not await self._raise_when_due(idle=True) and spool.end == seen:
                        await self.history.grown()  # what came meanwhile has woken nobody
                    continue
                length = READ_BYTES
                standing.raised.read_at_s = time.monotonic()
                await _done(writing)
                writing = asyncio.ensure_future(self._write(batch))
                at, database = batch.end, batch.database
                if batch.alone is not None:
                    await writing
                    writing = None
                    await self.alone.run(batch.alone, standing.applied, standing.replid)
                    self.written.commands += 1
                    at = standing.position = batch.alone.offset
                    await self._raise()
                elif standing.raised.due(time.monotonic(), idle=False):
                    await writing
                    writing = None
                    await self._raise_when_due(idle=False)
        finally:
            if writing is not None:
                writing.cancel()
                await asyncio.gather(writing, return_exceptions=True)

    async def _claimed(self, batch: Batch) -> bool:
        """Wait until slots that another shard had are ours to write; false when it is not that which ends the batch.

        Raises: SlotMovedAtSource.
        """
        standing = self.standing
        slots = batch.job.slots if batch.job is not None else frozenset({batch.foreign} - {-1})
        standing.waits_for = slots
        try:
            if batch.job is not None:
                standing.past = self.batcher.past = await self.settings.claims.job(batch.job)
            elif slots:
                await self.settings.claims.slot(batch.foreign)
        finally:
            standing.waits_for = frozenset()
        return batch.job is not None or bool(slots)

    async def _write(self, batch: Batch) -> None:
        """Have a batch done; `position` is then behind it."""
        standing = self.standing
        value = Place(standing.replid, batch.end, batch.database).to_bytes()
        keys = self.marks

        def mark_of(cell: int) -> Mark:
            return Mark(keys.key(cell), value)

        units = [unit for unit in batch.units.values() if unit.commands]
        if not self.target.cluster:
            for unit in units:
                unit.commands.append(_HOME)
        await self.target.write(units, mark_of, keys.expected)
        for unit in units:
            if unit.marked:
                keys.expected[unit.cell] = value
        self.written.commands += batch.commands
        standing.held.add(batch.held)
        for why in batch.lost:
            self.written.lost[why] = self.written.lost.get(why, 0) + 1
        standing.position, standing.database = batch.end, batch.database
        if standing.applied and batch.end >= max(standing.applied.values()):
            standing.applied = {}

    async def _raise_when_due(self, *, idle: bool) -> bool:
        """Raise the checkpoints and acknowledge, when it is time; whether anything was done."""
        standing = self.standing
        if idle and self.batcher.holds_ttl:
            await standing.held.let_go(self.target, self.batcher.databases)
        if standing.quiet or standing.position == standing.raised.offset:
            return False
        if not standing.raised.due(time.monotonic(), idle=idle):
            return False
        await self._raise()
        return True

    async def _raise(self) -> None:
        """Every cell's checkpoint to where the stream is; then, if the replicas have it, the spool may forget what is before."""
        standing = self.standing
        if standing.applied:
            return  # some cells are ahead: theirs must not go back
        standing.raising = True
        self.save_held()
        try:
            await self.marks.set_all(Place(standing.replid, standing.position, standing.database))
            standing.raised.at_s = time.monotonic()
            if await self.target.replicated():
                self.acknowledged()
        finally:
            standing.raising = False

    def refused(self, command: bytes, words: str) -> None:
        """The target refused a command for good: counted, but for one that may have run before."""
        standing = self.standing
        if 0 <= standing.position < standing.repeats_until:
            return
        what = f"{name_of(command)}: {words[:120]}"
        self.written.refused[what] = self.written.refused.get(what, 0) + 1


_HOME = pack("SELECT", 0)


def now_ms() -> int:
    """Unix time."""
    return int(time.time() * 1000)


async def _done(writing: Awaitable[None] | None) -> None:
    if writing is not None:
        await writing


def _read(spool: HistorySpool, at: int, length: int) -> bytes:
    try:
        return spool.read(at, length)
    except KeyError:
        raise SnapshotGone from None
