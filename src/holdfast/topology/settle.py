"""Waits until a cache is at rest: it says it is ok, replicas are in sync, sentinels agree."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass

from holdfast.errors import HoldfastError
from holdfast.spec.topology import Mode
from holdfast.topology.live import LiveCache, Told
from holdfast.topology.seen import Role, SeenCache
from holdfast.topology.slots import ALL_SLOTS

BOUND_S = 120.0
"""Without any progress; a full copy that goes on is progress."""
LOOK_EVERY_S = 0.05


@dataclass(eq=False)
class NotSettled(HoldfastError):
    """The cache did not come to rest."""

    cache: str
    waited_s: float
    lacking: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"{self.cache} is not at rest after {self.waited_s:.0f} s without progress: {'; '.join(self.lacking)}. "
            "What was done stays done; look at `holdfast logs CACHE NODE`, then run the same command again"
        )


def unsettled(seen: SeenCache, mode: Mode, sentinels: int) -> Iterator[str]:
    """What keeps the cache from being at rest, one sentence each."""
    primaries = {node.name: node for node in seen.servers if node.role is Role.PRIMARY}
    followers = dict.fromkeys(primaries, 0)
    for node in seen.nodes:
        if not node.is_up:
            yield f"{node.name} is {node.reach}"
    for node in seen.servers:
        if not node.is_up:
            continue
        if mode is Mode.CLUSTER and node.slots_known < len(ALL_SLOTS):
            # A replica that is elected before it knows its primary's slots is a primary of none.
            yield f"{node.name} knows the owner of {node.slots_known} of {len(ALL_SLOTS)} slots"
        if mode is Mode.CLUSTER and not node.cluster_ok:
            yield f"{node.name} does not say that the cluster is ok"
        if node.role is Role.REPLICA:
            followers[node.primary] = followers.get(node.primary, 0) + 1
            if not node.link_up or node.syncing:
                yield f"{node.name} is not in sync with {node.primary or 'any node of the cache'}"
    for name, node in primaries.items():
        if node.replicas_online < followers[name]:
            yield f"{name} has {node.replicas_online} of {followers[name]} replicas online"
    for node in seen.sentinels:
        if node.is_up and node.monitored not in primaries:
            yield f"{node.name} watches {node.monitored or 'nothing'}"
        elif node.is_up and node.sentinels_known < sentinels - 1:
            yield f"{node.name} knows {node.sentinels_known} of {sentinels - 1} other sentinels"
        elif node.is_up and node.replicas_online < sum(followers.values()):
            yield f"{node.name} knows {node.replicas_online} of {sum(followers.values())} replicas"


async def await_settled(cache: LiveCache) -> None:
    """Look until nothing is lacking. Raises: NotSettled after BOUND_S without progress."""
    progressed = time.monotonic()
    best: tuple[int, int] | None = None
    told = ""
    while True:
        seen = await cache.look()
        lacking = tuple(unsettled(seen, cache.spec.topology.mode, len(cache.record.sentinels)))
        if not lacking:
            return
        if lacking[0] != told:
            told = lacking[0]
            cache.tell(Told("", told))
        state = (-len(lacking), sum(node.keys for node in seen.servers))
        if best is None or state > best or any(node.syncing for node in seen.servers):
            best, progressed = max(best or state, state), time.monotonic()
        if time.monotonic() - progressed > BOUND_S:
            raise NotSettled(cache.record.name, BOUND_S, lacking[:5])
        await asyncio.sleep(LOOK_EVERY_S)
