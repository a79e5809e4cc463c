"""Caches whose nodes the tests of this folder kill, and what is asked of them afterwards."""

from __future__ import annotations

import time
from typing import Any

import pytest
import redis
from tests.live.conftest import Bench, need
from tests.live.supervisor.ledger import Way

SLOW_VOTE = "15s"
"""Node timeout so long that a quick failover cannot be the engine's own doing."""
HANG_S = 12.0
"""Far below what the engine alone needs at that node timeout, far above what is measured (RESULTS.md)."""


def up(
    bench: Bench,
    engine: str,
    mode: str,
    *,
    replicas: int = 1,
    persistence: str = "",
    timeout: str = SLOW_VOTE,
    topology: str = "",
) -> Way:
    """A cache that is watched over. Args: `topology`, more of that section (`, key: value`)."""
    build = need(engine)
    shards = 3 if mode == "cluster" else 1
    path = bench.spec(
        "format: 1\n"
        "cache: {name: shop}\n"
        f'engine: {{name: {build.name}, version: "{build.version[0]}.{build.version[1]}"}}\n'
        f"topology: {{mode: {mode}, shards: {shards}, replicas: {replicas}, zones: [a, b, c], node_timeout: {timeout}{topology}}}\n"
        "memory: {maxmemory: 64mb}\n"
        f"{persistence}"
    )
    bench.run("up", str(path), check=True)
    time.sleep(1.5)  # one sample of ids and offsets
    return Way(bench, "shop")


def shards_of(bench: Bench, cache: str = "shop") -> list[dict[str, Any]]:
    """Primary, its replicas and its slots, by status."""
    nodes = bench.status(cache)["nodes"]
    found = []
    for node in nodes:
        if node["role"] == "primary" and (node["slots"] or all(not other["slots"] for other in nodes)):
            slots: set[int] = set()
            for span in node["slots"]:
                first, _, last = span.partition("-")
                slots |= set(range(int(first), int(last or first) + 1))
            replicas = [each["name"] for each in nodes if each["primary"] == node["name"]]
            found.append({"primary": node["name"], "replicas": replicas, "slots": slots or None})
    return found


def timeout_ms(node: redis.Redis) -> int:
    """The node timeout that it has now."""
    return int(str(node.config_get("cluster-node-timeout")["cluster-node-timeout"]))


def timeouts_ms(way: Way) -> set[int]:
    """Those that the nodes have now."""
    found = set()
    for name in way.members:
        with way.node(name) as node:
            found.add(timeout_ms(node))
    return found


def events(bench: Bench, kind: str) -> list[dict[str, Any]]:
    return [
        event
        for event in bench.run("events", "shop", "--json", "--last", "200").facts
        if event["kind"] == kind
    ]


def await_health(bench: Bench, bound_s: float) -> None:
    """Wait until status has nothing to say; if it has, fail with that and with what happened."""
    end = time.monotonic() + bound_s
    while (seen := bench.run("status", "shop")).code != 0:
        if time.monotonic() > end:
            pytest.fail(f"not healthy within {bound_s:g} s\n{seen.out}\n{bench.run('events', 'shop').out}")
        time.sleep(0.2)


UNVOTED = ", unattended_takeover: true"
NOTHING_KEPT = "persistence: {rdb: {enabled: false}}\n"
SNAPSHOTS = 'persistence: {rdb: {enabled: true, save: ["3600 1"]}}\n'
KEPT = "persistence: {aof: {enabled: true, fsync: always}}\n"
"""Where nothing may be lost: with everysec, what is acknowledged while a busy disk is at the last fsync may be."""
