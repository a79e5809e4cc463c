"""Caches that Holdfast runs, with TLS and users, reached by the profile that it writes; and what befalls their nodes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.live.client.coherence import SETTINGS, hot_keys, run_threads
from tests.live.client.servers import cluster, engine_server, namespaces, raw, replicated, until
from tests.live.conftest import Bench, need

from holdfast.client import AsyncCache, Cache, CacheDenied, CacheUnavailable, ServerUnfit, declare
from holdfast.profile import ProfileInvalid

SPEC = """\
format: 1
cache: {{name: demo}}
engine: {{name: {kind}, version: "{version}"}}
topology: {{mode: {mode}, shards: {shards}, replicas: {replicas}, zones: [a, b, c], node_timeout: 5s}}
memory: {{maxmemory: 50mb}}
security: {{tls: {{mode: {tls}}}}}
services:
  bill: {{namespaces: [bill.inquiry], reads: [system.config], pool: {{command_timeout: 2s}}}}
keyspace:
  namespaces:
    bill.inquiry: {{pattern: "bill:inquiry:{{customerId}}:{{month}}", ttl: 1h, owner: bill, tier: l1+l2,
                    policy: {{read: replica_preferred, lease: 2s, serve_stale: 10m}}}}
    system.config: {{pattern: "system:config:{{configKey}}", ttl: 24h, tier: l1+l2}}
"""
SHAPES = {"standalone": (1, 0), "replicated": (1, 1), "sentinel": (1, 1), "cluster": (3, 1)}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def brought_up(bench: Bench, engine: str, mode: str, tls: bool) -> Path:
    """A cache that runs; returns the service's profile."""
    kind, _, version = engine.partition("-")
    need(engine)
    shards, replicas = SHAPES[mode]
    text = SPEC.format(
        kind=kind,
        version=version,
        mode=mode,
        shards=shards,
        replicas=replicas,
        tls="required" if tls else "off",
    )
    bench.run("up", str(bench.spec(text)), check=True)
    profile = bench.folder / "bill.profile.json"
    bench.run("env", "demo", "bill", "--profile", str(profile), check=True)
    return profile


def tour(profile: Path) -> None:
    """Every verb as the service may use them, from both faces."""
    with Cache.open(profile) as cache:
        bills = cache.namespace("bill.inquiry")
        keys = {bills.key(customerId=f"C{n}", month="202509"): {"n": n} for n in range(120)}
        bills.put_many(keys)
        assert bills.get_many(keys, read="primary") == keys
        until(lambda: bills.get_many(keys, read="replica_preferred") == keys, 5)
        with cache.own_writes():
            for n in range(20):
                bills.put({"n": n + 1000}, customerId="C1", month="202509")
                assert bills.get(customerId="C1", month="202509") == {"n": n + 1000}
        assert bills.get_or_load(lambda **fields: fields, customerId="X", month="1") == {
            "customerId": "X",
            "month": "1",
        }
        until(lambda: bills.get(customerId="X", month="1") and len(cache.shared.l1.entries) > 0, 5)
        assert bills.delete(customerId="X", month="1")
        assert bills.delete_many(keys) == len(keys)
        assert cache.namespace("system.config").get(configKey="none") is None
        health = cache.health()
        assert health.known
        assert all(node.coherent for node in health.nodes), health

    async def asynchronously() -> None:
        async with AsyncCache.open(profile) as cache:
            bills = cache.namespace("bill.inquiry")
            await asyncio.gather(*(bills.put({"n": n}, customerId=f"A{n}", month="1") for n in range(200)))
            got = await asyncio.gather(
                *(bills.get(customerId=f"A{n}", month="1", read="primary") for n in range(200))
            )
            assert got == [{"n": n} for n in range(200)]
            keys = [bills.key(customerId=f"A{n}", month="1") for n in range(200)]
            assert len(await bills.get_many(keys)) == 200
            assert await bills.delete_many(keys) == 200

    asyncio.run(asynchronously())


_WRITER = """\
import itertools, sys
from holdfast.client import Cache, CacheUnavailable
with Cache.open(sys.argv[1]) as cache:
    bills = cache.namespace("bill.inquiry")
    for n in itertools.count(1):
        try:
            bills.put(n, f"bill:inquiry:C{n % 50}:1")
        except CacheUnavailable:
            pass
        if n == 50:
            print("all written", flush=True)
"""


def see_nothing_stale(profile: Path, during: Callable[[], None]) -> None:
    """Another process writes hot keys, eight threads read them through the first tier while `during` runs."""
    writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(profile)], stdout=subprocess.PIPE)
    try:
        with Cache.open(profile, settings=SETTINGS) as cache:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"all written\n"
            bills = cache.namespace("bill.inquiry")
            reads, wrong = run_threads(cache, during)
            writer.kill()
            writer.wait(10)
            assert not wrong, wrong[:3]
            assert reads > 100
            assert cache.shared.l1.fills > 50
            time.sleep(0.5)
            for _ in range(2):  # the second look is served from the first tier
                stale = [key for key in hot_keys() if bills.get(key) != bills.get(key, read="primary")]
                assert stale == []
    finally:
        writer.kill()
        writer.communicate(timeout=10)


def kill_a_primary(bench: Bench) -> None:
    time.sleep(0.5)
    nodes = json.loads(bench.run("status", "demo", "--json").out)["nodes"]
    victim = next(node["name"] for node in nodes if node["role"] == "primary")
    os.kill(bench.pids("demo")[victim], signal.SIGKILL)
    time.sleep(2)


def ride_out_a_failover(bench: Bench, profile: Path) -> None:
    """Kill a primary under load: errors are the declared ones, and end soon after the cache's own."""
    with Cache.open(profile) as cache:
        bills = cache.namespace("bill.inquiry")
        stop, wrong = threading.Event(), list[BaseException]()
        failed_at: list[float] = []
        wrote = [0]

        def work(worker: int) -> None:
            n = 0
            while not stop.is_set():
                n += 1
                key = bills.key(customerId=f"W{worker}-{n % 40}", month="1")
                try:
                    bills.put({"k": key}, key)
                    wrote[0] += 1
                    found = bills.get(key, read="primary")
                    if found is not None and found != {"k": key}:
                        wrong.append(AssertionError(f"{key}: {found}"))
                except CacheUnavailable:
                    failed_at.append(time.monotonic())
                    time.sleep(0.002)
                except BaseException as failed:
                    wrong.append(failed)
                    return

        threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
        for thread in threads:
            thread.start()
        try:
            until(lambda: wrote[0] > 200)
            nodes = json.loads(bench.run("status", "demo", "--json").out)["nodes"]
            victim = next(node["name"] for node in nodes if node["role"] == "primary")
            killed_at = time.monotonic()
            os.kill(bench.pids("demo")[victim], signal.SIGKILL)
            time.sleep(3)
            before = wrote[0]
            until(lambda: wrote[0] > before + 200, 20)
        finally:
            stop.set()
            for thread in threads:
                thread.join(20)
        assert not wrong, wrong[:2]
        assert not failed_at or max(failed_at) - killed_at < 8


@pytest.mark.parametrize(
    ("engine", "mode", "tls"),
    [
        pytest.param("redis-7.0", "standalone", True, marks=pytest.mark.long),
        ("valkey-9.1", "cluster", False),
        pytest.param("valkey-8.0", "replicated", True, marks=pytest.mark.long),
        pytest.param("valkey-8.0", "sentinel", True, marks=pytest.mark.long),
        pytest.param("redis-7.0", "cluster", True, marks=pytest.mark.long),
        pytest.param("valkey-9.1", "sentinel", False, marks=pytest.mark.long),
        pytest.param("valkey-8.1", "replicated", False, marks=pytest.mark.long),
    ],
)
def test_a_cache_of_holdfasts_own(bench: Bench, engine: str, mode: str, tls: bool) -> None:
    profile = brought_up(bench, engine, mode, tls)
    tour(profile)
    see_nothing_stale(profile, lambda: time.sleep(1))
    if mode != "standalone":
        ride_out_a_failover(bench, profile)
        until(lambda: not bench.status("demo")["problems"], 30)
        see_nothing_stale(profile, lambda: kill_a_primary(bench))


@pytest.mark.long
@pytest.mark.parametrize("mode", ["replicated", "cluster"])
def test_a_planned_switchover_loses_nothing_and_fails_nobody(bench: Bench, mode: str) -> None:
    profile = brought_up(bench, "valkey-9.1", mode, False)
    with Cache.open(profile) as cache:
        bills = cache.namespace("bill.inquiry")
        stop, failed, written = threading.Event(), list[BaseException](), dict[str, int]()

        def work() -> None:
            n = 0
            while not stop.is_set():
                n += 1
                key = bills.key(customerId=f"S{n % 97}", month="1")
                try:
                    bills.put(n, key)
                    written[key] = n
                except BaseException as error:
                    failed.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        until(lambda: len(written) == 97)
        bench.run("switchover", "demo", *(["1"] if mode == "cluster" else []), check=True)
        time.sleep(1)
        stop.set()
        thread.join(20)
        assert len(failed) <= 2, failed[:3]
        assert not failed or all(isinstance(error, CacheUnavailable) for error in failed)
        assert bills.get_many(written, read="primary") == written


def test_a_password_that_is_changed_is_read_anew(tmp_path: Path) -> None:
    from holdfast.profile import Profile, Seed

    with engine_server("valkey-9.1") as server:
        raw(server).execute_command("ACL", "SETUSER", "shop", "on", ">one", "~*", "&*", "+@all")
        secret = tmp_path / "password"
        secret.write_text("one\n")
        profile = Profile(
            "demo",
            "shop",
            "standalone",
            (Seed("127.0.0.1", server.port),),
            "shop",
            str(secret),
            None,
            namespaces=namespaces(),
        )
        (tmp_path / "p.json").write_bytes(profile.to_json())
        with Cache.open(tmp_path / "p.json") as cache:
            orders = cache.namespace("bill.kos")
            orders.put(1, requestId="1")
            secret.write_text("two\n")
            raw(server).execute_command("ACL", "SETUSER", "shop", "resetpass", ">two")
            raw(server).execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            assert orders.get(requestId="1") == 1
            secret.write_text("wrong\n")
            raw(server).execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            with pytest.raises(CacheDenied, match="WRONGPASS"):
                orders.get(requestId="1")
            assert "wrong\n" not in str(cache.health())


def test_wrong_passwords_and_other_kinds_of_servers_are_told_at_once() -> None:
    import socket

    with engine_server("redis-7.0", requirepass="secret") as server:
        with (
            Cache(f"valkey://:wrong@127.0.0.1:{server.port}", namespaces=namespaces()) as cache,
            pytest.raises(CacheDenied, match="WRONGPASS") as told,
        ):
            cache.namespace("bill.kos").get(requestId="1")
        assert "wrong@" not in str(told.value)
        assert "secret" not in str(told.value)
        with (
            Cache(f"valkey://127.0.0.1:{server.port}", namespaces=namespaces()) as cache,
            pytest.raises(CacheDenied, match="NOAUTH"),
        ):
            cache.namespace("bill.kos").get(requestId="1")

    def answer(listener: socket.socket) -> None:
        with listener:
            while True:
                try:
                    link, _ = listener.accept()
                except OSError:
                    return
                link.recv(100)
                link.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                link.close()

    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=answer, args=(listener,), daemon=True).start()
    port = listener.getsockname()[1]
    with (
        Cache(f"valkey://127.0.0.1:{port}", namespaces=namespaces()) as cache,
        pytest.raises((ServerUnfit, CacheUnavailable), match=r"no server for this client|did not"),
    ):
        cache.namespace("bill.kos").get(requestId="1")
    listener.close()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{}",
        b'{"format": 99}',
        b'{"format": 1, "cache": "x"}',
        b"\xff",
        b'{"format":1,"seeds":3}',
    ],
)
def test_profiles_that_are_none_are_refused(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "p.json"
    path.write_bytes(text)
    with pytest.raises(ProfileInvalid, match=r"p\.json"):
        Cache.open(path)
    with pytest.raises(ProfileInvalid, match="none"):
        Cache.open(tmp_path / "none.json")


def test_a_profile_written_anew_is_followed(tmp_path: Path) -> None:
    """As after a cutover: the same service, another cache."""
    from holdfast.profile import Profile, Seed

    with engine_server("redis-7.0") as old, engine_server("valkey-9.1") as new:
        path = tmp_path / "p.json"

        def write(port: int) -> None:
            made = Profile(
                "demo",
                "shop",
                "standalone",
                (Seed("127.0.0.1", port),),
                "",
                "",
                None,
                namespaces=namespaces(),
            )
            temporary = path.with_suffix(".new")
            temporary.write_bytes(made.to_json())
            temporary.replace(path)

        write(old.port)
        with Cache.open(path) as cache:
            orders = cache.namespace("bill.kos")
            orders.put("old", requestId="1")
            raw(new).set("bill:kos:1", b'"new"')
            write(new.port)
            time.sleep(0.25)
            cache.shared.look_again()
            until(lambda: orders.get(requestId="1") == "new", 5)


def test_ask_to_a_node_that_nobody_knew() -> None:
    """A slot on its way to a node that joined a moment ago."""
    with cluster("valkey-9.1") as servers:
        declared = {"bill": declare("bill:{{no}}", ttl_s=60)}
        with Cache(f"valkey://127.0.0.1:{servers[0].port}", namespaces=declared) as cache:
            bills = cache.namespace("bill")
            from holdfast.client.keys import slot_of

            number = next(n for n in range(1000) if slot_of(f"bill:{{{n}}}".encode()) < 5000)
            slot = slot_of(f"bill:{{{number}}}".encode())
            bills.put("v", no=number)
            ids = [raw(server).execute_command("CLUSTER", "MYID") for server in servers]
            raw(servers[1]).execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
            raw(servers[0]).execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])
            raw(servers[0]).execute_command(
                "MIGRATE", "127.0.0.1", servers[1].port, f"bill:{{{number}}}", 0, 2000, "REPLACE"
            )
            cache.shared.nodes.pop(next(at for at in cache.shared.nodes if at.port == servers[1].port))
            assert bills.get(no=number) == "v"
            assert bills.get_many([bills.key(no=number)]) == {bills.key(no=number): "v"}
            bills.put("w", no=number)
            assert bills.delete(no=number)


def test_a_replica_that_lags_is_not_read_within_the_bound() -> None:
    """The bound is proven, not guessed: a replica cut from its primary is left out once its last proof is too old."""
    with replicated("valkey-9.1") as servers:
        url = "valkey://" + ",".join(f"127.0.0.1:{each.port}" for each in servers)
        declared = {
            "near": declare("near:{no}", ttl_s=60, read="replica_preferred", stale_bound_ms=400),
            "any": declare("any:{no}", ttl_s=60, read="replica_preferred"),
        }
        with Cache(url, namespaces=declared) as cache:
            near = cache.namespace("near")
            near.put(1, no=1)
            fallbacks = cache.shared.figures.replica_fallbacks
            replica = raw(servers[1])

            def read_by_replica() -> bool:
                hits = int(replica.info("stats")["keyspace_hits"])
                assert near.get(no=1) in (1, 2)
                return int(replica.info("stats")["keyspace_hits"]) > hits

            until(read_by_replica, 5)
            replica.execute_command("REPLICAOF", "127.0.0.1", "1")
            near.put(2, no=1)
            time.sleep(0.5)
            for _ in range(20):
                assert near.get(no=1) == 2
            assert cache.shared.figures.replica_fallbacks == fallbacks, "it was not even asked"


def test_a_replica_that_joins_later_is_read_soon() -> None:
    """Nothing but the primary's own word tells of it; the layout's period of 30 s is not waited for."""
    with engine_server("valkey-9.1", repl_diskless_sync_delay="0") as primary:
        declared = {"there": declare("there:{no}", ttl_s=60, read="replica")}
        with Cache(primary.url, namespaces=declared) as cache, engine_server("valkey-9.1") as joins:
            there = cache.namespace("there")
            there.put(1, no=1)
            with pytest.raises(CacheUnavailable, match="no replica"):
                there.get(no=1)
            raw(joins).replicaof(primary.host, str(primary.port))

            def is_read() -> bool:
                try:
                    return there.get(no=1) == 1
                except CacheUnavailable:
                    return False

            until(is_read, 10)


@pytest.mark.parametrize("engine", ["redis-7.0", "valkey-9.1"])
def test_a_dead_replica_costs_nothing_but_a_look_at_the_primary(engine: str) -> None:
    with replicated(engine) as servers:
        url = "valkey://" + ",".join(f"127.0.0.1:{each.port}" for each in servers)
        with Cache(url, namespaces={"any": declare("any:{no}", ttl_s=60, read="replica_preferred")}) as cache:
            values = cache.namespace("any")
            for n in range(50):
                values.put(n, no=n)
            until(lambda: all(values.get(no=n) == n for n in range(50)))
            os.kill(servers[1].pid, signal.SIGKILL)
            began = time.monotonic()
            assert [values.get(no=n) for n in range(50)] == list(range(50))
            assert time.monotonic() - began < 10


@pytest.mark.parametrize("engine", ["redis-7.0", "valkey-9.1"])
def test_a_clusters_replica_that_lost_its_primary_is_not_read_while_the_primary_answers(engine: str) -> None:
    """One that was started again serves its old file until it is linked; CLUSTER SLOTS names it all the same."""
    with cluster(engine, replicas=1) as servers:
        url = f"valkey://127.0.0.1:{servers[0].port}"
        with Cache(
            url, namespaces={"any": declare("any:{no}", ttl_s=600, read="replica_preferred")}
        ) as cache:
            values = cache.namespace("any")
            for n in range(60):
                values.put("old", no=n)
            shared = cache.shared
            until(lambda: shared.layout is not None and all(each.replicas for each in shared.layout.shards))
            until(lambda: all(values.get(no=n, read="replica") == "old" for n in range(60)))
            lost = raw(servers[3])
            lost.config_set("masteruser", "nobody")
            lost.config_set("masterauth", "refused")
            lost.execute_command("CLIENT", "KILL", "TYPE", "master")
            until(lambda: lost.info("replication")["master_link_status"] == "down")
            for n in range(60):
                values.put("new", no=n)
            until(lambda: all(values.get(no=n) == "new" for n in range(60)), 2)
            assert [values.get(no=n) for n in range(60)] == ["new"] * 60
            old = [n for n in range(60) if values.get(no=n, read="replica") == "old"]
            assert len(old) > 5, "its own slots: who asks for replicas alone is given what there is"
            lost.config_set("masteruser", "")
            lost.config_set("masterauth", "")
            until(lambda: all(values.get(no=n, read="replica") == "new" for n in range(60)), 30)


def test_a_hanging_replica_leaves_the_primary_time_to_answer() -> None:
    with replicated("valkey-9.1") as servers:
        url = "valkey://" + ",".join(f"127.0.0.1:{each.port}" for each in servers) + "?command_timeout_ms=600"
        with Cache(url, namespaces={"any": declare("any:{no}", ttl_s=60, read="replica_preferred")}) as cache:
            values = cache.namespace("any")
            values.put(1, no=1)
            until(lambda: values.get(no=1) == 1)
            os.kill(servers[1].pid, signal.SIGSTOP)
            try:
                assert [values.get(no=1) for _ in range(10)] == [1] * 10
            finally:
                os.kill(servers[1].pid, signal.SIGCONT)
