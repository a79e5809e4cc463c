"""One cache that is killed again and again: its shards as they are now, its clients, and the wait until it is whole."""

from __future__ import annotations

import asyncio
import contextlib
import json
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import redis

from benchmarks.failover_clients import ENDED, Job, Seen
from benchmarks.workshop import ROOT, CommandFailed, Workshop, engine_lines
from holdfast.cli.look import look
from holdfast.cli.opening import named
from holdfast.cli.views import status_facts
from holdfast.codec.crc import SLOTS, key_slot
from holdfast.profile import Profile
from holdfast.supervisor.failover_rules import STEADY_AFTER_S

CACHE, SERVICE = "failover-bench", "client"
NAMESPACE = "bench.failover"
CLIENTS = 4
WHOLE_BOUND_S = 120.0
LOOK_EVERY_S = 0.15
SAMPLED_S = 1.5
"""In which a supervisor that has just begun to watch has asked every node for its id and offset once."""
ENDED_BOUND_S = 30.0
STEADY_MORE_S = 0.2
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
    sentinels: tuple[tuple[str, int], ...]
    """Address and port of each."""


class Clients:
    """The clients of one shard after the other, in a process of their own."""

    def __init__(self, profile: Profile, folder: Path) -> None:
        self._profile = profile
        self._file, self._report = folder / "job.json", folder / "seen.json"
        self._job: Job | None = None
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.failover_clients"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,  # what lay in a reader's buffer would not wake select()
        )

    @contextlib.contextmanager
    def at_work(self, shard: Shard) -> Iterator[None]:
        """They write to this shard for the length of the block, or until `ended`. Raises: CommandFailed."""
        self._job = Job(
            shard.nodes,
            shard.sentinels,
            CACHE,
            keys_in(shard.slots, CLIENTS),
            self._profile.user,
            self._profile.password_file,
            str(self._report),
        )
        self._job.write(self._file)
        self._tell(f"{self._file}\n")
        try:
            if not self.await_all(READY_BOUND_S):
                raise CommandFailed(f"not every client had a write acknowledged in {READY_BOUND_S:g} s")
            yield
        finally:
            if self._job is not None:
                self.ended()

    def await_all(self, bound_s: float) -> bool:
        """Wait until every client has had a write acknowledged, since the last time this was called; whether they did."""
        end = time.monotonic() + bound_s
        return all(self._line(end) is not None for _ in range(CLIENTS))

    def ended(self) -> list[Seen]:
        """Have them stop; what they saw. Raises: CommandFailed."""
        self._job = None
        self._tell("\n")
        end = time.monotonic() + ENDED_BOUND_S
        while (line := self._line(end)) != ENDED:
            if line is None:
                raise CommandFailed(f"the clients did not stop in {ENDED_BOUND_S:g} s")
        return [Seen(**each) for each in json.loads(self._report.read_text())]

    def lost(self, seen: list[Seen]) -> int:
        """Acknowledged writes of the last job that are not there any more; the lists are deleted."""
        kept = Job.read(self._file)
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
        self._process.kill()
        self._process.wait(timeout=30)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode())
        except BrokenPipeError:
            raise CommandFailed("the clients ended with a failure; their words are above") from None

    def _line(self, end: float) -> str | None:
        """The next line they say; None when there is none in time."""
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], max(0.0, end - time.monotonic()))[0]:
            return None
        line = self._process.stdout.readline()
        if not line:
            raise CommandFailed("the clients ended with a failure; their words are above")
        return line.decode().strip()


@dataclass
class Rig:
    """The cache and what is needed to get in."""

    shop: Workshop
    mode: str
    profile: Profile
    clients: Clients
    _seen: Any = None
    """Its status when it was last whole."""

    @classmethod
    def made(cls, shop: Workshop, engine: str, mode: str) -> Rig:
        """The cache, up and whole."""
        shop.holdfast("up", str(spec_file(shop.folder, engine, mode)))
        shop.holdfast("env", CACHE, SERVICE, "--profile", str(shop.folder / "profile.json"))
        profile = Profile.from_json((shop.folder / "profile.json").read_bytes())
        rig = cls(shop, mode, profile, Clients(profile, shop.folder))
        rig.await_whole()
        time.sleep(SAMPLED_S)
        return rig

    def close(self) -> None:
        """End the clients; the cache is the workshop's to end."""
        self.clients.close()

    def shards(self) -> list[Shard]:
        """The shards as they were when the cache was last whole, in the order of their primaries' names."""
        return self._shards(self._seen)

    def await_whole(self) -> None:
        """Wait until status has nothing to say. Raises: CommandFailed when it is not so in time."""
        end = time.monotonic() + WHOLE_BOUND_S
        while True:
            seen = self._status()
            if seen["healthy"]:
                self._seen = seen
                return
            if time.monotonic() > end:
                told = "; ".join(f"{each['node']} {each['what']}" for each in seen["problems"])
                raise CommandFailed(f"the cache is not whole after {WHOLE_BOUND_S:g} s: {told}")
            time.sleep(LOOK_EVERY_S)

    def await_steady(self, shard: Shard) -> None:
        """Wait until the shard's primary has run for so long that its end is a new one, and not the next of a row, for which the
        supervisor would wait longer and longer before it starts it again.
        """
        ran_s = time.time() - psutil.Process(shard.pid).create_time()
        time.sleep(max(0.0, STEADY_AFTER_S + STEADY_MORE_S - ran_s))

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
        sentinels = tuple(
            (node["address"], int(node["port"])) for node in seen["nodes"] if node["kind"] == "sentinel"
        )
        found = []
        for name, node in sorted(nodes.items()):
            if node["role"] != "primary" or (self.mode == "cluster" and not node["slots"]):
                continue
            own = [node, *(other for other in nodes.values() if other["primary"] == name)]
            places = tuple((each["name"], each["address"], int(each["port"])) for each in own)
            found.append(Shard(name, node["pid"], places, _slots(node["slots"]), sentinels))
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


def _slots(spans: list[str]) -> frozenset[int]:
    found: set[int] = set()
    for span in spans:
        first, _, last = span.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    assert len(found) <= SLOTS
    return frozenset(found)
