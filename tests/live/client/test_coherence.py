"""Nothing stale after quiescence: under load, after FLUSHDB, lost and silent links, failover, resharding.

One short run of some experiments by default; twenty of each, on every shape and engine, with the mark `long`.
"""

from __future__ import annotations

import asyncio
import time

import pytest
from tests.live.client.coherence import (
    HOT_KEYS,
    SETTINGS,
    SILENCE_S,
    run_tasks,
    run_threads,
    stale_of,
    writer,
)
from tests.live.client.servers import ENGINES, namespaces, raw, until
from tests.live.client.stages import EXPERIMENTS, Experiment, Stage, staged

from holdfast.client import AsyncCache, Cache, CacheUnavailable

SETTLE_S = 0.3
RUNS = 20


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def by_threads(experiment: Experiment, stage: Stage) -> None:
    """One run; readers are eight threads."""
    declared = namespaces(read=experiment.read)
    with Cache(stage.url, namespaces=declared, settings=SETTINGS) as cache:
        with writer(stage.shape, stage.ports, stage.remap):
            until(lambda: cache.namespace("bill.inquiry").get("bill:inquiry:C1:1", read="primary"))
            reads, wrong = run_threads(cache, lambda: experiment.do(stage))
        assert not wrong, wrong[:3]
        assert reads > 100
        assert cache.shared.l1.fills > HOT_KEYS, "nothing was ever kept, so nothing was proven"
        time.sleep(SETTLE_S)
        assert stale_of(cache, stage.truth) == []
        time.sleep(0.1)
        assert stale_of(cache, stage.truth) == [], "the second look is served from the first tier"
    stage.turn += 1


async def by_tasks(experiment: Experiment, stage: Stage) -> None:
    """One run; readers are eight tasks."""
    declared = namespaces(read=experiment.read)
    async with AsyncCache(stage.url, namespaces=declared, settings=SETTINGS) as cache:

        def during() -> None:
            with writer(stage.shape, stage.ports, stage.remap):
                experiment.do(stage)

        reads, stale, wrong = await run_tasks(cache, during, stage.truth, SETTLE_S)
        assert not wrong, wrong[:3]
        assert stale == []
        assert reads > 100
        assert cache.shared.l1.fills > HOT_KEYS
    stage.turn += 1


@pytest.mark.parametrize("experiment", ["load", "kill"])
def test_threads_see_nothing_stale(experiment: str) -> None:
    with staged("standalone", "valkey-9.1") as stage:
        by_threads(EXPERIMENTS[experiment], stage)


@pytest.mark.parametrize("experiment", ["flush"])
async def test_tasks_see_nothing_stale(experiment: str) -> None:
    with staged("standalone", "redis-7.0") as stage:
        await by_tasks(EXPERIMENTS[experiment], stage)


def test_a_silent_link_is_not_trusted_beyond_the_stated_time() -> None:
    """Nothing tells that the cable is cut: what was read before is served for the stated time, and not longer."""
    with (
        staged("standalone", "valkey-9.1", relayed=True) as stage,
        Cache(stage.url, namespaces=namespaces(), settings=SETTINGS) as cache,
    ):
        bills, server = cache.namespace("bill.inquiry"), raw(stage.servers[0])
        server.set("bill:inquiry:C1:1", "1")
        until(lambda: bills.get("bill:inquiry:C1:1") == 1 and "bill:inquiry:C1:1" in cache.shared.l1.entries)
        relay = stage.relays[stage.ports[0]]
        relay.silent.set()
        cut = time.monotonic()
        server.set("bill:inquiry:C1:1", "2")
        served_until = cut
        while time.monotonic() - cut < SILENCE_S * 3:
            try:
                assert bills.get("bill:inquiry:C1:1", within_s=0.1) == 1
                served_until = time.monotonic()
            except CacheUnavailable:
                break
            time.sleep(0.01)
        assert served_until - cut <= SILENCE_S + 0.15
        relay.silent.clear()
        until(lambda: bills.get("bill:inquiry:C1:1") == 2, 5)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("name", "shape"), [(name, shape) for name, each in EXPERIMENTS.items() for shape in each.shapes]
)
async def test_twenty_runs_see_nothing_stale(name: str, shape: str, engine: str) -> None:
    experiment = EXPERIMENTS[name]
    with staged(shape, engine, relayed=experiment.relayed) as stage:
        for run in range(RUNS):
            if run % 2:
                await by_tasks(experiment, stage)
            else:
                await asyncio.to_thread(by_threads, experiment, stage)
