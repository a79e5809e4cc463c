"""Steps on what nodes are to one another: joining, slots, replicas."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

from holdfast.engine.connection import CommandRefused, EngineNode
from holdfast.errors import HoldfastError
from holdfast.spec.topology import Mode
from holdfast.topology import resharding
from holdfast.topology.cluster_view import ClusterView, read_cluster_nodes
from holdfast.topology.live import LiveCache, Told
from holdfast.topology.outdated import PlanOutdated
from holdfast.topology.slots import ranges
from holdfast.topology.steps import (
    AssignSlots,
    AttachReplica,
    AwaitOneOwner,
    Forget,
    JoinCluster,
    MoveSlots,
    Unmark,
)

JOIN_BOUND_S = 30.0
ROLE_BOUND_S = 30.0
OWNER_BOUND_S = 20.0
"""Nodes that reach each other settle by their epochs who owns a slot within a second or two."""
FORGET_ROUNDS = 3
OUTDATED_AFTER_S = 2.0
"""A node may still hear that its primary is one; one that goes on refusing for so long knows better than the plan."""
NO_PRIMARY = "only replicate a master"
"""In CLUSTER REPLICATE's refusal to follow a replica."""
LOOK_EVERY_S = 0.05
MEET_ALL_UP_TO = 12
"""Members up to which every pair is introduced; in larger clusters a few introductions and gossip are quicker."""
MEET_AGAIN_S = 1.5


@dataclass(eq=False)
class NotJoined(HoldfastError):
    """Nodes that were introduced to the cluster are not known everywhere."""

    cache: str
    waited_s: float
    strange: tuple[str, ...]
    """"n1 does not know n5"."""

    def __str__(self) -> str:
        return (
            f"after {self.waited_s:.0f} s {'; '.join(self.strange[:4])} in {self.cache}: is the cluster bus (client port "
            "+ 10000) reachable between the machines? What was done stays done; run the same command again"
        )


@dataclass(eq=False)
class NotReplica(HoldfastError):
    """A node was told to follow a primary and does not."""

    node: str
    primary: str
    words: str

    def __str__(self) -> str:
        return (
            f"{self.node} does not become a replica of {self.primary}: {self.words}. What was done stays done; run the "
            "same command again"
        )


@dataclass(eq=False)
class TwoOwners(HoldfastError):
    """Two primaries go on claiming the same slots: writes may have gone to both."""

    cache: str
    one: str
    other: str
    slots: int

    def __str__(self) -> str:
        return (
            f"{self.one} and {self.other} of {self.cache} both claim {self.slots} slots, and after {OWNER_BOUND_S:g} s neither has "
            f"given them up, so writes may have gone to both. Nothing was changed. holdfast repair {self.cache} shows what each "
            "has, and saves what you give up aside"
        )


async def await_one_owner(cache: LiveCache, step: AwaitOneOwner) -> None:
    """Wait until the two have heard of each other. Raises: TwoOwners."""
    end_s = time.monotonic() + OWNER_BOUND_S
    while True:
        claimed = [
            node.slots for node in (await cache.look()).primaries if node.name in (step.one, step.other)
        ]
        if len(claimed) < 2 or not claimed[0] & claimed[1]:
            return
        if time.monotonic() > end_s:
            raise TwoOwners(cache.record.name, step.one, step.other, len(claimed[0] & claimed[1]))
        await asyncio.sleep(LOOK_EVERY_S)


async def join(cache: LiveCache, step: JoinCluster) -> None:
    """Introduce every new node to the others and wait until each knows all."""
    names = [member.name for member in cache.record.servers]
    async with AsyncExitStack() as stack:
        nodes = {name: await stack.enter_async_context(await cache.connect(name)) for name in names}
        views = await _views(nodes)
        await _number_epochs(nodes, views)
        began = time.monotonic()
        met = 0.0
        while True:
            strange = _strange(views)
            if not strange:
                break
            if time.monotonic() - began > JOIN_BOUND_S:
                told = tuple(f"{one} does not know {other}" for one, other in strange)
                raise NotJoined(cache.record.name, JOIN_BOUND_S, told)
            if not met or time.monotonic() - met > MEET_AGAIN_S:
                await _introduce(cache, nodes, strange, [name for name in step.nodes if name in nodes])
                met = time.monotonic()
            await asyncio.sleep(LOOK_EVERY_S)
            views = await _views(nodes)
    for name in step.nodes:
        cache.tell(Told(name, "joined"))


async def _views(nodes: dict[str, EngineNode]) -> dict[str, ClusterView]:
    texts = await asyncio.gather(*(node.ask("CLUSTER", "NODES") for node in nodes.values()))
    return {name: read_cluster_nodes(text) for name, text in zip(nodes, texts, strict=True)}


def _strange(views: dict[str, ClusterView]) -> list[tuple[str, str]]:
    """Pairs of which the first does not know the second."""
    return [
        (one, other)
        for one, view in views.items()
        for other, theirs in views.items()
        if theirs.own_id not in view.known
    ]


async def _number_epochs(nodes: dict[str, EngineNode], views: dict[str, ClusterView]) -> None:
    """Nodes that know nobody yet get epochs of their own, so that no two have to settle it by a collision."""
    for number, (name, node) in enumerate(nodes.items(), start=1):
        if len(views[name].known) == 1:
            await node.ask_all([("CLUSTER", "SET-CONFIG-EPOCH", number)])  # an error says it has one: as good


async def _introduce(
    cache: LiveCache, nodes: dict[str, EngineNode], strange: list[tuple[str, str]], new: list[str]
) -> None:
    if len(nodes) > MEET_ALL_UP_TO:
        hubs = [name for name in nodes if name not in new][:2] or list(nodes)[:2]
        strange = [(one, other) for one, other in strange if one in hubs or other in hubs]
    asked: set[frozenset[str]] = set()
    for one, other in strange:
        if frozenset((one, other)) in asked:
            continue
        asked.add(frozenset((one, other)))
        member = cache.record.member(other)
        await nodes[one].ask("CLUSTER", "MEET", member.address, member.port, member.bus_port)


async def assign(cache: LiveCache, step: AssignSlots) -> None:
    """Give the node those of the slots that it sees nobody own."""
    async with await cache.connect(step.node) as node:
        view = await node.ask("CLUSTER", "NODES")
        mine = read_cluster_nodes(view).slots
        lacking = step.slots - mine
        if not lacking:
            return
        if cache.build_of(cache.record.member(step.node)).knows_command("CLUSTER|ADDSLOTSRANGE"):
            spans = [str(end) for span in ranges(lacking) for end in (span.first, span.last)]
            await node.ask("CLUSTER", "ADDSLOTSRANGE", *spans)
        else:
            await node.ask("CLUSTER", "ADDSLOTS", *(str(slot) for slot in sorted(lacking)))
        # The engine tells nobody of added slots but by its next pings, up to half a node timeout later. A MEET to a node
        # that is known carries them at once; no handshake comes of it.
        others = [member for member in cache.record.servers if member.name != step.node]
        await node.ask_all([("CLUSTER", "MEET", each.address, each.port, each.bus_port) for each in others])
    cache.tell(Told(step.node, "primary"))


async def attach(cache: LiveCache, step: AttachReplica) -> None:
    """Make the node follow the primary; judged by the role it then has, not by an OK."""
    if cache.spec.topology.mode is Mode.CLUSTER:
        await _attach_in_cluster(cache, step)
    else:
        await _attach_alone(cache, step)
    cache.tell(Told(step.node, f"replica of {step.primary}"))


async def _attach_in_cluster(cache: LiveCache, step: AttachReplica) -> None:
    async with await cache.connect(step.primary) as primary:
        primary_id = await primary.ask("CLUSTER", "MYID")
    async with await cache.connect(step.node) as node:

        async def follows() -> bool:
            return bool(read_cluster_nodes(await node.ask("CLUSTER", "NODES")).primary_id == primary_id)

        async def ask() -> None:
            await node.ask("CLUSTER", "REPLICATE", primary_id)

        await _until(follows, ask, step)


async def _attach_alone(cache: LiveCache, step: AttachReplica) -> None:
    address, port = cache.address(step.primary)
    async with await cache.connect(step.node) as node:

        async def follows() -> bool:
            role = await node.ask("ROLE")
            return bool(role[0] == "slave" and (role[1], int(role[2])) == (address, port))

        async def ask() -> None:
            if (await node.ask("ROLE"))[0] == "master" and (keys := int(await node.ask("DBSIZE"))):
                async with await cache.connect(step.primary) as primary:
                    if not int(await primary.ask("DBSIZE")):  # since the plan was made: it would be emptied
                        words = f"it holds {keys} keys and {step.primary} none; nothing was changed"
                        raise NotReplica(step.node, step.primary, words)
            await node.ask("REPLICAOF", address, port)

        await _until(follows, ask, step)
    await cache.prepare(cache.record.member(step.node), (address, port))


async def _until(
    reached: Callable[[], Awaitable[bool]], ask: Callable[[], Awaitable[None]], step: AttachReplica
) -> None:
    """Ask until it is reached: a node that has only just heard of its primary refuses at first.

    Raises: NotReplica, PlanOutdated.
    """
    began = time.monotonic()
    words = "it does not say why"
    while not await reached():
        if time.monotonic() - began > ROLE_BOUND_S:
            raise NotReplica(step.node, step.primary, words)
        try:
            await ask()
        except CommandRefused as refused:
            words = refused.words
            if NO_PRIMARY in words and time.monotonic() - began > OUTDATED_AFTER_S:
                raise PlanOutdated(f"{step.primary} is no primary any more") from refused
        await asyncio.sleep(LOOK_EVERY_S)


async def move(cache: LiveCache, step: MoveSlots) -> None:
    """Move the slots while clients work; what moved already is left alone."""
    for name in (step.source, step.target):
        async with await cache.connect(name) as node:
            role = await node.ask("ROLE")
        if role[0] != "master":
            raise PlanOutdated(f"{name} is no primary any more")
    await resharding.move_slots(cache, step.source, step.target, step.slots)


async def unmark(cache: LiveCache, step: Unmark) -> None:
    """Take the marks of half moved slots off the node."""
    async with await cache.connect(step.node) as node:
        for slot in sorted(step.slots):
            await node.ask("CLUSTER", "SETSLOT", slot, "STABLE")


async def forget(cache: LiveCache, step: Forget) -> None:
    """CLUSTER FORGET on every node; one that does not know the id any more says so, and that is as good."""
    names = [member.name for member in cache.record.servers]
    for _ in range(FORGET_ROUNDS):
        forgotten = 0
        for name in names:
            async with await cache.connect(name) as node:
                replies = await node.ask_all([("CLUSTER", "FORGET", node_id) for node_id in step.node_ids])
            forgotten += replies.count("OK")
        if not forgotten:  # gossip between two of them may have brought it back once
            return
