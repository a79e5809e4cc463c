"""One source's history written into the target, exactly once: its snapshot, then its stream, from the spool that a relay fills.

Why once: a cell's commands reach it in the stream's order; whatever must not run twice runs in one transaction with the cell's
checkpoint; and after any interruption the stream is replayed from the oldest checkpoint, each cell leaving out what its own
checkpoint counts. What lies between a cell's checkpoint and the interruption is repeatable (see `keys.REPEATABLE`), and the
whole of it is replayed. The spool is trimmed only to a place that every cell's checkpoint has passed and every connected
replica of the target has acknowledged.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable

from holdfast.engine.connection import NodeGone, NodeSilent
from holdfast.engine.pipeline import pack
from holdfast.migrate.relay.serve import Way
from holdfast.migrate.write.alone import AloneRunner
from holdfast.migrate.write.batch import Batch, Batcher
from holdfast.migrate.write.checkpoint import Place
from holdfast.migrate.write.clean import remove_keys
from holdfast.migrate.write.databases import Databases
from holdfast.migrate.write.errors import CheckpointLost, TargetStuck
from holdfast.migrate.write.held import HeldKeys
from holdfast.migrate.write.history import History, HistorySpool, Phase, Raised, WriterSettings, Written
from holdfast.migrate.write.importing import enter
from holdfast.migrate.write.jobs import Past
from holdfast.migrate.write.load import Loaded, Loader, SnapshotGone
from holdfast.migrate.write.marks import Checkpoints, cells_of
from holdfast.migrate.write.target import Target, TargetBroke
from holdfast.migrate.write.units import Mark, name_of

READ_BYTES = 1 << 20
LARGEST_READ_BYTES = 1 << 30
COMMANDS_IN_CLUSTER = 8_000
COMMANDS_IN_ONE = 1_000
"""Of one transaction on a target outside a cluster: it holds the server for some milliseconds."""


class Writer:
    """One source's way into the target. `run` until cancelled; killed and made again, it goes on from the checkpoints."""

    def __init__(self, history: History, target: Target, settings: WriterSettings) -> None:
        self.history = history
        self.target = target
        self.settings = settings
        self.phase = Phase.CONNECTING
        self.written = Written()
        self.loaded = Loaded()
        self.held = HeldKeys() if settings.held_file is None else HeldKeys.restored(settings.held_file)
        self.owned = settings.owned
        """The source shard's slots; None where it is not a cluster."""
        self.waits_for: frozenset[int] = frozenset()
        """Slots of another shard that the stream has come to, and that are not ours to write yet."""
        self.past = settings.past
        self.quiet = False
        """Whether checkpoints are left where they are: a switch is under way, and needs the time for the stream."""
        self.raising = False
        """Whether all checkpoints are being raised just now."""
        self.position = -1
        """Offset up to which everything is in the target; -1 before the snapshot is."""
        self._replid = ""
        self._database = 0
        self._raised = Raised()
        self._applied: dict[int, int] = {}
        self._repeats_until = 0
        """Up to here commands may have run before: refusals then say nothing."""
        self._marks: Checkpoints
        self._batcher: Batcher
        self._alone: AloneRunner
        target.refused = self._refused

    async def run(self) -> None:
        """Write until cancelled.

        Raises: TargetStuck, SlotMovedAtSource, DatabaseNotMapped, errors of the data's form.
        """
        try:
            await self._connect()
            while True:
                try:
                    if not await self._resumed():
                        await self._load()
                    await self._tail()
                except (TargetBroke, NodeGone, NodeSilent) as broke:
                    self.settings.tell(str(broke))
                    self.written.repeated += 1
                    await self._connect()
                except CheckpointLost as lost:
                    self.settings.tell(str(lost))
                    self.history.start_over(str(lost))
                    await self._forget()
                except SnapshotGone:
                    continue
        finally:
            self.phase = Phase.STOPPED
            self.target.close()

    async def settle(self, bound_s: float = 30.0) -> int:
        """Have all that the spool holds now written and acknowledged; the offset that is. Raises: TargetStuck after the bound."""
        wanted = self.history.spool.end
        end = time.monotonic() + bound_s
        while self._raised.offset < wanted or self.phase is not Phase.TAIL:
            self._raised.hurry = True
            if time.monotonic() > end:
                raise TargetStuck(
                    str(self.target.seeds[0]), bound_s, f"it is at {self._raised.offset} of {wanted}"
                )
            await asyncio.sleep(0.005)
        return self._raised.offset

    @property
    def database(self) -> int:
        """The source's, selected at `position`."""
        return self._database

    def own(self, slots: frozenset[int], past: Past) -> None:
        """Write these slots of the stream from here on: some were given away, or came. Args: `past`, what is not written again."""
        self.past = self._batcher.past = past
        self.owned = self._batcher.owned = self._alone.owned = slots
        self._marks.cells = cells_of(self.target, slots)

    async def mark(self, slots: frozenset[int], place: Place) -> None:
        """Write the checkpoints of slots that are about to come. Raises: TargetBroke, CheckpointLost."""
        if self.target.cluster:
            await self._marks.set_all(place, fresh=True, cells=tuple(slots))

    async def let_go_of_ttls(self) -> None:
        """Every key gets its own end: nothing of the source follows. Raises: TargetBroke."""
        if self._batcher.holds_ttl:
            await self.held.let_go(self.target, self._batcher.databases, every=True)

    async def _connect(self) -> None:
        self.phase = Phase.CONNECTING
        self.target.importing = False
        await self.target.reconnect()
        holds_ttl = not await enter(self.target)
        target, settings = self.target, self.settings
        count = target.keyspace.databases if target.keyspace and not target.cluster else 1
        databases = Databases(count, settings.databases, settings.marks.source)
        most = COMMANDS_IN_CLUSTER if target.cluster else COMMANDS_IN_ONE
        self._batcher = Batcher(databases, target.cluster, self.owned, most, holds_ttl, self.past)
        self._marks = Checkpoints(target, settings.marks, cells_of(target, self.owned))
        self._alone = AloneRunner(target, databases, self._marks, self.owned, settings.sole)

    async def _forget(self) -> None:
        """Take the checkpoints away, so that nothing can be taken for known that is not."""
        try:
            await self._marks.remove()
        except TargetBroke:
            await self._connect()
            await self._marks.remove()

    async def _resumed(self) -> bool:
        """Whether the stream can be gone on with from the target's own checkpoints."""
        while True:
            places = await self._marks.read()
            if any(place is None for place in places.values()):
                return False
            known = [place for place in places.values() if place is not None]
            oldest = min(known, key=lambda place: place.offset)
            ways = {self.history.way(replid, oldest.offset) for replid in {place.replid for place in known}}
            if ways == {Way.CONTINUE}:
                break
            if Way.WAIT not in ways:
                return False
            self.phase = Phase.WAITING
            await self.history.grown()
        self._replid = self.history.spool.replid
        self.position, self._database = oldest.offset, oldest.database
        self._applied = {
            cell: place.offset
            for cell, place in places.items()
            if place is not None and place.offset > self.position
        }
        self._raised.offset = self.position
        self._repeats_until = self.history.spool.end
        return True

    async def _load(self) -> None:
        """Write the snapshot, whole, then the first checkpoints."""
        self.phase = Phase.WAITING
        self.position = self._raised.offset = -1
        spool = self.history.spool
        while not spool.has_rdb:
            if spool.replid:
                self.history.start_over("the target has no checkpoints to go on from")
            await self.history.grown()
        replid, base = spool.replid, spool.base

        def still() -> bool:
            return bool(spool.has_rdb and (spool.replid, spool.base) == (replid, base))

        first = self._marks.cells[0]
        begun = self.settings.marks.begun(self._marks.tag(first))
        been = await self.target.ask_cell(first, "EXISTS", begun, self._marks.key(first))
        await self._marks.remove()
        await self.target.ask_cell(first, "SET", begun, replid)
        if been:
            self.phase = Phase.REMOVING
            for database in self._batcher.databases.all():
                self.written.removed += await remove_keys(self.target, database, self.owned)
        self.phase = Phase.LOADING
        self.written.loads += 1
        loader = Loader(self.target, self._batcher.databases, self.owned, self.history.grown)
        loader.now_ms = _now_ms() if self._batcher.holds_ttl else 0
        self.loaded = loader.done
        self.settings.claims.anew()
        self.past = self._batcher.past = Past()
        self.held = HeldKeys()
        await loader.load(spool, still)
        self.held.add_snapshot(loader.done.held)
        self._save_held()
        place = Place(replid, base, self.loaded.database)
        await self._until_replicated()
        await self._marks.set_all(place, fresh=True)
        await self._until_replicated()
        if not still():
            await self._marks.remove()
            raise SnapshotGone
        self._replid, self.position, self._database, self._applied = replid, base, place.database, {}
        self._acknowledged()

    async def _until_replicated(self) -> None:
        """Wait until the target's replicas have what was written. Raises: TargetBroke, TargetStuck."""
        end = time.monotonic() + self.target.patience_s
        while not await self.target.replicated():
            if time.monotonic() > end:
                raise TargetStuck(
                    str(self.target.seeds[0]), self.target.patience_s, "its replicas do not acknowledge"
                )

    def _acknowledged(self) -> None:
        self._raised = Raised(self.position, time.monotonic(), self._raised.read_at_s)
        self.history.heard(self.position)

    async def _tail(self) -> None:
        """Follow the stream: while one batch is on its way, the next is made."""
        self.phase = Phase.TAIL
        spool = self.history.spool
        writing: asyncio.Future[None] | None = None
        at, database, length = self.position, self._database, READ_BYTES
        try:
            while True:
                if spool.replid != self._replid:
                    await _done(writing)
                    writing = None
                    if self.history.way(self._replid, self.position) is not Way.CONTINUE:
                        raise SnapshotGone
                    self._replid = spool.replid
                    self._raised.offset, self._raised.hurry = -1, True  # the checkpoints are to name it soon
                seen = spool.end
                data = _read(spool, at, length)
                batch = self._batcher.make(data, at, database, self._applied, _now_ms()) if data else None
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
                self._raised.read_at_s = time.monotonic()
                await _done(writing)
                writing = asyncio.ensure_future(self._write(batch))
                at, database = batch.end, batch.database
                if batch.alone is not None:
                    await writing
                    writing = None
                    await self._alone.run(batch.alone, self._applied, self._replid)
                    self.written.commands += 1
                    at = self.position = batch.alone.offset
                    await self._raise()
                elif self._raised.due(time.monotonic(), idle=False):
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
        slots = batch.job.slots if batch.job is not None else frozenset({batch.foreign} - {-1})
        self.waits_for = slots
        try:
            if batch.job is not None:
                self.past = self._batcher.past = await self.settings.claims.job(batch.job)
            elif slots:
                await self.settings.claims.slot(batch.foreign)
        finally:
            self.waits_for = frozenset()
        return batch.job is not None or bool(slots)

    async def _write(self, batch: Batch) -> None:
        """Have a batch done; `position` is then behind it."""
        value = Place(self._replid, batch.end, batch.database).to_bytes()
        keys = self._marks

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
        self.held.add(batch.held)
        for why in batch.lost:
            self.written.lost[why] = self.written.lost.get(why, 0) + 1
        self.position, self._database = batch.end, batch.database
        if self._applied and batch.end >= max(self._applied.values()):
            self._applied = {}

    async def _raise_when_due(self, *, idle: bool) -> bool:
        """Raise the checkpoints and acknowledge, when it is time; whether anything was done."""
        if idle and self._batcher.holds_ttl:
            await self.held.let_go(self.target, self._batcher.databases)
        if self.quiet or self.position == self._raised.offset:
            return False
        if not self._raised.due(time.monotonic(), idle=idle):
            return False
        await self._raise()
        return True

    async def _raise(self) -> None:
        """Every cell's checkpoint to where the stream is; then, if the replicas have it, the spool may forget what is before."""
        if self._applied:
            return  # some cells are ahead: theirs must not go back
        self.raising = True
        self._save_held()
        try:
            await self._marks.set_all(Place(self._replid, self.position, self._database))
            self._raised.at_s = time.monotonic()
            if await self.target.replicated():
                self._acknowledged()
        finally:
            self.raising = False

    def _save_held(self) -> None:
        if self.settings.held_file is not None:
            self.held.save(self.settings.held_file)

    def _refused(self, command: bytes, words: str) -> None:
        if 0 <= self.position < self._repeats_until:
            return
        what = f"{name_of(command)}: {words[:120]}"
        self.written.refused[what] = self.written.refused.get(what, 0) + 1


_HOME = pack("SELECT", 0)


def _now_ms() -> int:
    return int(time.time() * 1000)


async def _done(writing: Awaitable[None] | None) -> None:
    if writing is not None:
        await writing


def _read(spool: HistorySpool, at: int, length: int) -> bytes:
    try:
        return spool.read(at, length)
    except KeyError:
        raise SnapshotGone from None
