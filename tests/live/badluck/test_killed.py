"""Nodes killed without a word: what comes back, what is refused, and what is said to be lost."""

from __future__ import annotations

import re
import time

import pytest
from tests.live.badluck.caches import (
    bring_up,
    call,
    copied,
    healthy,
    kill,
    let_die,
    node,
    node_folder,
    pids,
    power_cut,
    primary_of,
    read,
    refusal,
    roles,
    spec_text,
    write,
)
from tests.live.conftest import Bench, until

STREAMING_S = 1.2
"""A replica that has just been copied is sent what came since when it first reports, which it does every second."""
OTHERS = ("replicated", "sentinel")
FSYNCED_S = 2.1
"""After so long the append-only file of a write is on disk: everysec, and a second more at worst."""


@pytest.mark.parametrize(
    "mode", ["cluster", *(pytest.param(each, marks=pytest.mark.long) for each in OTHERS)]
)
def test_a_power_cut_loses_no_write_older_than_two_seconds(bench: Bench, mode: str) -> None:
    path = bring_up(bench, spec_text(mode=mode, persistence="aof"))
    before = roles(healthy(bench))
    kept = write(bench, "shop")
    time.sleep(FSYNCED_S)
    power_cut(bench)

    status = bench.run("status", "shop")
    assert status.code == 3
    assert "supervisor of local" in status.out
    assert "does not answer" in status.out

    bench.run("up", str(path), check=True)
    assert roles(healthy(bench)) == before
    assert read(bench, "shop", kept) == kept


def test_status_names_every_node_that_was_killed_and_how(bench: Bench) -> None:
    path = bring_up(bench, spec_text(mode="replicated", persistence="aof"))
    let_die(bench)
    for pid in pids(bench).values():
        kill(pid)
    status = until(lambda: (seen := bench.run("status", "shop")).out.count("SIGKILL") == 2 and seen)
    assert status.code == 3
    assert "error: n1 ended: it was killed (SIGKILL)" in status.out
    assert "holdfast up starts it" in status.out
    facts = bench.status("shop")
    assert [(each["severity"], each["node"]) for each in facts["problems"][:2]] == [
        ("error", "n1"),
        ("error", "n2"),
    ]
    bench.run("up", str(path), check=True)
    healthy(bench)


@pytest.mark.long
@pytest.mark.parametrize("mode", ["standalone", "cluster"])
def test_without_persistence_up_says_what_comes_back_empty(bench: Bench, mode: str) -> None:
    path = bring_up(bench, spec_text(mode=mode))
    kept = write(bench, "shop")
    power_cut(bench)
    done = bench.run("up", str(path), check=True)
    assert re.search(
        "back (empty|with nothing): none of", done.out
    )  # by up, or by the supervisor that was first
    healthy(bench)
    assert set(read(bench, "shop", kept).values()) == {None}


@pytest.mark.long
def test_an_older_snapshot_is_said_to_be_one(bench: Bench) -> None:
    path = bring_up(bench, spec_text(persistence="rdb"))
    saved = write(bench, "shop", 3, "saved")
    assert call(bench, "shop", "SAVE") == "OK"
    lost = write(bench, "shop", 3, "lost")
    power_cut(bench)
    done = bench.run("up", str(path), check=True)
    assert "n1 comes back with its snapshot of 20" in done.out
    assert read(bench, "shop", saved) == saved
    assert set(read(bench, "shop", lost).values()) == {None}


def test_down_says_that_a_cache_without_persistence_keeps_nothing(bench: Bench) -> None:
    path = bring_up(bench, spec_text())
    write(bench, "shop", 1)
    assert "its data is gone" in bench.run("down", "shop", check=True).out
    assert "n1 comes back empty" in bench.run("up", str(path), check=True).out
    bring_up(bench, spec_text("kept", persistence="rdb"), "kept.yaml")
    kept = write(bench, "kept", 2)
    assert "its data stays" in bench.run("down", "kept", check=True).out
    assert "empty" not in bench.run("up", "kept", check=True).out
    assert read(bench, "kept", kept) == kept


@pytest.mark.parametrize("persistence", ["rdb", pytest.param("none", marks=pytest.mark.long)])
def test_a_lone_primary_is_not_started_over_a_replica_that_holds_more(bench: Bench, persistence: str) -> None:
    path = bring_up(bench, spec_text(mode="replicated", persistence=persistence))
    kept = write(bench, "shop")
    if persistence == "rdb":
        assert call(bench, "shop", "SAVE") == "OK"
        kept |= write(bench, "shop", prefix="after")
    copied(bench, "shop", "n2", len(kept))
    let_die(bench)
    kill(pids(bench)["n1"])

    for verb in ("up", "plan"):
        words = ("n1 was not started", "n2 holds", "nothing was changed", "holdfast repair shop")
        refusal(bench.run(verb, str(path)), *words)
    facts = bench.status("shop")
    assert (node(facts, "n1")["pid"], node(facts, "n2")["keys"]) == (0, len(kept))

    shown = bench.run("repair", "shop")
    assert shown.code == 3
    assert "a restart would lose data" in shown.out
    assert "make n2 the primary in place of n1" in shown.out
    assert bench.run("repair", "shop", "--yes").code == 2  # without the name nothing is given up
    assert "n1" not in pids(bench)
    bench.run("repair", "shop", "--yes", "--confirm", "shop", check=True)
    assert roles(healthy(bench)) == {"n1": "replica", "n2": "primary"}
    assert read(bench, "shop", kept) == kept

    # The new order is kept: whoever was promoted is not a replica again after the next cold start.
    let_die(bench)
    call(bench, "shop", "SAVE", node="n2")
    power_cut(bench)
    bench.run("up", str(path), check=True)
    assert primary_of(healthy(bench)) == "n2"
    if persistence == "rdb":
        assert read(bench, "shop", kept) == kept


@pytest.mark.long
def test_a_lone_primary_with_its_own_data_is_started_again(bench: Bench) -> None:
    path = bring_up(bench, spec_text(mode="replicated", persistence="aof"))
    kept = write(bench, "shop")
    time.sleep(FSYNCED_S)
    let_die(bench)
    kill(pids(bench)["n1"])
    bench.run("up", str(path), check=True)
    assert primary_of(healthy(bench)) == "n1"
    assert read(bench, "shop", kept) == kept


@pytest.mark.parametrize("mode", ["cluster", pytest.param("sentinel", marks=pytest.mark.long)])
def test_a_killed_primary_comes_back_as_a_replica_of_the_elected_one(bench: Bench, mode: str) -> None:
    # Long enough that the engine alone has not elected anybody before `up` looks.
    path = bring_up(bench, spec_text(mode=mode).replace("node_timeout: 2s", "node_timeout: 10s"))
    kept = write(bench, "shop")
    time.sleep(STREAMING_S)
    let_die(bench)
    kill(pids(bench)["n1"])
    done = bench.run("up", str(path), check=True)
    assert "has taken the place of n1" in done.out
    facts = healthy(bench)
    assert node(facts, "n1")["role"] == "replica"
    assert node(facts, "n1")["primary"] in {"n2", "n3"}
    assert read(bench, "shop", kept) == kept


@pytest.mark.long
def test_without_a_majority_nothing_comes_back_empty(bench: Bench) -> None:
    path = bring_up(bench, spec_text(mode="cluster"))
    kept = write(bench, "shop")
    time.sleep(STREAMING_S)
    let_die(bench)
    lost = {name: pid for name, pid in pids(bench).items() if name in {"n1", "n3"}}
    for pid in lost.values():
        kill(pid)
    refusal(bench.run("up", str(path)), "n1 was not started", "holdfast repair shop", "nothing was changed")
    assert set(pids(bench)) == {"n2", "n4", "n5", "n6"}
    found = bench.run("repair", "shop", "--json").facts["findings"]
    assert [(each["fault"], each["keep"]) for each in found] == [("no majority", "n2"), ("no majority", "n4")]
    bench.run("repair", "shop", "--yes", "--confirm", "shop", check=True)
    healthy(bench)
    assert read(bench, "shop", kept) == kept


def test_a_cold_start_without_the_primarys_files_leaves_the_replicas_alone(bench: Bench) -> None:
    path = bring_up(bench, spec_text(mode="replicated", persistence="rdb"))
    kept = write(bench, "shop")
    copied(bench, "shop", "n2", len(kept))
    bench.run("down", "shop", check=True)
    snapshot = node_folder(bench, "n1") / "dump.rdb"
    content = snapshot.read_bytes()
    snapshot.unlink()
    refusal(bench.run("up", str(path)), "n1 was not started", "n2 has data on disk", "holdfast repair shop")
    assert pids(bench) == {}
    snapshot.write_bytes(content)
    bench.run("up", str(path), check=True)
    healthy(bench)
    assert read(bench, "shop", kept) == kept
