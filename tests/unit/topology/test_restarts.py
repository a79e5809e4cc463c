"""Which stopped nodes may start in the role they had: a primary never with less than its replica holds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from holdfast.engine.datafiles import DataFiles
from holdfast.spec.topology import Mode
from holdfast.topology.record import Kind
from holdfast.topology.restarts import RestartWouldLose, restarts
from holdfast.topology.seen import ProcessState, Reach, Role, SeenCache, SeenNode, SeenProcess
from holdfast.topology.slots import share

EMPTY = DataFiles(holds_keys=False, appended=False)
SNAPSHOT = DataFiles(
    holds_keys=True, appended=False, saved_offset=1000, written_at="2026-11-20T10:00:00+00:00"
)
APPENDED = DataFiles(holds_keys=True, appended=True, written_at="2026-11-20T10:00:00+00:00")
OF_N1 = DataFiles(holds_keys=True, appended=False, follows="127.0.0.1 7001")


def down(name: str, files: DataFiles | None, state: ProcessState = ProcessState.EXITED) -> SeenNode:
    kind = Kind.SENTINEL if name.startswith("s") else Kind.SERVER
    process = SeenProcess(state, files=files)
    return SeenNode(name, kind, "local", "a", "127.0.0.1", 7000 + int(name[-1]), process)


def up(
    name: str, *, follows: str = "", keys: int = 5, offset: int = 1000, shard: int | None = None
) -> SeenNode:
    role = Role.REPLICA if follows else Role.PRIMARY
    slots = frozenset[int]() if shard is None else share(shard, 3)
    node = replace(down(name, None), process=SeenProcess(ProcessState.RUNNING, 99), reach=Reach.UP, role=role)
    return replace(node, primary=follows, keys=keys, offset=offset, slots=slots)


def sentinel(name: str, watches: str) -> SeenNode:
    return replace(up(name), kind=Kind.SENTINEL, role=Role.SENTINEL, monitored=watches)


def judged(mode: Mode, *nodes: SeenNode) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    found = restarts(SeenCache("shop", nodes), mode)
    return found.start, tuple(dead.name for dead, _ in found.await_successor), found.notes


@pytest.mark.parametrize("files", [EMPTY, SNAPSHOT], ids=["empty", "an older snapshot"])
def test_a_lone_primary_is_not_started_with_less_than_its_replica_holds(files: DataFiles) -> None:
    replica = up("n2", follows="n1", keys=7, offset=9000)
    with pytest.raises(RestartWouldLose, match=r"n1 was not started.*holdfast repair shop") as lost:
        judged(Mode.REPLICATED, down("n1", files), replica)
    assert (lost.value.node, lost.value.holder, lost.value.keys) == ("n1", "n2", 7)


@pytest.mark.parametrize(
    ("files", "offset"),
    [(APPENDED, 9000), (SNAPSHOT, 1000), (SNAPSHOT, 1200)],
    ids=["append-only file", "snapshot as far as the replica", "pings only since"],
)
def test_a_primary_whose_files_hold_what_the_replica_does_starts(files: DataFiles, offset: int) -> None:
    replica = up("n2", follows="n1", offset=offset)
    assert judged(Mode.REPLICATED, down("n1", files), replica) == (("n1",), (), ())


def test_an_empty_replica_keeps_nobody_down() -> None:
    start, waiting, notes = judged(Mode.CLUSTER, down("n1", EMPTY), up("n2", follows="n1", keys=0))
    assert (start, waiting) == (("n1",), ())
    assert notes == ("n1 comes back empty: none of its data is on disk",)


def test_a_replica_starts_whatever_it_holds() -> None:
    assert judged(Mode.REPLICATED, up("n1"), down("n2", replace(OF_N1, holds_keys=False))) == (
        ("n2",),
        (),
        (),
    )


def test_nodes_that_never_ran_and_sentinels_start() -> None:
    start, _, notes = judged(Mode.SENTINEL, down("n1", None), down("s1", None))
    assert (start, notes) == (("n1", "s1"), ())


def test_who_comes_back_to_a_new_primary_loses_nothing() -> None:
    assert judged(Mode.REPLICATED, down("n1", EMPTY), up("n2")) == (("n1",), (), ())


@pytest.mark.parametrize("files", [EMPTY, SNAPSHOT, APPENDED], ids=["empty", "snapshot", "append-only"])
def test_a_cluster_elects_first_while_it_has_a_majority(files: DataFiles) -> None:
    others = (up("n3", shard=1), up("n5", shard=2), down("n6", OF_N1))
    start, waiting, _ = judged(Mode.CLUSTER, down("n1", files), up("n2", follows="n1"), *others)
    assert (start, waiting) == (("n6",), ("n1",))


def test_a_cluster_whose_majority_comes_back_whole_elects_the_others_heirs() -> None:
    nodes = (
        down("n1", SNAPSHOT),
        up("n2", follows="n1", offset=9000),
        down("n3", APPENDED),
        up("n4", follows="n3", offset=9000),
        up("n5", shard=2),
    )
    assert judged(Mode.CLUSTER, *nodes) == (("n3",), ("n1",), ())


def test_without_a_majority_an_older_snapshot_does_not_take_the_place_of_what_a_replica_holds() -> None:
    nodes = (
        down("n1", SNAPSHOT),
        up("n2", follows="n1", offset=9000),
        down("n3", SNAPSHOT),
        up("n4", follows="n3", offset=9000),
        up("n5", shard=2),
    )
    with pytest.raises(RestartWouldLose, match="holdfast repair shop") as lost:
        judged(Mode.CLUSTER, *nodes)
    assert (lost.value.node, lost.value.holder) == ("n1", "n2")
    assert "snapshot of 2026-11-20" in str(lost.value)


def test_without_a_majority_and_without_data_nothing_is_started() -> None:
    with pytest.raises(RestartWouldLose, match="holdfast repair shop"):
        judged(Mode.CLUSTER, down("n1", EMPTY), up("n2", follows="n1"), down("n3", EMPTY), up("n5", shard=2))


def test_sentinels_elect_first_while_they_have_a_majority() -> None:
    dead, replica = down("n1", EMPTY), up("n2", follows="n1")
    two = (sentinel("s1", "n1"), sentinel("s2", "n1"))
    assert judged(Mode.SENTINEL, dead, replica, *two, down("s3", None)) == (("s3",), ("n1",), ())
    with pytest.raises(RestartWouldLose):
        judged(Mode.SENTINEL, dead, replica, two[0], down("s2", None), down("s3", None))


def test_a_cold_start_without_the_primarys_files_does_not_wipe_the_replicas() -> None:
    with pytest.raises(RestartWouldLose, match="Start n2 first") as lost:
        judged(Mode.REPLICATED, down("n1", EMPTY), down("n2", OF_N1))
    assert lost.value.keys is None


def test_a_cold_start_says_what_comes_back_empty_or_old() -> None:
    stopped = down("n1", replace(SNAPSHOT, holds_keys=False), ProcessState.STOPPED)
    assert judged(Mode.STANDALONE, stopped)[2] == ()
    assert judged(Mode.STANDALONE, down("n1", EMPTY, ProcessState.STOPPED))[2] == (
        "n1 comes back empty: none of its data is on disk",
    )
    several = judged(Mode.CLUSTER, down("n1", EMPTY), down("n3", EMPTY), down("n5", APPENDED))
    assert several[2] == ("n1, n3 come back empty: none of their data is on disk",)
