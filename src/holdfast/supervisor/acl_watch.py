"""Carries what a cache's servers refuse into the audit log, which outlives them: they keep their last refusals in memory."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Iterable, Sequence

from holdfast.errors import HoldfastError
from holdfast.state import NotWritten, StateFolder, audit, write_private
from holdfast.supervisor.acl_log import Entry, Known, entries_of, fresh
from holdfast.supervisor.doors import Doors
from holdfast.supervisor.events import Events
from holdfast.topology.observe import read_info

FILE = "refused.json"
ACTION = "access refused"
"""Under this name refusals are in the audit log."""
LOOK_EVERY_S = 2.0
ASK_BOUND_S = 2.0
FIRST = 10
"""Engines add a refusal to one of the ten newest entries or make a new one: the older do not change."""
ALL = 128
"""As many as an engine keeps, as it comes."""
LINES_AT_ONCE, LINES_A_SECOND = 60, 0.5
"""Of each server, at the most: whoever tries a million names must not fill the disk. The rest is written as a number."""
FEWEST = 2
"""Lines that a look may write, or it is put off: one for the newest refusal and one for the number of all others."""


class AclWatch:
    """The looks at one cache's servers on this machine. Connections of its own: a failover's must never wait for it."""

    def __init__(self, doors: Doors, names: Iterable[str], state: StateFolder, events: Events) -> None:
        self._doors = doors
        self._state = state
        self._events = events
        self._file = state.nodes / doors.record.name / FILE
        here = set(names)
        self._names = [member.name for member in doors.record.servers if member.name in here]
        self._known: dict[str, Known] = {}
        self._lines = {name: (float(LINES_AT_ONCE), time.monotonic()) for name in self._names}
        """Lines that may be written of each server, and since when they are counted."""
        self._looking: asyncio.Task[None] | None = None
        self._failing: set[str] = set()

    def begin(self) -> None:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            kept = json.loads(self._file.read_bytes())
            self._known = {str(name): Known.from_json(each) for name, each in kept.items()}
        self._looking = asyncio.create_task(self._look_on())

    async def end(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._looking
        await self._doors.close()

    async def _look_on(self) -> None:
        while True:
            before = dict(self._known)
            looks = await asyncio.gather(*(self._look(name) for name in self._names), return_exceptions=True)
            for name, failed in zip(self._names, looks, strict=True):
                self._tell(name, failed)
            if self._known != before:
                with contextlib.suppress(NotWritten):  # then a next supervisor tells them once more
                    await asyncio.to_thread(write_private, self._file, self._kept())
            await asyncio.sleep(LOOK_EVERY_S)

    def _tell(self, name: str, failed: BaseException | None) -> None:
        """An event when a server's refusals begin not to be written, whatever the cause; they are looked for again."""
        if failed is None:
            self._failing.discard(name)
        elif name not in self._failing:
            self._failing.add(name)
            why = f"what {name} refuses is not in the audit log: {failed or type(failed).__name__}"
            self._events.add("failed", self._doors.record.name, name, {"why": why})

    async def _look(self, name: str) -> None:
        """One server; what is new is written before it counts as known, so that a full disk only puts it off.

        Raises: NotWritten.
        """
        known = self._known.get(name, Known())
        if (lines := self._allowed(name)) < FEWEST:
            return
        try:
            run_id, entries = await self._entries(name, FIRST)
            new, now_known = fresh(known, run_id, entries)
            if len(new) == FIRST:
                run_id, entries = await self._entries(name, ALL)
                new, now_known = fresh(known, run_id, entries)
        except HoldfastError:
            return  # it is down or does not answer: others see to that, and its log is asked for again
        if not new and known.run_id == run_id:
            return
        written = await asyncio.to_thread(self._write, name, new, lines)
        self._lines[name] = (self._lines[name][0] - written, self._lines[name][1])
        self._known[name] = now_known

    async def _entries(self, name: str, count: int) -> tuple[str, tuple[Entry, ...]]:
        """Raises: HoldfastError."""
        reply, info = await self._doors.ask_all(
            name, [("ACL", "LOG", count), ("INFO", "server")], timeout_s=ASK_BOUND_S
        )
        for each in (reply, info):
            if isinstance(each, HoldfastError):
                raise each
        return read_info(str(info)).get("run_id", ""), entries_of(reply, time.monotonic())

    def _allowed(self, name: str) -> int:
        """Lines that may be written of the server by now."""
        left, since_s = self._lines[name]
        now_s = time.monotonic()
        self._lines[name] = (min(LINES_AT_ONCE, left + (now_s - since_s) * LINES_A_SECOND), now_s)
        return int(self._lines[name][0])

    def _write(self, name: str, new: Sequence[tuple[Entry, int]], lines: int) -> int:
        """Write the newest, and how many there were before them. Returns: how many lines. Raises: NotWritten."""
        told = new if len(new) <= lines else new[1 - lines :]
        rest = new[: len(new) - len(told)]
        about = {"cache": self._doors.record.name, "node": name}
        if rest:
            users = len({entry.user for entry, _ in rest})
            more = {"reason": "more of them", "users": users, "times": sum(times for _, times in rest)}
            audit(self._state, ACTION, {**about, **more, "at_least": len(new) >= ALL})
        for entry, times in told:
            facts = {"reason": entry.reason, "user": entry.user, "command": entry.what, "from": entry.address}
            audit(self._state, ACTION, {**about, **facts, "times": times})
        return len(told) + bool(rest)

    def _kept(self) -> str:
        """What is known, as its file has it."""
        return json.dumps({name: each.to_json() for name, each in self._known.items() if name in self._names})
