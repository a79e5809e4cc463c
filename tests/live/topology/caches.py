"""Caches for these tests: specs by mode and engine, clients as applications have them, and a ledger of what they did."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import redis
import redis.cluster
import redis.sentinel
from redis.backoff import NoBackoff
from redis.retry import Retry
from tests.live.conftest import AT_HAND, Bench, need

# Much of redis-py has no types.
ClusterNode: Any = redis.cluster.ClusterNode
RedisCluster: Any = redis.cluster.RedisCluster
Sentinel: Any = redis.sentinel.Sentinel

MODES = ("standalone", "replicated", "sentinel", "cluster")
CLIENT_BOUND_S = 5.0


def spec_text(
    engine: str,
    mode: str,
    *,
    name: str = "demo",
    shards: int | None = None,
    replicas: int | None = None,
    zones: str = "a, b, c",
    tls: str = "where_available",
    maxmemory: str = "100mb",
    more: str = "",
) -> str:
    """A spec with two services, each with a namespace of its own; `more` are further top-level lines."""
    kind, _, version = engine.partition("-")
    if shards is None:
        shards = 3 if mode == "cluster" else 1
    if replicas is None:
        replicas = {"standalone": 0, "replicated": 2, "sentinel": 2, "cluster": 1}[mode]
    return f"""\
format: 1
cache: {{name: {name}}}
engine: {{name: {kind}, version: "{version}"}}
topology: {{mode: {mode}, shards: {shards}, replicas: {replicas}, zones: [{zones}], node_timeout: 5s}}
memory: {{maxmemory: {maxmemory}}}
security: {{tls: {tls}}}
services:
  shop: {{namespaces: [cart]}}
  desk: {{namespaces: [ticket]}}
keyspace:
  namespaces:
    cart: {{pattern: "cart:{{userId}}", ttl: 4h, owner: shop}}
    ticket: {{pattern: "ticket:{{number}}", ttl: 4h, owner: desk}}
{more}"""


def swapped(text: str, old: str, new: str) -> str:
    """The text with `old` replaced; a test that would change nothing fails here."""
    assert old in text, f"{old!r} is not in the spec"
    return text.replace(old, new)


def record(bench: Bench, cache: str = "demo") -> dict[str, Any]:
    """The cache's record as it is on disk."""
    found: dict[str, Any] = json.loads((bench.state / "caches" / cache / "record.json").read_text())
    return found


def client(bench: Bench, service: str = "shop", cache: str = "demo", **settings: Any) -> Any:
    """What an application of that service connects with: the mode's own client of redis-py."""
    facts = record(bench, cache)
    folder = bench.state / "caches" / cache
    login: dict[str, Any] = {
        "username": service,
        "password": (folder / "passwords" / service).read_text().strip(),
        "socket_timeout": CLIENT_BOUND_S,
        "socket_connect_timeout": CLIENT_BOUND_S,
        "decode_responses": True,
    }
    if facts["tls"]:
        login |= {"ssl": True, "ssl_ca_certs": str(folder / "tls" / "ca.pem")}
    if facts["mode"] == "cluster":
        seeds = [ClusterNode(each["address"], each["port"]) for each in facts["members"]]
        return RedisCluster(startup_nodes=seeds, **login, **settings)
    if facts["mode"] == "sentinel":
        sentinels = [
            (each["address"], each["port"]) for each in facts["members"] if each["kind"] == "sentinel"
        ]
        return Sentinel(sentinels, sentinel_kwargs=login, **login, **settings).master_for(cache)
    primary = next(node for node in bench.status(cache)["nodes"] if node["role"] == "primary")
    return redis.Redis(host=primary["address"], port=primary["port"], **login, **settings)


def node_client(bench: Bench, node: str, user: str = "operator", cache: str = "demo") -> Any:
    """A connection to one node, whatever the mode; it never tries twice."""
    facts = record(bench, cache)
    folder = bench.state / "caches" / cache
    member = next(each for each in facts["members"] if each["name"] == node)
    tls: dict[str, Any] = (
        {"ssl": True, "ssl_ca_certs": str(folder / "tls" / "ca.pem")} if facts["tls"] else {}
    )
    return redis.Redis(
        host=member["address"],
        port=member["port"],
        username=user,
        password=(folder / "passwords" / user).read_text().strip(),
        socket_timeout=CLIENT_BOUND_S,
        decode_responses=True,
        retry=Retry(NoBackoff(), 0),
        **tls,
    )


def roles(status: Mapping[str, Any]) -> dict[str, tuple[str, str | None, tuple[str, ...], int]]:
    """Node -> role, primary, slots, port."""
    return {
        node["name"]: (node["role"], node["primary"], tuple(node["slots"]), node["port"])
        for node in status["nodes"]
    }


def zones_apart(status: Mapping[str, Any]) -> bool:
    """Whether no replica is in its primary's zone."""
    zone = {node["name"]: node["zone"] for node in status["nodes"]}
    return all(
        zone[node["name"]] != zone[node["primary"]] for node in status["nodes"] if node["role"] == "replica"
    )


def slot_counts(status: Mapping[str, Any]) -> dict[str, int]:
    """Primary -> how many slots it owns."""
    counts = {}
    for node in status["nodes"]:
        spans = [span.partition("-") for span in node["slots"]]
        if spans:
            counts[node["name"]] = sum(
                (int(last) if dash else int(first)) - int(first) + 1 for first, dash, last in spans
            )
    return counts


def steps_of(facts: Mapping[str, Any]) -> list[str]:
    """Names of the steps that an `up --json` did."""
    return [step["step"] for step in facts["steps"]]


AGAIN_S = 0.005
"""Before a command that failed is tried again."""


@dataclass
class Ledger:
    """What a working client was told: which ids were acknowledged, and what went wrong."""

    acknowledged: dict[str, list[str]] = field(default_factory=dict)
    reads: int = 0
    errors: list[str] = field(default_factory=list)
    unmet: int = 0
    """How often the client did not know a node that it was told to ask."""
    slowest_s: float = 0.0
    tries: int = 1
    repeated: int = 0

    @property
    def writes(self) -> int:
        return sum(len(ids) for ids in self.acknowledged.values())

    def lost(self, connection: Any) -> dict[str, list[str]]:
        """Key -> acknowledged ids that are not in the cache (or not in the order they were written)."""
        found = {}
        for key, ids in self.acknowledged.items():
            there, mine = connection.lrange(key, 0, -1), set(ids)
            if [each for each in there if each in mine] != ids:
                found[key] = sorted(mine - set(there)) or ["out of order or twice"]
        return found


@contextlib.contextmanager
def working(bench: Bench, cache: str = "demo", keys: int = 200, tries: int = 1) -> Iterator[Ledger]:
    """A writer of unique ids and a reader that works as `shop` for the length of the block, each with a client of
    its own, over keys of many slots. Args: `tries`, how often each does a command that fails for its connection.
    """
    ledger = Ledger({f"cart:w{number}": [] for number in range(keys)}, tries=tries)
    names = list(ledger.acknowledged)
    writer, reader = client(bench, cache=cache), client(bench, cache=cache)
    writer.ping()
    reader.ping()
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            key = names[number % keys]
            if _tried(ledger, writer, "rpush", key, str(number)):
                ledger.acknowledged[key].append(str(number))
            number += 1
            time.sleep(0.0005)

    def read() -> None:
        number = 0
        while not stop.is_set():
            ledger.reads += _tried(ledger, reader, "llen", names[number * 7 % keys])
            number += 1
            time.sleep(0.0005)

    threads = [threading.Thread(target=write, daemon=True), threading.Thread(target=read, daemon=True)]
    for thread in threads:
        thread.start()
    try:
        yield ledger
        assert all(thread.is_alive() for thread in threads)
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
        writer.close()
        reader.close()
    assert ledger.writes > 0
    assert ledger.reads > 0


def _tried(ledger: Ledger, connection: Any, command: str, *words: str) -> bool:
    """Do it; whether it was answered. Everything that an application would see is counted.

    redis-py 8.1 fails with an AttributeError, before it has sent anything, when it is told to ASK a node that it has
    not met yet; an application that works with it must ask who owns what again and repeat. Counted apart.
    """
    began = time.monotonic()
    left = ledger.tries
    try:
        while True:
            left -= 1
            try:
                getattr(connection, command)(*words)
                return True
            except redis.ConnectionError:
                if not left:
                    raise
                ledger.repeated += 1
                time.sleep(AGAIN_S)
            except AttributeError as unmet:
                if "redis_connection" not in str(unmet) or time.monotonic() - began > CLIENT_BOUND_S:
                    raise
                ledger.unmet += 1
                time.sleep(0.002)
                connection.nodes_manager.initialize()
    except Exception as failed:
        ledger.errors.append(f"{type(failed).__name__}: {failed}")
        return False
    finally:
        ledger.slowest_s = max(ledger.slowest_s, time.monotonic() - began)


def fill(connection: Any, count: int) -> dict[str, Any]:
    """Write keys of mixed types, some with a TTL, some with a hash tag, a few large. Returns: key -> its value."""
    wanted: dict[str, Any] = {}
    pipe = _pipeline(connection)
    for number in range(count):
        key = f"cart:k{number}" if number % 10 else f"cart:{{u{number % 50}}}:{number}"
        kind = number % 5
        if kind == 0:
            wanted[key] = f"value {number}"
            pipe.set(key, wanted[key], ex=3600 if number % 3 == 0 else None)
        elif kind == 1:
            wanted[key] = {"a": str(number), "b": "x" * 20}
            pipe.hset(key, mapping=wanted[key])
        elif kind == 2:
            wanted[key] = [str(number), "second"]
            pipe.rpush(key, *wanted[key])
        elif kind == 3:
            wanted[key] = {f"m{number}", "n"}
            pipe.sadd(key, *wanted[key])
        else:
            wanted[key] = [("low", 1.0), ("high", float(number + 2))]
            pipe.zadd(key, dict(wanted[key]))
        if number % 1000 == 999:
            pipe.execute()
    for number in range(3):
        key = f"cart:large{number}"
        wanted[key] = [f"{entry}" for entry in range(50_000)]
        for start in range(0, 50_000, 10_000):
            pipe.rpush(key, *wanted[key][start : start + 10_000])
    key = "cart:huge"
    wanted[key] = "y" * 8_000_000
    pipe.set(key, wanted[key])
    pipe.execute()
    return wanted


def differences(connection: Any, wanted: Mapping[str, Any]) -> list[str]:
    """What is not as it was written: keys that are gone, values that changed, TTLs that were lost or prolonged."""
    found = []
    names = list(wanted)
    for start in range(0, len(names), 1000):
        part = names[start : start + 1000]
        pipe = _pipeline(connection)
        for key in part:
            value = wanted[key]
            if isinstance(value, str):
                pipe.get(key)
            elif isinstance(value, dict):
                pipe.hgetall(key)
            elif isinstance(value, set):
                pipe.smembers(key)
            elif value and isinstance(value[0], tuple):
                pipe.zrange(key, 0, -1, withscores=True)
            else:
                pipe.lrange(key, 0, -1)
            pipe.ttl(key)
        replies = pipe.execute()
        for place, key in enumerate(part):
            value, ttl = replies[2 * place], replies[2 * place + 1]
            if _plain(value) != _plain(wanted[key]):
                found.append(f"{key}: {str(wanted[key])[:40]} became {str(value)[:40]}")
            number = key.rpartition(":")[2].lstrip("k")
            lives = number.isdigit() and int(number) % 15 == 0
            if (lives and not 0 < ttl <= 3600) or (not lives and ttl != -1):
                found.append(f"{key}: TTL {ttl}")
    return found


def _pipeline(connection: Any) -> Any:
    """Commands sent together, without a transaction."""
    return (
        connection.pipeline()
        if isinstance(connection, RedisCluster)
        else connection.pipeline(transaction=False)
    )


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)) and value and isinstance(value[0], (list, tuple)):
        return [tuple(each) for each in value]
    return value


def tls_of(engine: str) -> bool:
    """Whether that engine has TLS; the test is skipped where it is not at hand."""
    return need(engine).tls


def known_engines() -> tuple[str, ...]:
    """Engines that these tests know, at hand or not, so that a missing one is a named skip."""
    known = ("valkey-9.1", "valkey-8.1", "valkey-8.0", "redis-8.0", "redis-7.0", "redis-6.2")
    return (*known, *sorted(set(AT_HAND) - set(known)))
