"""A primary that fails again soon after an election: voters that have just voted about it are asked again in time."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time

import pytest
import redis
from tests.live.conftest import Bench, until
from tests.live.supervisor.guarded import HANG_S, KEPT, await_health, events, shards_of, timeouts_ms, up
from tests.live.supervisor.ledger import Way, Writers

NODE_TIMEOUT_MS = 15_000
"""As `up` asks for it; voters rest for twice as long."""
AGAIN_S = 12.0
"""Of an ask that was refused: it is made again after 4 s."""
ENGINES = [
    pytest.param("valkey-9.1", marks=pytest.mark.long),
    pytest.param("valkey-8.0", marks=pytest.mark.long),
    pytest.param("redis-7.0", marks=pytest.mark.long),
    pytest.param("redis-8.0", marks=pytest.mark.long),
]


def kill_the_primary(bench: Bench, way: Way, mine: list[str], bound_s: float) -> str:
    """Kill it once its replica is in sync, and wait until the other has its place. Returns: the one killed."""
    old: str = until(lambda: _served_and_copied(way, mine), bound_s=30)
    os.kill(bench.pids()[old], signal.SIGKILL)
    until(lambda: any(way.roles()[name] == "master" for name in mine if name != old), bound_s=bound_s)
    return old


def _served_and_copied(way: Way, mine: list[str]) -> str:
    """The primary, once its replica is in sync; both may have changed since the last look, for primaries go home."""
    for name in mine:
        with contextlib.suppress(redis.RedisError), way.node(name) as node:
            told = node.info("replication")
            if told["role"] == "master" and told.get("slave0", {}).get("state") == "online":
                return name
    return ""


@pytest.mark.parametrize("engine", ENGINES)
def test_a_primary_that_fails_again_and_again_is_replaced_each_time(bench: Bench, engine: str) -> None:
    way = up(bench, engine, "cluster")
    shard = shards_of(bench)[0]
    mine = [shard["primary"], *shard["replicas"]]
    began_s = time.monotonic()
    with Writers(way, mine, shard["slots"], wait=1) as writers:
        time.sleep(0.5)
        killed = [kill_the_primary(bench, way, mine, HANG_S) for _ in range(4)]
        took_s = time.monotonic() - began_s
        time.sleep(1.0)
    assert killed == [mine[0], mine[1]] * 2
    assert took_s < 2 * NODE_TIMEOUT_MS / 1000 + 8  # else they might have voted anyway
    assert writers.lost() == 0
    assert writers.longest_gap_s < HANG_S
    ways = [event["way"] for event in events(bench, "failover")]
    assert ways[:2] == ["asked", "asked"]
    rest = engine != "valkey-9.1"
    assert ways[2:] == (["asked, the voters' rest cut short"] * 2 if rest else ["asked"] * 2)
    await_health(bench, 30)
    assert timeouts_ms(way) == {NODE_TIMEOUT_MS}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_primary_that_went_home_and_fails_again_is_replaced_again(bench: Bench, engine: str) -> None:
    """Here the replica that is asked has asked before, and was not started anew since."""
    way = up(bench, engine, "cluster")
    shard = shards_of(bench)[0]
    first, second = shard["primary"], shard["replicas"][0]
    with Writers(way, [first, second], shard["slots"], wait=1) as writers:
        time.sleep(0.5)
        kill_the_primary(bench, way, [first, second], HANG_S)
        # The supervisor has it go home by itself after some seconds; where it is in sync sooner, it is asked to.
        until(lambda: way.roles()[first] == "master" or _follows_in_sync(way, first), bound_s=30)
        with contextlib.suppress(redis.ResponseError), way.node(first) as node:
            node.execute_command("CLUSTER FAILOVER")
        until(lambda: way.roles()[first] == "master", bound_s=HANG_S)
        time.sleep(1.5)  # the supervisor has seen it
        kill_the_primary(bench, way, [first, second], AGAIN_S)
        time.sleep(1.0)
    assert writers.lost() == 0
    assert writers.longest_gap_s < AGAIN_S
    await_health(bench, 30)
    assert timeouts_ms(way) == {NODE_TIMEOUT_MS}


@pytest.mark.long
@pytest.mark.parametrize("after_s", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("engine", ["valkey-9.1", "valkey-8.0", "redis-7.0"])
def test_a_primary_killed_within_a_second_of_its_replicas_linking_is_replaced(
    bench: Bench, engine: str, after_s: float
) -> None:
    """Asked for a vote before every voter knows the replica, one refuses, and the next try takes a minute."""
    way = up(bench, engine, "cluster")
    shard = shards_of(bench)[1]
    (replica,) = shard["replicas"]
    with Writers(way, [shard["primary"], replica], shard["slots"], wait=1) as writers:
        time.sleep(0.5)
        before = bench.pids()
        os.kill(before[replica], signal.SIGKILL)
        until(lambda: bench.pids().get(replica, before[replica]) != before[replica], bound_s=20)
        until(lambda: _follows_in_sync(way, replica), bound_s=30, every_s=0.01)
        time.sleep(after_s)
        os.kill(before[shard["primary"]], signal.SIGKILL)
        until(lambda: way.roles()[replica] == "master", bound_s=HANG_S)
        time.sleep(1.0)
    assert writers.lost() == 0
    assert writers.longest_gap_s < 2 * HANG_S
    await_health(bench, 30)


def _follows_in_sync(way: Way, name: str) -> bool:
    if way.roles()[name] != "slave":
        return False
    with way.node(name) as node:
        return bool(node.info("replication").get("master_link_status") == "up")


@pytest.mark.long
@pytest.mark.parametrize("engine", ["redis-7.0", "valkey-8.0"])
def test_a_supervisor_that_knows_of_no_vote_asks_again_once_it_was_refused(bench: Bench, engine: str) -> None:
    way = up(bench, engine, "cluster")
    shard = shards_of(bench)[0]
    mine = [shard["primary"], *shard["replicas"]]
    with Writers(way, mine, shard["slots"], wait=1) as writers:
        time.sleep(0.5)
        for _ in range(2):
            kill_the_primary(bench, way, mine, HANG_S)
        until(lambda: _follows_in_sync(way, mine[1]), bound_s=30)
        with way.node(mine[1]) as node:  # as if the supervisor had been killed in the middle of an election
            node.config_set("cluster-node-timeout", 700)
        bench.run("supervisor", "upgrade", check=True)
        until(lambda: timeouts_ms(way) == {NODE_TIMEOUT_MS}, bound_s=10)
        kill_the_primary(bench, way, mine, AGAIN_S)
        time.sleep(1.0)
    assert writers.lost() == 0
    last = events(bench, "failover")[-1]
    assert last["way"] == "asked, the voters' rest cut short"
    assert last["asked"] == [mine[1], mine[1]]
    await_health(bench, 30)
    assert timeouts_ms(way) == {NODE_TIMEOUT_MS}


@pytest.mark.long
@pytest.mark.parametrize("engine", ["valkey-9.1", "redis-7.0"])
def test_a_primary_whose_replica_cannot_win_comes_back_with_its_own_data(bench: Bench, engine: str) -> None:
    way = up(bench, engine, "cluster", persistence=KEPT)
    shard = shards_of(bench)[0]
    (replica,) = shard["replicas"]
    supervisor = json.loads((bench.state / "nodes" / "shop" / "watch.json").read_text())["user"]
    with way.node(replica) as node:
        node.execute_command("ACL", "SETUSER", supervisor, "-cluster|failover")
        node.config_set("cluster-replica-no-failover", "yes")
    with Writers(way, [shard["primary"], replica], shard["slots"], wait=1) as writers:
        time.sleep(1.0)
        os.kill(bench.pids()[shard["primary"]], signal.SIGKILL)
        killed_s = time.monotonic()
        until(lambda: way.roles()[shard["primary"]] == "master", bound_s=AGAIN_S)
        until(
            lambda: all(each.at_s and each.at_s[-1] > killed_s for each in writers.accounts.values()),
            bound_s=10,
        )
    assert writers.lost() == 0
    assert events(bench, "failover") == [], bench.run("events", "shop").out
    (event,) = events(bench, "lost")
    assert event["asked"] == [replica, replica]
    assert event["comes_back_with"].startswith("its append-only file")
    assert "append-only file" in event["words"]
    await_health(bench, 30)
