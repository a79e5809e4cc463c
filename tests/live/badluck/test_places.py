"""Ports, addresses and engines that are not to be had: what is missing is named, and once it is there `up` works."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.live.badluck.caches import (
    ENGINE,
    bring_up,
    call,
    healthy,
    node,
    pids,
    read,
    refusal,
    spec_text,
    write,
)
from tests.live.conftest import AT_HAND, Bench

NAMESPACE = f"hfbad{os.getpid()}"


def test_a_kept_port_that_is_taken_is_named_and_kept(bench: Bench) -> None:
    path = bring_up(bench, spec_text(mode="replicated", persistence="rdb"))
    kept = write(bench, "shop")
    port = node(healthy(bench), "n1")["port"]
    bench.run("down", "shop", check=True)
    with closing(socket.create_server(("127.0.0.1", port))):
        refusal(bench.run("up", str(path)), "n1 did not start", f"127.0.0.1:{port} is taken", "ss -ltnp")
        status = bench.run("status", "shop")
        assert status.code == 3
        assert f"error: n1 ended: address 127.0.0.1:{port} is taken by another program" in status.out
    bench.run("up", str(path), check=True)
    assert node(healthy(bench), "n1")["port"] == port
    assert read(bench, "shop", kept) == kept


def test_a_wished_port_that_is_taken_is_passed_over(bench: Bench) -> None:
    wish = int(bench.environ["HOLDFAST_FIRST_PORT"])
    with (
        closing(socket.create_server(("127.0.0.1", wish))),
        closing(socket.create_server(("127.0.0.1", wish + 10_001))),
    ):
        bring_up(bench, spec_text(mode="cluster", port=wish))
        ports = sorted(each["port"] for each in healthy(bench)["nodes"])
    # The first is taken, and so is the bus port that would belong to the second.
    assert ports == list(range(wish + 2, wish + 8))


@pytest.mark.long
def test_no_port_left_is_said_before_anything_starts(bench: Bench) -> None:
    path = bench.spec(spec_text(mode="cluster", port=55_532))
    refusal(bench.run("up", str(path)), "ports are free from 55532 on", "nothing was started")
    assert pids(bench) == {}


def test_an_address_of_another_machine_is_refused(bench: Bench) -> None:
    path = bench.spec(spec_text(more="network: {bind: [192.0.2.9]}\n"))
    refusal(bench.run("up", str(path)), "cannot listen on 192.0.2.9", "nothing was started", "network.bind")
    refusal(bench.run("status", "shop"), "there is no cache shop", "none is known here")
    assert pids(bench) == {}


def test_an_engine_that_nobody_has_is_named_with_what_there_is(bench: Bench) -> None:
    path = bench.spec(spec_text(engine="redis->=99"))
    said = refusal(
        bench.run("up", str(path)), "no engine on this machine is Redis >=99", "nothing was started"
    )
    assert str(AT_HAND[ENGINE].version[0]) in said
    path = bench.spec(spec_text(more="").replace("version:", "path: /nowhere/redis-server, version:"))
    refusal(bench.run("up", str(path)), "/nowhere/redis-server")
    assert not (bench.state / "nodes").exists()


@pytest.mark.long
def test_an_engine_removed_after_the_cache_was_made(bench: Bench) -> None:
    (bench.state / "engines").unlink()  # the shared one, which is only a link
    folder = next(
        parent for parent in Path(AT_HAND[ENGINE].command[0]).parents if parent.parent.name == "engines"
    )
    own = bench.state / "engines" / folder.name
    shutil.copytree(folder, own, symlinks=True)
    path = bring_up(bench, spec_text(persistence="rdb"))
    kept = write(bench, "shop")
    bench.run("down", "shop", check=True)
    aside = own.rename(bench.folder / folder.name)
    said = refusal(bench.run("up", str(path)), "engine")
    assert "holdfast engines add" in said or "widen" in said
    assert pids(bench) == {}
    aside.rename(own)
    bench.run("up", str(path), check=True)
    assert read(bench, "shop", kept) == kept


@pytest.fixture
def only_ipv6() -> Iterator[str]:
    """A network namespace that has ::1 and nothing else."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("a network namespace needs root and iproute2")
    subprocess.run(["ip", "netns", "add", NAMESPACE], check=True)
    try:
        inside = ["ip", "netns", "exec", NAMESPACE]
        subprocess.run([*inside, "ip", "link", "set", "lo", "up"], check=True)
        subprocess.run([*inside, "ip", "addr", "del", "127.0.0.1/8", "dev", "lo"], check=True)
        yield NAMESPACE
    finally:
        subprocess.run(["ip", "netns", "del", NAMESPACE], check=False)


def test_a_machine_with_ipv6_only(bench: Bench, only_ipv6: str) -> None:
    def holdfast(*words: str) -> subprocess.CompletedProcess[str]:
        program = ["ip", "netns", "exec", only_ipv6, sys.executable, "-m", "holdfast.cli.main", *words]
        return subprocess.run(program, env=bench.environ, capture_output=True, text=True, timeout=90)

    refused = holdfast("up", str(bench.spec(spec_text(mode="cluster"))))
    assert refused.returncode == 1
    assert "cannot listen on 127.0.0.1" in refused.stderr
    assert "IPv6 loopback is ::1" in refused.stderr
    path = bench.spec(spec_text(mode="cluster", more='network: {bind: ["::1"]}\n'))
    done = holdfast("up", str(path))
    assert (done.returncode, done.stderr) == (0, "")
    assert "6 of 6 nodes up" in done.stdout
    assert "[::1]:" in done.stdout
    said = holdfast("call", "--json", "shop", "SET", "k", "v")
    assert (said.returncode, '"OK"' in said.stdout) == (0, True)


@pytest.mark.long
def test_a_command_for_a_cache_whose_nodes_are_down(bench: Bench) -> None:
    bring_up(bench, spec_text())
    assert call(bench, "shop", "SET", "k", "v") == "OK"
    bench.run("down", "shop", check=True)
    refusal(bench.run("call", "shop", "GET", "k"), "no node of shop can take this", "nothing was sent")
