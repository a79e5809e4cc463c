"""Nodes that die while the cache is changed: nothing that a replica had is lost, and the same command finishes the change."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from tests.live.conftest import Bench, need
from tests.live.supervisor.ledger import Way
from tests.live.supervisor.roaming import Roaming
from tests.live.topology.caches import client, differences, fill, spec_text, swapped

KEYS = 6000
FINISH_TRIES = 6


def finished(bench: Bench, file: Path) -> None:
    """Run `up` until it has nothing to say against what there is; what was killed may have to come back first."""
    said = []
    for _ in range(FINISH_TRIES):
        outcome = bench.run("up", str(file))
        if outcome.code == 0:
            break
        said.append(outcome.err.strip())
        time.sleep(2.0)
    else:
        pytest.fail("\n".join([*said, bench.run("status", "demo").out, bench.run("events", "demo").out]))
    status = bench.status("demo")
    assert status["healthy"], status["problems"]


def await_line(process: subprocess.Popen[str], words: str) -> list[str]:
    """Read what it prints until a line has those words."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if words in line:
            return lines
    pytest.fail(f"{words!r} was never said: {lines} {process.stderr.read() if process.stderr else ''}")


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("victim", ["source", "target", "replica of the source", "bystander"])
@pytest.mark.parametrize("engine", ["valkey-9.1", "valkey-8.0", "redis-7.0"])
def test_a_node_killed_while_slots_move(bench: Bench, engine: str, victim: str) -> None:
    need(engine)
    text = spec_text(engine, "cluster", maxmemory="200mb", tls="off")
    bench.run("up", str(bench.spec(text)), check=True)
    shop = client(bench)
    wanted = fill(shop, KEYS)
    old = {node["name"]: node for node in bench.status("demo")["nodes"]}
    way = Way(bench, "demo")
    file = bench.spec(swapped(text, "shards: 3", "shards: 4"))
    with Roaming(way) as writers:
        change = bench.begin("up", str(file))
        await_line(change, "move ")
        time.sleep(0.3)
        names = {
            "source": "n1",
            "target": next(name for name in sorted(bench.pids("demo")) if name not in old),
            "replica of the source": next(name for name, node in old.items() if node["primary"] == "n1"),
            "bystander": "n3",
        }
        os.kill(bench.pids("demo")[names[victim]], signal.SIGKILL)
        out, err = change.communicate(timeout=110)
        print(change.returncode, out[-500:], err)
        finished(bench, file)
        time.sleep(0.5)
    assert writers.lost() == {}
    assert writers.acknowledged > 100
    for own in writers.accounts:
        for key in own:
            shop.delete(key)
    assert differences(shop, wanted) == []


@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(("old", "new"), [("redis-7.0", "valkey-8.0"), ("valkey-8.0", "valkey-9.1")])
def test_nodes_killed_while_an_engine_is_changed(bench: Bench, old: str, new: str, seed: int) -> None:
    need(old)
    need(new)
    chance = random.Random(seed)
    text = spec_text(old, "cluster", replicas=2, tls="off")
    bench.run("up", str(bench.spec(text)), check=True)
    way = Way(bench, "demo")
    name, _, version = new.partition("-")
    kind, _, before = old.partition("-")
    file = bench.spec(
        swapped(text, f'name: {kind}, version: "{before}"', f'name: {name}, version: "{version}"')
    )
    with Roaming(way) as writers:
        change = bench.begin("up", str(file))
        await_line(change, "restart ")
        for _ in range(3):
            time.sleep(chance.uniform(0.5, 4.0))
            alive = bench.pids("demo")
            os.kill(alive[chance.choice(sorted(alive))], signal.SIGKILL)
        out, err = change.communicate(timeout=200)
        print(change.returncode, out[-500:], err)
        finished(bench, file)
        time.sleep(0.5)
    assert {
        f"{node['engine']}-{node['version'].rpartition('.')[0]}" for node in bench.status("demo")["nodes"]
    } == {new}
    assert writers.lost() == {}, bench.run("events", "demo").out
