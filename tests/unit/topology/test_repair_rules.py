"""What a repair finds, which side it would keep, and that what needs no person is not called broken."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from holdfast.engine.datafiles import DataFiles
from holdfast.spec.topology import Mode
from holdfast.topology.record import Kind
from holdfast.topology.repair_rules import Fault, Finding, diagnose
from holdfast.topology.seen import ProcessState, Reach, Role, SeenCache, SeenNode, SeenProcess
from holdfast.topology.slots import ALL_SLOTS
from holdfast.topology.steps import StartNodes
from holdfast.topology.steps_repair import GiveUp, GiveUpSlots, SaveAside, TakeOver

EMPTY = DataFiles(holds_keys=False, appended=False)
SNAPSHOT = DataFiles(holds_keys=True, appended=False, saved_offset=10, written_at="2026-11-20T10:00:00+00:00")


def node(name: str, **fields: Any) -> SeenNode:
    up: dict[str, Any] = {
        "reach": Reach.UP,
        "role": Role.PRIMARY,
        "process": SeenProcess(ProcessState.RUNNING, 1),
    }
    port = 7000 + int(name.strip("abcdefghijklmnopqrstuvwxyz"))
    return SeenNode(name, Kind.SERVER, "local", "a", "127.0.0.1", port, **(up | fields))


def replica(name: str, of: str, **fields: Any) -> SeenNode:
    return node(name, role=Role.REPLICA, primary=of, link_up=True, **fields)


def dead(name: str, files: DataFiles | None) -> SeenNode:
    state = ProcessState.EXITED if files else ProcessState.UNKNOWN
    return node(name, reach=Reach.DOWN, role=Role.UNKNOWN, process=SeenProcess(state, 0, "killed", files))


def found(mode: Mode, *nodes: SeenNode, keep: str = "") -> tuple[Finding, ...]:
    return diagnose(SeenCache("shop", nodes), mode, keep)


def test_a_whole_cache_has_nothing_to_repair() -> None:
    assert found(Mode.REPLICATED, node("n1", keys=5), replica("n2", "n1", keys=5)) == ()
    spread = [frozenset(range(8000)), frozenset(range(8000, 12000)), ALL_SLOTS - frozenset(range(12000))]
    assert (
        found(
            Mode.CLUSTER, *(node(f"n{at}", slots=slots, node_id=f"id{at}") for at, slots in enumerate(spread))
        )
        == ()
    )


def test_an_empty_second_primary_is_no_side() -> None:
    assert found(Mode.REPLICATED, node("n1", keys=5), node("n2")) == ()


@pytest.mark.parametrize(("keep", "kept", "lost"), [("", "n1", "n2"), ("n2", "n2", "n1"), ("n9", "n1", "n2")])
def test_of_two_primaries_the_losing_one_is_saved_before_it_gives_up(keep: str, kept: str, lost: str) -> None:
    (finding,) = found(
        Mode.REPLICATED,
        node("n1", keys=9, offset=90),
        node("n2", keys=5, offset=99),
        replica("n3", "n1", keys=9),
        keep=keep,
    )
    assert finding.fault is Fault.TWO_PRIMARIES
    assert finding.keep == kept
    assert finding.steps == (SaveAside(lost), GiveUp(lost, kept))
    assert finding.choice
    assert lost in finding.loses
    assert {side.node: (side.keys, side.offset) for side in finding.sides} == {"n1": (9, 90), "n2": (5, 99)}


def test_two_owners_of_a_slot_are_told_with_the_slots_that_both_claim() -> None:
    nodes = (
        node("n1", slots=frozenset(range(100)), node_id="a", known=frozenset("ac"), keys=3),
        node("n2", slots=frozenset(range(50, 200)), node_id="b", known=frozenset("b"), keys=4),
        node("n3", slots=ALL_SLOTS - frozenset(range(200)), node_id="c", known=frozenset("ac")),
    )
    (finding,) = found(Mode.CLUSTER, *nodes)
    assert finding.fault is Fault.TWO_OWNERS
    assert finding.keep == "n1", "most nodes know it"
    assert finding.steps == (SaveAside("n2"), GiveUpSlots("n2", "n1", frozenset(range(50, 100))))
    assert "slots 50-99" in finding.what


def test_two_nodes_with_one_id_are_told_and_nothing_is_done_to_them() -> None:
    twins = [node(name, slots=frozenset({at}), node_id="a" * 40) for at, name in enumerate(("n1", "n2"))]
    (finding,) = found(Mode.CLUSTER, *twins)
    assert finding.fault is Fault.SAME_ID
    assert finding.steps == ()


def test_where_nobody_is_the_primary_the_furthest_is_made_it() -> None:
    (finding,) = found(
        Mode.REPLICATED, replica("n1", "n2", offset=5, keys=3), replica("n2", "n1", offset=9, keys=3)
    )
    assert (finding.fault, finding.keep) == (Fault.NO_PRIMARY, "n2")
    assert isinstance(finding.steps[0], TakeOver)
    assert finding.choice


def test_a_primary_whose_files_hold_less_is_replaced_by_the_one_that_holds_more() -> None:
    (finding,) = found(Mode.REPLICATED, dead("n1", EMPTY), replica("n2", "n1", keys=7, offset=500))
    assert finding.fault is Fault.WOULD_LOSE
    assert finding.steps == (TakeOver("n2", "n1"),)
    assert finding.loses
    follows = replace(SNAPSHOT, follows="127.0.0.1 7001")
    (cold,) = found(Mode.REPLICATED, dead("n1", EMPTY), dead("n2", follows))
    assert cold.steps == (StartNodes(("n2",)), TakeOver("n2", "n1"))


def test_without_a_majority_replicas_stand_in_and_with_one_the_vote_is_named() -> None:
    slots = [frozenset(range(100)), frozenset(range(100, 200)), ALL_SLOTS - frozenset(range(200))]
    living = node("n5", slots=slots[2], node_id="e")
    two_dead = (
        dead("n1", EMPTY),
        dead("n3", SNAPSHOT),
        living,
        replica("n2", "n1", keys=3),
        replica("n4", "n3", keys=3, offset=9000),
    )
    assert [(each.fault, each.keep) for each in found(Mode.CLUSTER, *two_dead)] == [
        (Fault.NO_MAJORITY, "n2"),
        (Fault.NO_MAJORITY, "n4"),
    ]
    one_dead = (
        dead("n1", EMPTY),
        node("n3", slots=slots[1], node_id="c"),
        living,
        replica("n2", "n1", keys=3),
    )
    (finding,) = found(Mode.CLUSTER, *one_dead)
    assert finding.fault is Fault.NOT_REPLACED


def test_a_cold_start_tells_what_each_would_come_back_with() -> None:
    (finding,) = found(Mode.STANDALONE, dead("n1", SNAPSHOT))
    assert finding.fault is Fault.DOWN
    assert finding.steps == (StartNodes(("n1",), finding.steps[0].notes),)  # type: ignore[attr-defined]
    assert "written after it is lost" in finding.loses
    assert "snapshot of 2026-11-20" in finding.sides[0].has
    whole = replace(SNAPSHOT, appended=True)
    (finding,) = found(Mode.STANDALONE, dead("n1", whole))
    assert finding.loses == ""
