"""Restarts and changes of engine one node after the other, under clients that write and read: nothing is lost, no error
is seen, what fails goes back, and what is interrupted is finished by the next command.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.live.conftest import Bench, need, until
from tests.live.topology.caches import client, spec_text, steps_of, swapped, working, zones_apart

from holdfast.cli.opening import named, opened
from holdfast.topology.apply import converge
from holdfast.topology.open import AS_THE_SPEC_SAYS
from holdfast.topology.steps import Step
from holdfast.topology.wanted import Manner

MOST_STEPS = 40
BACKLOG = "network: {backlog: 1023}\n"
NOWHERE = "network: {bind: [127.0.0.1, 10.255.255.1]}\n"
"""No machine has this address: a server that is told to listen there does not start."""


def on(text: str, old: str, new: str) -> str:
    """The spec's text with another engine."""
    (name, _, version), (kind, _, wanted) = old.partition("-"), new.partition("-")
    return swapped(text, f'{{name: {name}, version: "{version}"}}', f'{{name: {kind}, version: "{wanted}"}}')


def versions(bench: Bench) -> set[str]:
    """Of every node, sentinels too, once each has answered."""

    def told() -> set[str]:
        nodes = bench.status("demo")["nodes"]
        if not all(node["version"] for node in nodes):
            return set()
        return {f"{node['engine']}-{'.'.join(node['version'].split('.')[:2])}" for node in nodes}

    return set(until(told, bound_s=60))


def whole(bench: Bench, file: Path) -> None:
    """Healthy, in the zones asked for, with nothing left to do."""
    status = bench.status("demo")
    assert status["healthy"], status["problems"]
    assert zones_apart(status)
    assert bench.run("up", str(file), "--json", check=True).facts["steps"] == []


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("mode", "tls", "chain"),
    [
        ("cluster", "required", ("redis-7.0", "valkey-8.0")),
        pytest.param("cluster", "off", ("redis-7.0", "valkey-8.0", "valkey-9.1"), marks=pytest.mark.long),
        pytest.param("cluster", "off", ("redis-6.2", "redis-7.0", "redis-8.0"), marks=pytest.mark.long),
        pytest.param("cluster", "off", ("redis-6.2", "valkey-9.1"), marks=pytest.mark.long),
        pytest.param("cluster", "off", ("valkey-8.0", "valkey-8.1", "valkey-9.1"), marks=pytest.mark.long),
        pytest.param("replicated", "off", ("redis-7.0", "valkey-8.0", "valkey-9.1"), marks=pytest.mark.long),
        pytest.param("sentinel", "required", ("redis-7.0", "valkey-8.0"), marks=pytest.mark.long),
        pytest.param("sentinel", "off", ("redis-7.0", "valkey-9.1"), marks=pytest.mark.long),
    ],
)
def test_an_engine_is_changed_under_load(bench: Bench, mode: str, tls: str, chain: tuple[str, ...]) -> None:
    for engine in chain:
        need(engine)
    text = spec_text(chain[0], mode, tls=tls)
    bench.run("up", str(bench.spec(text)), "--json", check=True)
    with working(bench) as ledger:
        for old, new in itertools.pairwise(chain):
            text = on(text, old, new)
            done = bench.run("up", str(bench.spec(text)), "--json", check=True, bound_s=200)
            assert steps_of(done.facts)[0] == "engine"
            assert versions(bench) == {new}
            print(f"{old} -> {new}: {done.took_s:.1f} s, slowest command {ledger.slowest_s * 1000:.0f} ms")
            whole(bench, bench.folder / "cache.yaml")
    # A client of one address, or one that asks sentinels without trying again, sees the moment of the switch.
    if mode == "cluster":
        assert ledger.errors == []
    print(f"{ledger.writes} writes, {ledger.reads} reads, errors: {len(ledger.errors)}")
    assert ledger.lost(client(bench)) == {}


@pytest.mark.parametrize(
    ("mode", "engine"),
    [
        ("cluster", "valkey-9.1"),
        pytest.param("cluster", "valkey-8.0", marks=pytest.mark.long),
        pytest.param("cluster", "redis-7.0", marks=pytest.mark.long),
        pytest.param("sentinel", "valkey-9.1", marks=pytest.mark.long),
        pytest.param("replicated", "redis-7.0", marks=pytest.mark.long),
    ],
)
def test_a_directive_that_needs_a_restart(bench: Bench, mode: str, engine: str) -> None:
    need(engine)
    text = spec_text(engine, mode)
    bench.run("up", str(bench.spec(text)), "--json", check=True)
    before = bench.pids()
    file = bench.spec(text + BACKLOG)
    planned = bench.run("plan", str(file))
    assert planned.code == 3
    assert "tcp-backlog 511 -> 1023" in planned.out
    with working(bench) as ledger:
        done = bench.run("up", str(file), "--json", check=True)
    names = steps_of(done.facts)
    servers = [name for name in before if not name.startswith("sentinel")]
    assert names.count("restart") == len(servers)
    after = bench.pids()
    assert all(after[name] != before[name] for name in servers)
    assert all(after[name] == before[name] for name in before if name not in servers)
    if mode == "cluster":
        assert ledger.errors == []
    assert ledger.lost(client(bench)) == {}
    whole(bench, file)


@pytest.mark.parametrize(
    ("mode", "engine"),
    [
        ("replicated", "valkey-9.1"),
        pytest.param("cluster", "valkey-8.0", marks=pytest.mark.long),
        pytest.param("standalone", "redis-7.0", marks=pytest.mark.long),
    ],
)
def test_a_step_that_fails_goes_back_and_clients_see_nothing(bench: Bench, mode: str, engine: str) -> None:
    need(engine)
    text = spec_text(engine, mode)
    file = bench.spec(text)
    bench.run("up", str(file), "--json", check=True)
    conf = {path: path.read_bytes() for path in bench.state.glob("nodes/demo/*/server.conf")}
    before = bench.status("demo")["nodes"]
    bench.spec(text + NOWHERE)
    with working(bench) as ledger:
        refused = bench.run("up", str(file), "--allow-pause")
        assert refused.code == 1
        assert "was taken back" in refused.err
        assert "10.255.255.1" in refused.err
    if mode != "standalone":
        assert ledger.errors == []
    assert ledger.lost(client(bench)) == {}
    assert {path: path.read_bytes() for path in conf} == conf
    roles = {node["name"]: node["role"] for node in before}
    assert {node["name"]: node["role"] for node in bench.status("demo")["nodes"]} == roles
    whole(bench, bench.spec(text))


@contextlib.contextmanager
def port_taken_once(bench: Bench, node: str, hold_s: float = 0.0) -> Iterator[None]:
    """Somebody takes the node's port as soon as it is free, and gives it back `hold_s` after the node has failed to
    start.
    """
    member = next(each for each in bench.record("demo")["members"] if each["name"] == node)
    log = bench.state / "nodes" / "demo" / node / "server.log"
    start = log.stat().st_size
    stop = threading.Event()

    def take() -> None:
        while not stop.is_set():
            with socket.socket() as taken:
                taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    taken.bind((member["address"], member["port"]))
                    taken.listen()
                except OSError:
                    time.sleep(0.0005)
                    continue
                while not stop.is_set() and b"in use" not in log.read_bytes()[start:]:
                    time.sleep(0.001)
                stop.wait(hold_s)
                return

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    yield
    stop.set()
    thread.join(10)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("mode", "tls", "victim"),
    [
        pytest.param("cluster", "required", "n6", marks=pytest.mark.long),
        pytest.param("sentinel", "off", "n3", marks=pytest.mark.long),
    ],
)
def test_an_engine_that_fails_on_a_later_node_goes_back_wholly(
    bench: Bench, mode: str, tls: str, victim: str
) -> None:
    """Redis 7.0 cannot copy from Valkey: those moved already must come back from what the old engine holds."""
    for engine in ("redis-7.0", "valkey-8.0"):
        need(engine)
    text = spec_text("redis-7.0", mode, tls=tls)
    bench.run("up", str(bench.spec(text)), "--json", check=True)
    file = bench.spec(on(text, "redis-7.0", "valkey-8.0"))
    with working(bench) as ledger, port_taken_once(bench, victim):
        refused = bench.run("up", str(file), bound_s=200)
    print(refused.out, refused.err)
    assert refused.code == 1, refused.out
    assert "Address already in use" in refused.err or "port" in refused.err
    assert "was taken back" in refused.err
    assert versions(bench) == {"redis-7.0"}
    if mode == "cluster":
        assert ledger.errors == []
    assert ledger.lost(client(bench)) == {}
    assert bench.run("up", "demo", "--json", check=True).facts["steps"] == []
    bench.run("up", str(file), "--json", check=True, bound_s=200)
    assert versions(bench) == {"valkey-8.0"}
    whole(bench, file)


@pytest.mark.long
@pytest.mark.timeout(300)
def test_an_old_primary_that_cannot_go_back_is_tried_again(bench: Bench) -> None:
    for engine in ("redis-7.0", "valkey-8.0"):
        need(engine)
    text = spec_text("redis-7.0", "cluster")
    bench.run("up", str(bench.spec(text)), "--json", check=True)
    file = bench.spec(on(text, "redis-7.0", "valkey-8.0"))
    with working(bench) as ledger, port_taken_once(bench, "n1"):
        bench.run("up", str(file), "--json", check=True, bound_s=200)
    assert versions(bench) == {"valkey-8.0"}
    assert ledger.errors == []
    assert ledger.lost(client(bench)) == {}
    whole(bench, file)


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_shard_that_was_moved_wholly_cannot_go_back_and_the_next_up_goes_on(bench: Bench) -> None:
    for engine in ("redis-7.0", "valkey-8.0"):
        need(engine)
    text = spec_text("redis-7.0", "cluster")
    bench.run("up", str(bench.spec(text)), "--json", check=True)
    file = bench.spec(on(text, "redis-7.0", "valkey-8.0"))
    with working(bench) as ledger, port_taken_once(bench, "n5", hold_s=5.0):
        refused = bench.run("up", str(file), bound_s=200)
        print(refused.err)
        assert refused.code == 1, refused.out
        assert "cannot be taken back wholly" in refused.err
        assert "cannot copy from" in refused.err
        bench.run("up", str(file), "--json", check=True, bound_s=200)
    assert versions(bench) == {"valkey-8.0"}
    assert ledger.errors == []
    assert ledger.lost(client(bench)) == {}
    whole(bench, file)


def test_a_lone_primary_is_restarted_only_with_a_word_and_keeps_what_was_only_in_memory(bench: Bench) -> None:
    for engine in ("redis-7.0", "valkey-9.1"):
        need(engine)
    text = spec_text("redis-7.0", "standalone", more="persistence: {rdb: {enabled: false}}\n", tls="off")
    bench.run("up", str(bench.spec(text)), "--json", check=True)
    client(bench).set("cart:1", "only in memory")
    file = bench.spec(on(text, "redis-7.0", "valkey-9.1"))
    refused = bench.run("up", str(file))
    assert refused.code == 1
    assert "would wait about" in refused.err
    assert versions(bench) == {"redis-7.0"}
    bench.run("up", str(file), "--allow-pause", "--json", check=True)
    assert versions(bench) == {"valkey-9.1"}
    assert client(bench).get("cart:1") == "only in memory"
    assert not list(bench.state.glob("nodes/demo/*/dump.rdb"))
    whole(bench, file)


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("mode", "replicas"), [("cluster", 1), ("cluster", 0), ("sentinel", 1)])
def test_a_spare_replica_comes_first_and_leaves_last(bench: Bench, mode: str, replicas: int) -> None:
    need("valkey-8.0")
    need("valkey-9.1")
    text = spec_text("valkey-8.0", mode, replicas=replicas, tls="off")
    bench.run("up", str(bench.spec(text)), "--json", check=True)
    count = len(bench.pids())
    file = bench.spec(on(text, "valkey-8.0", "valkey-9.1"))
    with working(bench) as ledger:
        done = bench.run("up", str(file), "--surge", "--json", check=True, bound_s=200)
    names = steps_of(done.facts)
    assert names.index("add") < names.index("restart") < names.index("remove")
    if mode == "cluster":
        assert ledger.errors == []
    assert ledger.lost(client(bench)) == {}
    assert versions(bench) == {"valkey-9.1"}
    assert len(bench.pids()) == count
    whole(bench, file)


@pytest.mark.long
def test_upgrade_takes_the_best_that_the_spec_allows_and_says_what_it_does_not(bench: Bench) -> None:
    need("valkey-8.0")
    need("valkey-9.1")
    text = swapped(
        spec_text("valkey-8.0", "replicated", replicas=1, tls="off"), 'version: "8.0"', 'version: ">=8.0"'
    )
    file = bench.spec(swapped(text, 'version: ">=8.0"', 'version: "8.0"'))
    bench.run("up", str(file), "--json", check=True)
    refused = bench.run("upgrade", "demo", "--to", "valkey-9.1")
    assert refused.code == 1
    assert "is not version 8.0" in refused.err
    bench.spec(text)
    assert set(steps_of(bench.run("up", str(file), "--json", check=True).facts)) <= {"save"}
    assert versions(bench) == {"valkey-8.0"}
    missing = bench.run("upgrade", "demo", "--to", "valkey-12.0")
    assert missing.code == 1
    assert "there is no engine valkey-12.0" in missing.err
    assert bench.run("upgrade", "demo", "--dry-run").code == 3
    assert versions(bench) == {"valkey-8.0"}
    bench.run("upgrade", "demo", "--to", "valkey-9.1", "--json", check=True)
    assert versions(bench) == {"valkey-9.1"}
    assert bench.run("plan", str(file)).code == 0
    back = bench.run("upgrade", "demo", "--to", "valkey-8.0")
    assert back.code == 1
    assert "holdfast migrate" in back.err
    assert versions(bench) == {"valkey-9.1"}


class StoppedHereError(Exception):
    """The work ends between two steps."""


@pytest.fixture
def own(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A bench whose state folder is this process's too."""
    for name, value in bench.environ.items():
        monkeypatch.setenv(name, value)
    return bench


def up_to(file: Path, count: int, **manner: Any) -> tuple[str, bool]:
    """Do what `up` does and stop after `count` steps. Returns: the last step done, and whether that was the end."""
    done: list[Step] = []

    def after(step: Step) -> None:
        done.append(step)
        if len(done) == count:
            raise StoppedHereError

    async def work() -> bool:
        given = named(str(file))
        with given.store.alone():
            async with opened(given, wish=AS_THE_SPEC_SAYS, manner=Manner(**manner)) as cache:
                try:
                    await converge(cache, before=lambda _: None, after=after)
                except StoppedHereError:
                    return False
                return True

    finished = asyncio.run(work())
    return (done[-1].title if done else "nothing"), finished


PART = 3
"""Steps after which one part of the next test stops, for each costs a cache and two changes of it: half a minute."""
CHANGES = {
    ("cluster", "redis-7.0", "valkey-8.0"): 15,
    ("sentinel", "redis-7.0", "valkey-9.1"): 10,
    ("cluster", "valkey-8.0", "valkey-9.1"): 15,
}
"""About how many steps each takes; the last part goes on to the end, wherever that is."""


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("mode", "old", "new", "first", "last"),
    [
        (*change, first, first + PART > about)
        for change, about in CHANGES.items()
        for first in range(1, about + 1, PART)
    ],
)
def test_stopped_after_any_step_it_is_finished_by_the_next(
    own: Bench, mode: str, old: str, new: str, first: int, last: bool
) -> None:
    need(old)
    need(new)
    text = spec_text(old, mode, tls="off")
    for count in range(first, MOST_STEPS if last else first + PART):
        own.run("up", str(own.spec(text)), "--json", check=True)
        file = own.spec(on(text, old, new))
        with working(own, keys=50) as ledger:
            step, finished = up_to(file, count)
            print(f"stopped after {count}: {step}")
            status = own.status("demo")
            assert status["healthy"], status["problems"]
            own.run("up", str(file), "--json", check=True, bound_s=200)
            assert versions(own) == {new}
        if mode == "cluster":
            assert ledger.errors == []
        assert ledger.lost(client(own)) == {}
        whole(own, file)
        own.run("down", "demo", "--delete-data", "--yes", check=True)
        if finished:
            return
    if last:
        pytest.fail(f"more than {MOST_STEPS} steps")
