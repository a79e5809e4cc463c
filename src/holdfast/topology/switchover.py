"""A planned change of primary that loses no acknowledged write: by the means each topology and version has for it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass

from holdfast.errors import HoldfastError, WrongUsage
from holdfast.spec.topology import Mode
from holdfast.topology import apply_sentinel
from holdfast.topology.handover import hand_over, hand_over_slots
from holdfast.topology.live import LiveCache
from holdfast.topology.patience import Patience
from holdfast.topology.seen import Role, SeenCache, SeenNode, SeenShard
from holdfast.topology.settle import await_settled

SWITCH_BOUND_S = 10.0
LOOK_EVERY_S = 0.005
BY_ELECTION, BY_ORDER = "held writes, equal offsets, CLUSTER FAILOVER", "held writes, equal offsets"


@dataclass(eq=False)
class NotSwitched(HoldfastError):
    """The primary was not changed."""

    shard: str
    target: str
    words: str

    def __str__(self) -> str:
        return (
            f"{self.target} did not become the primary in place of {self.shard}: {self.words}. The old primary serves on; "
            "look at `holdfast status`, then try again"
        )


@dataclass(frozen=True)
class Switched:
    """One switchover that was done."""

    old: str
    new: str
    by: str
    """The means: the engine's own command."""
    took_ms: float
    held_ms: float
    """For how long writes were held."""


def choose(seen: SeenCache, shard: str, to: str) -> tuple[SeenShard, SeenNode]:
    """The shard meant and the replica that takes over: the one named, else the least lagging.

    Args: `shard`, name of any of its nodes, or its number in `status` order (1...); `to`, a replica.
    Raises: WrongUsage.
    """
    shards = seen.shards
    if not shards:
        raise WrongUsage(f"{seen.name} has no primary that answers", f"see holdfast status {seen.name}")
    if not shard and not to and len(shards) > 1:
        firsts = ", ".join(f"{number}: {each.primary.name}" for number, each in enumerate(shards, start=1))
        raise WrongUsage(
            f"{seen.name} has {len(shards)} shards", f"name one by its number or a node of it ({firsts})"
        )
    named = shard or to
    found = [
        each
        for number, each in enumerate(shards, start=1)
        if not named
        or named == str(number)
        or named in {each.primary.name, *(node.name for node in each.replicas)}
    ]
    if not found:
        raise WrongUsage(f"{seen.name} has no shard or node {named}", "see holdfast status")
    chosen = found[0]
    fit = sorted(
        (node for node in chosen.replicas if node.link_up), key=lambda node: (node.lag_bytes, node.name)
    )
    if to:
        fit = [node for node in fit if node.name == to]
    if not fit:
        lacking = f"{to} is no replica in sync" if to else "it has no replica in sync"
        raise WrongUsage(f"{chosen.primary.name} cannot hand over: {lacking}", "see holdfast status")
    return chosen, fit[0]


async def switch_over(cache: LiveCache, shard: str = "", to: str = "") -> Switched:
    """Hand the primary's role of one shard to a replica, and wait until the cache is at rest.

    Raises: WrongUsage, NotSwitched, NotSettled.
    """
    done = await switch_role(cache, shard, to)
    await await_settled(cache)
    return done


async def switch_role(cache: LiveCache, shard: str = "", to: str = "") -> Switched:
    """The same without waiting for the old primary to follow. Raises: WrongUsage, NotSwitched."""
    seen = await cache.look()
    chosen, heir = choose(seen, shard, to)
    began_s = time.monotonic()
    mode = Mode(cache.record.mode)
    if mode is Mode.CLUSTER:
        by, held_ms = BY_ELECTION, await _in_cluster(cache, chosen.primary, heir)
    else:
        by, held_ms = BY_ORDER, await _handed_over(cache, chosen, heir)
    took_ms = round((time.monotonic() - began_s) * 1000, 1)
    if mode is not Mode.CLUSTER:
        await _files(cache)
    await cache.note(
        "switched over", heir.name, by=by, took_ms=took_ms, held_ms=held_ms, **{"from": chosen.primary.name}
    )
    return Switched(chosen.primary.name, heir.name, by, took_ms, held_ms)


async def _in_cluster(cache: LiveCache, old: SeenNode, heir: SeenNode) -> float:
    """The primary's writes are held until the replica has all of them, then the replica is elected."""
    seen = await cache.look()
    others = [node.name for node in seen.servers if node.is_up and node.name not in {old.name, heir.name}]
    async with contextlib.AsyncExitStack() as stack:
        nodes = [
            await stack.enter_async_context(await cache.connect(name))
            for name in (old.name, heir.name, *others)
        ]
        try:
            held_ms = await hand_over_slots(nodes[0], nodes[1], nodes[2:], Patience())
        except HoldfastError as failed:
            raise NotSwitched(old.name, heir.name, str(failed)) from failed
    await _until_primary(cache, old.name, heir.name)
    return held_ms


async def _handed_over(cache: LiveCache, chosen: SeenShard, heir: SeenNode) -> float:
    """Writes are held until the replica has them all, then the two change places. Sentinels are told before writes are
    let go: clients that are refused by the old primary ask them, and they could take the change for a fault.
    """
    address = cache.address(heir.name)
    async with (
        await cache.connect(chosen.primary.name) as old_node,
        await cache.connect(heir.name) as heir_node,
        apply_sentinel.news_of(cache, heir.name, cache.address(chosen.primary.name)) as news,
    ):
        try:
            done = await hand_over(old_node, heir_node, address, news)
        except HoldfastError as failed:
            raise NotSwitched(chosen.primary.name, heir.name, str(failed)) from failed
        if done.why_not:
            raise NotSwitched(chosen.primary.name, heir.name, done.why_not)
        for replica in chosen.replicas:
            if replica.name != heir.name:
                async with await cache.connect(replica.name) as node:
                    await node.ask("REPLICAOF", *address)
        await news.assure()
    await _until_primary(cache, chosen.primary.name, heir.name)
    return done.held_ms


async def _until_primary(cache: LiveCache, old: str, heir: str) -> None:
    """Wait until the heir (any replica, where it is empty) says that it is the primary, and the old one that it is
    not.
    """
    end_s = time.monotonic() + SWITCH_BOUND_S
    words = "nothing changed"
    while time.monotonic() < end_s:
        seen = await cache.look()
        primaries = {node.name for node in seen.primaries if not node.node_id or node.slots}
        if old not in primaries and (heir in primaries or (not heir and primaries)):
            return
        words = f"primaries are {', '.join(sorted(primaries)) or 'none'}"
        await asyncio.sleep(LOOK_EVERY_S)
    raise NotSwitched(old, heir or "a replica", words)


async def _files(cache: LiveCache) -> None:
    """Write each server's file anew, so that it follows whom it follows now when it is started again."""
    seen = await cache.look()
    for node in seen.servers:
        if node.is_up:
            primary = cache.address(node.primary) if node.role is Role.REPLICA and node.primary else None
            await cache.prepare(cache.record.member(node.name), primary)
