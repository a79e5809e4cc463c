"""How long 1 GB takes from three shards to four while clients work, and whether they notice; target: no error.

The whole change is measured, as an operator makes it: another number in the file, then `holdfast up`. The peer does the
same on the same engine with its own tool: servers started by hand, `--cluster add-node`, `--cluster rebalance`. On both,
three processes of redis-py work before, during and after, and afterwards every key is read and accounted for.
"""

from __future__ import annotations

import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks.by_hand import HOST, ByHand, NotByHand, by_hand
from benchmarks.dataset import MEAN_BYTES, PATTERN, keys_for
from benchmarks.engine_cli import EngineCli, cli_for
from benchmarks.keyspace import Account, account, load
from benchmarks.machine import this_machine
from benchmarks.results import Section, percentile, table
from benchmarks.traffic import COMMAND_TIMEOUT_S, WRITES_IN_100, Job, Seen, connect
from benchmarks.workshop import ROOT, CommandFailed, Workshop, engine_lines, say, workshop
from holdfast.cli.specfile import load_file
from holdfast.engine.build import EngineBuild
from holdfast.profile import Profile

NAME = "reshard"
ENGINES = ("valkey-9.1", "valkey-8.0", "redis-7.0")
DATA_BYTES, QUICK_DATA_BYTES = 1_000_000_000, 20_000_000
CLIENTS = 3
RATE_PER_S = 500.0
"""Of each client: together what leaves most of two cores to the servers."""
BEFORE_S, QUICK_BEFORE_S = 10.0, 3.0
AFTER_S = 2.0
REPLICAS = 1
GROW_BOUND_S = 900.0
CONNECT_BOUND_S = 60.0
CACHE, SERVICE = "reshard-bench", "client"
MIB = 1 << 20
KNOWN_CAUSES = {
    "'NoneType' object has no attribute 'redis_connection'": (
        "redis-py 8.1 was told to ASK a node that it had not heard of (`_execute_command` takes what `get_node` finds, "
        "which is nothing); a client that has met one MOVED before knows the node and is spared"
    ),
}
"""Of errors that are not the servers' own: words in the error, and why."""


@dataclass(frozen=True)
class Grown:
    """A change from three shards to four, on the monotonic clock."""

    began: float
    ended: float
    moving_began: float
    moving_ended: float


@dataclass(frozen=True)
class Access:
    """What a client needs to get in."""

    seeds: tuple[tuple[str, int], ...]
    user: str | None = None
    password_file: str | None = None


class Rig(Protocol):
    """A cluster of three shards that can become one of four."""

    def access(self) -> Access:
        """How clients get in."""

    def grow(self) -> Grown:
        """Add the fourth shard and move its slots there; returns once all is settled."""

    def counted(self) -> int:
        """Keys on all primaries together, by their own count."""


class HoldfastRig:
    """By `holdfast up`."""

    def __init__(self, shop: Workshop, engine: str, profile: Profile) -> None:
        self._shop, self._engine, self._profile = shop, engine, profile

    @classmethod
    def made(cls, shop: Workshop, engine: str) -> HoldfastRig:
        """The cache with three shards, up."""
        spec = spec_file(shop.folder, engine, shards=3)
        shop.holdfast("up", str(spec))
        shop.holdfast("env", CACHE, SERVICE, "--profile", str(shop.folder / "profile.json"))
        return cls(shop, engine, Profile.from_json((shop.folder / "profile.json").read_bytes()))

    def access(self) -> Access:
        seeds = tuple((seed.host, seed.port) for seed in self._profile.seeds)
        return Access(seeds, self._profile.user, self._profile.password_file)

    def grow(self) -> Grown:
        told = self._shop.told_up(spec_file(self._shop.folder, self._engine, shards=4), GROW_BOUND_S)
        moves = [step for step in told.steps if step.title.startswith("move ")]
        if not moves:
            raise CommandFailed("holdfast up moved no slots")
        return Grown(told.began, told.ended, moves[0].began, moves[-1].ended)

    def counted(self) -> int:
        nodes = self._shop.status(CACHE)["nodes"]
        return sum(int(node["keys"]) for node in nodes if node["role"] == "primary")


class ByHandRig:
    """By the engine's own tool."""

    def __init__(self, servers: ByHand) -> None:
        self._servers = servers

    @classmethod
    def made(cls, servers: ByHand) -> ByHandRig:
        """The cluster with three shards, settled."""
        servers.start(3 * (1 + REPLICAS))
        servers.create(REPLICAS)
        return cls(servers)

    def access(self) -> Access:
        return Access(tuple((HOST, port) for port in self._servers.ports))

    def grow(self) -> Grown:
        servers = self._servers
        began = time.monotonic()
        seed = f"{HOST}:{servers.ports[0]}"
        primary, *replicas = servers.start(1 + REPLICAS)
        for port in (primary, *replicas):
            servers.run_cli("--cluster", "add-node", f"{HOST}:{port}", seed, bound_s=60)
        servers.agree()
        for port in replicas:
            servers.ask(port, "CLUSTER", "REPLICATE", str(servers.ask(primary, "CLUSTER", "MYID")))
        servers.settle()  # a new primary that has just come answers CLUSTERDOWN, at which the tool gives up
        moving_began = time.monotonic()
        servers.run_cli("--cluster", "rebalance", seed, "--cluster-use-empty-masters", bound_s=GROW_BOUND_S)
        moving_ended = time.monotonic()
        servers.settle()
        return Grown(began, time.monotonic(), moving_began, moving_ended)

    def counted(self) -> int:
        return sum(
            int(self._servers.ask(port, "DBSIZE"))
            for port in self._servers.ports
            if self._servers.ask(port, "ROLE")[0] == "master"
        )


@dataclass(frozen=True)
class Measured:
    """One change on one engine, and what the clients saw."""

    engine: str
    version: str
    way: str
    grown: Grown
    moved_keys: int
    moved_bytes: int
    seen: Sequence[Seen]
    account: Account
    counted: int


def run(at_hand: dict[str, EngineBuild], wanted: Sequence[str], *, quick: bool) -> Section:
    """Measure every engine that is at hand and wanted, Holdfast first, then its peer."""
    machine = this_machine()
    data_bytes = QUICK_DATA_BYTES if quick else DATA_BYTES
    before_s = QUICK_BEFORE_S if quick else BEFORE_S
    measured: list[Measured] = []
    failed: list[str] = []
    for name in ENGINES:
        if name not in at_hand or name not in (wanted or ENGINES):
            continue
        try:
            with workshop() as shop:
                rig = HoldfastRig.made(shop, name)
                measured.append(_measure(rig, name, at_hand[name], "`holdfast up`", data_bytes, before_s))
        except CommandFailed as broken:
            say(f"{name}: {broken}")
            failed.append(f"**{name}: failed**: {broken}")
        cli = cli_for(name)
        if cli is None:
            failed.append(f"{name}: no peer, for no cli is at hand.")
            continue
        try:
            measured.append(_measure_peer(name, at_hand[name], cli, data_bytes, before_s))
        except NotByHand as broken:
            failed.append(f"{name}: the peer failed: {broken}")
    return Section(
        NAME,
        f"From 3 shards to 4 with {data_bytes / 1e9:g} GB, under load",
        _text(str(machine), measured, failed, data_bytes, before_s),
    )


def spec_file(folder: Path, engine: str, *, shards: int) -> Path:
    """The cache's file with that many shards, in place of an earlier one."""
    path = folder / "cache.yaml"
    path.write_text(
        f"""\
format: 1
cache: {{name: {CACHE}}}
{engine_lines(engine)}\
topology: {{mode: cluster, shards: {shards}, replicas: {REPLICAS}, zones: [a, b, c]}}
memory: {{maxmemory: 1gb, policy: noeviction}}
persistence: {{rdb: {{enabled: false}}, aof: {{enabled: false}}}}
security: {{tls: {{mode: off}}}}
services: {{{SERVICE}: {{namespaces: [{SERVICE}.data]}}}}
keyspace:
  namespaces:
    {SERVICE}.data: {{pattern: "{PATTERN}", ttl: none, ttl_reason: every key is counted afterwards}}
place: local
"""
    )
    return path


def _measure_peer(
    name: str, build: EngineBuild, cli: EngineCli, data_bytes: int, before_s: float
) -> Measured:
    with workshop() as shop:
        spec = load_file(spec_file(shop.folder, name, shards=3)).spec
    with by_hand(spec, build, cli) as servers:
        way = f"peer: `{cli.title} --cluster rebalance`"
        return _measure(ByHandRig.made(servers), name, build, way, data_bytes, before_s)


def _measure(rig: Rig, name: str, build: EngineBuild, way: str, data_bytes: int, before_s: float) -> Measured:
    access, keys = rig.access(), keys_for(data_bytes)
    cache = connect(access.seeds, access.user, access.password_file)
    began = time.monotonic()
    load(cache, keys)
    say(f"{name}, {way}: {keys} keys loaded in {time.monotonic() - began:.0f} s")
    primaries = {nodes[0].name for nodes in cache.nodes_manager.slots_cache.values()}
    with _clients(access, keys) as ledgers:
        time.sleep(before_s)
        grown = rig.grow()
        time.sleep(AFTER_S)
        seen = ledgers()
    said = f"{grown.ended - grown.began:.1f} s, {sum(len(each.errors) for each in seen)} errors"
    say(f"{name}, {way}: {said}; reading every key")
    found = account(cache, keys, seen)
    cache.close()
    new = [held for node, held in found.held.items() if node not in primaries]
    return Measured(
        name,
        build.version_text,
        way,
        grown,
        sum(count for count, _ in new),
        sum(size for _, size in new),
        seen,
        found,
        rig.counted(),
    )


@contextmanager
def _clients(access: Access, keys: int) -> Iterator[_Ledgers]:
    """Client processes at work; the value given ends them and returns what they saw."""
    with tempfile.TemporaryDirectory(prefix="hfb-clients-") as folder:
        jobs = [
            Job(
                client=number,
                clients=CLIENTS,
                seeds=access.seeds,
                user=access.user,
                password_file=access.password_file,
                keys=keys,
                rate_per_s=RATE_PER_S,
                report=str(Path(folder) / f"{number}.seen"),
            )
            for number in range(CLIENTS)
        ]
        ledgers = _Ledgers(jobs, Path(folder))
        try:
            ledgers.await_ready()
            yield ledgers
        finally:
            ledgers.kill()


class _Ledgers:
    """The client processes, and what they saw once they have ended."""

    def __init__(self, jobs: Sequence[Job], folder: Path) -> None:
        self._jobs = jobs
        self._processes = []
        for job in jobs:
            file = folder / f"{job.client}.job"
            job.write(file)
            self._processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "benchmarks.traffic", str(file)],
                    cwd=ROOT,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )

    def await_ready(self) -> None:
        """Return once every client has had its first answer."""
        for process in self._processes:
            assert process.stdout is not None
            if not select.select([process.stdout], [], [], CONNECT_BOUND_S)[0]:
                raise CommandFailed(f"a client has had no answer within {CONNECT_BOUND_S:g} s")
            if process.stdout.readline().strip() != "ready":  # it ends by itself when it cannot connect
                raise CommandFailed("a client could not connect; its words are above")

    def __call__(self) -> list[Seen]:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            if process.wait(timeout=60):
                raise CommandFailed("a client ended with a failure; its words are above")
        return [Seen.read(Path(job.report)) for job in self._jobs]

    def kill(self) -> None:
        """Whatever happened, leave none behind."""
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait(timeout=30)


def _text(
    machine: str, measured: Sequence[Measured], failed: Sequence[str], data_bytes: int, before_s: float
) -> str:
    lines = [
        f"{machine}.",
        "",
        f"{keys_for(data_bytes):,} keys with values of 100 B (70 %), 1 kB (25 %) and 10 kB (5 %), {MEAN_BYTES:.0f} B on "
        f"average, in a cluster of 3 shards x {1 + REPLICAS} nodes ({REPLICAS} replica each, no TLS, no persistence), "
        f"grown to 4 shards x {1 + REPLICAS}. Clients: {CLIENTS} processes of redis-py's `RedisCluster` as it comes "
        f"({COMMAND_TIMEOUT_S:g} s a command), each {RATE_PER_S:g} requests/s, {100 - WRITES_IN_100} % GET and "
        f"{WRITES_IN_100} % SET; latency counts from when a request was due. They work {before_s:g} s before the change, "
        "through it, and after it; then every key is read. *Whole*: from the command (peer: from the first new "
        "server's start) to the cache settled. *Moving*: the slots alone. One run of each; the peer's nodes have no users.",
        "",
        table(
            ["engine", "way", "whole s", "moving s", "moved", "MB/s", "keys/s"],
            [_movement(each) for each in measured],
        ),
        "",
        table(
            [
                "engine",
                "way",
                "requests",
                "errors (target: none)",
                "wrong reads",
                "before p50 / p99 / max ms",
                "during p50 / p99 / max ms",
                "keys expected",
                "lost",
                "wrong",
                "surplus",
            ],
            [_experience(each) for each in measured],
        ),
        "",
        "*Errors*: exceptions that reached the caller. *Surplus*: keys that the primaries count beyond those expected, "
        "as copies left behind would be.",
    ]
    for each in measured:
        lines += _complaints(each)
    lines += ["", *(f"- {words}" for words in failed)]
    return "\n".join(lines)


def _movement(each: Measured) -> list[str]:
    moving_s = each.grown.moving_ended - each.grown.moving_began
    return [
        f"{each.engine} ({each.version})",
        each.way,
        f"{each.grown.ended - each.grown.began:.1f}",
        f"{moving_s:.1f}",
        f"{each.moved_keys:,} keys, {each.moved_bytes / MIB:.0f} MiB",
        f"{each.moved_bytes / 1e6 / moving_s:.1f}",
        f"{each.moved_keys / moving_s:,.0f}",
    ]


def _experience(each: Measured) -> list[str]:
    errors = sum(len(seen.errors) for seen in each.seen)
    wrong = sum(len(seen.wrong) for seen in each.seen)
    found = each.account
    return [
        f"{each.engine} ({each.version})",
        each.way,
        f"{sum(len(seen.due) for seen in each.seen):,}",
        f"{errors} ({'met' if errors == 0 else '**not met**'})",
        str(wrong),
        _latencies(each.seen, 0.0, each.grown.began),
        _latencies(each.seen, each.grown.began, each.grown.ended),
        f"{found.expected:,}",
        str(found.lost),
        str(found.wrong),
        str(each.counted - found.found),
    ]


def _latencies(seen: Sequence[Seen], since: float, until: float) -> str:
    took_ms = [
        took_s * 1000
        for each in seen
        for due, took_s in zip(each.due, each.took_s, strict=True)
        if since <= due < until
    ]
    if not took_ms:
        return "no request"
    return f"{percentile(took_ms, 50):.1f} / {percentile(took_ms, 99):.1f} / {max(took_ms):.0f}"


def _cause(words: str) -> str:
    return next((f": {cause}" for known, cause in KNOWN_CAUSES.items() if known in words), "")


def _complaints(each: Measured) -> list[str]:
    """What went wrong, by kind, with the first of each; nothing when nothing did."""
    kinds: dict[str, int] = {}
    for seen in each.seen:
        for _, words in (*seen.errors, *seen.wrong):
            kind = words[:100]
            kinds[kind] = kinds.get(kind, 0) + 1
    most = sorted(kinds.items(), key=lambda kind: -kind[1])[:5]
    found = [f"- {each.engine}, {each.way}: {count} x `{words}`{_cause(words)}" for words, count in most]
    return ["", *found, *(f"- {each.engine}, {each.way}: {words}" for words in each.account.examples[:3])]
