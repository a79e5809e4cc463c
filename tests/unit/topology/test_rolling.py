"""Restarts one after the other: who goes when, what is refused, and that a plan may be stopped after any step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.engine.builds import REDIS_7_0, VALKEY_8_0, VALKEY_9_1
from tests.unit.topology.drive import Wish, do, plan, reach
from tests.unit.topology.model import World
from tests.unit.topology.wishes import nothing, wish

from holdfast.engine.build import EngineBuild
from holdfast.engine.dialects import EngineVersion
from holdfast.errors import Refused
from holdfast.topology.record import Kind
from holdfast.topology.seen import Role
from holdfast.topology.steps import AddNode, RemoveNode, Step
from holdfast.topology.steps_rolling import ChangeEngine, RestartNode, SwitchPrimary
from holdfast.topology.wanted import Manner

CLUSTER = wish("cluster", shards=3, replicas=1, zones=3)
SENTINEL = wish("sentinel", replicas=2, zones=3)
REPLICATED = wish("replicated", replicas=1, zones=2)
BARE_CLUSTER = wish("cluster", shards=3, replicas=0, zones=3)
STANDALONE = wish("standalone")
BACKLOG = {"network": {"backlog": 2048}}
PAUSE, SURGE = Manner(allow_pause=True), Manner(surge=True)


def made(topology: Mapping[str, Any], build: EngineBuild = VALKEY_9_1, **options: Any) -> World:
    world = nothing(topology["mode"])
    world.record = replace(world.record, engine=build.key)
    reach(world, Wish.of(topology, build=build, **options))
    world.write()
    return world


def restarted(steps: Sequence[Step]) -> list[str]:
    return [step.node for step in steps if isinstance(step, RestartNode)]


@pytest.mark.parametrize("topology", [CLUSTER, SENTINEL, REPLICATED])
def test_replicas_first_then_a_switch_then_the_old_primary(topology: Mapping[str, Any]) -> None:
    world = made(topology)
    primaries = {each.name for each in world.of_kind(Kind.SERVER) if each.role is Role.PRIMARY}
    steps = plan(world, Wish.of(topology, **BACKLOG))
    names = restarted(steps)
    assert set(names) == {each.name for each in world.of_kind(Kind.SERVER)}
    assert set(names[-len(primaries) :]) == primaries
    for at, step in enumerate(steps):
        if isinstance(step, RestartNode) and step.node in primaries:
            assert isinstance(steps[at - 1], SwitchPrimary)
            assert "tcp-backlog 511 -> 2048" in step.why
    assert not any(isinstance(step, ChangeEngine) for step in steps)
    done = reach(world, Wish.of(topology, **BACKLOG))
    assert restarted(done) == names
    assert len(names) == len(set(names)), "a node was restarted twice"


@pytest.mark.parametrize("topology", [CLUSTER, SENTINEL, REPLICATED])
@pytest.mark.parametrize("runs", [REDIS_7_0, VALKEY_8_0])
def test_an_engine_is_changed_under_every_node_sentinels_last(
    topology: Mapping[str, Any], runs: EngineBuild
) -> None:
    world = made(topology, runs)
    done = reach(world, Wish.of(topology, build=VALKEY_9_1))
    assert isinstance(done[0], ChangeEngine)
    assert {each.engine for each in world.servers.values()} == {EngineVersion.of(VALKEY_9_1)}
    kinds = [step.kind for step in done if isinstance(step, RestartNode)]
    assert kinds == sorted(kinds, key=lambda kind: kind is Kind.SENTINEL)
    assert world.record.engine == VALKEY_9_1.key
    assert world.record.engine_before == ""


@pytest.mark.parametrize("topology", [CLUSTER, SENTINEL, REPLICATED])
@pytest.mark.parametrize("part", [1.0, 0.5])
def test_stopped_after_any_step_or_within_it_the_next_plan_goes_on(
    topology: Mapping[str, Any], part: float
) -> None:
    target = Wish.of(topology, build=VALKEY_9_1)
    count = len(plan(made(topology, REDIS_7_0), target))
    for stop in range(count):
        world = made(topology, REDIS_7_0)
        steps = plan(world, target)
        for step in steps[:stop]:
            do(world, target, step)
        do(world, target, steps[stop], part)
        reach(world, target)
        assert {each.engine for each in world.servers.values()} == {EngineVersion.of(VALKEY_9_1)}


@pytest.mark.parametrize("topology", [CLUSTER, SENTINEL, REPLICATED])
def test_back_from_after_any_replica_was_moved_and_while_the_old_primary_follows(
    topology: Mapping[str, Any],
) -> None:
    """Redis 7.0 cannot copy from Valkey: only what its own replicas hold can be gone back to."""
    target = Wish.of(topology, build=VALKEY_9_1)
    back = Wish.of(topology, build=REDIS_7_0, manner=Manner(going_back=True))
    tried = 0
    world = made(topology, REDIS_7_0)
    for step in plan(world, target):
        if isinstance(step, RestartNode) and step.node in {
            each.name for each in world.of_kind(Kind.SERVER) if world.followers(each.name)
        }:
            break
        do(world, target, step)
        if isinstance(step, RestartNode) and step.role.startswith("replica") and _switched(world):
            break
        trial = world.copy()
        trial.record = replace(trial.record, engine=REDIS_7_0.key, engine_before="")
        reach(trial, back)
        assert {each.engine for each in trial.servers.values()} == {EngineVersion.of(REDIS_7_0)}
        tried += 1
    assert tried > 2


def _switched(world: World) -> bool:
    return any(
        each.role is Role.PRIMARY
        and each.engine == EngineVersion.of(VALKEY_9_1)
        and world.followers(each.name)
        for each in world.of_kind(Kind.SERVER)
    )


def test_back_is_refused_where_the_old_engine_could_not_copy_from_anybody() -> None:
    world = made(CLUSTER, REDIS_7_0)
    target = Wish.of(CLUSTER, build=VALKEY_9_1)
    steps = plan(world, target)
    first_shard_done = next(
        at for at, step in enumerate(steps) if isinstance(step, RestartNode) and step.node == "n1"
    )
    for step in steps[: first_shard_done + 1]:
        do(world, target, step)
    world.record = replace(world.record, engine=REDIS_7_0.key, engine_before="")
    with pytest.raises(Refused, match="cannot copy from"):
        plan(world, Wish.of(CLUSTER, build=REDIS_7_0, manner=Manner(going_back=True)))


@pytest.mark.parametrize("topology", [STANDALONE, BARE_CLUSTER])
def test_a_primary_without_a_replica_needs_a_word_and_says_how_long(topology: Mapping[str, Any]) -> None:
    world = made(topology)
    with pytest.raises(Refused) as told:
        plan(world, Wish.of(topology, **BACKLOG))
    assert "--allow-pause" in str(told.value)
    assert "0.3 s" in told.value.why
    steps = plan(world, Wish.of(topology, manner=PAUSE, **BACKLOG))
    assert all(step.pause_s > 0 for step in steps if isinstance(step, RestartNode))
    assert "clients wait about 0.3 s" in "".join(step.title for step in steps)
    reach(world, Wish.of(topology, manner=PAUSE, **BACKLOG))


def test_a_spare_replica_comes_first_and_leaves_at_the_end() -> None:
    for topology in (CLUSTER, BARE_CLUSTER, REPLICATED, SENTINEL):
        world = made(topology)
        done = reach(world, Wish.of(topology, manner=SURGE, **BACKLOG))
        kinds = [type(step) for step in done]
        assert kinds.index(AddNode) < kinds.index(RestartNode)
        assert len(kinds) - 1 - kinds[::-1].index(RestartNode) < kinds.index(RemoveNode)
        assert kinds.count(AddNode) == kinds.count(RemoveNode) == topology.get("shards", 1)
        assert not any(isinstance(step, RestartNode) and step.alone for step in done)


def test_a_spare_is_no_help_to_a_standalone_cache() -> None:
    with pytest.raises(Refused, match="one address"):
        plan(made(STANDALONE), Wish.of(STANDALONE, manner=SURGE, **BACKLOG))


def test_writes_that_need_a_replica_are_not_stopped_without_a_word() -> None:
    durable: dict[str, Any] = {"persistence": {"durability": {"writes": "min_replicas", "replicas": 1}}}
    world = made(CLUSTER, **durable)
    with pytest.raises(Refused, match="takes no writes"):
        plan(world, Wish.of(CLUSTER, **durable, **BACKLOG))
    assert restarted(plan(world, Wish.of(CLUSTER, manner=PAUSE, **durable, **BACKLOG)))
    reach(world, Wish.of(CLUSTER, manner=SURGE, **durable, **BACKLOG))


def test_what_else_the_file_asks_for_waits_until_every_node_was_restarted() -> None:
    world = made(CLUSTER)
    wider = wish("cluster", shards=4, replicas=2, zones=3)
    done = reach(world, Wish.of(wider, **BACKLOG))
    kinds = [step.name for step in done]
    assert "move" in kinds
    assert kinds.index("move") > len(kinds) - 1 - kinds[::-1].index("restart")
    narrower = wish("cluster", shards=3, replicas=0, zones=3)
    world = made(CLUSTER)
    done = reach(world, Wish.of(narrower, **BACKLOG))
    kinds = [step.name for step in done]
    assert kinds.index("remove") > len(kinds) - 1 - kinds[::-1].index("restart")


def test_heirs_keep_the_primaries_spread_over_the_zones() -> None:
    world = made(wish("cluster", shards=6, replicas=2, zones=3))
    reach(world, Wish.of(wish("cluster", shards=6, replicas=2, zones=3), **BACKLOG))
    zones = {member.name: member.zone for member in world.record.members}
    heads = [zones[each.name] for each in world.of_kind(Kind.SERVER) if each.role is Role.PRIMARY]
    assert max(heads.count(zone) for zone in set(heads)) <= 3
