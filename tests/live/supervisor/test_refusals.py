"""What servers refuse, in the audit log: once each, across restarts of both, and however many there are."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from typing import Any

import pytest
from tests.live.conftest import AT_HAND, Bench, need, until

from holdfast.supervisor.acl_watch import ACTION, LINES_A_SECOND, LINES_AT_ONCE, LOOK_EVERY_S

pytestmark = pytest.mark.timeout(200)


def spec(engine: str) -> str:
    build = need(engine)
    return (
        f'format: 1\ncache: {{name: shop}}\nengine: {{name: {build.name}, version: "{build.version[0]}.{build.version[1]}"}}\n'
        "topology: {mode: standalone}\nsecurity: {tls: off}\npersistence: {rdb: {enabled: false}}\n"
        "services: {cart: {namespaces: [cart]}}\nkeyspace: {namespaces: {cart: {pattern: 'cart:{id}', ttl: 1h}}}\n"
    )


def refused(bench: Bench, user: str) -> list[dict[str, Any]]:
    """Lines of the audit log about that user."""
    path = bench.state / "audit.log"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [line for line in lines if line["action"] == ACTION and line.get("user", user) == user]


def times(bench: Bench, user: str) -> int:
    return sum(line["times"] for line in refused(bench, user))


def knock(bench: Bench, user: str, count: int = 1) -> None:
    """Log in with a wrong password: once each, where a client's library would try again."""
    member = bench.record("shop")["members"][0]
    name = user.encode()
    line = b"*3\r\n$4\r\nAUTH\r\n$%d\r\n%b\r\n$5\r\nwrong\r\n" % (len(name), name)
    for _ in range(count):
        with socket.create_connection((member["address"], member["port"]), 5) as door:
            door.sendall(line)
            assert door.recv(4096).startswith(b"-WRONGPASS")


def test_a_refusal_is_on_record_with_its_name_and_address_and_no_secret(bench: Bench) -> None:
    bench.run("up", str(bench.spec(spec("valkey-9.1"))), check=True)
    knock(bench, "eve", 3)
    until(lambda: times(bench, "eve") == 3, 20)
    (first, *_) = refused(bench, "eve")
    assert (first["cache"], first["node"], first["reason"]) == ("shop", "n1", "auth")
    assert first["from"].startswith("127.0.0.1:")
    assert "wrong" not in (bench.state / "audit.log").read_text()
    assert (bench.state / "audit.log").stat().st_mode & 0o777 == 0o600


@pytest.mark.long
def test_each_refusal_is_written_once_across_restarts_of_supervisor_and_server(bench: Bench) -> None:
    bench.run("up", str(bench.spec(spec("valkey-9.1"))), check=True)
    knock(bench, "eve", 3)
    until(lambda: times(bench, "eve") == 3, 20)
    bench.run("supervisor", "stop", check=True)
    knock(bench, "eve", 2)  # while nobody looks
    bench.run("up", str(bench.spec(spec("valkey-9.1"))), check=True)
    until(lambda: times(bench, "eve") == 5, 20)

    os.kill(bench.pids("shop")["n1"], signal.SIGKILL)  # its memory of them is gone, and it comes back
    until(lambda: bench.run("status", "shop").code == 0, 30)
    knock(bench, "eve")
    until(lambda: times(bench, "eve") == 6, 20)
    time.sleep(2 * LOOK_EVERY_S)
    assert times(bench, "eve") == 6
    bench.run("down", "shop", "--delete-data", "--yes", check=True)
    assert not list(bench.state.glob("nodes/shop*"))


@pytest.mark.long
@pytest.mark.parametrize("engine", sorted(AT_HAND))
def test_every_engine_and_whoever_tries_many_names(bench: Bench, engine: str) -> None:
    bench.run("up", str(bench.spec(spec(engine))), check=True)
    until(lambda: (bench.state / "nodes" / "shop" / "refused.json").exists(), 20)
    knock(bench, "eve\xff\n", 2)
    until(lambda: times(bench, "eve\xff\n") == 2, 20)
    before = len((bench.state / "audit.log").read_text().splitlines())
    began = time.monotonic()
    for number in range(300):
        knock(bench, f"name{number}")

    def written() -> list[dict[str, Any]]:
        lines = (bench.state / "audit.log").read_text().splitlines()[before:]
        return [line for line in map(json.loads, lines) if line["action"] == ACTION]

    until(lambda: any(line.get("user") == "name299" for line in written()), 30)
    assert sum(line["times"] for line in written()) >= 128  # as many as a server remembers
    assert len(written()) <= LINES_AT_ONCE + (time.monotonic() - began) * LINES_A_SECOND + 1
    assert any(line["reason"] == "more of them" for line in written())


@pytest.mark.long
def test_a_full_disk_puts_it_off_and_loses_nothing(bench: Bench) -> None:
    """The audit log cannot be opened for a while: what was refused meanwhile is written when it can."""
    bench.run("up", str(bench.spec(spec("valkey-9.1"))), check=True)
    log = bench.state / "audit.log"
    assert not log.exists()
    log.mkdir()
    knock(bench, "eve", 2)
    until(
        lambda: any(
            "audit log" in event.get("why", "")
            for event in bench.run("events", "shop", "--json", "--last", "50").facts
        ),
        20,
    )
    log.rmdir()
    until(lambda: times(bench, "eve") == 2, 20)
