"""One source's history written into the target, exactly once: its snapshot, then its stream (`tail`), from the spool that a relay fills.

Why once: a cell's commands reach it in the stream's order; whatever must not run twice runs in one transaction with the cell's
checkpoint; and after any interruption the stream is replayed from the oldest checkpoint, each cell leaving out what its own
checkpoint counts. A snapshot that was interrupted is written again, whole: to write a key of it twice changes nothing.
"""

from __future__ import annotations

import asyncio
import time

from holdfast.engine.connection import NodeGone, NodeSilent
from holdfast.migrate.relay.serve import Way
from holdfast.migrate.write.checkpoint import Place
from holdfast.migrate.write.clean import remove_keys
from holdfast.migrate.write.errors import CheckpointLost, TargetStuck
from holdfast.migrate.write.held import HeldKeys
from holdfast.migrate.write.history import History, Phase, Standing, WriterSettings, Written
from holdfast.migrate.write.importing import enter
from holdfast.migrate.write.jobs import Past
from holdfast.migrate.write.load import Loaded, Loader, SnapshotGone
from holdfast.migrate.write.marks import Checkpoints
from holdfast.migrate.write.tail import Tail, now_ms
from holdfast.migrate.write.target import Target, TargetBroke
from holdfast.topology.slots import Slots

LASTING_S = 5.0
"""What broke after so long is connected again at once; sooner, after a moment that grows."""


class Writer:
    """One source's way into the target. `run` until cancelled; killed and made again, it goes on from the checkpoints."""

    def __init__(self, history: History, target: Target, settings: WriterSettings) -> None:
        self.history = history
        self.target = target
        self.settings = settings
        self.written = Written()
        self.loaded = Loaded()
        self.standing = Standing(owned=settings.owned, past=settings.past)
        if settings.held_file is not None:
            self.standing.held = HeldKeys.restored(settings.held_file)
        self._stream: Tail
        self._in_doubt = False
        """Whether a checkpoint was lost: those that are left say nothing."""

    @property
    def phase(self) -> Phase:
        return self.standing.phase

    @property
    def position(self) -> int:
        """Offset up to which everything is in the target; -1 before the snapshot is."""
        return self.standing.position

    async def run(self) -> None:
        """Write until cancelled.

        Raises: TargetStuck, SlotMovedAtSource, DatabaseNotMapped, errors of the data's form.
        """
        pause_s = 0.0
        try:
            while True:
                began_s = time.monotonic()
                try:
                    await self._connect()
                    await self._carry()
                except (TargetBroke, NodeGone, NodeSilent) as broke:
                    copying = self.phase in {Phase.REMOVING, Phase.LOADING}
                    then = "the copy is begun again" if copying else "its checkpoints are read again"
                    self.settings.tell(f"{broke}; {then}")
                    self.written.repeated += 1
                lasted_s = time.monotonic() - began_s
                pause_s = 0.0 if lasted_s > LASTING_S else min(1.0, pause_s * 2 + 0.02)
                await asyncio.sleep(pause_s)
        finally:
            self.standing.phase = Phase.STOPPED
            self.target.close()

    async def _carry(self) -> None:
        """Write over the connections that there are, until they break. Raises: TargetBroke, and as `run`."""
        while True:
            try:
                if self._in_doubt:  # so that nothing can be taken for known that is not
                    await self._marks.remove()
                    self._in_doubt = False
                if not await self._resumed():
                    await self._load()
                await self._stream.follow()
            except CheckpointLost as lost:
                self.settings.tell(str(lost))
                self.history.start_over(str(lost))
                self._in_doubt = True
            except SnapshotGone:
                continue

    async def settle(self, bound_s: float = 30.0) -> int:
        """Have all that the spool holds now written and acknowledged; the offset that is. Raises: TargetStuck after the bound."""
        wanted, standing = self.history.spool.end, self.standing
        end = time.monotonic() + bound_s
        while standing.raised.offset < wanted or standing.phase is not Phase.TAIL:
            standing.raised.hurry = True
            if time.monotonic() > end:
                raise TargetStuck(
                    str(self.target.seeds[0]), bound_s, f"it is at {standing.raised.offset} of {wanted}"
                )
            await asyncio.sleep(0.005)
        return standing.raised.offset

    def own(self, slots: Slots, past: Past) -> None:
        """Write these slots of the stream from here on: some were given away, or came. Args: `past`, what is not written again."""
        self._stream.own(slots, past)

    async def mark(self, slots: Slots, place: Place) -> None:
        """Write the checkpoints of slots that are about to come. Raises: TargetBroke, CheckpointLost."""
        if self.target.cluster:
            await self._marks.set_all(place, fresh=True, cells=tuple(slots))

    async def let_go_of_ttls(self) -> None:
        """Every key gets its own end: nothing of the source follows. Raises: TargetBroke."""
        if self._stream.batcher.holds_ttl:
            await self.standing.held.let_go(self.target, self._stream.batcher.databases, every=True)

    @property
    def _marks(self) -> Checkpoints:
        return self._stream.marks

    async def _connect(self) -> None:
        self.standing.phase = Phase.CONNECTING
        self.target.importing = False
        await self.target.reconnect()
        holds_ttl = not await enter(self.target)
        self._stream = Tail.into(
            self.target, self.history, self.settings, self.standing, self.written, holds_ttl=holds_ttl
        )

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
            self.standing.phase = Phase.WAITING
            await self.history.grown()
        standing = self.standing
        standing.replid = self.history.spool.replid
        standing.position, standing.database = oldest.offset, oldest.database
        standing.applied = {
            cell: place.offset for cell, place in places.items() if place and place.offset > oldest.offset
        }
        standing.raised.offset = oldest.offset
        standing.repeats_until = self.history.spool.end
        return True

    async def _load(self) -> None:
        """Write the snapshot, whole, then the first checkpoints."""
        standing, stream = self.standing, self._stream
        standing.phase = Phase.WAITING
        standing.position = standing.raised.offset = -1
        spool = self.history.spool
        while not spool.has_rdb:
            if spool.replid:
                self.history.start_over("the target has no checkpoints to go on from")
            await self.history.grown()
        replid, base = spool.replid, spool.base

        def still() -> bool:
            return bool(spool.has_rdb and (spool.replid, spool.base) == (replid, base))

        first = stream.marks.cells[0]
        begun = self.settings.marks.begun(stream.marks.tag(first))
        been = await self.target.ask_cell(first, "EXISTS", begun, stream.marks.key(first))
        await stream.marks.remove()
        await self.target.ask_cell(first, "SET", begun, replid)
        await self._until_replicated()  # whoever is promoted in mid-copy has to know of it
        if been:
            standing.phase = Phase.REMOVING
            for database in stream.batcher.databases.all():
                self.written.removed += await remove_keys(self.target, database, standing.owned)
        standing.phase = Phase.LOADING
        self.written.loads += 1
        loader = Loader(self.target, stream.batcher.databases, standing.owned, self.history.grown)
        loader.now_ms = now_ms() if stream.batcher.holds_ttl else 0
        self.loaded = loader.done
        self.settings.claims.anew()
        standing.past = stream.batcher.past = Past()
        standing.held = HeldKeys()
        await loader.load(spool, still)
        standing.held.add_snapshot(loader.done.held)
        stream.save_held()
        place = Place(replid, base, self.loaded.database)
        await self._until_replicated()
        await stream.marks.set_all(place, fresh=True)
        await self._until_replicated()
        if not still():
            await stream.marks.remove()
            raise SnapshotGone
        standing.replid, standing.position, standing.database = replid, base, place.database
        standing.applied = {}
        stream.acknowledged()

    async def _until_replicated(self) -> None:
        """Wait until the target's replicas have what was written. Raises: TargetBroke, TargetStuck."""
        end = time.monotonic() + self.target.patience_s
        while not await self.target.replicated():
            if time.monotonic() > end:
                raise TargetStuck(
                    str(self.target.seeds[0]), self.target.patience_s, "its replicas do not acknowledge"
                )
