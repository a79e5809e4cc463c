"""The switch of primaries in mode `write`: cutover, and the same the other way for a rollback.

Writes are held, everything that was written before is carried over, the old primaries are fenced for good by rights (their
roles stay), the fence is proved, what came meanwhile is carried over too, and the new end's streams are taken up where they
stand, before anybody but us has written to it. So the way back carries what the applications write, and nothing of what we
have written. Whatever goes wrong before the release is undone.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from holdfast.errors import HoldfastError
from holdfast.migrate.ends import Layout, Side
from holdfast.migrate.journal import Step, Switch
from holdfast.migrate.plan import TRIES_MAX
from holdfast.migrate.relay.terms import Phase
from holdfast.migrate.switching import NotReady, Switching, SwitchUndone
from holdfast.migrate.write.checkpoint import Place
from holdfast.migrate.write.fence import Fence
from holdfast.migrate.write.hands import MARGIN_MS, SAFETY_MS, Hands, arrange, cuts, quietly
from holdfast.migrate.write.importing import leave
from holdfast.migrate.write.moves import slots_on_the_move
from holdfast.migrate.write.way import Way, checkpoints_of, reached
from holdfast.migrate.write.ways import Ways
from holdfast.topology.shards import Keyspace

if TYPE_CHECKING:
    from holdfast.migrate.write.mode import WriteMode

READY_BOUND_S = 30.0
READY_LAG_BYTES = 4 << 20
CLOSE_BYTES = 32 << 10
CLOSE_BOUND_S = 3.0
BACK_BOUND_S = 5.0
LOOK_EVERY_S = 0.005


class WriteSwitch(Switching):
    """One switch, from wherever the journal says that it is.

    Args: `bound_ms`, how long writes may be held until all is carried over; `hook`, what runs afterwards, or nothing.
    """

    def __init__(self, mode: WriteMode, bound_ms: int, hook: str) -> None:
        super().__init__(mode.book, mode.folder.tell, hook)
        self._mode = mode
        self._kept = mode.kept
        self._bound_ms = bound_ms
        self._hands: Hands | None = None
        self._numbers: list[int] = []
        """Of the ways that read the old end's primaries."""
        self._back: list[Way] = []
        """The ways of the other direction; they take from the new end before it is released."""
        self._proofs: tuple[str, ...] = ()

    async def run(self, to: Side) -> Switch:
        """As `walk`."""
        try:
            return await self.walk(to)
        finally:
            for way in self._mode.ways:
                way.writer.standing.quiet = False
            for way in self._back:
                await way.rest()
            if self._hands is not None:
                await self._hands.close()

    @property
    def _old(self) -> Side:
        return self.switch.to.other

    async def do(self, step: Step) -> None:
        """One step (see `Switching`)."""
        match step:
            case Step.PREPARE:
                await self._prepare()
            case Step.HOLD:
                await (await self._at_hand()).hold(self._bound_ms)
            case Step.SETTLE:
                await self._carried_over(step)
            case Step.FENCE:
                await self._fence()
            case Step.PROVE:
                await self._prove()
            case Step.CHECK:
                await self._carried_over(step)
                await self._cut()
            case Step.PROMOTE:
                await self._promote()
            case Step.RELEASE:
                await self._release()
            case Step.ATTACH:
                await self._attach()
            case _:
                pass

    async def resumed(self) -> Step:
        """Where to go on after the process that had begun was cut off."""
        step, tries = self.switch.step, self.switch.tries
        self._proofs, self.words = self.switch.proofs, self.switch.words
        if step in {Step.FENCE, Step.PREPARE}:
            try:
                if step is Step.FENCE:
                    await self._ready()
                    await self._lag_is_small()
                    await self._open_back()
                else:
                    await quietly(await self._at_hand())
            except HoldfastError as failed:
                self.tell(f"what was begun of the switch is taken back: {failed}")
                step = Step.UNDO
        self.tell(f"the switch was cut off at '{self.switch.step.value}' and goes on at '{step.value}'")
        if step is Step.PREPARE and tries >= TRIES_MAX:
            raise NotReady(f"it was cut off {tries} times")
        return step

    # -- before anything is touched ------------------------------------------------------------------------------------

    async def _prepare(self) -> None:
        """All that can be done while writes still flow. Raises: NotReady."""
        self.note(tries=self.switch.tries + 1)
        try:
            new = await self._ready()
            await self._lag_is_small()
            await self._slots_at_rest()
            hands = await self._at_hand()
            first = new.shards[0].primary
            self.note(old=hands.old[0].seen.address, new=(first.host, first.port))
            await self._open_back()
            await hands.queue()
            await self._close_behind()
        except HoldfastError as failed:
            raise failed if isinstance(failed, NotReady) else NotReady(str(failed)) from failed

    async def _ready(self) -> Keyspace:
        """The ways are there, the new end keeps its streams, the old one has a user for the way back.

        Raises: NotReady, and the connection's errors.
        """
        await self._nobody_but_us()
        new = await Ways(self._kept, self.switch.to).keyspace(self.switch.to)
        await arrange(self._kept, self.switch.to, new.shards)
        if silent := await Fence(self._kept, self._old).prepare():
            self.tell(
                f"not fenced, for it does not answer: {'; '.join(silent)}; it is fenced when it comes back"
            )
        return new

    async def _nobody_but_us(self) -> None:
        """The end that follows takes our writes only: an application that is there too early would not be on the way back."""
        fence = Fence(self._kept, self.switch.to)
        held = [way.writer.standing.held for way in self._mode.ways]
        if self.switch.to not in self._kept.notes.fences:
            await fence.prepare()
            await self._mode.rest()  # they write as somebody who may not from now on
        else:
            await fence.mend()
        await fence.put_up()
        if not self._mode.ways:
            await self._mode.begin()
            for way, keys in zip(self._mode.ways, held, strict=False):
                way.writer.standing.held = keys

    async def _lag_is_small(self) -> None:
        end_s = time.monotonic() + READY_BOUND_S
        while not all(way.in_tail and way.lag_bytes < READY_LAG_BYTES for way in self._mode.ways):
            for way in self._mode.ways:
                if (failure := way.failure()) is not None:
                    raise failure
            if time.monotonic() > end_s:
                lag = sum(way.lag_bytes for way in self._mode.ways)
                phases = ", ".join(dict.fromkeys(way.writer.phase.value for way in self._mode.ways))
                raise NotReady(f"the other end is not in step ({phases}, {lag} bytes behind)")
            await asyncio.sleep(0.05)

    async def _close_behind(self) -> None:
        """Have as little as can be left to carry over when writes are held.

        To raise all checkpoints of a cluster takes a while, in which nothing is written: none is begun any more. A source
        that writes faster than can be caught up with is not waited for: what is left is carried over while writes are held.
        """
        for way in self._mode.ways:
            way.writer.standing.quiet = True
        for _ in range(int(CLOSE_BOUND_S / LOOK_EVERY_S)):
            if all(
                way.lag_bytes <= CLOSE_BYTES and not way.writer.standing.raising for way in self._mode.ways
            ):
                return
            await asyncio.sleep(LOOK_EVERY_S)

    async def _slots_at_rest(self) -> None:
        end_s = time.monotonic() + READY_BOUND_S
        making = Ways(self._kept, self.switch.to)
        ends = [self.book.journal.end(side) for side in Side]
        while not making.as_read(await making.keyspace(self._old)) or any(
            [await slots_on_the_move(each) for each in ends if each.layout is Layout.CLUSTER]
        ):
            if time.monotonic() > end_s:
                raise NotReady("slots of an end are on the move")
            await self._mode.moves(self.switch.to).settle()
            await asyncio.sleep(0.2)

    async def _at_hand(self) -> Hands:
        if self._hands is None:
            reading = Ways(self._kept, self.switch.to)
            keyspace = await reading.keyspace(self._old)
            self._numbers = reading.numbers(cluster=keyspace.cluster)
            shards = [reading.same(number, keyspace) for number in self._numbers]
            self._hands = await Hands.connect(self.book, self._old, shards, cluster=keyspace.cluster)
        return self._hands

    # -- while writes are held -----------------------------------------------------------------------------------------

    async def _carried_over(self, step: Step) -> None:
        """Wait until all that the old end has written is in the new one, on its replicas too. Raises: SwitchUndone."""
        hands = await self._at_hand()
        ways = [self._mode.ways[number] for number in self._numbers]
        began_s = time.monotonic()
        offsets = await hands.offsets()
        if not await reached(ways, offsets, self._bound_ms / 1000):
            missing = sum(
                max(0, offset - way.writer.position) for way, offset in zip(ways, offsets, strict=True)
            )
            raise SwitchUndone(step, f"after {self._bound_ms} ms {missing} bytes were not carried over yet")
        while not all(await asyncio.gather(*(way.writer.target.replicated() for way in ways))):
            if time.monotonic() - began_s > self._bound_ms / 1000:
                raise SwitchUndone(step, "the new end's replicas do not acknowledge")

    async def _fence(self) -> None:
        hands = await self._at_hand()
        if hands.held_ms > self._bound_ms + MARGIN_MS - SAFETY_MS:
            raise SwitchUndone(
                Step.FENCE, f"writes were held for {hands.held_ms:.0f} ms, and are about to go on"
            )
        self.words = "; ".join(dict.fromkeys(await Fence(self._kept, self._old).put_up()))
        if self.words:
            self.tell(f"the fence does not outlast a restart: {self.words}")

    async def _prove(self) -> None:
        """Behind the fence nothing needs to be held any more; and a pause would hold the proof's EXEC and script too."""
        hands, end = await self._at_hand(), self.book.journal.end(self._old)
        await hands.release()
        fenced = self._kept.notes.fences.get(self._old, {})
        users = sorted({user for users in fenced.values() for user in users})
        self._proofs = await hands.prove(users, by_trying=not end.cache)

    async def _cut(self) -> None:
        """Write no more, and note where the new end's streams stand: what comes behind is the applications'."""
        to, ways = self.switch.to, list(self._mode.ways)
        for way in ways:
            await way.writer.let_go_of_ttls()
        await self._mode.rest()
        for way in ways:
            await self._home(way)
        found = await cuts(await Ways(self._kept, self._old).keyspace(to))
        if len(found) != len(self._back) or not all(
            set(now.members) & set(then.members)
            for now, then in zip(found, self._kept.notes.read[to], strict=True)
        ):
            raise SwitchUndone(Step.CHECK, "the new end has other shards than a moment ago")
        for way, shard in zip(self._back, found, strict=True):
            way.relay.spool.begin_at(shard.replid, shard.offset)
        await self._take_back()
        notes = replace(self._kept.notes.with_read(to, found), unmarked=self._old)
        first = found[0]
        switch = replace(
            self.switch, step=Step.PROMOTE, offset=first.offset, replid=first.replid, proofs=self._proofs
        )
        self.book.write(more=notes.to_json(), switch=switch)

    async def _home(self, way: Way) -> None:
        """Have the last write before the cut be one in database 0: the streams behind it begin there."""
        target, spool = way.writer.target, way.relay.spool
        if target.cluster:
            return
        await target.connect()
        try:
            await checkpoints_of(way, target).set_all(Place(spool.replid, spool.end, spool.db), fresh=True)
        finally:
            target.close()

    async def _open_back(self) -> None:
        """Make the ways of the other direction, while writes still flow; they take nothing yet."""
        to, making = self.switch.to, Ways(self._kept, self._old)
        found = await cuts(await making.keyspace(to))
        self._kept.note(self._kept.notes.with_read(to, found))
        self._back = await making.make(from_disk=False)

    async def _take_back(self) -> None:
        """Have the ways of the other direction take from the new end. Raises: SwitchUndone when one cannot."""
        for way in self._back:
            way.take()
        end_s = time.monotonic() + BACK_BOUND_S
        while not all(way.relay.phase is Phase.TAIL and way.relay.counts.continued for way in self._back):
            if time.monotonic() > end_s or any(way.failure() for way in self._back):
                why = "; ".join(
                    dict.fromkeys(str(way.failure() or way.relay.trouble or "in time") for way in self._back)
                )
                raise SwitchUndone(Step.CHECK, f"the way back could not be opened: {why}")
            await asyncio.sleep(LOOK_EVERY_S)

    async def _promote(self) -> None:
        """The new end is by itself: it expires keys again."""
        if not self._back:  # begun by a process that was cut off
            self._back = await Ways(self._kept, self._old).make()
            await self._take_back()
        end = self._kept.writable(self.switch.to)
        seeds = tuple(end.endpoint(address) for address in end.servers)
        if left := await leave(seeds):
            raise SwitchUndone(Step.PROMOTE, "; ".join(left))

    # -- behind it -----------------------------------------------------------------------------------------------------

    async def _release(self) -> None:
        """The new end takes everybody's writes."""
        fence = Fence(self._kept, self.switch.to)
        if self.switch.to in self._kept.notes.fences and (left := await fence.take_down()):
            self.words = "; ".join(left)
            self.tell(f"what is left of the new primary's fence is taken down when it answers: {self.words}")
        hands = await self._at_hand()
        if hands.held_at_s:
            self.note(pause_ms=round(hands.held_ms, 2))
        await hands.release()

    async def _attach(self) -> None:
        """The old end follows."""
        await self._mode.rest()
        self.book.write(primary=self.switch.to, way_back="")
        for way in self._back:
            await way.rest()
        self._back = []
        await self._mode.begin()

    async def undo(self) -> bool:
        """Take everything back (see `Switching`): the fence first, for nobody but us has written to the new end yet."""
        for way in self._back:
            await way.rest()
        self._back = []
        await self._mode.rest()
        self._kept.note(replace(self._kept.notes, unmarked=None))
        if self._old in self._kept.notes.fences:
            await Fence(self._kept, self._old).take_down()
        hands = await self._at_hand()
        await hands.again()
        await hands.release()
        return True
