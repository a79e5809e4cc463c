"""Whatever is there and whatever is wished: planning and doing leads there, from every point it was stopped at."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, note
from hypothesis import strategies as st
from tests.unit.topology.drive import Wish, do, few, many, plan, reach, reach_step_by_step
from tests.unit.topology.model import World
from tests.unit.topology.wishes import GB, clusters, nothing, single_primaries, wish

from holdfast.codec.crc import SLOTS
from holdfast.topology.layout import HostPlace
from holdfast.topology.plan import topology_steps
from holdfast.topology.seen import Role
from holdfast.topology.steps import (
    AddNode,
    AttachReplica,
    Guard,
    MoveSlots,
    Relabel,
    RemoveNode,
    RenewCertificates,
    SaveSpec,
    SetConfig,
    SetUsers,
    StartNodes,
)

PARTS = (0.0, 0.2, 0.5, 0.9)


@pytest.mark.parametrize("zones", [1, 2, 3, 4])
@pytest.mark.parametrize("replicas", [0, 1, 2, 3])
@pytest.mark.parametrize("shards", [3, 4, 6])
def test_a_cluster_comes_up_from_nothing(shards: int, replicas: int, zones: int) -> None:
    world = nothing("cluster")
    reach(world, Wish.of(wish("cluster", shards=shards, replicas=replicas, zones=zones)))


@given(st.one_of(clusters(), single_primaries()))
@few
def test_stopped_after_every_step_of_the_first_bring_up_the_rest_follows(topology: dict[str, Any]) -> None:
    asked = Wish.of(topology)
    world = nothing(topology["mode"])
    for _ in reach_step_by_step(world, asked):
        pass


@given(st.data())
@few
def test_a_wish_may_change_after_any_step_cluster(data: st.DataObject) -> None:
    changing_wishes(data, clusters(), nothing("cluster"))


@given(st.data())
@few
def test_a_wish_may_change_after_any_step_one_primary(data: st.DataObject) -> None:
    first = data.draw(single_primaries())
    changing_wishes(data, single_primaries(), nothing(first["mode"]), first)


@pytest.mark.long
@given(st.data(), st.booleans())
@many
def test_wishes_may_change_after_any_step_in_many_ways(data: st.DataObject, clustered: bool) -> None:
    wishes = clusters() if clustered else single_primaries()
    first = data.draw(wishes)
    changing_wishes(data, wishes, nothing(first["mode"]), first)


def changing_wishes(
    data: st.DataObject,
    wishes: st.SearchStrategy[dict[str, Any]],
    world: World,
    first: dict[str, Any] | None = None,
) -> None:
    """A few wishes one after the other, each given up after some steps, the last of them half done; then the last."""
    topology = first or data.draw(wishes)
    for _ in range(data.draw(st.integers(1, 3))):
        asked = Wish.of(topology)
        note(f"wish {topology}")
        for _ in range(data.draw(st.integers(1, 3))):
            steps = plan(world, asked)
            stop = data.draw(st.integers(0, len(steps)))
            for step in steps[:stop]:
                note(f"  {step.title}")
                do(world, asked, step)
            if stop < len(steps):
                part = data.draw(st.sampled_from(PARTS))
                note(f"  {part} of {steps[stop].title}")
                do(world, asked, steps[stop], part)
        topology = data.draw(wishes)
    note(f"wish {topology}")
    reach(world, Wish.of(topology))


@pytest.mark.parametrize(
    "topology",
    [
        wish("cluster", shards=3, replicas=1, zones=3),
        wish("replicated", replicas=2, zones=2),
        wish("sentinel", replicas=2, zones=3, sentinels=3),
        wish("standalone"),
    ],
)
def test_a_cache_that_is_as_wished_needs_no_step(topology: dict[str, Any]) -> None:
    world = nothing(topology["mode"])
    reach(world, Wish.of(topology))
    assert plan(world, Wish.of(topology)) == ()


@pytest.mark.parametrize("shards", [3, 6, 9])
def test_no_zone_holds_a_majority_of_the_primaries(shards: int) -> None:
    world = nothing("cluster")
    reach(world, Wish.of(wish("cluster", shards=shards, replicas=1, zones=3)))
    zones = Counter(m.zone for m in world.record.members if world.servers[m.name].role is Role.PRIMARY)
    assert max(zones.values()) == shards // 3


@pytest.mark.parametrize(("before", "after"), [(3, 4), (4, 3), (3, 6), (6, 3), (5, 4)])
def test_no_more_slots_move_than_must(before: int, after: int) -> None:
    world = nothing("cluster")
    reach(world, Wish.of(wish("cluster", shards=before, replicas=1, zones=3)))
    assert world.moved == 0
    steps = list(reach_step_by_step(world, Wish.of(wish("cluster", shards=after, replicas=1, zones=3))))
    due = SLOTS * abs(after - before) / max(before, after)
    assert abs(world.moved - due) <= 1
    moves = [step for step in steps if isinstance(step, MoveSlots)]
    assert sum(len(step.slots) for step in moves) == world.moved, "a slot was moved twice"
    reach(world, Wish.of(wish("cluster", shards=after, replicas=1, zones=3)))


def test_new_primaries_have_their_replicas_before_slots_move_to_them() -> None:
    world = nothing("cluster")
    reach(world, Wish.of(wish("cluster", shards=3, replicas=1, zones=3)))
    kinds = [type(s) for s in plan(world, Wish.of(wish("cluster", shards=4, replicas=1, zones=3)))]
    assert max(at for at, kind in enumerate(kinds) if kind is AttachReplica) < kinds.index(MoveSlots)


def test_a_shard_gives_its_slots_away_before_its_nodes_leave() -> None:
    world = nothing("cluster")
    reach(world, Wish.of(wish("cluster", shards=4, replicas=2, zones=3)))
    steps = plan(world, Wish.of(wish("cluster", shards=3, replicas=2, zones=3)))
    kinds = [type(step) for step in steps]
    assert max(at for at, kind in enumerate(kinds) if kind is MoveSlots) < kinds.index(RemoveNode)
    removed = [step.node for step in steps if isinstance(step, RemoveNode)]
    roles = [world.servers[name].role for name in removed]
    assert roles == [Role.REPLICA, Role.REPLICA, Role.PRIMARY]


def test_one_primary_keeps_its_place_from_standalone_to_sentinel_and_back() -> None:
    world = nothing("standalone")
    reach(world, Wish.of(wish("standalone", zones=3)))
    world.write()
    for topology in (
        wish("replicated", replicas=2, zones=3),
        wish("sentinel", replicas=2, zones=3, sentinels=3),
        wish("sentinel", replicas=3, zones=3, sentinels=5, quorum=3),
        wish("replicated", replicas=1, zones=3),
        wish("standalone", zones=3),
    ):
        for _ in reach_step_by_step(world, Wish.of(topology)):
            pass
        assert world.primary().name == "n1"
        assert world.record.mode == topology["mode"]


def test_a_name_is_never_given_twice() -> None:
    world = nothing("replicated")
    for replicas in (2, 1, 2, 1, 2):
        reach(world, Wish.of(wish("replicated", replicas=replicas)))
    assert [member.name for member in world.record.servers] == ["n1", "n2", "n5"]


@pytest.mark.parametrize("mode", ["cluster", "replicated", "sentinel"])
@pytest.mark.parametrize(
    "zones", [["east", "west"], ["zone-b", "zone-c", "zone-d"], ["zone-c", "zone-b", "zone-a"], ["one"]]
)
def test_zones_are_renamed_in_place(mode: str, zones: list[str]) -> None:
    asked: dict[str, Any] = {"replicas": 2}
    if mode == "cluster":
        asked["shards"] = 3
    world = nothing(mode)
    reach(world, Wish.of(wish(mode, zones=3, **asked)))
    steps = list(reach_step_by_step(world, Wish.of(wish(mode, zones=zones, **asked))))
    assert {type(step) for step in steps} <= {Relabel, SaveSpec}
    kept = {"zone-a", "zone-b", "zone-c"} & set(zones)
    relabelled = {step.node for step in steps if isinstance(step, Relabel)}
    if len(kept) == 3:
        assert not relabelled


def test_more_zones_than_before_are_taken_up() -> None:
    world = nothing("cluster")
    reach(world, Wish.of(wish("cluster", shards=3, replicas=1, zones=1)))
    reach(world, Wish.of(wish("cluster", shards=3, replicas=1, zones=3)))
    assert len({member.zone for member in world.record.members}) == 3


HOSTS = (
    HostPlace("east-1", ("east",)),
    HostPlace("east-2", ("east",)),
    HostPlace("west-1", ("west",)),
    HostPlace("west-2", ("west",)),
)


def test_nodes_are_spread_over_the_hosts_of_a_zone() -> None:
    world = nothing("cluster")
    asked = Wish.of(wish("cluster", shards=4, replicas=1, zones=["east", "west"]), hosts=HOSTS)
    reach(world, asked)
    assert Counter(m.host for m in world.record.members) == dict.fromkeys([h.name for h in HOSTS], 2)


def test_a_zone_that_the_hosts_renamed_is_written_down_for_their_nodes() -> None:
    world = nothing("replicated")
    before = Wish.of(wish("replicated", replicas=1, zones=["east", "west"]), hosts=HOSTS[1:3])
    reach(world, before)
    renamed = (HostPlace("east-2", ("orient",)), HostPlace("west-1", ("west",)))
    after = Wish.of(wish("replicated", replicas=1, zones=["orient", "west"]), hosts=renamed)
    steps = [step for step in plan(world, after) if isinstance(step, Relabel)]
    assert steps == [Relabel("n1", "orient")]
    reach(world, after)


def test_a_new_value_and_a_replica_less_in_one_wish() -> None:
    """The node that goes is left as it is."""
    world = nothing("replicated")
    reach(world, Wish.of(wish("replicated", replicas=2)))
    after = Wish.of(wish("replicated", replicas=1), memory={"maxmemory": "2gb"}, users="users-2")
    steps = plan(world, after)
    assert [step.node for step in steps if isinstance(step, SetConfig)] == ["n1", "n2"]
    assert [step.node for step in steps if isinstance(step, SetUsers)] == ["n1", "n2"]
    for _ in reach_step_by_step(world, after):
        pass
    assert {server.config["maxmemory"] for server in world.servers.values()} == {str(2 * GB)}


def test_the_firewall_is_set_when_it_is_not_what_was_asked_for() -> None:
    world = nothing("standalone")
    asked = Wish.of(wish("standalone"))
    reach(world, asked)
    world.guarded = False
    assert plan(world, asked) == (Guard(),)


@pytest.mark.parametrize(
    "topology",
    [
        wish("standalone"),
        wish("replicated", replicas=2),
        wish("sentinel", replicas=1),
        wish("cluster", shards=3, replicas=1),
    ],
)
def test_no_new_node_listens_before_the_filter_knows_its_port(topology: dict[str, Any]) -> None:
    world = nothing(topology["mode"])
    wanted = replace(Wish.of(topology).wanted(world), filtered=True)
    steps = topology_steps(wanted, world.seen())
    unknown: set[str] = set()
    for step in steps:
        if isinstance(step, AddNode):
            unknown.add(step.node)
        elif isinstance(step, Guard):
            unknown.clear()
        elif isinstance(step, StartNodes):
            assert not unknown & set(step.nodes)
    assert any(isinstance(step, StartNodes) for step in steps)


def test_a_spec_that_changes_nothing_on_the_nodes_is_remembered() -> None:
    world = nothing("standalone")
    reach(world, Wish.of(wish("standalone")))
    (only,) = plan(world, Wish.of(wish("standalone"), promises={}))
    assert isinstance(only, SaveSpec)


def test_certificates_that_end_are_renewed_first_and_only_on_nodes_that_run() -> None:
    world = nothing("replicated")
    asked = Wish.of(wish("replicated", replicas=1))
    reach(world, asked)
    wanted = replace(asked.wanted(world), stale_certificates=frozenset({"n1", "n2"}))
    assert topology_steps(wanted, world.seen()) == (RenewCertificates(("n1", "n2")),)
    world.kill("n2")
    assert topology_steps(wanted, world.seen())[0] == RenewCertificates(("n1",))
