"""Transactions in an append-only file are there again after a crash, for all that nobody can be `default`."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import Any

import pytest
import redis
from tests.live.conftest import Bench, need, until
from tests.live.supervisor.ledger import Way
from tests.live.topology.caches import spec_text


@pytest.mark.parametrize(
    "engine",
    [
        "valkey-8.0",
        *(
            pytest.param(name, marks=pytest.mark.long)
            for name in ("valkey-9.1", "valkey-8.1", "redis-8.0", "redis-7.0", "redis-6.2")
        ),
    ],
)
def test_a_transaction_outlives_a_crash(bench: Bench, engine: str) -> None:
    need(engine)
    persistence = "persistence: {rdb: {enabled: false}, aof: {enabled: true, fsync: always}}"
    spec = bench.spec(spec_text(engine, "standalone", more=persistence))
    bench.run("up", str(spec), check=True)
    way = Way(bench, "demo")
    (name,) = way.primaries()
    with way.node(name) as node:
        node.set("cart:1", "alone")
        with node.pipeline(transaction=True) as both:
            both.set("cart:2", "together").rpush("cart:3", "a", "b").execute()
        ended = node.info("server")["process_id"]
    os.kill(ended, signal.SIGKILL)
    until(lambda: _pid(way, name) not in {0, ended})
    with way.node(name) as node:
        assert [node.get("cart:1"), node.get("cart:2")] == ["alone", "together"]
        assert node.lrange("cart:3", 0, -1) == ["a", "b"]
    _nobody_is_default(way, name)


def _pid(way: Way, name: str) -> int:
    """Of the server that answers; 0 when none does."""
    with contextlib.suppress(redis.RedisError), way.node(name) as node:
        return int(node.info("server")["process_id"])
    return 0


def _nobody_is_default(way: Way, name: str) -> None:
    host, port = way.members[name]
    settings: dict[str, Any] = way.settings | {"username": None, "password": None, "protocol": 2}
    with redis.Redis(host=host, port=port, **settings) as nobody, pytest.raises(redis.AuthenticationError):
        nobody.get("cart:1")
    settings |= {"username": "default", "password": "x"}
    with redis.Redis(host=host, port=port, **settings) as guessed, pytest.raises(redis.AuthenticationError):
        guessed.get("cart:1")
