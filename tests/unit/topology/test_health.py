"""What status says is wrong: one table row for each thing that can be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.topology.drive import Wish, reach
from tests.unit.topology.wishes import nothing, wish

from holdfast.topology.health import Problem, Severity, problems
from holdfast.topology.record import Kind
from holdfast.topology.seen import MovingSlot, ProcessState, Reach, Role, SeenCache, SeenProcess

CLUSTER = wish("cluster", shards=3, replicas=1, zones=3)
REPLICATED = wish("replicated", replicas=1, zones=2)
SENTINEL = wish("sentinel", replicas=1, zones=2)
TOPOLOGIES = {"cluster": CLUSTER, "replicated": REPLICATED, "sentinel": SENTINEL}


def whole(mode: str) -> SeenCache:
    world = nothing(mode)
    reach(world, Wish.of(TOPOLOGIES[mode]))
    return world.seen()


def with_node(seen: SeenCache, name: str, **fields: Any) -> SeenCache:
    return replace(
        seen,
        nodes=tuple(replace(node, **fields) if node.name == name else node for node in seen.nodes),
    )


def found(seen: SeenCache, mode: str) -> list[Problem]:
    world = nothing(mode)
    return list(problems(seen, Wish.of(TOPOLOGIES[mode]).wanted(world).topology))


@pytest.mark.parametrize("mode", TOPOLOGIES)
def test_a_whole_cache_has_no_problem(mode: str) -> None:
    assert found(whole(mode), mode) == []


DOWN = {"reach": Reach.DOWN, "words": "connection refused", "role": Role.UNKNOWN, "slots": frozenset()}
ENDED = SeenProcess(ProcessState.EXITED, 0, "killed by signal 9")


@pytest.mark.parametrize(
    ("mode", "node", "fields", "severity", "says"),
    [
        ("replicated", "n2", DOWN | {"primary": ""}, "error", "connection refused"),
        ("replicated", "n2", DOWN | {"primary": "", "process": ENDED}, "error", "ended: killed by signal 9"),
        (
            "replicated",
            "n2",
            DOWN | {"primary": "", "process": SeenProcess(ProcessState.STOPPED)},
            "error",
            "is stopped",
        ),
        ("replicated", "n2", {"reach": Reach.LOADING}, "error", "loading its data set"),
        ("replicated", "n2", {"reach": Reach.SILENT, "words": "no answer"}, "error", "no answer"),
        ("replicated", "n2", {"reach": Reach.DENIED, "words": "WRONGPASS"}, "error", "let Holdfast in"),
        ("replicated", "n2", {"persistence_error": "the last snapshot failed"}, "warning", "last snapshot"),
        ("replicated", "n2", {"link_up": False}, "warning", "not in sync with n1"),
        ("replicated", "n2", {"link_up": False, "syncing": True}, "warning", "(copying)"),
        ("replicated", "n2", {"zone": "zone-a"}, "warning", "is in zone zone-a, as its primary n1"),
        ("replicated", "n2", {"primary": ""}, "warning", "none of this cache's"),
        ("replicated", "n2", {"role": Role.PRIMARY, "primary": ""}, "error", "has 2 primaries (n1, n2)"),
        ("replicated", "n1", {"role": Role.REPLICA}, "error", "has 0 primaries (none)"),
        ("sentinel", "sentinel-1", {"monitored": ""}, "warning", "watches no node"),
        ("sentinel", "sentinel-1", {"monitored": "n2"}, "warning", "takes n2 for the primary"),
        ("cluster", "n1", {"cluster_ok": False}, "error", "not ok"),
        ("cluster", "n1", {"moving": (MovingSlot(7, target="x"),)}, "warning", "1 slots half moved"),
        ("cluster", "n1", DOWN, "error", "5461 of 16384 slots are served by nobody"),
    ],
)
def test_each_thing_that_can_be_wrong_is_told(
    mode: str, node: str, fields: dict[str, Any], severity: str, says: str
) -> None:
    told = [each for each in found(with_node(whole(mode), node, **fields), mode) if says in each.what]
    assert len(told) == 1
    assert told[0].severity == severity
    assert told[0].node in {node, ""}
    assert told[0].mend


def test_a_node_that_is_shut_is_opened_by_what_works_from_outside() -> None:
    """`up` is not let in either, so it is not what is told."""
    seen = with_node(whole("replicated"), "n2", reach=Reach.DENIED, words="WRONGPASS.")
    told = next(each for each in found(seen, "replicated") if each.node == "n2")
    assert "(WRONGPASS)" in told.what
    assert f"holdfast call --node n2 {seen.name} ACL LOAD" in told.mend
    assert "kill -9" in told.mend
    assert "holdfast up" not in told.mend


def test_a_primary_with_fewer_replicas_than_asked_for_is_told() -> None:
    seen = whole("replicated")
    fewer = replace(seen, nodes=tuple(node for node in seen.nodes if node.name != "n2"))
    (told,) = found(fewer, "replicated")
    assert (told.node, told.what) == ("n1", "has 0 of 1 replicas in sync")


def test_a_stranger_in_the_cluster_is_told_with_its_address() -> None:
    seen = replace(whole("cluster"), strangers={"0123456789abcdef": "10.0.0.9 7000"})
    (told,) = found(seen, "cluster")
    assert told.severity is Severity.WARNING
    assert "01234567 at 10.0.0.9 7000" in told.what


def test_a_sentinel_is_not_judged_while_no_primary_is_seen() -> None:
    seen = with_node(whole("sentinel"), "n1", **DOWN)
    assert not [each for each in found(seen, "sentinel") if each.node.startswith("sentinel")]
    assert {node.name for node in seen.nodes if node.kind is Kind.SENTINEL} == {
        "sentinel-1",
        "sentinel-2",
        "sentinel-3",
    }
