"""Gives nodes their node timeout back that somebody had shortened for one vote, and who was killed before it did so."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.spec.topology import Mode
from holdfast.supervisor.doors import Doors
from holdfast.supervisor.events import Events
from holdfast.topology.asked import Asked
from holdfast.topology.hosts import WatchOrder
from holdfast.topology.patience import Patience

LOOK_EACH = 4
"""Calls; more time passes between two looks than a vote takes."""
LEFT_SHORT = "the node timeout that it had been given for one vote was never taken back"


class Mending:
    """Of one cluster's nodes on this machine. Used inside one event loop."""

    def __init__(self, order: WatchOrder, doors: Doors, events: Events, patience: Patience) -> None:
        self._order = order
        self._doors = doors
        self._events = events
        self._patience = patience
        self._calls = 0

    async def begin(self) -> None:
        """A supervisor begins: an earlier one may have been killed in a failover, here or on another machine."""
        if self._order.mode == Mode.CLUSTER:
            names = [member.name for member in self._doors.record.servers]
            await self._patience.heal(map(self._doors.door, names), self._order.node_timeout_ms)

    async def look(self, names: Iterable[str]) -> None:
        """To be called now and then, for these nodes: give back what can be given back by now, what a killed command
        left in a switchover too.
        """
        await self._patience.give_back()
        self._calls += 1
        if self._order.mode != Mode.CLUSTER or self._calls % LOOK_EACH:
            return
        own: dict[Asked, str] = {self._doors.door(name): name for name in names}
        for node in await self._patience.mend(own, self._order.node_timeout_ms):
            self._events.add("mended", self._order.cache, own[node], {"why": LEFT_SHORT})
