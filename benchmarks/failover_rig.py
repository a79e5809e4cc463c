"""One cache that is killed again and again: its shards as they are now, its clients, and the wait until it is whole."""

from __future__ import annotations

import asyncio
import contextlib
import json
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from benchmarks.failover_clients import Job, Seen
from benchmarks.workshop import ROOT, CommandFailed, Workshop, engine_lines
from holdfast.cli.look import look
from holdfast.cli.opening import named
from holdfast.cli.views import status_facts
from holdfast.codec.crc import SLOTS, key_slot
from holdfast.profile import Profile

CACHE, SERVICE = "failover-bench", "client"
NAMESPACE = "bench.failover"
CLIENTS = 4
WHOLE_BOUND_S = 120.0
LOOK_EVERY_S = 0.15
SAMPLED_S = 1.5
"""In which the supervisor has asked every node for its id and offset once."""
READY_BOUND_S = 30.0
REPLICAS = {"cluster": 1, "sentinel": 2, "replicated": 2}


@dataclass(frozen=True)
class Shard:
    """A shard as status shows it."""

    primary: str
    pid: int
    """Of the primary."""
    nodes: tuple[tuple[str, str, int], ...]
    """Name, address and port; the primary first."""
    slots: frozenset[int]
    """Empty where there are no slots."""


@dataclass
class Rig:
    """The cache and what is needed to get in."""

    shop: Workshop
    mode: str
    profile: Profile
    _seen: Any = None
    """Its status when it was last whole."""
    _whole_s: float = field(default=0.0)
    """Since when, monotonic."""

    @classmethod
    def made(cls, shop: Workshop, engine: str, mode: str) -> Rig:
        """The cache, up and whole."""
        shop.holdfast("up", str(spec_file(shop.folder, engine, mode)))
        shop.holdfast("env", CACHE, SERVICE, "--profile", str(shop.folder / "profile.json"))
        rig = cls(shop, mode, Profile.from_json((shop.folder / "profile.json").read_bytes()))
        rig.await_whole()
        return rig

    def shards(self) -> list[Shard]:
        """The shards as they were when the cache was last whole, in the order of their primaries' names."""
        return self._shards(self._seen)

    def await_whole(self) -> None:
        """Wait until status has nothing to say. Raises: CommandFailed when it is not so in time."""
        end = time.monotonic() + WHOLE_BOUND_S
        while True:
            seen = self._status()
            if seen["healthy"]:
                self._seen, self._whole_s = seen, time.monotonic()
                return
            if time.monotonic() > end:
                told = "; ".join(f"{each['node']} {each['what']}" for each in seen["problems"])
                raise CommandFailed(f"the cache is not whole after {WHOLE_BOUND_S:g} s: {told}")
            time.sleep(LOOK_EVERY_S)

    def await_sampled(self) -> None:
        """Wait until the supervisor has sampled every node since the cache was whole."""
        time.sleep(max(0.0, self._whole_s + SAMPLED_S - time.monotonic()))

    def _status(self) -> Any:
        """`holdfast status --json`, without a process: hundreds of kills would wait for hundreds of interpreters."""
        with self.shop.as_own_state():
            return status_facts(asyncio.run(look(named(CACHE))))

    def supervisor_pid(self) -> int:
        """The supervisor's."""
        return int((self.shop.state / "supervisor" / "lock").read_text())

    def operator(self, shard: Shard) -> redis.Redis:
        """A connection to the shard's primary that may do anything."""
        password = (self.shop.state / "caches" / CACHE / "passwords" / "operator").read_text().strip()
        _, host, port = shard.nodes[0]
        return redis.Redis(host=host, port=port, username="operator", password=password, socket_timeout=10)

    def _shards(self, seen: Any) -> list[Shard]:
        nodes = {node["name"]: node for node in seen["nodes"] if node["kind"] == "server"}
        found = []
        for name, node in sorted(nodes.items()):
            if node["role"] != "primary" or (self.mode == "cluster" and not node["slots"]):
                continue
            own = [node, *(other for other in nodes.values() if other["primary"] == name)]
            places = tuple((each["name"], each["address"], int(each["port"])) for each in own)
            found.append(Shard(name, node["pid"], places, _slots(node["slots"])))
        return found


def spec_file(folder: Path, engine: str, mode: str) -> Path:
    """The cache's file: the spec's own node timeout, no TLS, an append-only file; one zone, so that no primary is on its
    way home when the next kill comes.
    """
    path = folder / "cache.yaml"
    path.write_text(
        f"""\
format: 1
cache: {{name: {CACHE}}}
{engine_lines(engine)}\
topology: {{mode: {mode}, shards: {3 if mode == "cluster" else 1}, replicas: {REPLICAS[mode]}}}
memory: {{maxmemory: 256mb, policy: noeviction}}
persistence: {{rdb: {{enabled: false}}, aof: {{enabled: true, fsync: everysec}}}}
security: {{tls: {{mode: off}}}}
services: {{{SERVICE}: {{namespaces: [{NAMESPACE}]}}}}
keyspace:
  namespaces:
    {NAMESPACE}: {{pattern: "{NAMESPACE}:{{id}}", ttl: none, ttl_reason: every write is counted afterwards}}
place: local
"""
    )
    return path


def keys_in(slots: frozenset[int], count: int) -> tuple[str, ...]:
    """That many keys of the shard that has these slots."""
    found: list[str] = []
    number = 0
    while len(found) < count:
        key = f"{NAMESPACE}:{{{number}}}"
        if not slots or key_slot(key.encode()) in slots:
            found.append(key)
        number += 1
    return tuple(found)


class Clients:
    """The clients of one shard, in a process of their own."""

    def __init__(self, rig: Rig, shard: Shard, folder: Path) -> None:
        self._report = folder / "seen.json"
        self._job = Job(
            shard.nodes,
            keys_in(shard.slots, CLIENTS),
            rig.profile.user,
            rig.profile.password_file,
            str(self._report),
        )
        self._job.write(folder / "job.json")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.failover_clients", str(folder / "job.json")],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            bufsize=0,  # what lay in a reader's buffer would not wake select()
        )

    def await_all(self, bound_s: float) -> bool:
        """Wait until every client has had a write acknowledged, since the last time this was called; whether they did."""
        assert self._process.stdout is not None
        end = time.monotonic() + bound_s
        for _ in range(CLIENTS):
            if not select.select([self._process.stdout], [], [], max(0.0, end - time.monotonic()))[0]:
                return False
            if not self._process.stdout.readline():
                raise CommandFailed("the clients ended with a failure; their words are above")
        return True

    def ended(self) -> list[Seen]:
        """End them; what they saw. Raises: CommandFailed."""
        self._process.terminate()
        if self._process.wait(timeout=30):
            raise CommandFailed("the clients ended with a failure; their words are above")
        return [Seen(**each) for each in json.loads(self._report.read_text())]

    def lost(self, seen: list[Seen]) -> int:
        """Acknowledged writes that are not there any more; the lists are deleted."""
        kept = self._job
        for at in range(len(kept.nodes)):
            try:
                with kept.connect(at) as node:
                    there = [{int(each) for each in node.lrange(key, 0, -1)} for key in kept.keys]
                    for key in kept.keys:
                        node.delete(key)
            except redis.RedisError:
                continue  # a replica, or one that is starting
            return sum(len(set(one.acknowledged) - held) for one, held in zip(seen, there, strict=True))
        raise CommandFailed("no node of the shard lets its lists be read and deleted")

    def close(self) -> None:
        """Leave none behind."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(timeout=30)
        if self._process.stdout is not None:
            self._process.stdout.close()


@contextlib.contextmanager
def clients(rig: Rig, shard: Shard) -> Iterator[Clients]:
    """The shard's clients at work; ended at the end, however that comes."""
    with tempfile.TemporaryDirectory(prefix="hfb-clients-") as folder:
        made = Clients(rig, shard, Path(folder))
        try:
            if not made.await_all(READY_BOUND_S):
                raise CommandFailed(f"not every client had a write acknowledged in {READY_BOUND_S:g} s")
            yield made
        finally:
            made.close()


def _slots(spans: list[str]) -> frozenset[int]:
    found: set[int] = set()
    for span in spans:
        first, _, last = span.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    assert len(found) <= SLOTS
    return frozenset(found)
