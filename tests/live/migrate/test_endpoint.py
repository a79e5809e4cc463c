"""The relay as a source that a target comes to by itself, as a managed service's own online migration does."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from tests.live.conftest import Bench, need, until
from tests.live.engine.servers import make_tls
from tests.live.migrate.cutting import Wire
from tests.live.migrate.journey import benched
from tests.live.migrate.plain import Plain, plain
from tests.live.migrate.test_journey import fill
from tests.live.ports import LOOPBACK, free_port


def test_a_valkey_8_1_told_replicaof_the_relay_takes_a_redis_8_data_set(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("let me in\n")
    with benched() as bench, plain(need("redis-8.0")) as source, plain(need("valkey-8.1")) as target:
        fill(source, 500, field_ttls=True)
        source.client.execute_command("VADD", "vectors", "VALUES", 2, 1, 2, "a")
        port = free_port()
        at = f"{LOOPBACK}:{port}"
        open_door = bench.run("migrate", "relay", "--from", source.url, "--listen", at)
        assert open_door.code == 2
        assert "--without-auth" in open_door.err
        words = [
            "migrate",
            "relay",
            "--from",
            source.url,
            "--listen",
            at,
            "--auth-file",
            str(secret),
            "--accept-losses",
        ]
        standing = bench.begin(*words)
        try:
            stranger: Any = redis.Redis(host=LOOPBACK, port=port, protocol=2, socket_timeout=5)
            until(lambda: _answers(stranger), 20)
            with pytest.raises(redis.exceptions.AuthenticationError):
                stranger.info()
            service: Any = redis.Redis(
                host=LOOPBACK, port=port, password="let me in", protocol=2, socket_timeout=5
            )
            assert service.ping()
            told = service.info()
            assert told["valkey_version"] == "8.1.0"
            assert told["tcp_port"] == port
            assert service.config_get("maxmemory") == {"maxmemory": "0"}
            assert service.type("h:0") == b"hash"
            assert len(service.execute_command("COMMAND")) > 200
            for write in (
                ("SET", "k", "v"),
                ("CONFIG", "SET", "maxmemory", "1"),
                ("FLUSHALL",),
                ("SHUTDOWN",),
                ("DEBUG", "SLEEP", "1"),
            ):
                with pytest.raises(redis.exceptions.ResponseError):
                    service.execute_command(*write)
            assert source.client.dbsize() == 751
            target.client.config_set("masterauth", "let me in")
            target.client.execute_command("REPLICAOF", LOOPBACK, port)
            until(lambda: target.info().get("master_link_status") == "up", 30)
            assert target.client.dbsize() == 750
            source.client.set("live", "1")
            assert source.client.wait(1, 5000) == 1
            assert target.client.get("live") == b"1"
            target.client.client_kill_filter(_type="master")
            source.client.set("again", "1")
            until(lambda: target.client.get("again") == b"1", 20)
            log = (target.folder / "log").read_text()
            assert log.count("Full resync from") == 1
            assert "artial" in log.rpartition("Full resync from")[2], "it did not go on where it was"
            target.client.execute_command("REPLICAOF", "NO", "ONE")
            target.client.set("own", "1")
        finally:
            os.kill(standing.pid, signal.SIGINT)
            said, _ = standing.communicate(timeout=20)
        assert "module-key: 1" in said
        assert "field-ttl: " in said


@contextlib.contextmanager
def standing(bench: Bench, source: str, *words: str) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """The relay by itself, in the foreground, and its port; Ctrl-C at the end."""
    port = free_port()
    started = bench.begin("migrate", "relay", "--from", source, "--listen", f"{LOOPBACK}:{port}", *words)
    try:
        until(lambda: _listens(port), 20)
        yield port, started
    finally:
        os.kill(started.pid, signal.SIGINT)
        said, err = started.communicate(timeout=20)
        assert "Traceback" not in said + err


@pytest.mark.long
@pytest.mark.timeout(120)
def test_a_valkey_9_1_with_a_user_takes_fields_with_their_ttls(tmp_path: Path) -> None:
    login = tmp_path / "login"
    login.write_text("mover\nlet me in\n")
    with benched() as bench, plain(need("redis-8.0")) as source, plain(need("valkey-9.1")) as target:
        fill(source, 500, field_ttls=True)
        source.client.execute_command("FUNCTION", "LOAD", LIBRARY)
        words = ("--speak", "valkey-9.1", "--auth-file", str(login))
        with standing(bench, source.url, *words) as (port, _):
            target.client.config_set("masteruser", "stranger")
            target.client.config_set("masterauth", "let me in")
            target.client.execute_command("REPLICAOF", LOOPBACK, port)
            time.sleep(2)
            assert target.info()["master_link_status"] == "down"
            target.client.config_set("masteruser", "mover")
            _follows(source, target)
            assert target.client.execute_command("FCALL_RO", "answer", 0) == 42
            ours, theirs = (
                each.client.execute_command("HPEXPIRETIME", "h:20", "FIELDS", 2, "f1", "f2")
                for each in (source, target)
            )
            assert ours == theirs
            assert ours[0] > 0 > ours[1]
            source.client.execute_command("HSETEX", "h:20", "EX", 5000, "FIELDS", 1, "f3", "new")
            assert source.client.wait(1, 5000) == 1
            assert target.client.hget("h:20", "f3") == b"new"


@pytest.mark.long
@pytest.mark.timeout(120)
def test_tls_on_both_sides_of_the_relay(tmp_path: Path) -> None:
    ours, theirs = make_tls(tmp_path / "ours"), make_tls(tmp_path / "theirs")
    for name, word in (("from", "old-word"), ("door", "door-word")):
        (tmp_path / name).write_text(word + "\n")
    with (
        benched() as bench,
        plain(need("redis-8.0"), password="old-word", tls=ours) as source,
        plain(need("valkey-8.0"), tls=theirs) as target,
    ):
        fill(source, 300, field_ttls=False)
        words = ["--speak", "valkey-8.0", "--auth-file", str(tmp_path / "door"), "--from-ca", ours.ca]
        words += ["--from-auth-file", str(tmp_path / "from")]
        with standing(bench, source.url, *words, "--tls-cert", ours.cert, "--tls-key", ours.key) as (port, _):
            target.client.config_set("masterauth", "door-word")
            target.client.execute_command("REPLICAOF", LOOPBACK, port)
            time.sleep(2)
            assert target.info()["master_link_status"] == "down"  # it does not know our authority yet
            target.client.config_set("tls-ca-cert-file", ours.ca)
            _follows(source, target)


@pytest.mark.long
@pytest.mark.timeout(180)
@pytest.mark.parametrize("engine", ["valkey-8.1", "valkey-9.1"])
@pytest.mark.parametrize("cut", ["before the relay", "behind the relay"])
def test_a_wire_that_breaks_in_the_middle_of_the_rdb(engine: str, cut: str) -> None:
    """On either side of it; the target keeps what it had until it has all that is new."""
    with benched() as bench, plain(need("redis-8.0")) as source, plain(need(engine)) as target:
        fill(source, 500, field_ttls=True)
        blob = os.urandom(1 << 20)
        for number in range(30):
            source.client.set(f"big:{number}", blob)
        target.client.set("old", "kept")
        cuts = (10 << 20, 3000, 29 << 20)
        with contextlib.ExitStack() as stack:
            start = source.url
            if cut == "before the relay":
                wire = stack.enter_context(Wire(source.port, cuts).open())
                start = f"redis://{LOOPBACK}:{wire.port}"
            words = ("--speak", engine, "--without-auth", "--accept-losses")
            port, process = stack.enter_context(standing(bench, start, *words))
            if cut == "behind the relay":
                wire = stack.enter_context(Wire(port, cuts).open())
                port = wire.port
            target.client.execute_command("REPLICAOF", LOOPBACK, port)
            while wire.done < len(cuts):
                assert process.poll() is None
                assert target.client.get("old") == b"kept"
                time.sleep(0.02)
            _follows(source, target)
            assert target.client.get("old") is None
            assert target.process is not None
            assert target.process.poll() is None


LIBRARY = """#!lua name=deep
redis.register_function{function_name='answer', callback=function() return 42 end, flags={'no-writes'}}
"""


def _follows(source: Plain, target: Plain) -> None:
    """The target is in step with the source, and goes on so."""
    until(lambda: target.info().get("master_link_status") == "up", 40)
    source.client.set("live", "1")
    assert source.client.wait(1, 5000) == 1
    assert target.client.get("live") == b"1"
    assert target.client.dbsize() == source.client.dbsize()
    assert target.offset == source.offset


def _listens(port: int) -> bool:
    try:
        socket.create_connection((LOOPBACK, port), 1).close()
    except OSError:
        return False
    return True


def _answers(client: Any) -> bool:
    try:
        client.ping()
    except redis.exceptions.AuthenticationError:
        return True
    except redis.exceptions.RedisError:
        time.sleep(0.1)
    return False
