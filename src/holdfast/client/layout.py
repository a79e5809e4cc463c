"""Where a cache's keys are: shards, their nodes and slots, as ROLE, Sentinel and CLUSTER SLOTS tell them (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from holdfast.client.keys import SLOTS


@dataclass(frozen=True, slots=True)
class Address:
    """Where a node listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ShardAt:
    """A primary and the replicas that may be read."""

    primary: Address
    replicas: tuple[Address, ...] = ()


@dataclass(frozen=True)
class Layout:
    """All shards; in a cluster, which of them holds each slot (an index into `shards`, -1: nobody)."""

    shards: tuple[ShardAt, ...]
    slots: tuple[int, ...] | None = field(default=None, repr=False)

    def shard_of(self, slot: int) -> ShardAt | None:
        """Who holds a slot; outside a cluster the only shard holds everything."""
        if self.slots is None:
            return self.shards[0] if self.shards else None
        index = self.slots[slot]
        return self.shards[index] if index >= 0 else None

    @property
    def addresses(self) -> tuple[Address, ...]:
        return tuple(dict.fromkeys(a for shard in self.shards for a in (shard.primary, *shard.replicas)))

    @property
    def primaries(self) -> frozenset[Address]:
        return frozenset(shard.primary for shard in self.shards)

    def lost_by(self, later: Layout) -> frozenset[Address]:
        """Primaries that hold fewer slots in `later`: nobody vouches any more for all that was read from them."""
        if self.slots is None or later.slots is None:
            return self.primaries - later.primaries
        lost = set()
        for before, after in zip(self.slots, later.slots, strict=True):
            if before >= 0 and (after < 0 or self.shards[before].primary != later.shards[after].primary):
                lost.add(self.shards[before].primary)
        return frozenset(lost)


@dataclass(frozen=True, slots=True)
class RoleSeen:
    """A node's answer to ROLE."""

    primary: bool
    offset: int
    replicas: tuple[Address, ...] = ()
    """Of a primary."""
    of: Address | None = None
    """Of a replica: its primary."""
    linked: bool = True
    """Of a replica: whether it is connected to it."""


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def read_role(reply: Any, asked_host: str) -> RoleSeen | None:
    """ROLE's reply; None when it is a Sentinel's or cannot be read."""
    try:
        kind = _text(reply[0])
        if kind == "master":
            return RoleSeen(
                True, int(reply[1]), tuple(Address(_text(each[0]), int(each[1])) for each in reply[2])
            )
        if kind == "slave":
            host = _text(reply[1])
            of = Address(host or asked_host, int(reply[2]))
            return RoleSeen(False, int(reply[4]), (), of, linked=_text(reply[3]) == "connected")
    except (IndexError, TypeError, ValueError):
        return None
    return None


def read_slots(reply: Any, asked_host: str) -> Layout | None:
    """CLUSTER SLOTS' reply; None when it cannot be read or names no slot."""
    shards: dict[ShardAt, int] = {}
    slots = [-1] * SLOTS
    try:
        for first, last, primary, *replicas in reply:
            shard = ShardAt(
                _address(primary, asked_host),
                tuple(sorted((_address(r, asked_host) for r in replicas), key=str)),
            )
            index = shards.setdefault(shard, len(shards))
            if not 0 <= first <= last < SLOTS:
                return None
            slots[first : last + 1] = [index] * (last - first + 1)
    except (TypeError, ValueError, IndexError):
        return None
    return Layout(tuple(shards), tuple(slots)) if shards else None


def _address(node: Any, asked_host: str) -> Address:
    host = _text(node[0]) if node[0] is not None else ""
    return Address(asked_host if host in ("", "?") else host, int(node[1]))


def replicated_layout(seen: Mapping[Address, RoleSeen]) -> Layout | None:
    """From what each node says of itself: the primary that most replicas follow, then the one that is furthest.

    A node that says it is a primary, while replicas that are linked follow another, has been left behind.
    """
    primaries = [at for at, role in seen.items() if role.primary]
    if not primaries:
        return None
    followers = {
        at: sum(role.of == at and role.linked for role in seen.values() if not role.primary)
        for at in primaries
    }
    best = max(primaries, key=lambda at: (followers[at], len(seen[at].replicas), seen[at].offset))
    named = {at for at in seen[best].replicas if at not in seen}
    following = {
        at for at, role in seen.items() if not role.primary and role.linked and role.of in (best, None)
    }
    # A replica may know its primary by another name than ours; it is the primary that names its replicas.
    following |= {at for at in seen[best].replicas if at in seen and not seen[at].primary and seen[at].linked}
    return Layout((ShardAt(best, tuple(sorted(following | named, key=str))),))
