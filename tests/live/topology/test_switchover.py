"""A planned change of primary loses nothing, holds writes for a moment only, and clients of sentinels hear of it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from tests.live.conftest import Bench, need, until
from tests.live.supervisor.guarded import shards_of, timeout_ms, timeouts_ms
from tests.live.supervisor.ledger import Way, Writers
from tests.live.topology.caches import client, record, spec_text, working

PAUSE_BOUND_S = 5.0
"""Catches a hang; what is measured is in RESULTS.md."""


def up(bench: Bench, engine: str, mode: str) -> Way:
    need(engine)
    bench.run("up", str(bench.spec(spec_text(engine, mode))), check=True)
    return Way(bench, "demo")


@contextlib.contextmanager
def listening(bench: Bench, way: Way) -> Iterator[list[str]]:
    """What the first sentinel tells those who listen for a change of primary."""
    sentinel = next(each for each in record(bench)["members"] if each["kind"] == "sentinel")
    heard: list[str] = []
    settings: dict[str, Any] = way.settings | {"socket_timeout": 30.0}
    node: Any = redis.Redis(host=sentinel["address"], port=sentinel["port"], **settings)
    channel = node.pubsub(ignore_subscribe_messages=True)
    channel.subscribe("+switch-master")
    channel.get_message(timeout=5)

    def listen() -> None:
        with contextlib.suppress(redis.RedisError, ValueError, AttributeError, OSError):  # closed at the end
            heard.extend(message["data"] for message in channel.listen())

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield heard
    finally:
        channel.close()
        node.close()
        thread.join(5)


@pytest.mark.parametrize(
    ("engine", "mode"),
    [
        ("redis-7.0", "sentinel"),
        pytest.param("valkey-9.1", "replicated", marks=pytest.mark.long),
        pytest.param("valkey-9.1", "sentinel", marks=pytest.mark.long),
        pytest.param("valkey-8.0", "sentinel", marks=pytest.mark.long),
        pytest.param("redis-7.0", "replicated", marks=pytest.mark.long),
        pytest.param("redis-6.2", "replicated", marks=pytest.mark.long),
    ],
)
def test_writes_go_on_at_the_new_primary_and_none_is_lost(bench: Bench, engine: str, mode: str) -> None:
    way = up(bench, engine, mode)
    with contextlib.ExitStack() as stack:
        heard = stack.enter_context(listening(bench, way)) if mode == "sentinel" else []
        (old,) = way.primaries()
        writers = stack.enter_context(Writers(way, [old, *(n for n in way.members if n != old)], None))
        until(lambda: writers.acknowledged > 50)
        for _ in range(2):  # there, and on: a new old primary each time
            done = bench.run("switchover", "demo", "--json", check=True).facts
            assert way.primaries() == [done["to"]]
            assert done["from"] != done["to"]
            if mode == "sentinel":
                host, port = way.members[done["to"]]
                until(lambda h=host, p=port: any(each.endswith(f"{h} {p}") for each in heard))  # type: ignore[misc]
        before = writers.acknowledged
        until(lambda: writers.acknowledged > before + 50)
        writers.stop()
        assert writers.lost() == 0
        assert writers.longest_gap_s < PAUSE_BOUND_S
    assert bench.run("plan", "demo").code == 0


@pytest.mark.parametrize(
    ("engine", "mode"),
    [
        ("valkey-9.1", "replicated"),
        pytest.param("redis-7.0", "sentinel", marks=pytest.mark.long),
        pytest.param("valkey-8.0", "sentinel", marks=pytest.mark.long),
    ],
)
def test_a_client_that_only_reads_or_listens_does_not_stay_with_the_old_primary(
    bench: Bench, engine: str, mode: str
) -> None:
    """Nothing that it asks is refused there: it would take a replica for the primary for ever."""
    way = up(bench, engine, mode)
    (old,) = way.primaries()
    with way.node(old) as reader, way.node(old) as listening:
        reader.connection_pool.max_connections = 1
        channel = listening.pubsub()
        channel.subscribe("news")
        own = reader.client_id()
        assert reader.get("cart:1") is None
        bench.run("switchover", "demo", check=True)
        assert way.primaries() != [old]
        with way.node(old) as looking:
            there = {int(each["id"]) for each in looking.client_list()}
            subscribed = looking.client_list(_type="pubsub")
        assert own not in there
        assert not [each for each in subscribed if each["user"] == "operator"]
        channel.close()
    assert bench.run("plan", "demo").code == 0


@pytest.mark.long
@pytest.mark.timeout(240)
@pytest.mark.parametrize("change", ["switchover", "restarts"])
@pytest.mark.parametrize("engine", ["redis-7.0", "valkey-8.0", "valkey-9.1"])
def test_a_client_of_sentinels_that_tries_again_sees_no_error(bench: Bench, engine: str, change: str) -> None:
    """Sentinels are told while the roles change. Tried again by the application, 5 ms later and 10 where the machine is busy;
    not by redis-py's own `retry`: that connects to the server again which has just refused, and only the next command
    asks sentinels.
    """
    need(engine)
    text = spec_text(engine, "sentinel")
    bench.run("up", str(bench.spec(text)), check=True)
    with working(bench, tries=3) as ledger:
        time.sleep(0.5)
        if change == "restarts":
            bench.run("up", str(bench.spec(text + "network: {backlog: 1023}\n")), check=True)
        else:
            for _ in range(4):
                bench.run("switchover", "demo", check=True)
        time.sleep(0.5)
    assert ledger.errors == []
    assert ledger.repeated
    assert ledger.slowest_s < PAUSE_BOUND_S
    assert ledger.lost(client(bench)) == {}


@pytest.mark.parametrize(
    "engine",
    [
        "valkey-9.1",
        "redis-7.0",
        pytest.param("valkey-8.0", marks=pytest.mark.long),
        pytest.param("redis-8.0", marks=pytest.mark.long),
        pytest.param("redis-6.2", marks=pytest.mark.long),
    ],
)
def test_a_shard_of_a_cluster_goes_there_and_back_and_there_again_at_once_and_nothing_is_lost(
    bench: Bench, engine: str
) -> None:
    """The third switch asks a replica to stand, and voters to vote, that have just done so about the same primary."""
    way = up(bench, engine, "cluster")
    shard = shards_of(bench, "demo")[0]
    old = shard["primary"]
    with Writers(way, [old, *shard["replicas"]], shard["slots"]) as writers:
        until(lambda: writers.acknowledged > 50)
        there = bench.run("switchover", "demo", old, "--json", check=True).facts
        assert there["from"] == old
        assert there["to"] in way.primaries()
        back = bench.run("switchover", "demo", "--to", old, "--json", check=True).facts
        assert (back["from"], back["to"]) == (there["to"], old)
        again = bench.run("switchover", "demo", old, "--json", check=True).facts
        assert (again["from"], again["to"]) == (old, there["to"])
        before = writers.acknowledged
        until(lambda: writers.acknowledged > before + 50)
        writers.stop()
        assert writers.lost() == 0
        assert writers.longest_gap_s < PAUSE_BOUND_S
    assert timeouts_ms(way) == {NODE_TIMEOUT_MS}


NODE_TIMEOUT_MS = 5000
"""The default of `topology.node_timeout`."""


@pytest.mark.long
@pytest.mark.parametrize("engine", ["redis-7.0", "valkey-8.0"])
def test_what_a_switchover_that_is_killed_leaves_with_the_voters_is_mended(bench: Bench, engine: str) -> None:
    way = up(bench, engine, "cluster")
    shard = shards_of(bench, "demo")[0]
    pair = [shard["primary"], *shard["replicas"]]
    voters = [name for name in way.primaries() if name not in pair]
    bench.run("switchover", "demo", pair[0], check=True)  # from here on they rest
    with contextlib.ExitStack() as stack:
        watched = stack.enter_context(way.node(voters[0]))
        writers = stack.enter_context(Writers(way, pair, shard["slots"]))
        for _ in range(5):
            command = bench.begin("switchover", "demo", pair[0])
            while command.poll() is None and timeout_ms(watched) == NODE_TIMEOUT_MS:
                pass
            command.kill()
            command.communicate(timeout=20)
            if timeout_ms(watched) != NODE_TIMEOUT_MS:
                break
        else:
            pytest.fail("five switches were through before they could be killed")
        until(lambda: timeouts_ms(way) == {NODE_TIMEOUT_MS}, bound_s=30)
        before = writers.acknowledged
        until(lambda: writers.acknowledged > before + 50)
        writers.stop()
        assert writers.lost() == 0
    mended = [each for each in bench.run("events", "demo", "--json").facts if each["kind"] == "mended"]
    assert {each["node"] for each in mended} & set(voters)
    bench.run("switchover", "demo", pair[0], check=True)
    assert bench.run("plan", "demo").code == 0


@pytest.mark.long
def test_a_replica_that_refuses_to_be_promoted_leaves_all_as_it_was(bench: Bench) -> None:
    """Sentinels have been told of it by then."""
    way = up(bench, "valkey-9.1", "sentinel")
    (old,) = way.primaries()
    heir = next(name for name in way.members if name != old)
    with way.node(heir) as node:
        node.execute_command("ACL", "SETUSER", "holdfast-supervisor", "-replicaof", "-slaveof")
    refused = bench.run("switchover", "demo", "--to", heir)
    assert refused.code == 1
    assert "The old primary serves on" in refused.err
    assert way.primaries() == [old]
    for each in record(bench)["members"]:
        if each["kind"] == "sentinel":
            settings: dict[str, Any] = way.settings
            with redis.Redis(host=each["address"], port=each["port"], **settings) as sentinel:
                assert sentinel.sentinel_get_master_addr_by_name("demo") == way.members[old]
    assert client(bench).set("cart:1", "still served")
    bench.run("up", "demo", check=True)
    assert bench.status("demo")["healthy"]


def test_a_replica_that_cannot_catch_up_is_not_switched_to_and_the_old_primary_serves_on(
    bench: Bench,
) -> None:
    way = up(bench, "valkey-9.1", "replicated")
    (old,) = way.primaries()
    heir = next(name for name in way.members if name != old)
    with way.node(heir) as node:  # it answers, and its replication stands still
        node.execute_command("REPLICAOF", "127.0.0.1", "1")
    refused = bench.run("switchover", "demo", "--to", heir)
    assert refused.code != 0
    assert "Traceback" not in refused.err
    assert way.primaries() == [old]
    with way.node(old) as node:
        assert node.set("cart:1", "still served")
