"""`up` stopped after any of its steps, or killed at any moment, and run again: healthy in the end, with every key."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest
from tests.live.conftest import Bench, need
from tests.live.topology.caches import (
    client,
    differences,
    fill,
    slot_counts,
    spec_text,
    swapped,
    working,
    zones_apart,
)

from holdfast.cli.opening import named, opened
from holdfast.topology.apply import converge
from holdfast.topology.steps import Step

MOST_STEPS = 40


class StoppedHereError(Exception):
    """The work ends between two steps."""


@pytest.fixture
def own(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A bench whose state folder is this process's too."""
    for name, value in bench.environ.items():
        monkeypatch.setenv(name, value)
    return bench


def up_to(file: Path, count: int) -> tuple[str, bool]:
    """Do what `up` does and stop after `count` steps. Returns: the last step done, and whether that was the end."""
    done: list[Step] = []

    def after(step: Step) -> None:
        done.append(step)
        if len(done) == count:
            raise StoppedHereError

    async def work() -> bool:
        given = named(str(file))
        with given.store.alone():
            async with opened(given) as cache:
                try:
                    await converge(cache, before=lambda _: None, after=after)
                except StoppedHereError:
                    return False
                return True

    finished = asyncio.run(work())
    return (done[-1].title if done else "nothing"), finished


def whole(bench: Bench, file: Path, nodes: int) -> None:
    """A plain `up` ends in a healthy cache that needs nothing more."""
    bench.run("up", str(file), "--json", check=True)
    status = bench.status("demo")
    assert status["healthy"], status["problems"]
    assert len(status["nodes"]) == nodes
    assert set(bench.pids()) == {node["name"] for node in status["nodes"]}
    assert zones_apart(status)
    folders = {file.parent.name for file in bench.state.glob("nodes/demo/*/node.json")}
    assert folders == set(bench.pids())
    assert bench.run("up", str(file), "--json", check=True).facts["steps"] == []


NODES = {"standalone": 1, "replicated": 3, "sentinel": 6, "cluster": 6}


@pytest.mark.parametrize(
    ("mode", "engine"),
    [pytest.param("sentinel", "redis-7.0", marks=pytest.mark.long), ("cluster", "valkey-9.1")],
)
def test_one_step_at_a_time_is_enough(own: Bench, mode: str, engine: str) -> None:
    need(engine)
    file = own.spec(spec_text(engine, mode))
    steps: list[str] = []
    while len(steps) < MOST_STEPS:
        step, finished = up_to(file, 1)
        if finished:
            break
        steps.append(step)
    print(steps)
    assert len(steps) > 5
    whole(own, file, NODES[mode])


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("mode", "engine"),
    [
        ("standalone", "redis-8.0"),
        ("replicated", "valkey-8.0"),
        ("sentinel", "redis-7.0"),
        ("sentinel", "valkey-9.1"),
        ("cluster", "redis-7.0"),
        ("cluster", "valkey-9.1"),
        ("cluster", "redis-6.2"),
    ],
)
def test_bring_up_stopped_after_any_step_is_finished_by_the_next(own: Bench, mode: str, engine: str) -> None:
    need(engine)
    file = own.spec(spec_text(engine, mode))
    for count in range(1, MOST_STEPS):
        step, finished = up_to(file, count)
        print(f"stopped after {count}: {step}")
        whole(own, file, NODES[mode])
        assert client(own).set("cart:1", "x")
        own.run("down", "demo", "--delete-data", "--yes", check=True)
        if finished:
            return
    pytest.fail(f"more than {MOST_STEPS} steps")


@pytest.mark.parametrize(
    ("engine", "stops"),
    [
        pytest.param("valkey-9.1", (5,), marks=pytest.mark.long),
        pytest.param("valkey-9.1", range(1, MOST_STEPS), marks=pytest.mark.long),
        pytest.param("valkey-8.0", range(1, MOST_STEPS), marks=pytest.mark.long),
        pytest.param("redis-7.0", range(1, MOST_STEPS), marks=pytest.mark.long),
    ],
    ids=["valkey-9.1-some", "valkey-9.1", "valkey-8.0", "redis-7.0"],
)
@pytest.mark.timeout(1500)
def test_resharding_stopped_after_any_step_is_finished_by_the_next(
    own: Bench, engine: str, stops: tuple[int, ...]
) -> None:
    need(engine)
    text = spec_text(engine, "cluster", maxmemory="200mb")
    texts = {3: text, 4: swapped(text, "shards: 3", "shards: 4")}
    own.run("up", str(own.spec(text)), "--json", check=True)
    shop = client(own)
    wanted = fill(shop, 2000)
    going = {4, 3}
    for count in stops:
        for shards in (4, 3):
            file = own.spec(texts[shards])
            step, finished = up_to(file, count)
            print(f"to {shards}, stopped after {count}: {step}")
            if finished:
                going.discard(shards)
            with working(own, keys=50) as ledger:
                whole(own, file, 2 * shards)
            assert ledger.errors == []
            assert ledger.lost(shop) == {}
            counts = slot_counts(own.status("demo"))
            assert len(counts) == shards
            assert max(counts.values()) - min(counts.values()) <= 1
            for key in ledger.acknowledged:
                shop.delete(key)
            assert differences(shop, wanted) == []
        if not going:
            return
    assert len(stops) < MOST_STEPS - 1, f"more than {MOST_STEPS} steps"


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("mode", "engine"), [("cluster", "redis-7.0"), ("sentinel", "valkey-9.1")])
def test_bring_up_killed_at_any_moment_is_finished_by_the_next(bench: Bench, mode: str, engine: str) -> None:
    need(engine)
    file = bench.spec(spec_text(engine, mode))
    began = time.monotonic()
    bench.run("up", str(file), "--json", check=True)
    took_s = time.monotonic() - began
    bench.run("down", "demo", "--delete-data", "--yes", check=True)
    for share in range(1, 16):
        process = bench.begin("up", str(file), "--json")
        time.sleep(took_s * share / 15)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=10)
        whole(bench, file, NODES[mode])
        bench.run("down", "demo", "--delete-data", "--yes", check=True)
