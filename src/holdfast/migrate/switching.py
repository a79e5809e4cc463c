"""Walks the steps of one switch of primaries, each written down before it is done; what a step does is its mode's affair."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from holdfast.errors import HoldfastError
from holdfast.jobs.crash import crash_point
from holdfast.migrate.ends import Side
from holdfast.migrate.hooks import run_hook
from holdfast.migrate.journal import Step, Switch
from holdfast.migrate.plan import after
from holdfast.migrate.settings import Book

GOES_ON = frozenset({Step.RELEASE, Step.ATTACH, Step.HOOK})
"""Steps behind the promotion: what fails there is told, and the switch goes on."""
NOTED = frozenset({Step.PREPARE, Step.FENCE, Step.RELEASE, Step.ATTACH, Step.HOOK, Step.UNDO})
"""The others leave nothing behind that is not seen, and a note would cost the pause."""


@dataclass(eq=False)
class NotReady(HoldfastError):
    """A switch was not begun."""

    why: str

    def __str__(self) -> str:
        return f"the switch was not begun: {self.why}; nothing was changed, try again when that is mended"


@dataclass(eq=False)
class SwitchUndone(HoldfastError):
    """A switch was begun and taken back."""

    step: Step
    why: str

    def __str__(self) -> str:
        return (
            f"the switch was undone at the step '{self.step.value}': {self.why}. The old primary takes writes as before; "
            "look at holdfast migrate status, then try again"
        )


class Switching(ABC):
    """One switch, from wherever the journal says that it is.

    Args: `hook`, what runs afterwards, or nothing.
    """

    def __init__(self, book: Book, tell: Callable[[str], None], hook: str) -> None:
        self.book = book
        self.tell = tell
        self.words = ""
        """What went amiss beside it."""
        self._hook = hook
        self._took_ms: dict[str, float] = {}

    @abstractmethod
    async def do(self, step: Step) -> None:
        """One step. Raises: NotReady from PREPARE; else any HoldfastError, after which the switch is undone."""

    @abstractmethod
    async def resumed(self) -> Step:
        """Where to go on after the process that had begun was cut off."""

    @abstractmethod
    async def undo(self) -> bool:
        """Take everything back: the old primary serves on; False when it turns out that there is no way but on.

        Raises: the connection's errors when a server is gone, then it is to be done again.
        """

    async def walk(self, to: Side) -> Switch:
        """Make `to` the primary end, or go on with what the journal says was begun.

        Raises: NotReady, SwitchUndone; errors of a server that cannot be reached while something is to be undone, then
            this is to be called again.
        """
        cut_off = self.book.journal.switch is not None
        if not cut_off:
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            self.book.write(switch=Switch(to=to, started_at=now))
        try:
            step = await self.resumed() if cut_off else Step.PREPARE
            while step is not Step.DONE:
                step = await self._one(step)
            return self.over("done", self.words)
        except NotReady as late:
            self.over("undone", late.why)
            raise

    @property
    def switch(self) -> Switch:
        """The one under way."""
        assert self.book.journal.switch is not None
        return self.book.journal.switch

    def note(self, **changes: object) -> None:
        """Write down what is known of it now."""
        self.book.write(switch=replace(self.switch, **changes))  # type: ignore[arg-type]

    def over(self, outcome: str, words: str) -> Switch:
        """It has come to its end."""
        ended = replace(self.switch, outcome=outcome, words=words, took_ms=self._took_ms)
        self.book.write(switch=None, switches=(*self.book.journal.switches, ended))
        return ended

    async def _one(self, step: Step) -> Step:
        """Do one step, and say which is the next."""
        began_s = time.monotonic()
        if step in NOTED:
            self.note(step=step)
        crash_point(f"before {step.value}")
        try:
            if step is Step.HOOK:
                await self._run_hook()
            elif step is Step.UNDO:
                raise SwitchUndone(Step.UNDO, "it was cut off while it was being undone")
            else:
                await self.do(step)
        except NotReady:
            raise
        except HoldfastError as failed:
            if step in GOES_ON:
                self.tell(f"{step.value}: {failed}")
                self.words = str(failed)
            else:
                await self._undone(step, failed)
                return Step.RELEASE
        crash_point(f"after {step.value}")
        self._took_ms[step.value] = round((time.monotonic() - began_s) * 1000, 2)
        return after(step)

    async def _undone(self, step: Step, why: HoldfastError) -> None:
        """Returns when there is no way but on. Raises: SwitchUndone otherwise."""
        self.note(step=Step.UNDO)
        crash_point("before undo")
        if not await self.undo():
            return
        words = why.why if isinstance(why, SwitchUndone) else str(why)
        self.over("undone", words)
        raise SwitchUndone(step, words) from why

    async def _run_hook(self) -> None:
        if not self._hook:
            return
        switch, journal = self.switch, self.book.journal
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
        self.tell(said)
        self.note(hook=said)
