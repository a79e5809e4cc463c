"""What dies is replaced or comes back by itself, and what is lost is what the mode's durability says."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from tests.live.conftest import Bench, until
from tests.live.supervisor.guarded import (
    HANG_S,
    KEPT,
    NOTHING_KEPT,
    SNAPSHOTS,
    UNVOTED,
    await_health,
    events,
    shards_of,
    up,
)
from tests.live.supervisor.ledger import Way, Writers


@pytest.mark.parametrize(
    "engine", ["valkey-9.1", "valkey-8.0", pytest.param("redis-7.0", marks=pytest.mark.long)]
)
def test_a_killed_primary_is_replaced_at_once_and_loses_nothing_that_reached_a_replica(
    bench: Bench, engine: str
) -> None:
    way = up(bench, engine, "cluster")
    shard = shards_of(bench)[0]
    with Writers(way, [shard["primary"], *shard["replicas"]], shard["slots"], wait=1) as writers:
        time.sleep(1.0)
        os.kill(bench.pids()[shard["primary"]], signal.SIGKILL)
        until(lambda: any(way.roles()[name] == "master" for name in shard["replicas"]), bound_s=HANG_S)
        time.sleep(1.5)
    assert writers.lost() == 0
    assert writers.longest_gap_s < HANG_S
    (failover,) = events(bench, "failover")
    assert failover["node"] == shard["primary"]
    assert failover["heir"] in shard["replicas"]
    assert failover["elected_ms"] < HANG_S * 1000
    await_health(bench, 30)
    assert bench.run("plan", "shop").code == 0


def named_by_sentinels(bench: Bench, way: Way) -> set[tuple[str, int]]:
    """Where each of them says now that the primary is."""
    found = set()
    for each in bench.record("shop")["members"]:
        if each["kind"] == "sentinel":
            settings: dict[str, Any] = way.settings
            with redis.Redis(host=each["address"], port=each["port"], **settings) as sentinel:
                host, port = sentinel.sentinel_get_master_addr_by_name("shop")
            found.add((str(host), int(port)))
    return found


@pytest.mark.parametrize(
    ("engine", "mode"),
    [
        ("valkey-9.1", "replicated"),
        ("valkey-9.1", "sentinel"),
        pytest.param("redis-7.0", "replicated", marks=pytest.mark.long),
        pytest.param("redis-7.0", "sentinel", marks=pytest.mark.long),
    ],
)
def test_a_killed_primary_of_one_shard_is_replaced_by_its_best_replica(
    bench: Bench, engine: str, mode: str
) -> None:
    way = up(bench, engine, mode, replicas=2)
    shard = shards_of(bench)[0]
    with Writers(way, [shard["primary"], *shard["replicas"]], None, wait=1) as writers:
        time.sleep(1.0)
        os.kill(bench.pids()[shard["primary"]], signal.SIGKILL)
        until(lambda: any(way.roles()[name] == "master" for name in shard["replicas"]), bound_s=HANG_S)
        (failover,) = until(lambda: events(bench, "failover"), bound_s=HANG_S)
        if mode == "sentinel":  # left alone, they need a second to find out
            assert named_by_sentinels(bench, way) == {way.members[failover["heir"]]}
            assert failover["told_ms"] >= failover["elected_ms"]
        time.sleep(1.5)
    until(lambda: way.roles()[shard["primary"]] == "slave", bound_s=20)
    assert writers.lost() == 0
    assert list(way.roles().values()).count("master") == 1
    await_health(bench, 30)
    outcome = bench.run("plan", "shop")
    assert outcome.code == 0, outcome.out


def test_a_halted_primary_is_killed_before_another_takes_its_place(bench: Bench) -> None:
    way = up(bench, "valkey-9.1", "cluster")
    shard = shards_of(bench)[0]
    pid = bench.pids()[shard["primary"]]
    with Writers(way, [shard["primary"], *shard["replicas"]], shard["slots"]) as writers:
        time.sleep(0.5)
        os.kill(pid, signal.SIGSTOP)
        until(lambda: any(way.roles()[name] == "master" for name in shard["replicas"]), bound_s=HANG_S)
        time.sleep(1.0)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
    (killed,) = events(bench, "killed")
    assert "halted" in killed["why"]
    assert writers.longest_gap_s < HANG_S
    await_health(bench, 30)


def test_replicas_and_sentinels_that_die_are_started_again(bench: Bench) -> None:
    way = up(bench, "valkey-9.1", "sentinel", replicas=2)
    shard = shards_of(bench)[0]
    before = bench.pids()
    for name in (shard["replicas"][0], "sentinel-2"):
        os.kill(before[name], signal.SIGKILL)
    await_health(bench, 30)
    after = bench.pids()
    assert after[shard["replicas"][0]] != before[shard["replicas"][0]]
    assert after["sentinel-2"] != before["sentinel-2"]
    assert way.primaries() == [shard["primary"]] or way.roles()[shard["primary"]] == "master"
    assert events(bench, "failover") == []


@pytest.mark.parametrize(
    "mode", ["cluster", *(pytest.param(mode, marks=pytest.mark.long) for mode in ("replicated", "sentinel"))]
)
def test_all_nodes_killed_at_once_come_back_alone_with_what_was_written_to_disk(
    bench: Bench, mode: str
) -> None:
    way = up(bench, "valkey-9.1", mode, persistence=KEPT, timeout="5s")
    shard = shards_of(bench)[0]
    writers = Writers(way, [shard["primary"], *shard["replicas"]], shard["slots"])
    with writers:
        time.sleep(4.0)
        killed_s = time.monotonic()
        for pid in bench.pids().values():
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.5)
    await_health(bench, 60)
    assert writers.lost(before_s=killed_s - 2.5) == 0
    assert writers.acknowledged > 100
    assert bench.run("plan", "shop").code == 0


def test_two_of_three_primaries_killed_at_once_come_back(bench: Bench) -> None:
    way = up(bench, "redis-7.0", "cluster", persistence=KEPT, timeout="5s")
    shards = shards_of(bench)
    pids = bench.pids()
    with Writers(way, [shards[2]["primary"], *shards[2]["replicas"]], shards[2]["slots"], wait=1) as writers:
        time.sleep(0.5)
        for shard in shards[:2]:
            os.kill(pids[shard["primary"]], signal.SIGKILL)
        await_health(bench, 60)
    assert writers.lost() == 0


@contextlib.contextmanager
def both(way: Way, shards: list[dict[str, Any]]) -> Iterator[list[Writers]]:
    """Writers to the first two shards, each acknowledged by a replica."""
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(Writers(way, [one["primary"], *one["replicas"]], one["slots"], wait=1))
            for one in shards[:2]
        ]


def kill_two_primaries(bench: Bench) -> None:
    shards, pids = shards_of(bench), bench.pids()
    for shard in shards[:2]:
        os.kill(pids[shard["primary"]], signal.SIGKILL)


@pytest.mark.long
@pytest.mark.parametrize("kept", [NOTHING_KEPT, SNAPSHOTS], ids=["nothing", "an old snapshot"])
@pytest.mark.parametrize("engine", ["valkey-9.1", "redis-7.0"])
def test_where_no_vote_can_be_won_and_no_disk_holds_what_they_had_a_person_decides(
    bench: Bench, engine: str, kept: str
) -> None:
    way = up(bench, engine, "cluster", persistence=kept, timeout="5s")
    shards = shards_of(bench)
    heirs = [name for shard in shards[:2] for name in shard["replicas"]]
    with both(way, shards) as writers:
        if kept == SNAPSHOTS:
            for shard in shards[:2]:
                with way.node(shard["primary"]) as node:
                    node.save()
        time.sleep(1.0)
        kill_two_primaries(bench)
        refused = until(lambda: len(each := events(bench, "refused")) >= 2 and each, bound_s=30)
        assert all(event["instead"] == "holdfast repair shop" for event in refused)
        assert all("only a person" in event["why"] for event in refused)
        time.sleep(3.0)
        assert {way.roles()[name] for name in heirs} == {"slave"}
        up_again = bench.run("up", "shop")
        assert up_again.code == 1, up_again.out
        assert "holdfast repair shop" in up_again.err
        bench.run("repair", "shop", "--yes", "--confirm", "shop", check=True)
        await_health(bench, 60)
    assert [each.lost() for each in writers] == [0, 0]
    assert bench.run("plan", "shop").code == 0


@pytest.mark.long
@pytest.mark.parametrize("engine", ["valkey-9.1", "redis-7.0"])
def test_a_person_may_decide_beforehand_that_replicas_take_over_without_a_vote(
    bench: Bench, engine: str
) -> None:
    way = up(bench, engine, "cluster", persistence=NOTHING_KEPT, timeout="5s", topology=UNVOTED)
    shards = shards_of(bench)
    with both(way, shards) as writers:
        time.sleep(1.0)
        kill_two_primaries(bench)
        await_health(bench, 60)
    assert [each.lost() for each in writers] == [0, 0]
    assert any(event["way"].startswith("without a vote") for event in events(bench, "failover"))


def test_a_whole_zone_killed_at_once_is_survived_and_primaries_go_home(bench: Bench) -> None:
    way = up(bench, "valkey-9.1", "cluster")
    zone = {node["name"]: node["zone"] for node in bench.status("shop")["nodes"]}
    shards = shards_of(bench)
    gone = [name for name in zone if zone[name] == zone[shards[0]["primary"]]]
    pids = bench.pids()
    with Writers(way, [shards[0]["primary"], *shards[0]["replicas"]], shards[0]["slots"], wait=1) as writers:
        time.sleep(0.5)
        for name in gone:
            os.kill(pids[name], signal.SIGKILL)
        await_health(bench, 40)
    assert writers.lost() == 0

    def spread() -> bool:
        zones = [zone[shard["primary"]] for shard in shards_of(bench)]
        return len(zones) == 3 and len(set(zones)) > 1 and max(zones.count(each) for each in zones) < 2

    until(spread, bound_s=40)


def test_a_killed_supervisor_disturbs_nobody_and_the_next_one_guards_on(bench: Bench) -> None:
    way = up(bench, "valkey-9.1", "cluster")
    shard = shards_of(bench)[0]
    before = bench.pids()
    holder = int((bench.state / "supervisor" / "lock").read_text())
    with Writers(way, [shard["primary"], *shard["replicas"]], shard["slots"]) as writers:
        time.sleep(0.5)
        os.kill(holder, signal.SIGKILL)
        time.sleep(1.0)
        assert bench.run("up", "shop").code == 0  # starts the next supervisor, which adopts
    assert bench.pids() == before
    assert writers.errors == 0
    assert writers.longest_gap_s < HANG_S
    time.sleep(1.5)
    os.kill(before[shard["primary"]], signal.SIGKILL)
    until(lambda: any(way.roles()[name] == "master" for name in shard["replicas"]), bound_s=HANG_S)
    await_health(bench, 30)


def test_a_cache_that_was_taken_down_stays_down(bench: Bench) -> None:
    up(bench, "valkey-9.1", "replicated")
    bench.run("down", "shop", check=True)
    time.sleep(1.5)
    assert bench.pids() == {}


def test_without_persistence_a_lone_primary_comes_back_empty_and_the_event_says_so(bench: Bench) -> None:
    way = up(
        bench, "valkey-9.1", "standalone", replicas=0, persistence="persistence: {rdb: {enabled: false}}\n"
    )
    (name,) = way.members
    way.node(name).set("a", "1")
    os.kill(bench.pids()[name], signal.SIGKILL)
    await_health(bench, 20)
    (lost,) = events(bench, "lost")
    assert lost["node"] == name
    assert way.node(name).get("a") is None


@pytest.mark.long
def test_what_a_node_lost_of_a_file_that_ends_in_a_write_is_told_by_who_starts_it(bench: Bench) -> None:
    way = up(bench, "valkey-9.1", "standalone", replicas=0, persistence=KEPT)
    (name,) = way.members
    with way.node(name) as node:
        for number in range(20):
            node.set(f"cart:{number}", "x" * 50)
    os.kill(int((bench.state / "supervisor" / "lock").read_text()), signal.SIGKILL)
    os.kill(bench.pids()[name], signal.SIGKILL)
    until(lambda: not bench.pids(), bound_s=10)
    file = next((bench.state / "nodes" / "shop" / name / "appendonlydir").glob("*.incr.aof"))
    content = file.read_bytes()
    file.write_bytes(content[:-7])
    bench.run("supervisor", "upgrade", check=True)
    await_health(bench, 30)
    (event,) = [each for each in events(bench, "restarted") if each.get("left_out")]
    whole = content[: content.rindex(b"*3\r\n")]
    assert f"what stood after byte {len(whole)} is lost" in event["why"]
    with way.node(name) as node:
        assert node.dbsize() == 19
