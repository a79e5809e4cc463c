"""Two machines, played by two network namespaces: caches over both, each with its own supervisor and packet filter."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.live.conftest import Bench, Outcome, make_bench, need, until
from tests.live.topology.caches import record, slot_counts, spec_text, swapped, zones_apart

LEFT, RIGHT, STRANGER, APP = "10.98.7.1", "10.98.7.2", "10.98.7.3", "10.98.7.4"
"""Addresses of the two machines, and of two more on the right one's side: one that may connect, one that may not."""
KNOCK_BOUND_S = 1.0

KNOCK = """
import socket, sys
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=float(sys.argv[4]), source_address=(sys.argv[3], 0)):
        print("in")
except TimeoutError:
    print("dropped")
"""
USE = """
import json, sys
import redis
from redis.cluster import RedisCluster
facts = json.loads(sys.argv[1])
password = open(facts.pop("password_file")).read().strip()
cluster, count = facts.pop("cluster"), facts.pop("count")
kind = RedisCluster if cluster else redis.Redis
with kind(password=password, decode_responses=True, socket_timeout=5, **facts) as shop:
    for number in range(count):
        shop.set(f"cart:{number}", f"v{number}", ex=600)
    print(json.dumps([shop.get(f"cart:{number}") for number in range(count)]))
"""


def run(*command: str, bound_s: float = 60, environ: dict[str, str] | None = None) -> Outcome:
    began = time.monotonic()
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=bound_s, check=False, env=environ, cwd="/"
    )
    return Outcome(done.returncode, done.stdout, done.stderr, time.monotonic() - began)


def must(*command: str) -> str:
    outcome = run(*command)
    assert outcome.code == 0, f"{command}: {outcome.err}"
    return outcome.out.strip()


@dataclass
class Machine:
    """A network namespace with a state folder and a supervisor of its own."""

    name: str
    namespace: str
    bench: Bench
    supervisor: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        return self.bench.state / "supervisor" / "socket"

    def start(self) -> None:
        """Start its supervisor."""
        self.supervisor = subprocess.Popen(
            ["ip", "netns", "exec", self.namespace, sys.executable, "-m", "holdfast.supervisor"],
            env={**self.bench.environ, "HOLDFAST_HOST": self.name},
            stdin=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )
        until(self.socket.exists, 15)

    def python(self, code: str, *arguments: str) -> str:
        """Run Python code on this machine."""
        return must("ip", "netns", "exec", self.namespace, sys.executable, "-c", code, *arguments)


@dataclass
class Pair:
    """Both machines; commands are given on the left one, with a state folder of the controller's own."""

    left: Machine
    right: Machine
    controller: Bench
    machines: list[Machine] = field(default_factory=list)

    def run(self, *words: str, check: bool = False) -> Outcome:
        command = [sys.executable, "-m", "holdfast.cli.main", *words]
        outcome = run(
            "ip", "netns", "exec", self.left.namespace, *command, bound_s=110, environ=self.controller.environ
        )
        if check and outcome.code != 0:
            pytest.fail(f"holdfast {' '.join(words)} ended with {outcome.code}: {outcome.out}\n{outcome.err}")
        return outcome

    def status(self) -> Any:
        return self.run("status", "demo", "--json").facts

    def knock(self, source: str, address: str, port: int) -> str:
        """What happens to a connection from an address of the right machine's side."""
        return self.right.python(KNOCK, address, str(port), source, str(KNOCK_BOUND_S))

    def use(self, address: str, port: int, cluster: bool, count: int = 200) -> list[str]:
        """Write and read as the service `shop`, from the left machine."""
        folder = self.controller.state / "caches" / "demo"
        facts: dict[str, Any] = {
            "host": address,
            "port": port,
            "username": "shop",
            "password_file": str(folder / "passwords" / "shop"),
            "cluster": cluster,
            "count": count,
        }
        if record(self.controller)["tls"]:
            facts |= {"ssl": True, "ssl_ca_certs": str(folder / "tls" / "ca.pem")}
        found: list[str] = json.loads(self.left.python(USE, json.dumps(facts)))
        return found

    def spec(self, text: str) -> str:
        """That text with both machines as its place."""
        place = f"""\
place:
  kind: hosts
  hosts:
    left: {{address: {LEFT}, zone: a, supervisor: "unix:{self.left.socket}"}}
    right: {{address: {RIGHT}, zone: b, supervisor: "unix:{self.right.socket}"}}
network: {{allow: {{apps: "{APP}"}}}}
"""
        return str(self.controller.spec(text + place))


@pytest.fixture
def pair() -> Iterator[Pair]:
    if os.geteuid() != 0:
        pytest.skip("needs root: network namespaces")
    if shutil.which("ip", path="/usr/sbin:/sbin:/usr/bin:/bin") is None:
        pytest.skip("needs `ip` (iproute2)")
    names = (f"hf{os.getpid()}l", f"hf{os.getpid()}r")
    tried = run("ip", "netns", "add", names[0])
    if tried.code != 0:
        pytest.skip(f"needs the right to make a network namespace: {tried.err.strip()}")
    benches = [make_bench() for _ in range(3)]
    machines = [Machine("left", names[0], benches[0]), Machine("right", names[1], benches[1])]
    try:
        must("ip", "netns", "add", names[1])
        made = run(
            "ip", "-n", names[0], "link", "add", "veth0", "type", "veth", "peer", "name", "veth0", "netns", names[1]
        )  # fmt: skip
        if made.code != 0:
            pytest.skip(f"needs a kernel with veth: {made.err.strip()}")
        for name, addresses in ((names[0], (LEFT,)), (names[1], (RIGHT, STRANGER, APP))):
            for address in addresses:
                must("ip", "-n", name, "addr", "add", f"{address}/24", "dev", "veth0")
            must("ip", "-n", name, "link", "set", "veth0", "up")
            must("ip", "-n", name, "link", "set", "lo", "up")
        for machine in machines:
            machine.start()
        yield Pair(machines[0], machines[1], benches[2], machines)
    finally:
        for machine in machines:
            machine.bench.close()
            if machine.supervisor is not None:
                machine.supervisor.kill()
                machine.supervisor.wait(10)
        for name in names:
            run("ip", "netns", "del", name)
        for bench in benches:
            shutil.rmtree(bench.state.parent, ignore_errors=True)


@pytest.mark.parametrize(
    "engine",
    [
        "valkey-8.0",
        pytest.param("redis-6.2", marks=pytest.mark.long),
        pytest.param("valkey-9.1", marks=pytest.mark.long),
    ],
)
def test_a_cluster_over_two_machines(pair: Pair, engine: str) -> None:
    need(engine)
    text = spec_text(engine, "cluster", zones="a, b")
    file = pair.spec(text)
    up = pair.run("up", file, "--json", check=True)
    print(f"cluster on {engine} over two machines: up in {up.took_s:.1f} s")
    status = pair.status()
    assert status["healthy"], status["problems"]
    assert zones_apart(status)
    assert {(node["host"], node["address"], node["zone"]) for node in status["nodes"]} == {
        ("left", LEFT, "a"),
        ("right", RIGHT, "b"),
    }
    assert [sum(node["host"] == host for node in status["nodes"]) for host in ("left", "right")] == [3, 3]
    for machine in pair.machines:  # each machine runs its own, and only its own
        mine = {node["name"] for node in status["nodes"] if node["host"] == machine.name}
        assert set(machine.bench.pids()) == mine
    assert not (pair.controller.state / "nodes").exists()
    port = next(node["port"] for node in status["nodes"] if node["host"] == "left")
    assert pair.use(LEFT, port, cluster=True) == [f"v{number}" for number in range(200)]
    assert pair.run("up", file, "--json", check=True).facts["steps"] == []

    # A supervisor that was killed is started again by its machine; its nodes were never touched.
    before = {machine.name: machine.bench.pids() for machine in pair.machines}
    assert pair.right.supervisor is not None
    os.kill(pair.right.supervisor.pid, signal.SIGKILL)
    pair.right.supervisor.wait(10)
    refused = pair.run("up", file)
    assert refused.code == 1
    assert "right" in refused.err
    assert "Traceback" not in refused.err
    pair.right.socket.unlink(missing_ok=True)
    pair.right.start()
    assert pair.run("up", file, "--json", check=True).facts["steps"] == []
    assert {machine.name: machine.bench.pids() for machine in pair.machines} == before

    pair.run("down", "demo", "--delete-data", "--yes", check=True)
    for machine in pair.machines:
        assert machine.bench.pids() == {}
        assert list((machine.bench.state / "nodes").rglob("*")) == []


@pytest.mark.long
@pytest.mark.parametrize("engine", ["redis-7.0", "valkey-9.1"])
def test_a_replicated_cache_over_two_machines_lets_in_only_whom_it_should(pair: Pair, engine: str) -> None:
    need(engine)
    if shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin:/bin") is None:
        pytest.skip("needs `nft` (nftables)")
    text = spec_text(engine, "replicated", zones="a, b", replicas=1)
    file = pair.spec(text)
    pair.run("up", file, "--json", check=True)
    status = pair.status()
    assert status["healthy"], status["problems"]
    assert zones_apart(status)
    assert {host: each["enforced"] for host, each in status["network_allow"].items()} == {
        "left": True,
        "right": True,
    }
    primary = next(node for node in status["nodes"] if node["role"] == "primary")
    assert pair.use(primary["address"], primary["port"], cluster=False) == [f"v{n}" for n in range(200)]
    remote = next(node for node in status["nodes"] if node["host"] == "left")
    assert pair.knock(APP, LEFT, remote["port"]) == "in"
    assert pair.knock(RIGHT, LEFT, remote["port"]) == "in"  # a machine of the cache
    assert pair.knock(STRANGER, LEFT, remote["port"]) == "dropped"
    assert pair.run("up", file, "--json", check=True).facts["steps"] == []

    # The list changes, and with it the filter; nothing else.
    before = {machine.name: machine.bench.pids() for machine in pair.machines}
    other = str(pair.controller.spec(swapped(Path(file).read_text(), f'"{APP}"', f'"{STRANGER}"')))
    changed = pair.run("up", other, "--json", check=True)
    assert [step["step"] for step in changed.facts["steps"]] == ["guard", "save"]
    assert pair.knock(STRANGER, LEFT, remote["port"]) == "in"
    assert pair.knock(APP, LEFT, remote["port"]) == "dropped"
    assert {machine.name: machine.bench.pids() for machine in pair.machines} == before

    # A filter that somebody flushed is noticed and set again.
    must("ip", "netns", "exec", pair.left.namespace, "nft", "flush", "ruleset")
    assert not pair.status()["network_allow"]["left"]["enforced"]
    mended = pair.run("up", other, "--json", check=True)
    assert [step["step"] for step in mended.facts["steps"]] == ["guard"]
    assert pair.knock(APP, LEFT, remote["port"]) == "dropped"

    pair.run("down", "demo", check=True)
    assert "holdfast_demo" not in must("ip", "netns", "exec", pair.left.namespace, "nft", "list", "ruleset")


@pytest.mark.long
@pytest.mark.parametrize("engine", ["valkey-8.0", "valkey-9.1", "redis-7.0"])
def test_slots_move_between_machines(pair: Pair, engine: str) -> None:
    need(engine)
    text = spec_text(engine, "cluster", zones="a, b")
    pair.run("up", pair.spec(text), "--json", check=True)
    port = next(node["port"] for node in pair.status()["nodes"] if node["host"] == "left")
    assert pair.use(LEFT, port, cluster=True, count=2000)
    for shards in (4, 3):
        file = pair.spec(spec_text(engine, "cluster", zones="a, b", shards=shards))
        done = pair.run("up", file, "--json", check=True)
        print(f"{engine} to {shards} shards over two machines: {done.took_s:.1f} s")
        status = pair.status()
        assert status["healthy"], status["problems"]
        counts = slot_counts(status)
        assert len(counts) == shards
        assert max(counts.values()) - min(counts.values()) <= 1
        assert zones_apart(status)
        keys = sum(node["keys"] for node in status["nodes"] if node["role"] == "primary")
        assert keys == 2000
