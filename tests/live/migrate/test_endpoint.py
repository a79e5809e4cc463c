"""The relay as a source that a target comes to by itself, as a managed service's own online migration does."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import redis
from tests.live.conftest import need, until
from tests.live.migrate.journey import benched
from tests.live.migrate.plain import LOOPBACK, free_port, plain
from tests.live.migrate.test_journey import fill


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


def _answers(client: Any) -> bool:
    try:
        client.ping()
    except redis.exceptions.AuthenticationError:
        return True
    except redis.exceptions.RedisError:
        time.sleep(0.1)
    return False
