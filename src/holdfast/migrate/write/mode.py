"""The mode `write` as the job sees it: a way for each shard of the end that is primary, into the end that follows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from holdfast.engine.pipeline import pack
from holdfast.errors import HoldfastError
from holdfast.jobs.folder import JobFolder
from holdfast.migrate.ends import Side
from holdfast.migrate.journal import Switch
from holdfast.migrate.observe import see_end
from holdfast.migrate.settings import Book, give_back
from holdfast.migrate.write.checkpoint import PREFIX
from holdfast.migrate.write.errors import (
    RestartedIncomplete,
    SlotMovedAtSource,
    SlotsOnTheMove,
    TargetStuck,
)
from holdfast.migrate.write.fence import Fence
from holdfast.migrate.write.importing import leave
from holdfast.migrate.write.kept import Kept
from holdfast.migrate.write.marks import Checkpoints
from holdfast.migrate.write.moves import Moves, slots_on_the_move
from holdfast.migrate.write.progress import Pace, glance_of, losses_of
from holdfast.migrate.write.switch import WriteSwitch
from holdfast.migrate.write.target import Target
from holdfast.migrate.write.way import Way, checkpoints_of
from holdfast.migrate.write.ways import Ways, marks_of
from holdfast.migrate.write.whole import ClaimsOfWay

LOOK_EVERY_S = 0.5
ENDS_EVERY_S = 5.0
TIMES_ANEW = 3
"""How often everything is copied again because slots of the source were moved."""


class WriteMode:
    """A `Mover` (see holdfast.migrate.mode)."""

    def __init__(self, folder: JobFolder, book: Book, secrets: dict[str, Any]) -> None:
        self.folder = folder
        self.book = book
        self.kept = Kept(folder, book, secrets)
        self.ways: list[Way] = []
        """Towards the end that follows."""
        self.trouble = ""
        self.turn = asyncio.Lock()
        """Held by whoever changes the ways: the tending, or a switch."""
        self._keys_total = 0
        self._pace = Pace()
        self._looked_at_s = 0.0
        self._anew = ""
        """Why everything is to be copied again; empty when it is not."""
        self._times_anew = 0

    async def keep(self) -> None:
        """Carry until cancelled. Raises: what makes going on useless, as `Relay.run` and `Writer.run`."""
        while True:
            async with self.turn:
                await self.tend()
            await asyncio.sleep(LOOK_EVERY_S)

    async def tend(self) -> None:
        """See to it that the end that follows does so. Raises: as `keep`."""
        journal = self.book.journal
        if journal.switch is not None:
            return  # it was cut off, and will be gone on with
        try:
            if not self.ways and not journal.way_back:
                await self.begin()
            if time.monotonic() - self._looked_at_s > ENDS_EVERY_S:
                self._looked_at_s = time.monotonic()
                await self._map()
                await self._fences()
            self.trouble = ""
        except HoldfastError as failed:
            if str(failed) != self.trouble:
                self.folder.tell(str(failed))
            self.trouble = str(failed)
        self._account()
        failure = next((each for way in self.ways if (each := way.failure()) is not None), None)
        if failure is not None:
            await self._failed(failure)

    async def begin(self) -> None:
        """Make the ways to the end that follows, and have them run. Raises: NodeGone and others of the connections."""
        to = self.book.journal.follower
        if self.kept.notes.own_keys != (PREFIX.decode(),):
            self.kept.note(replace(self.kept.notes, own_keys=(PREFIX.decode(),)))
        making = Ways(self.kept, to, partial(ClaimsOfWay, self.moves(to)))
        first = not self.kept.notes.read.get(to.other)
        if (first or self._anew) and await slots_on_the_move(self.book.journal.end(to.other)):
            raise SlotsOnTheMove(self.book.journal.end(to.other).label)
        ways = await making.make()
        for way in ways if self._anew else ():
            way.relay.start_over(self._anew)
        self._anew = ""
        try:
            if self.kept.notes.unmarked is to:
                await making.mark(ways)
        except BaseException:
            for way in ways:
                await way.rest()
            raise
        for way in ways:
            way.take()
            way.give()
        self.ways = ways
        seen = await see_end(self.book.journal.end(to.other))
        self._keys_total = sum(each.keys for each in seen.primaries)

    def moves(self, to: Side) -> Moves:
        """Slots that move at the end that is read."""
        return Moves(self.kept, to, lambda: self.ways)

    async def _failed(self, failure: BaseException) -> None:
        """A way has come to its end: the migration's, or the way back's. Raises: it, where that is the migration's."""
        ways = list(self.ways)
        await self.rest()
        if self.book.journal.primary is Side.SOURCE:
            if isinstance(failure, SlotMovedAtSource | RestartedIncomplete) and self._times_anew < TIMES_ANEW:
                await self._start_anew(ways, failure)
                return
            raise failure
        if isinstance(failure, TargetStuck):  # the old source may come back: its stream waits in the spool
            self.folder.tell(str(failure))
            return
        self.book.write(way_back=str(failure))
        self.folder.tell(f"the way back is closed: {failure}")

    async def _start_anew(self, ways: Sequence[Way], failure: BaseException) -> None:
        """What the target has cannot be gone on from: everything is copied again, once no slots move."""
        self._times_anew += 1
        self._anew = str(failure)
        for way in ways:
            target = Target(way.writer.target.seeds)
            try:
                await target.reconnect()
                await checkpoints_of(way, target).remove()
            finally:
                target.close()
            way.relay.spool.clear()
        self.kept.note(self.kept.notes.with_read(Side.SOURCE, ()))

    async def _map(self) -> None:
        """See that the end that is read has no shard that nobody reads. Raises: SlotMovedAtSource."""
        making = Ways(self.kept, self.book.journal.follower)
        keyspace = await making.keyspace(self.book.journal.primary)
        if self.ways and (strange := making.not_read(keyspace)):
            await self._failed(SlotMovedAtSource(-1, strange))
        elif self.ways:
            await self.moves(self.book.journal.follower).settle()

    async def _fences(self) -> None:
        """Servers that came up after the fence was put up are fenced, and those that were away when it was taken down freed."""
        notes = self.kept.notes
        follower = self.book.journal.follower
        if follower in notes.fences:
            try:
                await Fence(self.kept, follower).mend()
            except RestartedIncomplete as failure:
                await self._failed(failure)
                await Fence(self.kept, follower).put_up()  # and its run of now is known
        if follower.other in notes.fences:
            await Fence(self.kept, follower.other).take_down()

    async def switch(self, to: Side, bound_ms: int, hook: str) -> Switch:
        """Make `to` the primary end (see `Mover`)."""
        async with self.turn:
            return await WriteSwitch(self, bound_ms, hook).run(to)

    async def rest(self) -> None:
        """Stop every way; what is spooled stays."""
        ways, self.ways = self.ways, []
        for way in ways:
            await way.rest()

    async def close(self, *, forget: bool = False) -> None:
        """Carry no more. Args: `forget`, delete what is spooled."""
        ways = list(self.ways)
        await self.rest()
        if forget:
            for way in ways:
                way.relay.spool.clear()
            for folder in self.folder.path.glob("spool-*"):
                for file in folder.iterdir():
                    file.unlink(missing_ok=True)

    async def let_go(self) -> tuple[str, ...]:
        """Leave the target by itself, and the source as it was; what could not be."""
        await self.rest()
        said = [*await self._clean(Side.TARGET)]
        if self.kept.notes.users:  # it has been switched there and back
            said += await self._clean(Side.SOURCE)
        for side in (Side.TARGET, Side.SOURCE):
            if side in self.kept.notes.fences:
                said += await Fence(self.kept, side).take_down()
            said += await Fence(self.kept, side).remove_user()
        return (*said, *await give_back(self.book))

    async def finish(self) -> tuple[str, ...]:
        """End the way back and clean up both ends. The old source stays fenced: its data is of the past from now on."""
        await self.rest()
        said = [*await self._clean(Side.TARGET), *await self._clean(Side.SOURCE)]
        if Side.TARGET in self.kept.notes.fences:
            said += await Fence(self.kept, Side.TARGET).take_down()
        for side in (Side.TARGET, Side.SOURCE):
            said += await Fence(self.kept, side).remove_user()
        return (*said, *await give_back(self.book))

    async def _clean(self, side: Side) -> tuple[str, ...]:
        """Take what is our own out of an end, and end its import-mode; what could not be."""
        read = self.kept.notes.read.get(side.other, ())
        end = self.kept.writable(side)
        seeds = tuple(end.endpoint(address) for address in end.servers)
        said: list[str] = []
        target = Target(seeds, patience_s=10.0)
        try:
            await target.reconnect()
            for number in range(len(read)):
                checkpoints = Checkpoints(target, marks_of(self.kept, side, number), tuple(target.cells))
                await checkpoints.remove()
                begun = [
                    (cell, pack("DEL", checkpoints.marks.begun(checkpoints.tag(cell))))
                    for cell in target.cells
                ]
                await target.ask_each(begun)
        except HoldfastError as failed:
            said.append(f"keys that begin with {PREFIX.decode()} were left in the {side.value}: {failed}")
        finally:
            target.close()
        return (*said, *await leave(seeds))

    def _account(self) -> None:
        """Write down what must not be forgotten."""
        journal = self.book.journal
        reasons = [reason for way in self.ways for reason in way.relay.counts.reasons]
        if reasons:
            self.book.write(full_syncs=(*journal.full_syncs, *reasons))
            for way in self.ways:
                way.relay.counts.reasons = []
        losses = losses_of(self.ways)
        new = {what: count for what, count in losses.items() if count > journal.losses.get(what, 0)}
        if new:
            self.book.write(losses={**self.book.journal.losses, **new})

    def glance(self) -> dict[str, Any]:
        """How far it is, for progress.json."""
        if not self.ways:
            return {"phase": "connecting", "trouble": self.trouble}
        return glance_of(self.ways, self.book.journal, self.trouble, self._keys_total, self._pace)
