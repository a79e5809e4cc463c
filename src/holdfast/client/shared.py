"""What all calls of one cache share: its namespaces, layout, nodes, first tier, retry budget and figures."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from holdfast.client.figures import Figures
from holdfast.client.first_tier import FirstTier
from holdfast.client.kept import NEVER
from holdfast.client.keys import KeyPattern, prefix_free
from holdfast.client.layout import Address, Layout, ShardAt
from holdfast.client.operations import Node
from holdfast.client.rules import RetryBudget
from holdfast.profile import NamespaceProfile, Profile

MAX_SILENCE_S = 3.0
"""How long the first tier may be served after the last proof that its link works, where no namespace asks for less."""
QUIET_S = 10.0
"""Between two lines in the log about values that cannot be read."""
OWN_WRITES: ContextVar[dict[str, float] | None] = ContextVar("holdfast_own_writes", default=None)
"""What the caller wrote and when, while it reads its own writes."""


@dataclass(frozen=True)
class Settings:
    """What the application may choose besides its profile."""

    l1_max_bytes: int = 64 * 1024 * 1024
    max_silence_s: float = MAX_SILENCE_S
    largest_value_bytes: int = 64 * 1024 * 1024
    max_in_flight: int = 10_000
    """Of asyncio: commands sent to a node and not yet answered; more of them wait."""
    on_unreadable: Callable[[Exception], None] | None = None


@dataclass(frozen=True)
class Family:
    """One declared namespace, ready to be used."""

    name: str
    declared: NamespaceProfile
    pattern: KeyPattern
    in_l1: bool
    ttl_ms: int | None
    stale_ms: int
    """How long past its end a value may still be served when there is no better one."""
    early_beta: float

    @property
    def headed(self) -> bool:
        """Whether its values carry when they end: needed to refresh early and to serve what has ended."""
        return self.ttl_ms is not None and bool(self.stale_ms or self.early_beta)


@dataclass
class Clock:
    """Time and chance, as the policies take them."""

    now: Callable[[], float] = time.monotonic
    wall_ms: Callable[[], int] = field(default=lambda: time.time_ns() // 1_000_000)
    chance: Callable[[], float] = random.random


class Shared:
    """State without policy; safe to be used from several threads."""

    def __init__(
        self,
        profile: Profile,
        settings: Settings,
        open_door: Callable[[Address], Any],
        clock: Clock | None = None,
    ) -> None:
        self.profile, self.settings, self.clock = profile, settings, clock or Clock()
        self.figures = Figures()
        self.budget = RetryBudget()
        self.flights: dict[tuple[Any, ...], Any] = {}
        self.views: dict[tuple[Any, ...], Any] = {}
        """Namespaces as they were opened, by name and kind of value."""
        self.families = {name: self._family(name, each) for name, each in profile.namespaces.items()}
        self.l1 = FirstTier(profile.l1_max_entries, settings.l1_max_bytes, self.clock.now)
        self.layout: Layout | None = None
        self.sole_primary: Node | None = None
        """Who is asked for every key, where keys have no slots."""
        self.version = 0
        self.closed = False
        self.denied: Exception | None = None
        """Why nobody lets us in, when that is what is wrong."""
        self.moved: dict[int, Address] = {}
        """Slots that a MOVED told of since the layout was looked at."""
        self.nodes: dict[Address, Node] = {}
        self.look_again: Callable[[], None] = lambda: None
        """Have the layout looked at anew, soon; set by whoever watches."""
        self.silent_until = 0.0
        """Until when no further unreadable value is logged."""
        self.own_writes_sent: dict[str, float] = {}
        """To measure the lag of invalidations by."""
        self._open_door = open_door
        self._lock = threading.Lock()

    @property
    def prefixes(self) -> tuple[str, ...]:
        """What invalidations are asked for."""
        return prefix_free(family.pattern.prefix for family in self.families.values() if family.in_l1)

    @property
    def max_silence_s(self) -> float:
        """The least of what was set and what any namespace in the first tier asks for."""
        bounds = [
            family.declared.stale_bound_ms / 1000
            for family in self.families.values()
            if family.in_l1 and family.declared.stale_bound_ms
        ]
        return max(0.05, min([self.settings.max_silence_s, *bounds]))

    @property
    def command_s(self) -> float:
        """How long a call may take, all tries together."""
        return self.profile.pool.command_timeout_ms / 1000

    def node(self, address: Address) -> Node:
        """The node of that address, made known if it was not."""
        found = self.nodes.get(address)
        if found is None:
            with self._lock:
                found = self.nodes.get(address)
                if found is None:
                    found = self.nodes[address] = Node(address, self._open_door(address))
        return found

    def shard_of(self, slot: int) -> ShardAt | None:
        """Who holds the slot, as far as is known."""
        layout = self.layout
        if layout is None:
            return None
        if self.moved and (address := self.moved.get(slot)) is not None:
            return ShardAt(address)
        return layout.shard_of(slot)

    @property
    def clustered(self) -> bool:
        """Whether keys have slots."""
        return self.layout is not None and self.layout.slots is not None

    @property
    def slotless(self) -> bool:
        """Whether it is known that keys have no slots."""
        return self.layout is not None and self.layout.slots is None

    def put_layout(self, layout: Layout) -> list[Node]:
        """Take a layout that was seen. Returns: nodes that are in it no longer, for their doors to be closed."""
        with self._lock:
            before, self.layout = self.layout, layout
            self.moved.clear()
            if layout == before:
                return []
            self.version += 1
            self.sole_primary = None  # until all is in order again
            gone = [node for address, node in self.nodes.items() if address not in layout.addresses]
            for node in gone:
                del self.nodes[node.address]
        for node in gone:
            self.distrust(node)
        if before is not None:
            for address in before.lost_by(layout):
                if (node_left := self.nodes.get(address)) is not None:
                    self.distrust(node_left)
            if before.lost_by(layout):
                self.l1.flush()
        for address in layout.addresses:
            self.node(address)
        self.sole_primary = self.node(layout.shards[0].primary) if layout.slots is None else None
        return gone

    def put_moved(self, slot: int, address: Address) -> None:
        """A node said that another holds a slot: go there, drop what was read from the first, look at all anew."""
        with self._lock:
            self.moved[slot] = address
        self.l1.flush()
        self.look_again()

    def distrust(self, node: Node) -> None:
        """Nothing vouches any more for what was read from it."""
        trust, node.trust = node.trust, None
        if trust is not None:
            trust.until = float("-inf")

    def lose(self, node: Node) -> None:
        """Its watcher's link has ended: it may have been started again since, with what is in its old file."""
        self.distrust(node)
        node.settled, node.fresh_as_of = False, NEVER

    def after_fork(self) -> None:
        """In the child: begin anew, with nothing of the parent's."""
        self._lock = threading.Lock()
        self.l1.after_fork()
        self.flights.clear()
        for node in self.nodes.values():
            node.trust = None
            node.door.after_fork()
        self.look_again = lambda: None

    def _family(self, name: str, declared: NamespaceProfile) -> Family:
        return Family(
            name=name,
            declared=declared,
            pattern=KeyPattern(name, declared.pattern),
            in_l1=declared.tier == "l1+l2" and declared.kind == "cache",
            ttl_ms=None if declared.ttl_s is None else int(declared.ttl_s * 1000),
            stale_ms=int((declared.serve_stale_s or 0) * 1000),
            early_beta=declared.early_refresh or 0.0,
        )


def unreadable(shared: Shared, told: Exception) -> None:
    """Count a value that cannot be read, and tell whoever asked to be told; that one's own errors stay here."""
    import logging

    shared.figures.unreadable += 1
    log = logging.getLogger("holdfast.client")
    now = shared.clock.now()
    if now >= shared.silent_until:  # where one value cannot be read, many cannot: the count tells how many
        shared.silent_until = now + QUIET_S
        log.warning("%s", told)
    if shared.settings.on_unreadable is not None:
        try:
            shared.settings.on_unreadable(told)
        except Exception:
            log.exception("on_unreadable failed")


Namespaces = Mapping[str, NamespaceProfile]
