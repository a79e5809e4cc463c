"""Nodes that are down, mute or empty, primaries that changed, moves that broke off: the plan mends and loses nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, note
from hypothesis import strategies as st
from tests.unit.topology.drive import Wish, do, few, many, plan, reach
from tests.unit.topology.model import KEYS, World
from tests.unit.topology.wishes import clusters, nothing, single_primaries, wish

from holdfast.errors import Refused
from holdfast.topology.plan import topology_steps
from holdfast.topology.record import Kind
from holdfast.topology.rules import NoPrimary, TwoPrimaries
from holdfast.topology.seen import MovingSlot, ProcessState, Reach, Role
from holdfast.topology.steps import (
    AddNode,
    AssignSlots,
    AttachReplica,
    AwaitOneOwner,
    AwaitSettled,
    JoinCluster,
    LookAgain,
    MoveSlots,
    RefreshSentinels,
    RemoveNode,
    StartNodes,
    TuneSentinel,
    Unmark,
    WatchPrimary,
)

CLUSTER = wish("cluster", shards=3, replicas=1, zones=3)
REPLICATED = wish("replicated", replicas=2, zones=3)
SENTINEL = wish("sentinel", replicas=2, zones=3, sentinels=3)
IN_MEMORY = {"persistence": {"rdb": {"enabled": False}}}


def brought_up(topology: dict[str, Any], **options: Any) -> World:
    """A cache that is what `topology` asks for, written to."""
    world = nothing(topology["mode"])
    reach(world, Wish.of(topology, **options))
    world.write()
    world.moved = 0
    return world


def steps_of(world: World, kind: type, topology: Mapping[str, Any], **options: Any) -> list[Any]:
    return [step for step in plan(world, Wish.of(topology, **options)) if isinstance(step, kind)]


# Nodes that do not answer


@pytest.mark.parametrize("topology", [CLUSTER, REPLICATED, SENTINEL, wish("standalone")])
@pytest.mark.parametrize("reach_seen", [Reach.SILENT, Reach.LOADING, Reach.DENIED])
def test_a_node_that_runs_and_does_not_answer_is_waited_for(
    topology: dict[str, Any], reach_seen: Reach
) -> None:
    world = brought_up(topology)
    for name in list(world.servers):
        trial = world.copy()
        trial.change(name, reach=reach_seen)
        # Whatever else is wished, nothing is done before the node is seen.
        other = {**topology, "zones": ["elsewhere", "yonder"]}
        (only,) = plan(trial, Wish.of(other))
        assert isinstance(only, LookAgain)
        assert name in only.why


@pytest.mark.parametrize("state", [ProcessState.EXITED, ProcessState.STOPPED, ProcessState.ABSENT])
def test_nodes_that_do_not_run_are_started_and_nothing_else_is_touched(state: ProcessState) -> None:
    world = brought_up(CLUSTER)
    for name in ("n1", "n4"):
        world.change(name, up=False, process=state)
    world.change("n2", reach=Reach.SILENT)
    start, look = plan(world, Wish.of(wish("cluster", shards=5, replicas=0, zones=1)))
    assert start == StartNodes(("n1", "n4"))
    assert isinstance(look, LookAgain)
    assert all(name in look.why for name in ("n1", "n2", "n4"))


@pytest.mark.parametrize("topology", [CLUSTER, REPLICATED, SENTINEL, wish("standalone")])
def test_all_nodes_killed_come_back_as_they_were(topology: dict[str, Any]) -> None:
    world = brought_up(topology)
    roles = {server.name: (server.role, server.follows, server.keys) for server in world.servers.values()}
    for name in list(world.servers):
        world.kill(name)
    assert [type(step) for step in reach(world, Wish.of(topology))] == [StartNodes, LookAgain]
    assert roles == {s.name: (s.role, s.follows, s.keys) for s in world.servers.values()}


@given(st.data())
@few
def test_accidents_between_any_two_steps_of_a_cluster(data: st.DataObject) -> None:
    accidents_between_steps(data, clusters(), cluster_accident)


@given(st.data())
@few
def test_accidents_between_any_two_steps_with_one_primary(data: st.DataObject) -> None:
    accidents_between_steps(data, single_primaries(), accident)


@pytest.mark.long
@given(st.data(), st.booleans())
@many
def test_many_accidents(data: st.DataObject, clustered: bool) -> None:
    if clustered:
        accidents_between_steps(data, clusters(), cluster_accident)
    else:
        accidents_between_steps(data, single_primaries(), accident)


def accidents_between_steps(
    data: st.DataObject,
    wishes: st.SearchStrategy[dict[str, Any]],
    befall: Callable[[st.DataObject, World], None],
) -> None:
    """Some steps of a plan, an accident, and again, with another wish or the same; then no more accidents."""
    topology = data.draw(wishes)
    world = nothing(topology["mode"])
    for _ in range(data.draw(st.integers(1, 3))):
        note(f"wish {topology}")
        steps = plan(world, Wish.of(topology))
        for step in steps[: data.draw(st.integers(0, len(steps)))]:
            do(world, Wish.of(topology), step)
        befall(data, world)
        if data.draw(st.booleans()):
            topology = data.draw(wishes)
    note(f"wish {topology}")
    reach(world, Wish.of(topology))


def cluster_accident(data: st.DataObject, world: World) -> None:
    servers = [each.name for each in world.servers.values() if each.up]
    if not servers:
        return
    name = data.draw(st.sampled_from(servers))
    server = world.servers[name]
    what = data.draw(st.sampled_from(["kill", "mute", "fail over", "half move", "lose"]))
    note(f"  {what} {name}")
    if what == "kill":
        world.kill(name)
    elif what == "mute":
        world.change(name, reach=Reach.SILENT)
    elif what == "fail over" and server.slots and world.followers(name, up=True):
        world.fail_over(name)
    elif what == "half move" and server.slots:
        targets = [each.name for each in world.of_kind(Kind.SERVER) if each.role is Role.PRIMARY]
        targets = [each for each in targets if each != name and server.node_id in world.servers[each].known]
        if targets:
            world.mark(min(server.slots), name, data.draw(st.sampled_from(targets)))
    elif what == "lose" and not server.slots and not world.followers(name):
        world.lose(name)


def accident(data: st.DataObject, world: World) -> None:
    servers = [each.name for each in world.servers.values() if each.up]
    if not servers:
        return
    name = data.draw(st.sampled_from(servers))
    server = world.servers[name]
    what = data.draw(st.sampled_from(["write", "kill", "mute", "fail over", "chain", "lose"]))
    note(f"  {what} {name}")
    if what == "write" and [each.up for each in world.of_kind(Kind.SERVER) if each.role is Role.PRIMARY] == [
        True
    ]:
        world.write()
    elif what == "kill":
        world.kill(name)
    elif what == "mute":
        world.change(name, reach=Reach.SILENT)
    elif what == "fail over" and server.role is Role.PRIMARY and world.followers(name, up=True):
        if any(each.monitored == name for each in world.servers.values()):
            world.fail_over(name)
    elif what == "chain" and server.role is Role.REPLICA:
        others = [each.name for each in world.of_kind(Kind.SERVER) if each.up and each.role is Role.REPLICA]
        others = [each for each in others if each != name and world.servers[each].follows != name]
        if others and not world.followers(name):
            world.change(name, follows=data.draw(st.sampled_from(others)))
    elif what == "lose" and server.role is not Role.PRIMARY and not world.followers(name):
        world.lose(name)


# One primary


def test_two_primaries_that_both_hold_keys_are_a_person_s_to_judge() -> None:
    world = brought_up(REPLICATED)
    world.change("n2", role=Role.PRIMARY, follows="")
    with pytest.raises(TwoPrimaries) as told:
        plan(world, Wish.of(REPLICATED))
    assert [name for name, _, _ in told.value.primaries] == ["n1", "n2"]
    assert "n1 has 100 keys" in str(told.value)
    assert "Nothing was changed" in str(told.value)


def test_a_primary_whose_replica_still_holds_keys_counts_though_it_is_empty_itself() -> None:
    world = brought_up(REPLICATED)
    world.change("n2", role=Role.PRIMARY, follows="", keys=0)
    world.change("n3", follows="n2", keys=KEYS)
    with pytest.raises(TwoPrimaries):
        plan(world, Wish.of(REPLICATED))


def test_an_empty_second_primary_is_attached() -> None:
    world = brought_up(REPLICATED)
    world.change("n2", role=Role.PRIMARY, follows="", keys=0)
    assert plan(world, Wish.of(REPLICATED)) == (AttachReplica("n2", "n1"), AwaitSettled())


def test_an_empty_second_primary_that_goes_is_attached_first() -> None:
    world = brought_up(REPLICATED)
    world.change("n3", role=Role.PRIMARY, follows="", keys=0)
    asked = {**REPLICATED, "replicas": 1}
    removed = steps_of(world, RemoveNode, asked)
    reach(world, Wish.of(asked))
    assert len(removed) == 1
    assert removed[0].node not in world.servers


def test_of_two_empty_primaries_the_one_that_is_followed_stays() -> None:
    world = nothing("replicated")
    reach(world, Wish.of(REPLICATED))
    world.lose("n1")
    world.change("n2", role=Role.PRIMARY, follows="")
    world.change("n3", follows="n2")
    world.change("n1", up=True, made=True, process=ProcessState.RUNNING, role=Role.PRIMARY)
    assert steps_of(world, AttachReplica, REPLICATED) == [AttachReplica("n1", "n2")]


def test_a_replica_of_a_replica_is_attached_to_the_primary() -> None:
    world = brought_up(REPLICATED)
    world.change("n3", follows="n2")
    assert plan(world, Wish.of(REPLICATED)) == (AttachReplica("n3", "n1"), AwaitSettled())


def test_a_replica_of_somebody_else_s_server_is_attached_to_the_primary() -> None:
    world = brought_up(REPLICATED)
    world.change("n3", follows="elsewhere")
    assert steps_of(world, AttachReplica, REPLICATED) == [AttachReplica("n3", "n1")]


def test_where_nobody_is_the_primary_nothing_is_done() -> None:
    world = brought_up(REPLICATED)
    world.change("n1", role=Role.REPLICA, follows="elsewhere")
    with pytest.raises(NoPrimary, match=r"has no primary.*holdfast repair"):
        plan(world, Wish.of({**REPLICATED, "replicas": 1}))


def test_a_replica_too_many_here_is_the_one_lacking_there() -> None:
    world = brought_up(CLUSTER)
    primaries = [each.name for each in world.of_kind(Kind.SERVER) if each.role is Role.PRIMARY]
    (moved,) = world.followers(primaries[0])
    world.change(moved, follows=primaries[1])
    steps = [step for step in plan(world, Wish.of(CLUSTER)) if not isinstance(step, AwaitSettled)]
    assert [type(step) for step in steps if step.name != "zone"] == [AttachReplica]
    assert any(isinstance(step, AttachReplica) and step.primary == primaries[0] for step in steps)
    reach(world, Wish.of(CLUSTER))


def test_the_most_lagging_replica_goes() -> None:
    world = brought_up(REPLICATED)
    seen = world.seen()
    lagging = {"n2": 5, "n3": 0}
    seen = replace(
        seen, nodes=tuple(replace(node, lag_bytes=lagging.get(node.name, 0)) for node in seen.nodes)
    )
    steps = topology_steps(Wish.of({**REPLICATED, "replicas": 1}).wanted(world), seen)
    assert [step.node for step in steps if isinstance(step, RemoveNode)] == ["n2"]


# Comebacks that would be empty


@pytest.mark.parametrize(
    ("topology", "way"),
    [(REPLICATED, "REPLICAOF NO ONE"), (SENTINEL, "Wait until n"), (CLUSTER, "Wait until n")],
)
def test_a_primary_that_was_only_in_memory_is_not_started_over_its_replica_s_keys(
    topology: dict[str, Any], way: str
) -> None:
    world = brought_up(topology, **IN_MEMORY)
    if topology is CLUSTER:
        for name in world.servers:
            world.change(name, keys=KEYS)
    world.kill("n1")
    with pytest.raises(Refused, match=f"would come back empty.*{way}"):
        plan(world, Wish.of(topology, **IN_MEMORY))
    assert isinstance(plan(world, Wish.of(topology))[0], StartNodes), "with a snapshot on disk it may start"
    heir = world.fail_over("n1")
    assert plan(world, Wish.of(topology, **IN_MEMORY))[0] == StartNodes(("n1",))
    reach(world, Wish.of(topology, **IN_MEMORY))
    assert world.servers["n1"].follows == heir


def test_a_replica_that_was_only_in_memory_may_start() -> None:
    world = brought_up(REPLICATED, **IN_MEMORY)
    world.kill("n2")
    assert plan(world, Wish.of(REPLICATED, **IN_MEMORY))[0] == StartNodes(("n2",))


# Clusters


def test_a_failover_of_the_source_in_the_middle_of_a_move_moves_on_from_its_heir() -> None:
    world, asked = half_grown()
    slot = next(iter(world.servers["n1"].moving)).slot
    heir = world.fail_over("n1")
    done = reach(world, asked)
    moves = [step for step in done if isinstance(step, MoveSlots)]
    assert moves[0] == MoveSlots(heir, "n7", frozenset({slot}))


def test_a_failover_of_the_target_in_the_middle_of_a_move_moves_on_to_its_heir() -> None:
    world, asked = half_grown()
    slot = next(iter(world.servers["n1"].moving)).slot
    heir = world.fail_over("n7")
    moves = [step for step in reach(world, asked) if isinstance(step, MoveSlots)]
    assert moves[0] == MoveSlots("n1", heir, frozenset({slot}))


def half_grown() -> tuple[World, Wish]:
    """Three shards on their way to four, stopped inside the first move."""
    world = brought_up(CLUSTER)
    asked = Wish.of({**CLUSTER, "shards": 4})
    for step in plan(world, asked):
        if isinstance(step, MoveSlots):
            assert (step.source, step.target) == ("n1", "n7")
            do(world, asked, step, 0.5)
            return world, asked
        do(world, asked, step)
    raise AssertionError("no move in the plan")


@pytest.mark.parametrize("marked_at", ["both", "source", "target"])
def test_a_half_moved_slot_goes_on_in_its_direction(marked_at: str) -> None:
    world = brought_up(CLUSTER)
    world.mark(7, "n1", "n3")
    if marked_at != "both":
        world.change("n3" if marked_at == "source" else "n1", moving=())
    first = plan(world, Wish.of(CLUSTER))[0]
    assert first == MoveSlots("n1", "n3", frozenset({7}))
    reach(world, Wish.of(CLUSTER))


def test_a_half_moved_slot_that_was_then_sent_elsewhere_leaves_no_mark_at_its_first_target() -> None:
    world = brought_up(CLUSTER)
    world.mark(7, "n1", "n3")
    world.mark(7, "n1", "n5")
    steps = plan(world, Wish.of(CLUSTER))
    assert steps[0] == MoveSlots("n1", "n5", frozenset({7}))
    assert Unmark("n3", frozenset({7})) in steps
    reach(world, Wish.of(CLUSTER))


def test_a_slot_that_its_target_owns_already_has_only_its_mark_taken_away() -> None:
    world = brought_up(CLUSTER)
    world.mark(7, "n1", "n3")
    world.change("n1", slots=world.servers["n1"].slots - {7})
    world.change("n3", slots=world.servers["n3"].slots | {7}, moving=())
    assert steps_of(world, MoveSlots, CLUSTER)[0] == MoveSlots("n1", "n3", frozenset({7}))
    reach(world, Wish.of(CLUSTER))


@pytest.mark.parametrize("mark", [MovingSlot(7, target="nobody"), MovingSlot(7, source="nobody")])
def test_a_mark_towards_a_node_that_is_none_of_ours_moves_nothing(mark: MovingSlot) -> None:
    world = brought_up(CLUSTER)
    world.change("n1", moving=(mark,))
    assert plan(world, Wish.of(CLUSTER)) == (Unmark("n1", frozenset({7})),)
    reach(world, Wish.of(CLUSTER))


def test_a_mark_about_a_slot_that_a_third_node_owns_moves_nothing() -> None:
    world = brought_up(CLUSTER)
    slot = max(world.servers["n5"].slots)
    world.mark(slot, "n1", "n3")
    assert plan(world, Wish.of(CLUSTER)) == (Unmark("n1", frozenset({slot})), Unmark("n3", frozenset({slot})))


def test_two_that_claim_the_same_slots_are_waited_for_and_lose_none() -> None:
    """A primary that was replaced while it was down claims its slots until it hears of that."""
    world = brought_up(CLUSTER)
    heir = world.followers("n3")[0]
    world.change(heir, role=Role.PRIMARY, follows="", slots=world.servers["n3"].slots)
    assert plan(world, Wish.of(CLUSTER)) == (
        AwaitOneOwner("n3", heir, world.servers["n3"].slots),
        LookAgain("whose the slots are decides what is to be done"),
    )


def test_slots_whose_owner_lost_its_disk_get_owners_again() -> None:
    asked = wish("cluster", shards=3, replicas=0, zones=3)
    world = brought_up(asked)
    lost = world.servers["n2"].slots
    world.lose("n2")
    done = reach(world, Wish.of(asked))
    assert frozenset().union(*(step.slots for step in done if isinstance(step, AssignSlots))) == lost
    assert not [step for step in done if isinstance(step, AddNode | RemoveNode)]


def test_slots_without_an_owner_are_not_given_away_while_a_stranger_may_own_them() -> None:
    world = brought_up(CLUSTER)
    world.change("n1", slots=frozenset())
    world.strangers = {"0123456789abcdef": "10.0.0.9 7000"}
    with pytest.raises(Refused, match=r"01234567 at 10\.0\.0\.9 7000") as told:
        plan(world, Wish.of(CLUSTER))
    assert "5461 slots" in str(told.value)


def test_a_stranger_that_owns_nothing_is_left_alone() -> None:
    world = brought_up(CLUSTER)
    world.strangers = {"0123456789abcdef": "10.0.0.9 7000"}
    assert plan(world, Wish.of(CLUSTER)) == ()


def test_a_cluster_of_which_every_disk_is_lost_is_formed_anew() -> None:
    world = brought_up(CLUSTER)
    for name in list(world.servers):
        world.lose(name)
    reach(world, Wish.of(CLUSTER))


def test_only_nodes_outside_the_cluster_are_introduced_to_it() -> None:
    world = brought_up(CLUSTER)
    world.lose("n4")
    joins = [step for step in reach(world, Wish.of(CLUSTER)) if isinstance(step, JoinCluster)]
    assert joins == [JoinCluster(("n4",))]


def test_a_replica_whose_removal_was_begun_is_the_one_that_goes() -> None:
    world = brought_up({**CLUSTER, "replicas": 2})
    fewer = Wish.of({**CLUSTER, "replicas": 1})
    first = next(step for step in plan(world, fewer) if isinstance(step, RemoveNode))
    do(world, fewer, first, 0.5)  # stopped and forgotten; its files are still there
    again = steps_of(world, RemoveNode, fewer.topology)
    assert again == []  # it must answer first
    removed = [step.node for step in reach(world, fewer) if isinstance(step, RemoveNode)]
    assert removed.count(first.node) == 1
    assert len(removed) == 3
    assert not [step for step in plan(world, fewer) if isinstance(step, JoinCluster)]


# Sentinels


def test_a_sentinel_that_watches_the_wrong_primary_is_told() -> None:
    world = brought_up(SENTINEL)
    world.change("sentinel-2", monitored="n2")
    assert plan(world, Wish.of(SENTINEL)) == (WatchPrimary("sentinel-2", "n1"),)
    world.change("sentinel-2", monitored="")
    assert plan(world, Wish.of(SENTINEL)) == (WatchPrimary("sentinel-2", "n1"),)


def test_a_sentinel_with_other_settings_is_tuned_in_those() -> None:
    world = brought_up(SENTINEL)
    settings_of = world.servers["sentinel-3"].settings
    world.change("sentinel-3", settings={**settings_of, "quorum": "3", "failover-timeout": "1"})
    (tune,) = plan(world, Wish.of(SENTINEL))
    assert tune == TuneSentinel("sentinel-3", {"quorum": "2", "failover-timeout": "30000"})


def test_sentinels_too_many_go_before_anything_they_watch_changes() -> None:
    world = brought_up({**SENTINEL, "sentinels": 5, "quorum": 3})
    steps = plan(world, Wish.of({**SENTINEL, "replicas": 1}))
    removed = [step.node for step in steps if isinstance(step, RemoveNode)]
    assert removed[:2] == ["sentinel-4", "sentinel-5"]
    assert len(removed) == 3
    assert RefreshSentinels() in steps


def test_sentinels_that_still_count_nodes_that_are_gone_are_made_to_forget_them() -> None:
    world = brought_up(SENTINEL)
    fewer = Wish.of({**SENTINEL, "replicas": 1})
    for step in plan(world, fewer):
        if isinstance(step, RefreshSentinels):
            break  # interrupted just before it
        do(world, fewer, step)
    assert RefreshSentinels() in plan(world, fewer)
    reach(world, fewer)
    for sentinel in world.of_kind(Kind.SENTINEL):
        assert len(sentinel.replicas) == 1


def test_a_failover_by_the_sentinels_is_accepted_as_it_is() -> None:
    world = brought_up(SENTINEL)
    heir = world.fail_over("n1")
    done = reach(world, Wish.of(SENTINEL))
    assert [type(step) for step in done] == [StartNodes, LookAgain]
    assert world.primary().name == heir
