"""Carries plans out on the model, stops them, and checks after every step what must never be broken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, settings
from tests.unit.topology.model import World
from tests.unit.topology.wishes import wanted_of

from holdfast.codec.crc import SLOTS
from holdfast.spec.topology import Mode
from holdfast.topology.plan import topology_steps
from holdfast.topology.record import Kind
from holdfast.topology.seen import Role
from holdfast.topology.steps import Step
from holdfast.topology.wanted import Wanted

few = settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
"""The same examples each time, so that a change is judged and not the luck of the draw."""
many = settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
"""New examples each time."""

ROUNDS = 12
"""As often as `holdfast up` plans anew."""


@dataclass
class Wish:
    """What is asked for now; `options` go to `wanted_of`."""

    topology: Mapping[str, Any]
    options: Mapping[str, Any]

    @classmethod
    def of(cls, topology: Mapping[str, Any], **options: Any) -> Wish:
        return cls(topology, options)

    def wanted(self, world: World) -> Wanted:
        return wanted_of(self.topology, world.record, **self.options)


def plan(world: World, wish: Wish) -> tuple[Step, ...]:
    return topology_steps(wish.wanted(world), world.seen(), guarded=world.guarded)


def do(world: World, wish: Wish, step: Step, part: float = 1.0) -> None:
    """One step, or a part of it, with every invariant checked."""
    before = world.copy()
    try:
        world.do(wish.wanted(world), step, part)
        check(before, world, wish)
    except AssertionError as broken:
        broken.add_note(f"in step {step.title!r} (part {part})")
        raise


def reach(world: World, wish: Wish, rounds: int = ROUNDS) -> list[Step]:
    """Plan and do until nothing is left to do; the steps done."""
    done: list[Step] = []
    for _ in range(rounds):
        steps = plan(world, wish)
        if not steps:
            check_goal(world, wish)
            return done
        for step in steps:
            do(world, wish, step)
            done.append(step)
    raise AssertionError(f"not at the goal after {rounds} plans: {[step.title for step in steps]}")


def reach_step_by_step(world: World, wish: Wish, most: int = 300) -> Iterator[Step]:
    """Plan anew after every single step until nothing is left to do."""
    for _ in range(most):
        steps = plan(world, wish)
        if not steps:
            check_goal(world, wish)
            return
        do(world, wish, steps[0])
        yield steps[0]
    raise AssertionError(f"not at the goal after {most} steps: {[step.title for step in plan(world, wish)]}")


def check(before: World, after: World, wish: Wish) -> None:
    """What no step may break."""
    _every_slot_keeps_one_owner(after)
    _shards_keep_their_replicas(before, after, wish)
    if after.written:
        primaries = [each for each in after.of_kind(Kind.SERVER) if each.role is Role.PRIMARY and each.keys]
        assert len(primaries) == 1, f"{len(primaries)} primaries hold what clients wrote"


def _every_slot_keeps_one_owner(world: World) -> None:
    owners: Counter[int] = Counter()
    for server in world.servers.values():
        owners.update(server.slots)
    assert len(owners) == sum(owners.values()), "a slot has two owners"
    assert owners.keys() >= world.owned_ever, "a slot lost its owner"


def _shards_keep_their_replicas(before: World, after: World, wish: Wish) -> None:
    asked = int(wish.topology.get("replicas", 0))
    for server in before.servers.values():
        now = after.servers.get(server.name)
        if server.role is not Role.PRIMARY or now is None or now.role is not Role.PRIMARY:
            continue
        if before.record.mode == Mode.CLUSTER and not now.slots:
            continue
        had, has = len(before.followers(server.name)), len(after.followers(server.name))
        assert has >= min(asked, had), f"{server.name} had {had} replicas, has {has} of {asked}"


def check_goal(world: World, wish: Wish) -> None:
    """The cache is what was asked for."""
    asked = wish.wanted(world).topology
    servers = world.of_kind(Kind.SERVER)
    primaries = [each for each in servers if each.role is Role.PRIMARY]
    assert len(primaries) == asked.shards
    for primary in primaries:
        assert len(world.followers(primary.name)) == asked.replicas
    assert len(servers) == asked.nodes
    assert len(world.record.members) == len(world.servers)
    zones = {member.name: member.zone for member in world.record.members}
    assert set(zones.values()) <= set(asked.zones)
    for server in servers:
        if server.role is Role.REPLICA and len(asked.zones) > 1:
            assert zones[server.name] != zones[server.follows], f"{server.name} is in its primary's zone"
    for primary in primaries:
        spread = {zones[name] for name in (primary.name, *world.followers(primary.name))}
        assert len(spread) == min(len(asked.zones), asked.replicas + 1)
    if asked.mode is Mode.CLUSTER:
        sizes = [len(primary.slots) for primary in primaries]
        assert sum(sizes) == SLOTS
        assert max(sizes) - min(sizes) <= 1
        everyone = frozenset(each.node_id for each in servers)
        assert all(each.known == everyone for each in servers)
        assert not any(each.moving for each in servers)
    sentinels = world.of_kind(Kind.SENTINEL)
    assert len(sentinels) == (asked.sentinels if asked.mode is Mode.SENTINEL else 0)
    for sentinel in sentinels:
        assert sentinel.monitored == primaries[0].name
        assert sentinel.peers == {each.name for each in sentinels} - {sentinel.name}
        assert sentinel.replicas == {each.name for each in servers if each.role is Role.REPLICA}
        assert sentinel.settings["quorum"] == str(asked.quorum)
    if sentinels:
        crowds = Counter(zones[each.name] for each in sentinels)
        assert max(crowds.values()) == -(-len(sentinels) // len(asked.zones))
    assert world.record.spec_digest == wish.wanted(world).digest
