"""`holdfast bench` on real servers: what it offers, counts and cleans up, and that a loss shows."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import pytest
from tests.live.conftest import Bench, need, until

ENGINE = "valkey-9.1"
MIX = """
flows:
  a: {pattern: "a:{id}:{x}", keys: 500, value: 64, skew: 1, churn_per_s: 50, commands: {GET: 10, SET: 5, MGET: 3}}
  b: {pattern: "b:{{id}}:z", keys: 100, commands: {HSET: 3, HGETALL: 2, INCR: 2, RPUSH: 4}}
"""


def up(bench: Bench, mode: str = "standalone", replicas: int = 0, extra: str = "") -> str:
    build = need(ENGINE)
    shards = 3 if mode == "cluster" else 1
    path = bench.spec(
        "format: 1\ncache: {name: shop}\n"
        f'engine: {{name: {build.name}, version: "9.1"}}\n'
        f"topology: {{mode: {mode}, shards: {shards}, replicas: {replicas}}}\n"
        "memory: {maxmemory: 64mb}\npersistence: {rdb: {enabled: false}}\n"
        "services: {cart: {namespaces: [cart]}}\n"
        "keyspace:\n  namespaces:\n    cart: {pattern: 'cart:{id}', ttl: 1h, traffic: {keys: 1000, value: 200,"
        " reads_per_s: 900, writes_per_s: 100, skew: 0.8}}\n" + extra
    )
    bench.run("up", str(path), check=True)
    return "shop"


def keys_left(bench: Bench) -> int:
    return sum(node["keys"] for node in bench.status("shop")["nodes"])


def test_the_specs_own_traffic_is_offered_counted_and_cleaned_up(bench: Bench) -> None:
    up(bench, "cluster", 1)
    bench.run("call", "shop", "SET", "mine", "stays", check=True)
    facts = bench.run("bench", "shop", "--for", "2s", "--clients", "12", "--json", check=True).facts
    assert facts["offered"] == pytest.approx(2000, rel=0.05)
    assert facts["answered"] >= 0.8 * facts["offered"]
    assert facts["hit_percent"] == 100.0
    assert facts["writes"] > 50
    assert facts["verified"] == 1000
    assert (facts["lost"], facts["doubled"], facts["stale"]) == (0, 0, 0)
    assert {each["command"] for each in facts["latencies"]} == {"GET", "SET"}
    assert facts["overall"]["percentiles_ms"]["50"] > 0
    until(lambda: keys_left(bench) == 2)  # `mine`, on its primary and replica
    assert bench.run("call", "shop", "GET", "mine").out.strip() == "stays"


@pytest.mark.long
def test_every_command_of_a_workload_file_on_every_slot(bench: Bench) -> None:
    up(bench, "cluster", 1)
    path = bench.folder / "mix.yaml"
    path.write_text(MIX)
    facts = bench.run(
        "bench", "shop", "--workload", str(path), "--rate", "1500", "--for", "2s", "--clients", "10",
        "--pipeline", "4", "--replicas", "--json", check=True,
    ).facts  # fmt: skip
    assert facts["errors"] == {}
    assert {each["command"] for each in facts["latencies"]} >= {
        "GET", "SET", "MGET", "HSET", "HGETALL", "INCR", "RPUSH",
    }  # fmt: skip
    assert (facts["lost"], facts["doubled"]) == (0, 0)
    until(lambda: keys_left(bench) == 0)


@pytest.mark.long
def test_writes_that_vanish_are_counted_as_lost(bench: Bench) -> None:
    up(bench)
    running = bench.begin("bench", "shop", "--for", "4s", "--json")
    time.sleep(3)
    bench.run("call", "shop", "FLUSHALL", check=True)
    out, err = running.communicate(timeout=60)
    facts = _facts(out, err)
    assert facts["lost"] > 0


@pytest.mark.long
def test_a_generator_that_cannot_keep_up_says_so(bench: Bench) -> None:
    up(bench)
    done = bench.run("bench", "shop", "--rate", "2000000", "--for", "1s", "--clients", "4")
    assert done.code == 0, done.err
    assert "due and never sent" in done.out
    assert "limit" in done.out or "without a free core" in done.out


@pytest.mark.long
def test_a_primary_that_dies_meanwhile_is_survived_and_its_errors_are_counted(bench: Bench) -> None:
    up(bench, "cluster", 1)
    running = bench.begin("bench", "shop", "--for", "6s", "--clients", "9", "--json")
    time.sleep(3)
    victim = next(node for node in bench.status("shop")["nodes"] if node["role"] == "primary")
    os.kill(bench.pids("shop")[victim["name"]], 9)
    out, err = running.communicate(timeout=90)
    facts = _facts(out, err)
    assert sum(facts["errors"].values()) > 0
    assert facts["acks"][-2] > 0  # it goes on afterwards, on every shard
    assert facts["answered"] > 0.5 * facts["offered"]


def _facts(out: str, err: str) -> Any:
    assert out, err
    return json.loads(out)


def test_a_cache_that_is_down_and_an_unknown_one_are_refused_in_words(bench: Bench) -> None:
    up(bench)
    bench.run("down", "shop", check=True)
    done = bench.run("bench", "shop", "--for", "1s")
    assert done.code == 1
    assert "no primary answers" in done.err
    assert "Traceback" not in done.err
    assert bench.run("bench", "nosuch").code == 1
    assert bench.run("bench", "shop", "--for", "never").code == 2
    assert bench.run("bench", "shop", "--keys", "120%").code == 2
