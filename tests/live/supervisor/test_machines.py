"""Several machines, played by network namespaces, each with a supervisor that the others reach over mutual TLS only.

Links are cut in one direction and in both, while clients on both sides write unique ids.
"""

from __future__ import annotations

import itertools
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

NAMES = ("a", "b", "c")
PORT = 7800
CACHE = "demo"
CUT_BOUND_S = 40.0

WRITE = """
import json, sys, time
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
job = json.loads(sys.argv[1])
password = open(job["password"]).read().strip()
out = open(job["report"], "a", buffering=1)
end, number, at, node = time.monotonic() + job["for_s"], 0, 0, None
while time.monotonic() < end:
    number += 1
    host, port = job["nodes"][at % len(job["nodes"])]
    try:
        if node is None:
            node = redis.Redis(host, port, username="operator", password=password, socket_timeout=1.5,
                               socket_connect_timeout=0.5, retry=Retry(NoBackoff(), 0))
        node.rpush(job["key"], number)
        if job["wait"] and node.execute_command("WAIT", 1, 1000) < 1:
            continue
        out.write(json.dumps([number, time.monotonic(), port, host]) + "\\n")
        time.sleep(0.005)
    except redis.RedisError:
        at += 1
        if node is not None:
            node.close()
        node = None
        time.sleep(0.02)
"""


def run(*command: str, bound_s: float = 100, environ: dict[str, str] | None = None) -> Outcome:
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
    """A network namespace with a state folder of its own."""

    name: str
    namespace: str
    address: str
    bench: Bench

    def holdfast(self, *words: str, bench: Bench | None = None) -> Outcome:
        """A command given on this machine."""
        command = [sys.executable, "-m", "holdfast.cli.main", *words]
        environ = (bench or self.bench).environ
        return run("ip", "netns", "exec", self.namespace, *command, environ=environ)

    def supervisor(self) -> int:
        return int((self.bench.state / "supervisor" / "lock").read_text())

    def cut(self, *directions: str) -> None:
        """Drop what comes to ("input") or leaves ("output") this machine from now on; it still hears itself."""
        rules = "".join(
            f"chain {way} {{ type filter hook {way} priority -200; {kind} != lo drop; }}\n"
            for way, kind in (("input", "iifname"), ("output", "oifname"))
            if way in directions
        )
        done = subprocess.run(
            ["ip", "netns", "exec", self.namespace, "nft", "-f", "-"],
            input=f"table inet cut {{\n{rules}}}\n",
            text=True,
            check=False,
            capture_output=True,
        )
        assert done.returncode == 0, done.stderr

    def heal(self) -> None:
        run("ip", "netns", "exec", self.namespace, "nft", "delete", "table", "inet", "cut")


@dataclass
class Network:
    """The machines, and a controller that gives its commands on the last of them."""

    machines: list[Machine]
    controller: Bench
    writers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def run(self, *words: str, check: bool = True) -> Outcome:
        outcome = self.machines[-1].holdfast(*words, bench=self.controller)
        if check and outcome.code != 0:
            pytest.fail(f"holdfast {' '.join(words)} ended with {outcome.code}: {outcome.out}\n{outcome.err}")
        return outcome

    def machine(self, name: str) -> Machine:
        return next(each for each in self.machines if each.name == name)

    def up(self, engine: str, mode: str) -> None:
        """Invite every machine, then bring the cache up, its first node (the primary) on machine `a`."""
        build = need(engine)
        hosts = "".join(
            f'    {each.name}: {{address: {each.address}, zone: {each.name}, supervisor: "https://{each.address}:{PORT}"}}\n'
            for each in self.machines
        )
        zones = ", ".join(each.name for each in self.machines)
        replicas = 1 if mode == "cluster" else len(self.machines) - 1
        file = self.controller.spec(
            f"format: 1\ncache: {{name: {CACHE}}}\n"
            f'engine: {{name: {build.name}, version: "{build.version[0]}.{build.version[1]}"}}\n'
            f"topology: {{mode: {mode}, shards: {3 if mode == 'cluster' else 1}, replicas: {replicas}, zones: [{zones}], node_timeout: 5s}}\n"
            "memory: {maxmemory: 64mb}\nsecurity: {tls: {mode: off}}\n"
            f"place:\n  kind: hosts\n  hosts:\n{hosts}"
        )
        for each in self.machines:
            invitation = self.controller.folder / f"{each.name}.invitation"
            self.run("supervisor", "invite", str(file), each.name, "-o", str(invitation))
            assert invitation.stat().st_mode & 0o077 == 0
            joined = each.holdfast("supervisor", "join", str(invitation), "--json")
            assert joined.code == 0, joined.err
            invitation.unlink()
        self.run("up", str(file))
        time.sleep(3.0)  # some rounds of questions

    def status(self) -> Any:
        return self.run("status", CACHE, "--json", check=False).facts

    def nodes(self) -> dict[str, dict[str, Any]]:
        return {node["name"]: node for node in self.status()["nodes"] if node["kind"] == "server"}

    def write(self, where: Machine, nodes: list[tuple[str, int]], key: str, for_s: float, wait: int) -> Path:
        """A client on that machine, in the background. Returns: where it writes what was acknowledged."""
        report = self.controller.folder / f"{key}.ids"
        job = {
            "nodes": nodes,
            "key": key,
            "for_s": for_s,
            "wait": wait,
            "report": str(report),
            "password": str(self.controller.state / "caches" / CACHE / "passwords" / "operator"),
        }
        command = ["ip", "netns", "exec", where.namespace, sys.executable, "-c", WRITE, json.dumps(job)]
        self.writers.append(subprocess.Popen(command, cwd="/"))
        return report

    def kinds(self, machine: Machine) -> list[dict[str, Any]]:
        """Events as that machine keeps them."""
        file = machine.bench.state / "supervisor" / "events.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def end_writers(self) -> None:
        """What they have written is in their files."""
        for writer in self.writers:
            writer.kill()
            writer.wait(10)
        self.writers.clear()

    def close(self) -> None:
        self.end_writers()
        for each in self.machines:
            each.heal()
            each.bench.close()
        for name in (*(each.namespace for each in self.machines), f"hf{os.getpid()}hub"):
            run("ip", "netns", "del", name)
        for bench in (*(each.bench for each in self.machines), self.controller):
            shutil.rmtree(bench.state.parent, ignore_errors=True)


def acknowledged(report: Path) -> list[tuple[int, float, int, str]]:
    return [tuple(json.loads(line)) for line in report.read_text().splitlines()]


@pytest.fixture
def network(request: pytest.FixtureRequest) -> Iterator[Network]:
    """As many machines as the test says, on one bridge."""
    path = "/usr/sbin:/sbin:/usr/bin:/bin"
    if os.geteuid() != 0 or any(shutil.which(each, path=path) is None for each in ("ip", "nft")):
        pytest.skip("needs root, `ip` (iproute2) and `nft` (nftables)")
    hub = f"hf{os.getpid()}hub"
    tried = run("ip", "netns", "add", hub)
    if tried.code != 0:
        pytest.skip(f"needs the right to make a network namespace: {tried.err.strip()}")
    made = Network([], make_bench())
    try:
        if run("ip", "-n", hub, "link", "add", "br0", "type", "bridge").code != 0:
            pytest.skip("needs a kernel with bridges")
        must("ip", "-n", hub, "link", "set", "br0", "up")
        for number, name in enumerate(NAMES[: request.param], start=1):
            space = f"hf{os.getpid()}{name}"
            must("ip", "netns", "add", space)
            made.machines.append(Machine(name, space, f"10.98.8.{number}", make_bench()))
            must(
                "ip",
                "-n",
                space,
                "link",
                "add",
                "eth0",
                "type",
                "veth",
                "peer",
                "name",
                f"v{name}",
                "netns",
                hub,
            )
            must("ip", "-n", hub, "link", "set", f"v{name}", "master", "br0")
            must("ip", "-n", hub, "link", "set", f"v{name}", "up")
            must("ip", "-n", space, "addr", "add", f"10.98.8.{number}/24", "dev", "eth0")
            must("ip", "-n", space, "link", "set", "eth0", "up")
            must("ip", "-n", space, "link", "set", "lo", "up")
        yield made
    finally:
        made.close()


CUTS = {"both": ("input", "output"), "in": ("input",), "out": ("output",)}


@pytest.mark.parametrize("network", [3], indirect=True)
@pytest.mark.parametrize(
    ("engine", "mode", "way"),
    [
        pytest.param("valkey-9.1", "replicated", "both", marks=pytest.mark.long),
        pytest.param("redis-7.0", "replicated", "in", marks=pytest.mark.long),
        pytest.param("valkey-8.0", "replicated", "out", marks=pytest.mark.long),
        pytest.param("valkey-9.1", "sentinel", "both", marks=pytest.mark.long),
        pytest.param("redis-7.0", "sentinel", "in", marks=pytest.mark.long),
        pytest.param("valkey-8.0", "sentinel", "out", marks=pytest.mark.long),
    ],
)
def test_a_primary_that_is_cut_off_ends_before_another_takes_writes(
    network: Network, engine: str, mode: str, way: str
) -> None:
    network.up(engine, mode)
    nodes = network.nodes()
    (primary,) = [name for name, node in nodes.items() if node["role"] == "primary"]
    cut_off = network.machine(nodes[primary]["host"])
    majority = next(each for each in network.machines if each is not cut_off)
    places = {name: (node["address"], node["port"]) for name, node in nodes.items()}
    others = [places[name] for name in places if name != primary]
    inside = network.write(cut_off, [places[primary]], "inside", CUT_BOUND_S, 0)
    outside = network.write(majority, [places[primary], *others], "outside", CUT_BOUND_S, 1)
    until(lambda: outside.exists() and len(acknowledged(outside)) > 50, bound_s=20)
    cut_off.cut(*CUTS[way])

    def new_primary_writes() -> bool:
        return any(place != cut_off.address for _, _, _, place in acknowledged(outside))

    until(new_primary_writes, bound_s=CUT_BOUND_S - 5)
    time.sleep(2.0)
    first_s = next(at for _, at, _, place in acknowledged(outside) if place != cut_off.address)
    last_inside_s = max(at for _, at, _, place in acknowledged(inside) if place == cut_off.address)
    assert last_inside_s < first_s, "two primaries took writes"
    assert any(
        "cut off" in str(each.get("why")) for each in network.kinds(cut_off) if each["kind"] == "killed"
    )
    cut_off.heal()
    network.end_writers()
    until(lambda: network.status()["healthy"], bound_s=60, every_s=0.5)
    (leader,) = [name for name, node in network.nodes().items() if node["role"] == "primary"]
    assert leader != primary
    kept = network.run("call", "--json", CACHE, "LRANGE", "outside", "0", "-1").facts
    there = {int(each) for each in (kept["reply"] if isinstance(kept, dict) else kept)}
    assert {number for number, *_ in acknowledged(outside)} <= there  # WAIT 1: none is lost
    print(
        f"{engine} {mode} cut {way}: writes again {first_s - last_inside_s:.1f} s after the old primary's last"
    )


@pytest.mark.long
@pytest.mark.parametrize("network", [3], indirect=True)
def test_a_machine_whose_supervisor_had_ended_before_is_left_to_an_operator(network: Network) -> None:
    network.up("valkey-9.1", "replicated")
    nodes = network.nodes()
    (primary,) = [name for name, node in nodes.items() if node["role"] == "primary"]
    gone = network.machine(nodes[primary]["host"])
    os.kill(gone.supervisor(), signal.SIGKILL)
    time.sleep(6.0)  # the others hear the node, and not its supervisor
    gone.cut("input", "output")
    others = [each for each in network.machines if each is not gone]
    until(
        lambda: any(each["kind"] == "refused" for other in others for each in network.kinds(other)),
        bound_s=30,
    )
    assert not any(each["kind"] == "failover" for other in others for each in network.kinds(other))


@pytest.mark.long
@pytest.mark.parametrize("network", [2], indirect=True)
@pytest.mark.parametrize("way", CUTS)
def test_two_machines_have_no_majority_so_the_primary_serves_on_and_nobody_else(
    network: Network, way: str
) -> None:
    network.up("valkey-9.1", "replicated")
    nodes = network.nodes()
    (primary,) = [name for name, node in nodes.items() if node["role"] == "primary"]
    home = network.machine(nodes[primary]["host"])
    inside = network.write(home, [(nodes[primary]["address"], nodes[primary]["port"])], "inside", 15.0, 0)
    until(lambda: inside.exists() and len(acknowledged(inside)) > 50, bound_s=20)
    home.cut(*CUTS[way])
    time.sleep(12.0)
    home.heal()
    network.end_writers()
    gaps = [at for _, at, *_ in acknowledged(inside)]
    assert max(b - a for a, b in itertools.pairwise(gaps)) < 3.0
    until(lambda: network.status()["healthy"], bound_s=60, every_s=0.5)
    assert [name for name, node in network.nodes().items() if node["role"] == "primary"] == [primary]
    assert not any(
        each["kind"] in {"failover", "killed"} for m in network.machines for each in network.kinds(m)
    )


ASK = """
import ssl, sys, json, httpx
folder, method, url = sys.argv[1:4]
context = ssl.create_default_context(cafile=folder + "/ca.pem")
if len(sys.argv) > 4:
    context.load_cert_chain(sys.argv[4], sys.argv[5])
try:
    answer = httpx.request(method, url, json={}, verify=context, timeout=5)
    print(answer.status_code)
except httpx.HTTPError as failed:
    print(type(failed).__name__)
"""


@pytest.mark.parametrize("network", [2], indirect=True)
def test_who_may_ask_what_over_the_network(network: Network) -> None:
    network.up("valkey-8.0", "replicated")
    first, second = network.machines
    controller = network.controller.state / "caches" / CACHE
    admitted = second.bench.state / "supervisor" / "admissions" / CACHE

    def ask(method: str, path: str, *pair: Path) -> str:
        words = [
            str(controller / "controller"),
            method,
            f"https://{first.address}:{PORT}/v1{path}",
            *map(str, pair),
        ]
        return must("ip", "netns", "exec", second.namespace, sys.executable, "-c", ASK, *words)

    as_controller = (controller / "controller" / "cert.pem", controller / "controller" / "key.pem")
    as_machine = (admitted / "cert.pem", admitted / "key.pem")
    assert ask("GET", f"/nodes/{CACHE}", *as_controller) == "200"
    assert ask("POST", f"/votes/{CACHE}", *as_controller) == "403"
    assert ask("POST", "/leave", *as_controller) == "403"
    assert ask("GET", "/nodes", *as_controller) == "403"
    assert ask("GET", "/nodes/another", *as_controller) == "403"
    assert ask("GET", f"/nodes/{CACHE}/%2e%2e/n1/log", *as_controller) == "403"
    for method, path in (
        ("GET", "/host"),
        ("GET", f"/nodes/{CACHE}"),
        ("PUT", f"/watches/{CACHE}"),
        ("POST", "/leave"),
    ):
        assert ask(method, path, *as_machine) == "403", path
    assert not ask("GET", "/host").isdigit()  # without a certificate: no TLS
    stranger = network.controller.folder / "stranger"
    stranger.mkdir()
    must(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
        "-subj", "/CN=controller", "-addext", "subjectAltName=DNS:controller.supervisor.holdfast.internal",
        "-keyout", str(stranger / "key.pem"), "-out", str(stranger / "cert.pem"),
    )  # fmt: skip
    assert not ask("GET", "/host", stranger / "cert.pem", stranger / "key.pem").isdigit()
    assert (first.bench.state / "supervisor" / "socket").stat().st_mode & 0o077 == 0
    assert (admitted / "key.pem").stat().st_mode & 0o077 == 0
