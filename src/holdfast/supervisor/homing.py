"""Switches primaries back when a zone has come to hold a majority of them, and not while the cache is in maintenance."""

from __future__ import annotations

import asyncio
import contextlib
import time

from holdfast.errors import HoldfastError
from holdfast.supervisor import failover_rules as rules
from holdfast.supervisor.doors import Doors
from holdfast.supervisor.events import Events
from holdfast.supervisor.failover_rules import Voice
from holdfast.topology.handover import hand_over_slots
from holdfast.topology.hosts import WatchOrder
from holdfast.topology.patience import Patience

HOME_AFTER_S = 3.0
LATE_S = 60.0
"""A maintenance whose end is longer ago than this was told of by an earlier supervisor."""


class Homing:
    """One cache's way home. Used inside one event loop."""

    def __init__(self, order: WatchOrder, doors: Doors, events: Events, patience: Patience) -> None:
        self._order = order
        self._patience = patience
        self._doors = doors
        self._events = events
        self._homing: asyncio.Task[None] | None = None
        self._waiting: asyncio.Task[None] | None = None

    def begin(self, *, tells: bool) -> None:
        """Where the cache is in maintenance, await its end. Args: `tells`, whether that end is this machine's to tell."""
        left_s = self._order.quiet_until_s - time.time()
        if left_s > -LATE_S:
            self._waiting = asyncio.create_task(self._await_end(left_s, tells))

    def later(self) -> None:
        """A primary has changed its place: in a few seconds, or after the maintenance, see what must go home."""
        if self._order.go_home and (self._homing is None or self._homing.done()):
            self._homing = asyncio.create_task(self._go_home())

    async def end(self) -> None:
        for task in (self._waiting, self._homing):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def _await_end(self, left_s: float, tells: bool) -> None:
        await asyncio.sleep(max(0.0, left_s))
        if tells:
            self._events.add("maintenance", self._order.cache, "", {"state": "over"})
        if any(member.bus_port for member in self._order.members):
            self.later()

    async def _go_home(self) -> None:
        """Switch primaries back, one at a time, until no zone holds a majority of them."""
        await asyncio.sleep(max(0.0, self._order.quiet_until_s - time.time()))
        for _ in range(len(self._doors.record.servers)):
            await asyncio.sleep(HOME_AFTER_S)
            voices = await self._doors.voices()
            moved = await self._one_step_home(voices)
            if not moved:
                return

    async def _one_step_home(self, voices: list[Voice]) -> bool:
        zones = {member.name: member.zone for member in self._doors.record.servers}
        owners = [voice for voice in voices if voice.is_primary and voice.peers[voice.node_id].owns_slots]
        way = rules.way_home(
            {voice.name: zones[voice.name] for voice in owners},
            {
                voice.name: [
                    (each.name, zones[each.name]) for each in rules.candidates(voice.node_id, voices)
                ]
                for voice in owners
            },
        )
        if way is None:
            return False
        owner, replica = way
        began_s = time.monotonic()
        done = False
        with contextlib.suppress(HoldfastError):
            others = [self._doors.door(each.name) for each in voices if each.name not in way]
            await hand_over_slots(self._doors.door(owner), self._doors.door(replica), others, self._patience)
            done = await _becomes_primary(self._doors, replica, bound_s=6.0)
        took_ms = round((time.monotonic() - began_s) * 1000, 1)
        self._events.add(
            "switched home", self._order.cache, replica, {"from": owner, "done": done, "took_ms": took_ms}
        )
        return done


async def _becomes_primary(doors: Doors, name: str, *, bound_s: float) -> bool:
    end_s = time.monotonic() + bound_s
    while time.monotonic() < end_s:
        role = await doors.ask(name, "ROLE")
        if role[0] == "master":
            return True
        await asyncio.sleep(0.02)
    return False
