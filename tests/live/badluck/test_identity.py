"""Processes that are not what they seem: a reused pid, a dead or old supervisor, a hung node, files of garbage."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest
from tests.live.badluck.caches import (
    bring_up,
    healthy,
    kill,
    let_die,
    node,
    node_folder,
    pids,
    power_cut,
    read,
    refusal,
    spec_text,
    supervisor_pid,
    write,
)
from tests.live.conftest import Bench, until

SILENCE_SEEN_S = 1.0
"""How long `status` waits for a node."""


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has nothing to do with any cache."""
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


def test_a_reused_pid_is_never_signalled(bench: Bench, bystander: subprocess.Popen[bytes]) -> None:
    path = bring_up(bench, spec_text(mode="replicated", persistence="rdb"))
    bench.run("down", "shop", check=True)
    bench.run("up", str(path), check=True)
    power_cut(bench)
    for name in ("n1", "n2"):
        file = node_folder(bench, name) / "node.json"
        kept = json.loads(file.read_text())
        kept["identity"]["pid"] = bystander.pid
        file.write_text(json.dumps(kept))
    bench.run("plan", "shop")  # starts a supervisor, which would adopt them; it starts both nodes again
    facts = bench.status("shop")
    assert bystander.pid not in [node(facts, name)["pid"] for name in ("n1", "n2")]
    bench.run("up", str(path), check=True)
    healthy(bench)
    assert bystander.pid not in pids(bench).values()
    bench.run("down", "shop", "--delete-data", "--yes", check=True)
    assert bystander.poll() is None


def test_a_killed_supervisor_is_missed_and_the_next_one_adopts(bench: Bench) -> None:
    path = bring_up(bench, spec_text(mode="cluster"))
    kept, before = write(bench, "shop"), pids(bench)
    kill(supervisor_pid(bench))
    assert (bench.state / "supervisor" / "socket").exists()  # a stale one

    status = bench.run("status", "shop")
    assert "the supervisor of local" in status.out
    assert "does not answer" in status.out
    assert "6 of 6 nodes up" in status.out
    assert bench.run("supervisor", "status").code == 3

    done = bench.run("up", str(path), "--json", check=True)
    assert done.facts["steps"] == []
    assert pids(bench) == before
    assert {each["process"] for each in healthy(bench)["nodes"]} == {"running"}
    assert read(bench, "shop", kept) == kept


@pytest.mark.long
def test_a_supervisor_that_hangs_is_said_to_and_left_alone(bench: Bench) -> None:
    bring_up(bench, spec_text())
    pid = supervisor_pid(bench)
    kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        status = bench.run("status", "shop")
        assert "no answer" in status.out
        assert "1 of 1 nodes up" in status.out
        assert time.monotonic() - began < 60
    finally:
        kill(pid, signal.SIGCONT)
    healthy(bench)


@pytest.mark.long
def test_a_socket_that_somebody_else_left_is_replaced(bench: Bench) -> None:
    folder = bench.state / "supervisor"
    folder.mkdir(mode=0o700)
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(folder / "socket"))
    stale.close()
    (folder / "lock").write_text("1\n")  # init's pid; the lock itself is free
    bring_up(bench, spec_text())
    healthy(bench)


def test_a_hung_node_is_shown_as_silent_and_named(bench: Bench) -> None:
    bring_up(bench, spec_text(mode="replicated", persistence="aof"))
    kept = write(bench, "shop")
    let_die(bench)
    hung = pids(bench)["n1"]
    kill(hung, signal.SIGSTOP)
    try:
        status = bench.run("status", "shop", "--json")
        facts = status.facts
        assert (status.code, node(facts, "n1")["reach"], node(facts, "n1")["pid"]) == (3, "silent", hung)
        assert facts["took_ms"] < SILENCE_SEEN_S * 1000 + 3000
        mend = next(each["mend"] for each in facts["problems"] if each["node"] == "n1")
        assert f"kill -9 {hung}" in mend
    finally:
        kill(hung, signal.SIGCONT)
    until(lambda: bench.run("status", "shop").code == 0)
    assert pids(bench)["n1"] == hung
    assert read(bench, "shop", kept) == kept


@pytest.mark.long
def test_up_names_a_hung_node_with_its_pid_and_the_way_out(bench: Bench) -> None:
    path = bring_up(bench, spec_text(mode="replicated", persistence="aof"))
    let_die(bench)
    hung = pids(bench)["n1"]
    kill(hung, signal.SIGSTOP)
    refusal(
        bench.run("up", str(path)),
        f"n1 (pid {hung}) runs but does not answer",
        "Nothing was changed on it",
        f"kill -9 {hung}",
    )
    kill(hung)
    bench.run("up", str(path), check=True)
    healthy(bench)


# Files of garbage

GARBAGE = ["", "{", "[]", "7", '"text"', "{}", '{"format": 99}', '{"format": 1, "members": [{}]}', "\x00\xff"]


@pytest.mark.parametrize(
    "contents", [GARBAGE[1:4], pytest.param(GARBAGE, marks=pytest.mark.long)], ids=["some", "all"]
)
def test_a_record_of_garbage_is_refused_and_touches_nothing(bench: Bench, contents: list[str]) -> None:
    path = bring_up(bench, spec_text())
    before = pids(bench)
    record = bench.state / "caches" / "shop" / "record.json"
    good = record.read_bytes()
    for number, content in enumerate(contents):
        record.write_bytes(content.encode("latin-1"))
        verb = ("up", "status", "down", "plan")[number % 4]
        refusal(bench.run(verb, str(path)), "record.json", "cannot be used", "not touched", ".previous")
        assert record.read_bytes() == content.encode("latin-1")
    assert pids(bench) == before
    record.write_bytes(good)
    healthy(bench)


@pytest.mark.parametrize(
    "content", ['{"order": 7}', *(pytest.param(each, marks=pytest.mark.long) for each in ("{", "[]", "7"))]
)
def test_a_node_file_of_garbage_is_told_and_nothing_is_deleted(bench: Bench, content: str) -> None:
    path = bring_up(bench, spec_text(mode="replicated"))
    kept, before = write(bench, "shop"), pids(bench)
    kill(supervisor_pid(bench))
    file = node_folder(bench, "n2") / "node.json"
    good = file.read_bytes()
    file.write_text(content)
    try:
        bench.run("up", str(path))
        status = bench.run("status", "shop")
        done = bench.run("down", "shop", "--delete-data", "--yes")
        left = file.read_text()
    finally:
        file.write_bytes(good)  # which the end of the test needs too
    assert status.code == 3
    assert "n2 runs and is kept by nobody: its node.json cannot be read" in status.out
    refusal(done, "n2 was neither started nor stopped", str(file), "Nothing was changed")
    assert left == content
    bench.run("supervisor", "stop", check=True)
    bench.run("up", str(path), check=True)
    healthy(bench)
    assert pids(bench)["n2"] == before["n2"]
    assert read(bench, "shop", kept).keys() == kept.keys()


@pytest.mark.long
def test_requests_of_garbage_do_not_hurt_the_supervisor(bench: Bench) -> None:
    bring_up(bench, spec_text())
    pid = supervisor_pid(bench)
    for request in (
        b"\x00" * 64,
        b"GET /v1/host HTTP/9.9\r\n\r\n",
        b"PUT /v1/nodes/shop/n1 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n[]]",
    ):
        with socket.socket(socket.AF_UNIX) as raw:
            raw.settimeout(5)
            raw.connect(str(bench.state / "supervisor" / "socket"))
            raw.sendall(request)
            raw.recv(4096)
    assert supervisor_pid(bench) == pid
    healthy(bench)
