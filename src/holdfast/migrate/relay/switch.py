"""The switch of primaries in a migration by relay: cutover, and the same the other way for a rollback.

Writes are held, both sides brought to the same offset, the old primary fenced for good (it becomes a read-only replica at
our door, which answers nothing yet), the fence proved, the new one promoted, the held clients released to their refusal,
and the door opened with the new primary's stream, which the old one continues without a copy. Whatever goes wrong before
the promotion is undone; nothing is undone after it.
"""

from __future__ import annotations

import asyncio
import time

from holdfast.errors import HoldfastError
from holdfast.migrate import fences
from holdfast.migrate.ends import Side
from holdfast.migrate.journal import Step, Switch
from holdfast.migrate.plan import TRIES_MAX, SwitchSeen, go_on
from holdfast.migrate.relay.hands import Hands
from holdfast.migrate.relay.leg import Leg
from holdfast.migrate.relay.mover import RelayMover
from holdfast.migrate.relay.terms import Full
from holdfast.migrate.settings import calm_sentinels, give_back
from holdfast.migrate.switching import NotReady, Switching
from holdfast.topology.seen import Role

READY_BOUND_S = 30.0
READY_LAG_BYTES = 4 << 20


class RelaySwitch(Switching):
    """One switch, from wherever the journal says that it is.

    Args: `bound_ms`, how long writes may be held for the offsets to meet; `hook`, what runs afterwards, or nothing.
    """

    def __init__(self, mover: RelayMover, bound_ms: int, hook: str) -> None:
        super().__init__(mover.book, mover.tell, hook)
        self._mover = mover
        self._bound_ms = bound_ms
        self._hands: Hands | None = None
        self._proofs: tuple[str, ...] = ()

    async def run(self, to: Side) -> Switch:
        """As `walk`, with nobody else changing the ends meanwhile."""
        async with self._mover.turn:
            self._mover.switching = True
            try:
                return await self.walk(to)
            finally:
                self._mover.switching = False
                if self._hands is not None:
                    await self._hands.close()

    @property
    def _at_hand(self) -> Hands:
        assert self._hands is not None
        return self._hands

    async def do(self, step: Step) -> None:
        """One step (see `Switching`)."""
        match step:
            case Step.PREPARE:
                await self._prepare()
            case Step.HOLD:
                await self._at_hand.hold()
            case Step.SETTLE:
                await self._at_hand.equal(step)
            case Step.FENCE:
                self.words = await self._at_hand.fence()
                if self.words:
                    self._mover.tell(f"the fence does not outlast a restart: {self.words}")
            case Step.PROVE:
                self._proofs = await self._at_hand.prove()
            case Step.CHECK:
                hands = self._at_hand
                await hands.equal(step)
                self.note(step=Step.PROMOTE, offset=hands.offset, replid=hands.replid, proofs=self._proofs)
            case Step.PROMOTE:
                await self._at_hand.promote()
            case Step.RELEASE:
                await self._release()
            case Step.ATTACH:
                await self._attach()
            case _:
                pass

    # -- before anything is touched ------------------------------------------------------------------------------------

    async def _prepare(self) -> None:
        """All that can be done while writes still flow. Raises: NotReady."""
        self.note(tries=self.switch.tries + 1)
        to, mover = self.switch.to, self._mover
        try:
            await self._open_legs(to)
            there, back = mover.legs[to], mover.legs[to.other]
            await self._lag_is_small(there)
            old, new = await mover.head(to.other), await mover.head(to)
            if old.role is not Role.PRIMARY or new.primary != there.door:
                raise NotReady(
                    f"{old.title} is a {old.role.value}, {new.title} follows {new.primary or 'nobody'}"
                )
            self.note(old=old.address, new=new.address)
            back.spool.clear()
            self._hands = await Hands.connect(mover, to, old.address, new.address, self._bound_ms)
            await self._hands.arrange()
            if failed := await calm_sentinels(self.book, to.other):
                raise NotReady(
                    "a Sentinel that watches the old primary could not be told, and would promote one of its replicas: "
                    + "; ".join(failed)
                )
            await self._hands.queue()
        except HoldfastError as failed:
            await self._give_back()
            raise failed if isinstance(failed, NotReady) else NotReady(str(failed)) from failed

    async def _open_legs(self, to: Side) -> None:
        """Both ways, doors open; the way back answers nothing before it has a history."""
        for side in (to, to.other):
            await self._mover.make_leg(side, full=Full.ALLOWED if side is Side.TARGET else Full.NEVER)

    async def _lag_is_small(self, there: Leg) -> None:
        there.take()
        end_s = time.monotonic() + READY_BOUND_S
        while True:
            relay = there.relay
            if there.in_tail and there.server.streaming:
                new = await self._mover.head(there.to)
                if new.primary == there.door:
                    relay.heard(new.offset)  # it says so itself once a second only
                    if relay.lag.bytes < READY_LAG_BYTES:
                        return
            if time.monotonic() > end_s:
                raise NotReady(
                    f"the other end is not in step ({relay.phase.value}, {relay.lag_bytes} bytes behind"
                    f"{', ' + relay.trouble if relay.trouble else ''})"
                )
            await asyncio.sleep(0.05)

    async def resumed(self) -> Step:
        """Where to go on after the process that had begun was cut off."""
        switch = self.switch
        to = switch.to
        await self._open_legs(to)
        if self.book.journal.primary is not to:
            self._mover.legs[to].take()
        if switch.old is None or switch.new is None:
            return Step.PREPARE
        self._proofs, self.words = switch.proofs, switch.words
        hands = await Hands.connect(self._mover, to, switch.old, switch.new, self._bound_ms)
        self._hands = hands
        old, new = await hands.see()
        seen = SwitchSeen(
            fenced=old.role is Role.REPLICA and old.primary in self.book.journal.doors_of(to.other),
            promoted=new.role is Role.PRIMARY,
        )
        step = go_on(switch.step, seen)
        self._mover.tell(f"the switch was cut off at '{switch.step.value}' and goes on at '{step.value}'")
        if step is Step.FENCE:
            self.words = await hands.fence()
            return Step.RELEASE
        if step is Step.PREPARE:
            await hands.release()
            await hands.close()
            if switch.tries >= TRIES_MAX:
                raise NotReady(f"it was cut off {switch.tries} times")
        return step

    # -- behind the promotion ------------------------------------------------------------------------------------------

    async def _release(self) -> None:
        hands = self._at_hand
        held = hands.held_at_s
        try:
            await hands.release()
        except HoldfastError:
            await hands.again()
            await hands.release()
        if held:
            self.note(pause_ms=round(hands.held_ms, 2))

    async def _attach(self) -> None:
        """Let the old primary follow the new one, through us and never by a copy."""
        switch, hands, mover = self.switch, self._at_hand, self._mover
        back = mover.legs[switch.to.other]
        if back.spool.replid == "":
            back.spool.begin_at(switch.replid, switch.offset)
        self.book.write(primary=switch.to, way_back="")
        back.take()
        await mover.legs[switch.to].rest()
        await self._give_back()
        if words := await fences.rewrite(hands.new):
            mover.tell(f"the new primary would follow the relay again after a restart: {words}")
            self.words = self.words or words
        if hands.proof is not None and (late := await hands.proof.prove_after_release()):
            self.note(proofs=(*switch.proofs, *late))

    # -- and back ------------------------------------------------------------------------------------------------------

    async def undo(self) -> bool:
        """Take everything back, the fence first (see `Switching`)."""
        hands = self._at_hand
        await hands.again()
        old, new = await hands.see()
        if new.role is Role.PRIMARY and old.role is Role.REPLICA and self.switch.offset >= 0:
            return False
        if old.role is Role.REPLICA and old.primary in self.book.journal.doors_of(self.switch.to.other):
            await fences.unfence(hands.old)
        await hands.release()
        await self._give_back()
        return True

    async def _give_back(self) -> None:
        """The PING period, and the patience of Sentinels that watch a primary."""
        primary = self.book.journal.primary
        await give_back(
            self.book,
            lambda loan: loan.name.startswith("repl-ping-") or (bool(loan.sentinel) and loan.side is primary),
        )
