"""Every mode on every engine: up from nothing, used by services, down, up again with its data, and gone."""

from __future__ import annotations

import re
import shutil
import socket
import ssl
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from tests.live.conftest import Bench, make_bench, need
from tests.live.topology.caches import (
    MODES,
    client,
    known_engines,
    node_client,
    roles,
    slot_counts,
    spec_text,
    steps_of,
    swapped,
    zones_apart,
)

SHORT = {
    ("standalone", "redis-7.0"),
    ("sentinel", "redis-7.0"),
    ("cluster", "valkey-8.0"),
}
"""What the short run tries; the long one tries all."""
DANGEROUS = (
    ("CONFIG", "GET", "maxmemory"),
    ("FLUSHALL",),
    ("FLUSHDB",),
    ("DEBUG", "SLEEP", "0"),
    ("KEYS", "*"),
    ("SHUTDOWN", "NOSAVE"),
    ("ACL", "LIST"),
    ("REPLICAOF", "NO", "ONE"),
)
STATE_MODE = 0o077


class Made:
    """A cache that was brought up."""

    def __init__(self, bench: Bench, engine: str, mode: str) -> None:
        self.bench, self.engine, self.mode = bench, engine, mode
        self.file = bench.spec(spec_text(engine, mode))
        self.tls = need(engine).tls
        began = bench.run("up", str(self.file), "--json", check=True)
        self.first = began.facts
        print(f"{mode} on {engine}: up in {began.took_s:.1f} s")

    @property
    def status(self) -> Any:
        return self.bench.status("demo")


def combinations() -> Iterator[Any]:
    for mode in MODES:
        for engine in known_engines():
            marks = [pytest.mark.xdist_group(f"{mode}-{engine}")]  # one cache for all tests of a combination
            marks += [] if (mode, engine) in SHORT else [pytest.mark.long]
            yield pytest.param((mode, engine), id=f"{mode}-{engine}", marks=marks)


@pytest.fixture(scope="module", params=combinations())
def made(request: pytest.FixtureRequest) -> Iterator[Made]:
    mode, engine = request.param
    need(engine)
    bench = make_bench()
    try:
        yield Made(bench, engine, mode)
    finally:
        bench.close()
        shutil.rmtree(bench.state.parent, ignore_errors=True)


def test_it_comes_up_healthy_with_the_roles_and_zones_asked_for(made: Made) -> None:
    status = made.status
    assert status["healthy"], status["problems"]
    assert status["tls"] is made.tls
    servers = [node for node in status["nodes"] if node["kind"] == "server"]
    primaries = [node for node in servers if node["role"] == "primary"]
    replicas = [node for node in servers if node["role"] == "replica"]
    sentinels = [node for node in status["nodes"] if node["role"] == "sentinel"]
    expected = {
        "standalone": (1, 0, 0),
        "replicated": (1, 2, 0),
        "sentinel": (1, 2, 3),
        "cluster": (3, 3, 0),
    }[made.mode]
    assert (len(primaries), len(replicas), len(sentinels)) == expected
    assert all(node["in_sync"] for node in replicas)
    assert zones_apart(status)
    assert all(node["engine"] == made.engine.partition("-")[0] for node in status["nodes"] if node["engine"])
    assert all(node["version"].startswith(made.engine.partition("-")[2]) for node in servers)
    if made.mode == "cluster":
        counts = slot_counts(status)
        assert sum(counts.values()) == 16384
        assert max(counts.values()) - min(counts.values()) <= 1
        assert len({node["zone"] for node in primaries}) == 3
    if sentinels:
        assert {node["zone"] for node in sentinels} == {"a", "b", "c"}
        for node in sentinels:
            watched = node_client(made.bench, node["name"]).execute_command("SENTINEL", "MASTER", "demo")
            facts = (
                watched if isinstance(watched, dict) else dict(zip(watched[::2], watched[1::2], strict=True))
            )
            assert int(facts["port"]) == primaries[0]["port"]
            assert int(facts["num-other-sentinels"]) == 2
            assert int(facts["num-slaves"]) == 2


def test_a_second_up_finds_nothing_to_do(made: Made) -> None:
    before = made.bench.pids()
    again = made.bench.run("up", str(made.file), "--json", check=True)
    assert again.facts["steps"] == []
    assert made.bench.run("plan", str(made.file), "--json").code == 0
    assert made.bench.run("status", "demo", "--json").code == 0
    assert made.bench.pids() == before


def test_a_service_has_its_own_namespace_and_nothing_else(made: Made) -> None:
    shop = client(made.bench)
    for number in range(50):
        assert shop.set(f"cart:{number}", f"v{number}", ex=600)
        assert shop.get(f"cart:{number}") == f"v{number}"
    assert shop.rpush("cart:list", "a", "b") >= 2
    shop.delete("cart:list")
    for outside in ("ticket:1", "other", "cart"):
        with pytest.raises(redis.exceptions.NoPermissionError):
            shop.get(outside)
        with pytest.raises(redis.exceptions.NoPermissionError):
            shop.set(outside, "x")
    primary = next(node["name"] for node in made.status["nodes"] if node["role"] == "primary")
    direct = node_client(made.bench, primary, "shop")
    for command in DANGEROUS:
        with pytest.raises(redis.exceptions.ResponseError, match=r"permission|DEBUG command not allowed"):
            direct.execute_command(*command)


def test_nobody_gets_in_without_a_user(made: Made) -> None:
    # Its role does not matter here, and may be changing hands: sentinels act while a busy machine keeps a node waiting.
    node = next(node for node in made.status["nodes"] if node["kind"] == "server")
    tls: dict[str, Any] = (
        {"ssl": True, "ssl_ca_certs": str(made.bench.state / "caches/demo/tls/ca.pem")} if made.tls else {}
    )
    stranger = redis.Redis(
        host=node["address"], port=node["port"], socket_timeout=5, retry=Retry(NoBackoff(), 0), **tls
    )
    with pytest.raises(redis.exceptions.AuthenticationError):
        stranger.get("cart:1")


def test_plaintext_and_old_tls_are_refused(made: Made) -> None:
    if not made.tls:
        pytest.skip(f"{made.engine} has no TLS")
    for node in made.status["nodes"]:
        with socket.create_connection((node["address"], node["port"]), timeout=5) as plain:
            plain.sendall(b"PING\r\n")
            try:
                answer = plain.recv(100)
            except ConnectionError:
                answer = b""
            assert b"PONG" not in answer
            assert b"NOAUTH" not in answer
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.set_ciphers("ALL:@SECLEVEL=0")
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with (
            socket.create_connection((node["address"], node["port"]), timeout=5) as raw,
            pytest.raises(ssl.SSLError, match=r"(?i)alert"),  # the server's refusal, not our own
        ):
            old.wrap_socket(raw)


def test_secrets_are_in_no_command_line_no_log_and_no_file_of_others(made: Made) -> None:
    secrets = [file.read_text().strip() for file in (made.bench.state / "caches/demo/passwords").iterdir()]
    assert len(secrets) >= 6
    assert all(len(secret) > 20 for secret in secrets)
    seen = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            seen.append((str(line), line.read_bytes().decode(errors="replace")))
        except OSError:
            continue
    logs = [*made.bench.state.glob("nodes/*/*/*.log"), made.bench.state / "supervisor/log"]
    assert len(logs) > 1
    audit = made.bench.state / "audit.log"
    seen += [(str(log), log.read_text(errors="replace")) for log in [*logs, audit] if log.exists()]
    for where, text in seen:
        for secret in secrets:
            assert secret not in text, f"a password is in {where}"
    for path in (made.bench.state, *made.bench.state.rglob("*")):
        if path.is_symlink():
            continue
        mode = stat.S_IMODE(path.lstat().st_mode)
        assert mode & STATE_MODE == 0, f"{path} is {mode:o}"


def test_down_keeps_the_data_and_the_roles_and_deletion_leaves_nothing(made: Made) -> None:
    shop = client(made.bench)
    for number in range(300):
        shop.set(f"cart:stay{number}", number, ex=3600)
    before = made.status
    shop.close()
    made.bench.run("down", "demo", "--json", check=True)
    assert made.bench.pids() == {}
    assert made.bench.run("status", "demo", "--json").code == 3

    made.bench.run("up", str(made.file), "--json", check=True)
    after = made.status
    assert after["healthy"], after["problems"]
    assert roles(after) == roles(before)
    shop = client(made.bench)
    assert [shop.get(f"cart:stay{number}") for number in range(300)] == [str(n) for n in range(300)]
    shop.close()

    made.bench.run("down", "demo", "--delete-data", "--yes", "--json", check=True)
    assert made.bench.pids() == {}
    for folder in ("nodes", "caches"):
        left = [str(path) for path in (made.bench.state / folder).rglob("*")]
        assert left == []
    assert made.bench.run("status", "demo").code == 1

    made.bench.run("up", str(made.file), "--json", check=True)  # from nothing again
    assert client(made.bench).get("cart:stay1") is None


@pytest.mark.long
def test_sentinels_are_left_alone(bench: Bench) -> None:
    """What watches over nodes has no door of its own to a sentinel, and once took each for dead."""
    need("valkey-9.1")
    text = spec_text("valkey-9.1", "sentinel", replicas=1)
    bench.run(
        "up", str(bench.spec(swapped(text, "node_timeout: 5s", "node_timeout: 1s"))), "--json", check=True
    )
    before = bench.pids()
    time.sleep(5)
    assert bench.pids() == before
    status = bench.status("demo")
    assert status["healthy"], status["problems"]


def test_required_tls_without_an_engine_that_has_it_is_an_error(bench: Bench) -> None:
    need("valkey-9.1")
    file = bench.spec(spec_text("valkey-9.1", "standalone", tls="required"))
    outcome = bench.run("up", str(file))
    assert outcome.code == 1
    assert re.search(r"(?i)tls", outcome.err)
    assert "engines add" in outcome.err
    assert bench.pids() == {}


def test_ipv6_alone_is_enough(bench: Bench) -> None:
    need("redis-7.0")
    with socket.socket(socket.AF_INET6) as trial:
        try:
            trial.bind(("::1", 0))
        except OSError as failed:
            pytest.skip(f"this machine has no ::1 ({failed})")
    file = bench.spec(spec_text("redis-7.0", "cluster", more='network: {bind: ["::1"]}\n'))
    bench.run("up", str(file), "--json", check=True)
    status = bench.status("demo")
    assert status["healthy"], status["problems"]
    assert {node["address"] for node in status["nodes"]} == {"::1"}
    shop = client(bench)
    for number in range(100):
        shop.set(f"cart:{number}", number)
    assert shop.get("cart:7") == "7"
    assert bench.run("up", str(file), "--json", check=True).facts["steps"] == []
    for pid in bench.pids().values():  # the ports themselves may be others' on 127.0.0.1
        listening = [each for each in psutil.Process(pid).net_connections() if each.status == "LISTEN"]
        assert len(listening) == 2
        assert {each.laddr.ip for each in listening} == {"::1"}
    assert steps_of(bench.run("plan", str(file), "--json").facts) == []
