"""The switch of primaries in a migration by relay: cutover, and the same the other way for a rollback.

Writes are held, both sides brought to the same offset, the old primary fenced for good (it becomes a read-only replica at
our door, which answers nothing yet), the fence proved, the new one promoted, the held clients released to their refusal,
and the door opened with the new primary's stream, which the old one continues without a copy. Whatever goes wrong before
the promotion is undone; nothing is undone after it.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from holdfast.errors import HoldfastError
from holdfast.jobs.crash import crash_point
from holdfast.migrate import fences
from holdfast.migrate.ends import Side
from holdfast.migrate.hooks import run_hook
from holdfast.migrate.journal import Step, Switch
from holdfast.migrate.plan import TRIES_MAX, SwitchSeen, after, go_on
from holdfast.migrate.relay.hands import Hands, SwitchUndone
from holdfast.migrate.relay.leg import Leg
from holdfast.migrate.relay.mover import RelayMover
from holdfast.migrate.relay.relay import Full
from holdfast.migrate.settings import calm_sentinels, give_back
from holdfast.topology.seen import Role

READY_BOUND_S = 30.0
READY_LAG_BYTES = 4 << 20
RETRY_S = 0.5
GOES_ON = frozenset({Step.RELEASE, Step.ATTACH, Step.HOOK})
"""Steps behind the promotion: what fails there is told, and the switch goes on."""


@dataclass(eq=False)
class NotReady(HoldfastError):
    """A switch was not begun."""

    why: str

    def __str__(self) -> str:
        return f"the switch was not begun: {self.why}; nothing was changed, try again when that is mended"


class RelaySwitch:
    """One switch, from wherever the journal says that it is.

    Args: `bound_ms`, how long writes may be held for the offsets to meet; `hook`, what runs afterwards, or nothing.
    """

    def __init__(self, mover: RelayMover, bound_ms: int, hook: str) -> None:
        self._mover = mover
        self._book = mover.book
        self._bound_ms = bound_ms
        self._hook = hook
        self._hands: Hands | None = None
        self._took_ms: dict[str, float] = {}
        self._proofs: tuple[str, ...] = ()
        self._words = ""

    async def run(self, to: Side) -> Switch:
        """Make `to` the primary end, or go on with what the journal says was begun.

        Raises: NotReady, SwitchUndone; errors of a server that cannot be reached while something is to be undone, then
            this is to be called again.
        """
        async with self._mover.turn:
            return await self._run(to)

    async def _run(self, to: Side) -> Switch:
        cut_off = self._book.journal.switch is not None
        self._mover.switching = True
        try:
            if not cut_off:
                now = datetime.now(UTC).isoformat(timespec="milliseconds")
                self._book.write(switch=Switch(to=to, started_at=now))
            step = await self._resumed() if cut_off else Step.PREPARE
            while step is not Step.DONE:
                step = await self._one(step)
            return self._over("done", self._words)
        except NotReady as late:
            self._over("undone", late.why)
            raise
        finally:
            self._mover.switching = False
            if self._hands is not None:
                await self._hands.close()

    @property
    def _switch(self) -> Switch:
        assert self._book.journal.switch is not None
        return self._book.journal.switch

    @property
    def _at_hand(self) -> Hands:
        assert self._hands is not None
        return self._hands

    def _note(self, **changes: object) -> None:
        self._book.write(switch=replace(self._switch, **changes))  # type: ignore[arg-type]

    def _over(self, outcome: str, words: str) -> Switch:
        ended = replace(self._switch, outcome=outcome, words=words, took_ms=self._took_ms)
        self._book.write(switch=None, switches=(*self._book.journal.switches, ended))
        return ended

    async def _one(self, step: Step) -> Step:
        """Do one step, and say which is the next."""
        began_s = time.monotonic()
        if step in {Step.PREPARE, Step.FENCE, Step.RELEASE, Step.ATTACH, Step.HOOK, Step.UNDO}:
            self._note(
                step=step
            )  # the others leave nothing behind that is not seen, and a note would cost the pause
        crash_point(f"before {step.value}")
        try:
            await self._do(step)
        except NotReady:
            raise
        except HoldfastError as failed:
            if step in GOES_ON:
                self._mover.tell(f"{step.value}: {failed}")
                self._words = str(failed)
            elif await self._undo(step, failed) is Step.RELEASE:
                return Step.RELEASE
        crash_point(f"after {step.value}")
        self._took_ms[step.value] = round((time.monotonic() - began_s) * 1000, 2)
        return after(step)

    async def _do(self, step: Step) -> None:
        match step:
            case Step.PREPARE:
                await self._prepare()
            case Step.HOLD:
                await self._at_hand.hold()
            case Step.SETTLE:
                await self._at_hand.equal(step)
            case Step.FENCE:
                self._words = await self._at_hand.fence()
                if self._words:
                    self._mover.tell(f"the fence does not outlast a restart: {self._words}")
            case Step.PROVE:
                self._proofs = await self._at_hand.prove()
            case Step.CHECK:
                hands = self._at_hand
                await hands.equal(step)
                self._note(step=Step.PROMOTE, offset=hands.offset, replid=hands.replid, proofs=self._proofs)
            case Step.PROMOTE:
                await self._at_hand.promote()
            case Step.RELEASE:
                await self._release()
            case Step.ATTACH:
                await self._attach()
            case Step.HOOK:
                await self._run_hook()
            case Step.UNDO:
                raise SwitchUndone(Step.UNDO, "it was cut off while it was being undone")
            case Step.DONE:
                pass

    # -- before anything is touched ------------------------------------------------------------------------------------

    async def _prepare(self) -> None:
        """All that can be done while writes still flow. Raises: NotReady."""
        self._note(tries=self._switch.tries + 1)
        to, mover = self._switch.to, self._mover
        try:
            await self._open_legs(to)
            there, back = mover.legs[to], mover.legs[to.other]
            await self._lag_is_small(there)
            old, new = await mover.head(to.other), await mover.head(to)
            if old.role is not Role.PRIMARY or new.primary != there.door:
                raise NotReady(
                    f"{old.title} is a {old.role.value}, {new.title} follows {new.primary or 'nobody'}"
                )
            self._note(old=old.address, new=new.address)
            back.spool.clear()
            self._hands = await Hands.connect(mover, to, old.address, new.address, self._bound_ms)
            await self._hands.arrange()
            if failed := await calm_sentinels(self._book, to.other):
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
        while not (there.in_tail and there.relay.lag_bytes < READY_LAG_BYTES and there.server.streaming):
            if time.monotonic() > end_s:
                raise NotReady(
                    f"the other end is not in step ({there.relay.phase.value}, {there.relay.lag_bytes} bytes behind"
                    f"{', ' + there.relay.trouble if there.relay.trouble else ''})"
                )
            await asyncio.sleep(0.05)

    async def _resumed(self) -> Step:
        """Where to go on after the process that had begun was cut off."""
        switch = self._switch
        to = switch.to
        await self._open_legs(to)
        if self._book.journal.primary is not to:
            self._mover.legs[to].take()
        if switch.old is None or switch.new is None:
            return Step.PREPARE
        self._proofs, self._words = switch.proofs, switch.words
        hands = await Hands.connect(self._mover, to, switch.old, switch.new, self._bound_ms)
        self._hands = hands
        old, new = await hands.see()
        seen = SwitchSeen(
            fenced=old.role is Role.REPLICA and old.primary in self._book.journal.doors_of(to.other),
            promoted=new.role is Role.PRIMARY,
        )
        step = go_on(switch.step, seen)
        self._mover.tell(f"the switch was cut off at '{switch.step.value}' and goes on at '{step.value}'")
        if step is Step.FENCE:
            self._words = await hands.fence()
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
            self._note(pause_ms=round(hands.held_ms, 2))

    async def _attach(self) -> None:
        """Let the old primary follow the new one, through us and never by a copy."""
        switch, hands, mover = self._switch, self._at_hand, self._mover
        back = mover.legs[switch.to.other]
        if back.spool.replid == "":
            back.spool.begin_at(switch.replid, switch.offset)
        self._book.write(primary=switch.to, way_back="")
        back.take()
        await mover.legs[switch.to].rest()
        await self._give_back()
        if words := await fences.rewrite(hands.new):
            mover.tell(f"the new primary would follow the relay again after a restart: {words}")
            self._words = self._words or words
        if hands.proof is not None and (late := await hands.proof.prove_after_release()):
            self._note(proofs=(*switch.proofs, *late))

    async def _run_hook(self) -> None:
        if not self._hook:
            return
        switch, journal = self._switch, self._book.journal
        assert switch.new is not None
        facts = {
            "migration": journal.name,
            "event": "cutover" if switch.to is Side.TARGET else "rollback",
            "primary_host": switch.new[0],
            "primary_port": switch.new[1],
            "primary": journal.end(switch.to).label,
            "write_pause_ms": switch.pause_ms,
        }
        said = await run_hook(self._hook, facts)
        self._mover.tell(said)
        self._note(hook=said)

    # -- and back ------------------------------------------------------------------------------------------------------

    async def _undo(self, step: Step, why: HoldfastError) -> Step:
        """Take everything back, the fence first: the old primary serves on.

        Returns: RELEASE when the promotion turns out to have happened, after which there is no way but on.
        Raises: SwitchUndone otherwise; the connection's errors when a server is gone, then this is to be done again.
        """
        self._note(step=Step.UNDO)
        crash_point("before undo")
        hands = self._at_hand
        await hands.again()
        old, new = await hands.see()
        if new.role is Role.PRIMARY and old.role is Role.REPLICA and self._switch.offset >= 0:
            return Step.RELEASE
        if old.role is Role.REPLICA and old.primary in self._book.journal.doors_of(self._switch.to.other):
            await fences.unfence(hands.old)
        await hands.release()
        await self._give_back()
        words = why.why if isinstance(why, SwitchUndone) else str(why)
        self._over("undone", words)
        raise SwitchUndone(step, words) from why

    async def _give_back(self) -> None:
        """The PING period, and the patience of Sentinels that watch a primary."""
        primary = self._book.journal.primary
        await give_back(
            self._book,
            lambda loan: loan.name.startswith("repl-ping-") or (bool(loan.sentinel) and loan.side is primary),
        )
