"""The job of one migration: carries, obeys orders, writes down how far it is; may be killed anywhere and started again."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.jobs.crash import crash_point
from holdfast.jobs.folder import JobFolder
from holdfast.migrate.ends import Side
from holdfast.migrate.journal import Journal, Mode, Stage
from holdfast.migrate.mode import Mover
from holdfast.migrate.relay.mode import RelayMode
from holdfast.migrate.relay.spool import SpoolTooSmall
from holdfast.migrate.relay.terms import LossNotAccepted
from holdfast.migrate.settings import Book
from holdfast.migrate.switching import NotReady, SwitchUndone
from holdfast.migrate.write.mode import WriteMode
from holdfast.state import StateFolder

LOOK_EVERY_S = 0.1
GLANCE_EVERY_S = 0.5
RETRY_S = 1.0
DEFAULT_BOUND_MS = 3000


def load(folder: JobFolder) -> tuple[Book, dict[str, Any]]:
    """A migration's journal, to be read and written, and its secrets. Raises: JournalUnreadable, JournalDamaged."""
    secrets = dict(folder.read("secrets"))
    journal = Journal.from_json(folder.read("journal"), secrets)
    return Book(journal, lambda changed: folder.write("journal", changed.to_json())), secrets


class Worker:
    """One process's work on one migration."""

    def __init__(self, folder: JobFolder, book: Book, mover: Mover) -> None:
        self._folder = folder
        self._book = book
        self._mover = mover
        self._keeping: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Until the migration has come to an end, however that is."""
        glancing = asyncio.create_task(self._glance_always())
        try:
            while self._book.journal.stage in {Stage.RUNNING, Stage.PAUSED}:
                wish = self._folder.read("wish")
                order = wish.get("order", {})
                journal = self._book.journal
                if journal.switch is not None:
                    await self._switch(journal.switch.to, order)
                elif int(order.get("number", 0)) > journal.answered:
                    await self._obey(order)
                elif wish.get("paused"):
                    await self._pause()
                else:
                    await self._carry()
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            glancing.cancel()
            await self._rest()
            with contextlib.suppress(asyncio.CancelledError):
                await glancing
            self._glance()
            await self._mover.close()

    async def _carry(self) -> None:
        if self._book.journal.stage is Stage.PAUSED:
            self._book.write(stage=Stage.RUNNING)
        if self._keeping is None:
            self._keeping = asyncio.create_task(self._mover.keep())
        if not self._keeping.done():
            return
        failed = self._keeping.exception()
        self._keeping = None
        if isinstance(failed, HoldfastError):
            await self._fail(failed)
        elif failed is not None:
            raise failed

    async def _fail(self, failed: HoldfastError) -> None:
        self._folder.tell(str(failed))
        if isinstance(failed, LossNotAccepted | SpoolTooSmall):
            for words in await self._mover.let_go():
                self._folder.tell(words)
        self._book.write(stage=Stage.FAILED, words=str(failed))

    async def _rest(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError, HoldfastError):
                await self._keeping
            self._keeping = None

    async def _pause(self) -> None:
        if self._book.journal.stage is Stage.PAUSED:
            return
        await self._rest()
        await self._mover.close()
        self._book.write(stage=Stage.PAUSED)
        self._folder.tell(
            "paused: both links are closed, and what the source writes meanwhile is in its backlog only"
        )

    async def _obey(self, order: Mapping[str, Any]) -> None:
        verb = order.get("verb")
        if verb == "cutover":
            await self._switch(Side.TARGET, order)
        elif verb == "rollback":
            await self._switch(Side.SOURCE, order)
        elif verb == "finish":
            await self._end(Stage.FINISHED, order)
        elif verb == "stop":
            await self._end(Stage.STOPPED, order)
        else:
            self._answered(order, f"there is no order {verb}")

    async def _switch(self, to: Side, order: Mapping[str, Any]) -> None:
        if self._book.journal.switch is None and self._book.journal.primary is to:
            self._answered(order, "")  # done by a process that was killed before it could say so
            return
        bound_ms, hook = int(order.get("bound_ms", DEFAULT_BOUND_MS)), str(order.get("hook", ""))
        if self._book.journal.stage is Stage.PAUSED:
            self._book.write(stage=Stage.RUNNING)
        if self._keeping is None:
            self._keeping = asyncio.create_task(self._mover.keep())
        try:
            done = await self._mover.switch(to, bound_ms, hook)
        except (NotReady, SwitchUndone) as failed:
            self._folder.tell(str(failed))
            self._answered(order, str(failed))
            return
        except HoldfastError as failed:
            self._folder.tell(f"the switch is to be gone on with: {failed}")
            await asyncio.sleep(RETRY_S)
            return
        crash_point("before the answer")
        paused = f" after a write pause of {done.pause_ms:.0f} ms" if done.pause_ms is not None else ""
        self._folder.tell(f"{to.value} is primary{paused}")
        self._answered(order, "")

    async def _end(self, stage: Stage, order: Mapping[str, Any]) -> None:
        await self._rest()
        said = await (self._mover.finish() if stage is Stage.FINISHED else self._mover.let_go())
        crash_point("before the end")
        await self._mover.close(forget=True)
        for words in said:
            self._folder.tell(words)
        self._book.write(stage=stage, words="; ".join(said), answered=int(order["number"]), answer="")
        self._folder.tell(stage.value)
        self._folder.write("secrets", {})

    def _answered(self, order: Mapping[str, Any], words: str) -> None:
        number = max(int(order.get("number", 0)), self._book.journal.answered)
        self._book.write(answered=number, answer=words)

    async def _glance_always(self) -> None:
        while True:
            self._glance()
            await asyncio.sleep(GLANCE_EVERY_S)

    def _glance(self) -> None:
        self._folder.glance({**self._mover.glance(), "at_s": time.time()})


async def work(path: Path) -> None:
    """Work on the migration whose folder that is, until it has ended. Raises: Busy, JournalUnreadable, JournalDamaged."""
    folder = JobFolder(path)
    with folder.alone():
        state = StateFolder(path.parents[2])
        book, secrets = load(folder)
        mover: Mover = RelayMode(folder, book, state, secrets)
        if book.journal.mode is Mode.WRITE:
            mover = WriteMode(folder, book, secrets)
        running = asyncio.current_task()
        assert running is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
        await Worker(folder, book, mover).run()


def begin_again(book: Book) -> None:
    """Take up a migration that had failed or was paused."""
    journal = book.journal
    if journal.stage in {Stage.FAILED, Stage.PAUSED}:
        book.keep(replace(journal, stage=Stage.RUNNING, words=""))
        book.journal = replace(journal, stage=Stage.RUNNING, words="")
