"""Shards come and go while clients work: every key stays what it was, nobody sees an error, and no kill stops it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from tests.live.conftest import Bench, need, until
from tests.live.topology.caches import (
    client,
    differences,
    fill,
    slot_counts,
    spec_text,
    steps_of,
    swapped,
    working,
    zones_apart,
)

from holdfast.cli.opening import named, opened
from holdfast.topology.resharding import move_slots

KEYS = 20_000


def even(status: Any, shards: int) -> None:
    """Every slot is owned, by `shards` primaries, evenly, and none is half moved."""
    assert status["healthy"], status["problems"]
    counts = slot_counts(status)
    assert len(counts) == shards
    assert sum(counts.values()) == 16384
    assert max(counts.values()) - min(counts.values()) <= 1
    assert zones_apart(status)


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "engine",
    [
        "valkey-9.1",
        pytest.param("redis-7.0", marks=pytest.mark.long),
        pytest.param("valkey-8.0", marks=pytest.mark.long),
        pytest.param("valkey-8.1", marks=pytest.mark.long),
        pytest.param("redis-8.0", marks=pytest.mark.long),
        pytest.param("redis-6.2", marks=pytest.mark.long),
    ],
)
def test_three_shards_become_four_and_three_again_under_load(bench: Bench, engine: str) -> None:
    need(engine)
    text = spec_text(engine, "cluster", maxmemory="200mb")
    four = swapped(text, "shards: 3", "shards: 4")
    bench.run("up", str(bench.spec(text)), "--json", check=True)
    shop = client(bench)
    wanted = fill(shop, KEYS)
    old = bench.pids()
    for file, shards in ((four, 4), (text, 3)):
        with working(bench) as ledger:
            done = bench.run("up", str(bench.spec(file)), "--json", check=True, bound_s=180)
        print(
            f"{engine} to {shards} shards: {done.took_s:.1f} s, {ledger.writes} writes, {ledger.reads} reads, "
            f"slowest {ledger.slowest_s:.3f} s, {ledger.unmet} times at a node the client had not met"
        )
        even(bench.status("demo"), shards)
        assert ledger.errors == []
        assert ledger.lost(shop) == {}
        for key in ledger.acknowledged:
            shop.delete(key)
        assert differences(shop, wanted) == []
        assert {name: bench.pids().get(name) for name in old} == old
        assert bench.run("up", str(bench.spec(file)), "--json", check=True).facts["steps"] == []
    assert set(bench.pids()) == set(old)
    assert sum(node["keys"] for node in bench.status("demo")["nodes"] if node["role"] == "primary") == len(
        wanted
    )
    for node in bench.status("demo")["nodes"]:
        assert node["reach"] == "up"


def killed_in_a_move(bench: Bench, file: Path, after_s: float) -> None:
    """Run `up` until it says that it moves slots, and kill it a moment later."""
    process = bench.begin("up", str(file))
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "move " in line:
            break
    else:
        pytest.fail(f"no slots were moved: {lines}")
    time.sleep(after_s)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=10)


@pytest.mark.long
@pytest.mark.parametrize("engine", ["redis-7.0", "valkey-9.1"])
def test_a_killed_up_is_finished_by_the_next(bench: Bench, engine: str) -> None:
    need(engine)
    text = spec_text(engine, "cluster", replicas=0, maxmemory="200mb")
    bench.run("up", str(bench.spec(text)), "--json", check=True)
    shop = client(bench)
    wanted = fill(shop, KEYS)
    old = bench.pids()
    four = bench.spec(swapped(text, "shards: 3", "shards: 4"))

    with working(bench) as ledger:
        for after_s in (0.0, 0.15):
            killed_in_a_move(bench, four, after_s)
        finished = bench.run("up", str(four), "--json", check=True)
        assert "move" in steps_of(finished.facts)
    assert ledger.errors == []
    assert ledger.lost(shop) == {}
    for key in ledger.acknowledged:
        shop.delete(key)
    assert differences(shop, wanted) == []
    even(bench.status("demo"), 4)
    assert {name: bench.pids()[name] for name in old} == old
    assert bench.run("up", str(four), "--json", check=True).facts["steps"] == []


@pytest.mark.long
def test_a_move_that_an_earlier_command_began_is_awaited(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("valkey-9.1")
    for name, value in bench.environ.items():
        monkeypatch.setenv(name, value)
    file = bench.spec(spec_text("valkey-9.1", "cluster", replicas=0, maxmemory="300mb"))
    bench.run("up", str(file), "--json", check=True)
    shop = client(bench)
    wanted = fill(shop, KEYS)

    async def twice() -> None:
        async with opened(named(str(file))) as cache:
            slots = frozenset(range(5000))
            first = asyncio.create_task(move_slots(cache, "n1", "n2", slots))
            async with await cache.connect("n1") as source:
                while not await source.ask("CLUSTER", "GETSLOTMIGRATIONS"):
                    assert not first.done()
            await asyncio.gather(first, move_slots(cache, "n1", "n2", slots))

    asyncio.run(twice())
    assert slot_counts(bench.status("demo")) == {"n1": 461, "n2": 10461, "n3": 5462}
    assert differences(shop, wanted) == []
    bench.run("up", str(file), "--json", check=True)
    even(bench.status("demo"), 3)
    assert differences(shop, wanted) == []


@pytest.mark.long
def test_a_killed_supervisor_leaves_its_nodes_and_the_next_adopts_them(bench: Bench) -> None:
    need("valkey-9.1")
    file = bench.spec(spec_text("valkey-9.1", "cluster"))
    bench.run("up", str(file), "--json", check=True)
    before = bench.pids()
    holder = int((bench.state / "supervisor" / "lock").read_text())
    with working(bench) as ledger:
        os.kill(holder, signal.SIGKILL)
        time.sleep(0.5)
        assert bench.pids() == before
        assert bench.status("demo")["notes"]  # it says that the machine's supervisor does not answer
        again = bench.run("up", str(file), "--json", check=True)
    assert again.facts["steps"] == []
    assert ledger.errors == []
    assert bench.pids() == before
    status = bench.status("demo")
    assert status["healthy"], status["problems"]
    assert {node["pid"] for node in status["nodes"]} == set(before.values())
    # A node that ends under the new supervisor is seen and started again.
    victim = next(node["name"] for node in status["nodes"] if node["role"] == "replica")
    os.kill(before[victim], signal.SIGKILL)
    until(lambda: victim not in bench.pids() or bench.pids()[victim] != before[victim], 10)
    bench.run("up", str(file), "--json", check=True)
    after = bench.pids()
    assert {name: pid for name, pid in after.items() if name != victim} == {
        name: pid for name, pid in before.items() if name != victim
    }
    assert after[victim] != before[victim]
    assert bench.status("demo")["healthy"]
