"""Slow is not dead, the supervisor's own end is nobody's, and what a kill costs is what the mode's durability states."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from tests.live.conftest import Bench, until
from tests.live.supervisor.guarded import (
    HANG_S,
    NOTHING_KEPT,
    await_health,
    events,
    shards_of,
    up,
)
from tests.live.supervisor.ledger import Way, Writers

EVERYSEC = "persistence: {aof: {enabled: true, fsync: everysec}}\n"
GUARDED = "persistence: {rdb: {enabled: false}, durability: {writes: min_replicas}}\n"


def false_alarms(bench: Bench) -> list[dict[str, Any]]:
    """What a fault alone may cause."""
    return [event for kind in ("killed", "failover", "lost", "ended") for event in events(bench, kind)]


BUSY = """
local began = redis.call('TIME')[1]
while redis.call('TIME')[1] - began < tonumber(ARGV[1]) do end
"""
"""Holds a server up for some seconds, as a bad command does."""


def fill(node: redis.Redis, keys: int, tag: str = "filler") -> None:
    """That many keys of 100 B, all in the slot of `tag`."""
    pipe = node.pipeline(transaction=False)
    for number in range(keys):
        pipe.set(f"{{{tag}}}:{number}", "x" * 100)
        if number % 5000 == 0:
            pipe.execute()
    pipe.execute()


@contextlib.contextmanager
def full_load(way: Way, nodes: list[str]) -> Iterator[None]:
    """Pipelines of SETs without pause on the nodes."""
    stop = threading.Event()

    def press(name: str) -> None:
        with way.node(name) as node:
            while not stop.is_set():
                pipe = node.pipeline(transaction=False)
                for number in range(500):
                    pipe.set(f"load:{number}", "x" * 500)
                with contextlib.suppress(redis.RedisError):
                    pipe.execute(raise_on_error=False)

    threads = [threading.Thread(target=press, args=(name,), daemon=True) for name in nodes]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(20)


@pytest.mark.long
def test_a_node_that_stands_still_in_bursts_is_slow_and_not_dead(bench: Bench) -> None:
    way = up(bench, "valkey-9.1", "cluster", timeout="5s")
    primary = shards_of(bench)[0]["primary"]
    pid = bench.pids()[primary]
    for _ in range(10):
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.5)
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.4)
    assert false_alarms(bench) == []
    assert bench.pids()[primary] == pid
    assert way.roles()[primary] == "master"


@pytest.mark.long
def test_load_and_snapshots_and_a_long_command_cause_no_failover(bench: Bench) -> None:
    way = up(bench, "redis-7.0", "replicated", timeout="5s")
    (primary,) = way.primaries()
    with way.node(primary) as node:
        fill(node, 150_000)
        with full_load(way, [primary]):
            for _ in range(3):
                with contextlib.suppress(redis.RedisError):
                    node.bgsave()
                time.sleep(1.5)
            with contextlib.suppress(redis.RedisError):
                node.eval(BUSY, 0, "3")
            time.sleep(1.0)
    assert false_alarms(bench) == []
    assert way.primaries() == [primary]


@pytest.mark.long
def test_a_supervisor_that_stood_still_with_the_machine_blames_nobody(bench: Bench) -> None:
    """As in a laptop's sleep: the supervisor and all nodes stop together and go on together, in any order."""
    way = up(bench, "valkey-9.1", "cluster", timeout="5s")
    supervisor = int((bench.state / "supervisor" / "lock").read_text())
    pids = bench.pids()
    for number in (supervisor, *pids.values()):
        os.kill(number, signal.SIGSTOP)
    time.sleep(8.0)
    os.kill(supervisor, signal.SIGCONT)  # the worst order: it wakes and they are still silent
    time.sleep(0.5)
    for number in pids.values():
        os.kill(number, signal.SIGCONT)
    time.sleep(2.0)
    assert false_alarms(bench) == []
    assert bench.pids() == pids
    await_health(bench, 30)
    assert len(way.primaries()) == 3


def test_a_stopped_primary_never_acknowledges_anything_once_another_has_its_place(bench: Bench) -> None:
    way = up(bench, "valkey-9.1", "replicated", replicas=2)
    (old,) = way.primaries()
    pid = bench.pids()[old]
    host, port = way.members[old]
    waiting = redis.Redis(host=host, port=port, **{**way.settings, "socket_timeout": 15.0})
    waiting.ping()
    os.kill(pid, signal.SIGSTOP)
    answers: list[str] = []

    def write() -> None:
        """Buffered by the kernel while the server stands still."""
        try:
            waiting.rpush("buffered", "1")
            answers.append("acknowledged")
        except redis.RedisError as failed:
            answers.append(type(failed).__name__)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    until(lambda: any(role == "master" for name, role in way.roles().items() if name != old), bound_s=10)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
    writer.join(20)
    assert answers
    assert answers != ["acknowledged"]
    until(lambda: way.roles()[old] == "slave", bound_s=20)
    assert len(way.primaries()) == 1


OTHERS = (("status", "shop"), ("plan", "shop"), ("up", "shop"), ("events", "shop"), ("supervisor", "upgrade"))
"""Commands that are killed too."""


@pytest.mark.parametrize("times", [4, pytest.param(100, marks=[pytest.mark.long, pytest.mark.timeout(400)])])
def test_processes_of_holdfast_killed_again_and_again_have_no_effect_on_the_cache(
    bench: Bench, times: int
) -> None:
    way = up(bench, "valkey-9.1", "cluster", timeout="5s")
    shard = shards_of(bench)[0]
    nodes = bench.pids()
    chance = random.Random(times)
    killed: Counter[str] = Counter()
    with Writers(way, [shard["primary"], *shard["replicas"]], shard["slots"], wait=1) as writers:
        while killed.total() < times:
            if killed["supervisor"] <= killed.total() // 2:
                until(lambda: supervisor_of(bench), bound_s=20, every_s=0.01)
                time.sleep(chance.uniform(0.0, 0.3))  # at times before it has adopted its nodes
                os.kill(supervisor_of(bench), signal.SIGKILL)
                killed["supervisor"] += 1
                spawn_supervisor(bench)
                continue
            words = chance.choice(OTHERS)
            command = bench.begin(*words)
            time.sleep(chance.uniform(0.05, 0.9))
            if command.poll() is None:
                command.kill()
                killed[words[0]] += 1
            command.communicate(timeout=20)
            if not supervisor_of(bench):
                spawn_supervisor(bench)
        writers.stop()
        assert bench.pids() == nodes
        assert false_alarms(bench) == []
        assert writers.lost() == 0
        assert all(account.errors == 0 for account in writers.accounts.values())
    print(f"killed: {dict(killed)}")
    bench.run("supervisor", "upgrade", check=True)
    await_health(bench, 30)
    os.kill(nodes[shard["primary"]], signal.SIGKILL)  # and the last of them still guards
    until(lambda: any(way.roles()[name] == "master" for name in shard["replicas"]), bound_s=HANG_S)


def supervisor_of(bench: Bench) -> int:
    """The pid of this state folder's supervisor; 0 where none has its lock."""
    lock = bench.state / "supervisor" / "lock"
    with contextlib.suppress(OSError, ValueError), lock.open() as opened:
        pid = int(opened.read())
        try:
            fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            environ = Path(f"/proc/{pid}/environ").read_bytes()
            return pid if str(bench.state).encode() in environ else 0
    return 0


def spawn_supervisor(bench: Bench) -> None:
    """Start one as the service manager would, and do not wait for it."""
    ended = subprocess.Popen(
        [sys.executable, "-m", "holdfast.supervisor"],
        env=bench.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )
    threading.Thread(target=ended.wait, daemon=True).start()


ENGINES = ("valkey-9.1", "valkey-8.0", "redis-7.0")
VICTIMS = {
    "cluster": ("primary", "replica", "two primaries", "zone", "all"),
    "replicated": ("primary", "replica", "all"),
    "sentinel": ("primary", "replica", "zone", "all"),
}
DURABILITIES = {"wait": NOTHING_KEPT, "min_replicas": GUARDED, "none": NOTHING_KEPT, "aof": EVERYSEC}


@pytest.mark.long
@pytest.mark.timeout(240)
@pytest.mark.parametrize("durability", DURABILITIES)
@pytest.mark.parametrize(
    ("mode", "victim"), [(mode, each) for mode, all_ in VICTIMS.items() for each in all_]
)
@pytest.mark.parametrize("engine", ENGINES)
def test_what_a_kill_costs_is_what_the_durability_states(
    bench: Bench, engine: str, mode: str, victim: str, durability: str
) -> None:
    way = up(bench, engine, mode, persistence=DURABILITIES[durability], timeout="5s")
    shards = shards_of(bench)
    shard = shards[0]
    zone = {node["name"]: node["zone"] for node in bench.status("shop")["nodes"]}
    gone = {
        "primary": [shard["primary"]],
        "replica": [shard["replicas"][0]],
        "two primaries": [each["primary"] for each in shards[:2]],
        "zone": [name for name in zone if zone[name] == zone[shard["primary"]]],
        "all": list(bench.pids()),
    }[victim]
    pids = bench.pids()
    waits = 1 if durability == "wait" else 0
    with Writers(way, [shard["primary"], *shard["replicas"]], shard["slots"], wait=waits) as writers:
        time.sleep(3.0)
        killed_s = time.monotonic()
        for name in gone:
            os.kill(pids[name], signal.SIGKILL)
        time.sleep(3.0)
    await_health(bench, 90)
    survives = victim in {"replica"} or (victim in {"primary", "zone"} and waits)
    if victim == "two primaries" and waits:
        survives = True  # one held nothing and starts, so that the other's replica, which holds all, can be voted for
    if survives:
        assert writers.lost() == 0
    elif victim == "all" and durability == "aof":
        assert writers.lost(before_s=killed_s - 2.5) == 0
    elif victim == "all":
        before = [each for account in writers.accounts.values() for each in account.at_s if each < killed_s]
        assert writers.lost(before_s=killed_s) == len(before)  # everything, and the record says so:
        assert any("nothing" in each["comes_back_with"] for each in events(bench, "lost"))
    else:  # not yet replicated when the primary died: no more than the clients' last writes each
        assert writers.lost() <= 10
    kinds = {event["kind"] for event in bench.run("events", "shop", "--json", "--last", "200").facts}
    assert kinds & {"failover", "lost", "ended"}


@pytest.mark.long
@pytest.mark.parametrize("engine", ENGINES)
def test_a_primary_killed_with_its_replica_lagging_or_a_snapshot_under_way(bench: Bench, engine: str) -> None:
    way = up(bench, engine, "cluster", timeout="5s")
    shard = shards_of(bench)[0]
    pids = bench.pids()
    with Writers(way, [shard["primary"], *shard["replicas"]], shard["slots"], wait=1) as writers:
        time.sleep(1.0)
        with way.node(shard["primary"]) as node:
            fill(node, 150_000, tag=writers.keys[0])
            with contextlib.suppress(redis.ResponseError):  # one is under way by the save rules
                node.bgsave()
        os.kill(pids[shard["replicas"][0]], signal.SIGSTOP)
        time.sleep(0.5)
        os.kill(pids[shard["replicas"][0]], signal.SIGCONT)
        os.kill(pids[shard["primary"]], signal.SIGKILL)
        until(lambda: any(way.roles()[name] == "master" for name in shard["replicas"]), bound_s=20)
        time.sleep(1.0)
    assert writers.lost() == 0
    await_health(bench, 40)
