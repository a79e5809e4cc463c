"""Caches to prove, small and quick to bring up, and what a proof said of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from tests.live.conftest import Bench, Outcome, need

ENGINE = "valkey-9.1"
TLS_ENGINE = "valkey-8.0"


@dataclass(frozen=True)
class Shape:
    """What varies between the caches that are proved."""

    mode: str = "replicated"
    replicas: int = 1
    engine: str = ENGINE
    tls: str = "off"
    maxmemory: str = "64mb"
    persistence: str = "{aof: {enabled: true}}"
    promises: str = (
        "{latency: 500ms, throughput: 500, hit_rate: 50%, failover: 30s, rto: 5m, rpo: 5m, availability: 90%}"
    )
    keys: int = 500
    value: str = "200b"
    node_timeout: str = "5s"
    extra: str = ""

    @property
    def text(self) -> str:
        build = need(self.engine)
        shards = 3 if self.mode == "cluster" else 1
        return (
            "format: 1\ncache: {name: shop}\n"
            f'engine: {{name: {build.name}, version: "{build.version[0]}.{build.version[1]}"}}\n'
            f"topology: {{mode: {self.mode}, shards: {shards}, replicas: {self.replicas}, zones: [a, b, c], node_timeout: {self.node_timeout}}}\n"
            f"memory: {{maxmemory: {self.maxmemory}, policy: allkeys-lru, replication_backlog: 1mb}}\n"
            f"persistence: {self.persistence}\nsecurity: {{tls: {self.tls}}}\n"
            "services: {cart: {namespaces: [cart], reads: [price]}}\n"
            "keyspace:\n  namespaces:\n"
            f"    cart: {{pattern: 'cart:{{id}}', ttl: 1h, owner: cart, traffic: {{keys: {self.keys}, value: {self.value}, reads_per_s: 450, writes_per_s: 50}}}}\n"
            "    price: {pattern: 'price:{id}', ttl: 1h}\n"
            "    secret: {pattern: 'secret:{id}', ttl: 1h}\n"
            f"promises: {self.promises}\n{self.extra}"
        )


@dataclass
class Shop:
    """A cache that is up."""

    bench: Bench
    shape: Shape
    path: Path

    def prove(self, *words: str, shape: Shape | None = None, bound_s: float = 110) -> Outcome:
        """`holdfast prove --json`, by another spec than the one that is up where one is given."""
        path = self.path if shape is None else self.bench.spec(shape.text, "other.yaml")
        return self.bench.run("prove", str(path), "--json", "--for", "1s", *words, bound_s=bound_s)

    def verdict(self, check: str, shape: Shape | None = None, *, bound_s: float = 110) -> dict[str, Any]:
        """What one check says, with the command's exit code."""
        done = self.prove("--only", check, shape=shape, bound_s=bound_s)
        assert done.out, done.err
        found = next(each for each in done.facts["findings"] if each["id"] == check)
        return {**found["verdict"], "code": done.code, "finding": found}

    def nodes(self) -> list[redis.Redis]:
        """A connection to every server, as the operator."""
        facts = self.bench.record("shop")
        folder = self.bench.state / "caches" / "shop"
        settings: dict[str, Any] = {
            "username": "operator", "password": (folder / "passwords" / "operator").read_text(), "decode_responses": True,
            "socket_timeout": 5.0,
        }  # fmt: skip
        if facts["tls"]:
            settings |= {"ssl": True, "ssl_ca_certs": str(folder / "tls" / "ca.pem")}
        return [redis.Redis(host=m["address"], port=m["port"], **settings) for m in facts["members"]]

    def on_all(self, *words: str) -> None:
        """One command on every server."""
        for node in self.nodes():
            node.execute_command(*words)  # type: ignore[no-untyped-call]
            node.close()


def up(bench: Bench, shape: Shape | None = None) -> Shop:
    """Bring a cache of that shape up."""
    shape = shape or Shape()
    path = bench.spec(shape.text)
    bench.run("up", str(path), check=True)
    return Shop(bench, shape, path)


def evidence_of(outcome: Outcome) -> Any:
    """evidence.json of a run."""
    return json.loads((Path(outcome.facts["folder"]) / "evidence.json").read_text())
