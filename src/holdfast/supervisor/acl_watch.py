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
LINES_A_LOOK = 20
"""Of each server: whoever tries a thousand names must not fill the disk. The rest is written as one number."""


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
        self._looking: asyncio.Task[None] | None = None
        self._told_that_not_written = False

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
            await asyncio.gather(*(self._look(name) for name in self._names))
            await asyncio.sleep(LOOK_EVERY_S)

    async def _look(self, name: str) -> None:
        """One server; what is new is written before it counts as known, so that a full disk only puts it off."""
        known = self._known.get(name, Known())
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
        try:
            await asyncio.to_thread(self._write, name, new, overflowed=len(new) >= ALL)
            self._known[name] = now_known
            await asyncio.to_thread(self._keep)
            self._told_that_not_written = False
        except NotWritten as failed:
            if not self._told_that_not_written:
                self._events.add("failed", self._doors.record.name, name, {"why": f"the audit log: {failed}"})
            self._told_that_not_written = True

    async def _entries(self, name: str, count: int) -> tuple[str, tuple[Entry, ...]]:
        """Raises: HoldfastError."""
        reply, info = await self._doors.ask_all(
            name, [("ACL", "LOG", count), ("INFO", "server")], timeout_s=ASK_BOUND_S
        )
        for each in (reply, info):
            if isinstance(each, HoldfastError):
                raise each
        return read_info(str(info)).get("run_id", ""), entries_of(reply, time.monotonic())

    def _write(self, name: str, new: Sequence[tuple[Entry, int]], *, overflowed: bool) -> None:
        """Raises: NotWritten."""
        about = {"cache": self._doors.record.name, "node": name}
        for entry, times in new[:LINES_A_LOOK]:
            told = {"reason": entry.reason, "user": entry.user, "command": entry.what, "from": entry.address}
            audit(self._state, ACTION, {**about, **told, "times": times})
        if rest := new[LINES_A_LOOK:]:
            users = len({entry.user for entry, _ in rest})
            more = {"reason": "more of them", "users": users, "times": sum(times for _, times in rest)}
            audit(self._state, ACTION, {**about, **more, "at_least": overflowed})

    def _keep(self) -> None:
        """Raises: NotWritten."""
        kept = {name: each.to_json() for name, each in self._known.items() if name in self._names}
        write_private(self._file, json.dumps(kept))
