"""Nothing stale after quiescence: under load, after FLUSHDB, lost and silent links, failover, resharding.

One short run of each experiment by default; twenty of each on every engine with the mark `long`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import redis
from tests.live.client.coherence import (
    HOT_KEYS,
    SETTINGS,
    SILENCE_S,
    run_tasks,
    run_threads,
    stale_of,
    writer,
)
from tests.live.client.servers import (
    ENGINES,
    LOOPBACK,
    Relay,
    cluster,
    engine_server,
    namespaces,
    raw,
    replicated,
    until,
)

from holdfast.client import AsyncCache, Cache
from holdfast.testing import PrivateServer

LOAD_S = 0.7
SETTLE_S = 0.3


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Stage:
    """What an experiment has at hand."""

    servers: list[PrivateServer]
    url: str
    kind: str
    relay: Relay | None = None

    @property
    def ports(self) -> list[int]:
        return [server.port for server in self.servers]

    def truth(self, key: str) -> bytes | None:
        """What the servers hold, by another client."""
        if self.kind == "cluster":
            link: Any = redis.cluster.RedisCluster(host=LOOPBACK, port=self.ports[-1])
            found: bytes | None = link.get(key)
            link.close()
            return found
        primary = next(server for server in self.servers if raw(server).role()[0] == b"master")
        return raw(primary).get(key)  # type: ignore[no-any-return]


@contextmanager
def staged(experiment: str, engine: str) -> Iterator[Stage]:
    with ExitStack() as stack:
        if experiment == "reshard":
            servers = stack.enter_context(cluster(engine))
            yield Stage(servers, f"valkey://{LOOPBACK}:{servers[0].port}", "cluster")
        elif experiment in ("failover", "replica"):
            servers = stack.enter_context(replicated(engine, 1))
            yield Stage(servers, "valkey://" + ",".join(f"{LOOPBACK}:{s.port}" for s in servers), "single")
        else:
            server = stack.enter_context(engine_server(engine))
            relay = stack.enter_context(Relay(server.port).running()) if experiment == "silence" else None
            yield Stage(
                [server], f"valkey://{LOOPBACK}:{relay.port if relay else server.port}", "single", relay
            )


def load(stage: Stage) -> None:
    time.sleep(LOAD_S)


def flush(stage: Stage) -> None:
    time.sleep(LOAD_S / 2)
    raw(stage.servers[0]).flushdb()
    time.sleep(LOAD_S / 2)


def kill_links(stage: Stage) -> None:
    for _ in range(4):
        time.sleep(LOAD_S / 4)
        raw(stage.servers[0]).execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


def failover(stage: Stage) -> None:
    """By hand, as the supervisor does it: the old primary is made a follower of the new one, with its data."""
    time.sleep(LOAD_S / 2)
    old, new = (raw(server) for server in stage.servers)
    old.execute_command("CLIENT", "PAUSE", "2000", "WRITE")
    until(
        lambda: new.info("replication")["slave_repl_offset"] >= old.info("replication")["master_repl_offset"]
    )
    new.replicaof("NO", "ONE")
    old.replicaof(LOOPBACK, str(stage.servers[1].port))
    old.execute_command("CLIENT", "UNPAUSE")
    time.sleep(LOAD_S / 2)


def reshard(stage: Stage) -> None:
    """Every slot of the first node that holds a hot key moves to the second, one by one."""
    from holdfast.client.keys import slot_of

    source, target = (raw(server) for server in stage.servers[:2])
    ids = [raw(server).execute_command("CLUSTER", "MYID") for server in stage.servers]
    slots = {slot_of(f"bill:inquiry:C{n}:1".encode()) for n in range(HOT_KEYS)}
    for slot in [slot for slot in slots if slot < 16_384 // 3]:
        target.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
        source.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])
        while found := source.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100):
            words = ("MIGRATE", LOOPBACK, stage.servers[1].port, "", 0, 2000, "REPLACE", "KEYS", *found)
            source.execute_command(*words)
        for server in (target, source, raw(stage.servers[2])):
            server.execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[1])
    time.sleep(LOAD_S / 3)


def silence(stage: Stage) -> None:
    """The cable is cut, the servers go on without us, and it is mended later."""
    assert stage.relay is not None
    time.sleep(LOAD_S / 2)
    stage.relay.silent.set()
    time.sleep(SILENCE_S * 1.2)
    stage.relay.silent.clear()
    time.sleep(LOAD_S / 2)


EXPERIMENTS: dict[str, Callable[[Stage], None]] = {
    "load": load,
    "flush": flush,
    "kill": kill_links,
    "replica": load,
    "failover": failover,
    "reshard": reshard,
    "silence": silence,
}


def settings_of(experiment: str) -> dict[str, Any]:
    return {"read": "replica"} if experiment == "replica" else {}


def experiment_threads(experiment: str, engine: str) -> None:
    with staged(experiment, engine) as stage:
        declared = namespaces(**settings_of(experiment))
        with Cache(stage.url, namespaces=declared, settings=SETTINGS) as cache:
            with writer(stage.kind, stage.ports):
                until(lambda: cache.namespace("bill.inquiry").get("bill:inquiry:C1:1", read="primary"))
                reads, wrong = run_threads(cache, lambda: EXPERIMENTS[experiment](stage))
            assert not wrong, wrong[:3]
            assert reads > 100
            assert cache.shared.l1.fills > HOT_KEYS, "nothing was ever kept, so nothing was proven"
            time.sleep(SETTLE_S)
            assert stale_of(cache, stage.truth) == []
            time.sleep(0.1)
            assert stale_of(cache, stage.truth) == [], "the second look is served from the first tier"


async def experiment_tasks(experiment: str, engine: str) -> None:
    with staged(experiment, engine) as stage:
        declared = namespaces(**settings_of(experiment))
        async with AsyncCache(stage.url, namespaces=declared, settings=SETTINGS) as cache:

            def during() -> None:
                with writer(stage.kind, stage.ports):
                    EXPERIMENTS[experiment](stage)

            reads, stale, wrong = await run_tasks(cache, during, stage.truth, SETTLE_S)
            assert not wrong, wrong[:3]
            assert stale == []
            assert reads > 100
            assert cache.shared.l1.fills > HOT_KEYS


@pytest.mark.parametrize("experiment", ["load", "kill"])
def test_threads_see_nothing_stale(experiment: str) -> None:
    experiment_threads(experiment, "valkey-9.1")


@pytest.mark.parametrize("experiment", ["flush"])
async def test_tasks_see_nothing_stale(experiment: str) -> None:
    await experiment_tasks(experiment, "redis-7.0")


def test_a_silent_link_is_not_trusted_beyond_the_stated_time() -> None:
    """Nothing tells that the cable is cut: what was read before is served for the stated time, and not longer."""
    with (
        staged("silence", "valkey-9.1") as stage,
        Cache(stage.url, namespaces=namespaces(), settings=SETTINGS) as cache,
    ):
        bills, server = cache.namespace("bill.inquiry"), raw(stage.servers[0])
        server.set("bill:inquiry:C1:1", "1")
        until(lambda: bills.get("bill:inquiry:C1:1") == 1 and "bill:inquiry:C1:1" in cache.shared.l1.entries)
        assert stage.relay is not None
        stage.relay.silent.set()
        cut = time.monotonic()
        server.set("bill:inquiry:C1:1", "2")
        served_until = cut
        from holdfast.client import CacheUnavailable

        while time.monotonic() - cut < SILENCE_S * 3:
            try:
                assert bills.get("bill:inquiry:C1:1", within_s=0.1) == 1
                served_until = time.monotonic()
            except CacheUnavailable:
                break
            time.sleep(0.01)
        assert served_until - cut <= SILENCE_S + 0.15
        stage.relay.silent.clear()
        until(lambda: bills.get("bill:inquiry:C1:1") == 2, 5)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("experiment", EXPERIMENTS)
async def test_twenty_runs_see_nothing_stale(experiment: str, engine: str) -> None:
    import asyncio

    for run in range(20):
        if run % 2:
            await experiment_tasks(experiment, engine)
        else:
            await asyncio.to_thread(experiment_threads, experiment, engine)
