"""The whole journey by relay, as an operator goes it, with applications at work: start, verify, cutover, rollback, finish."""

from __future__ import annotations

import json
import time
from pathlib import Path

import redis
from tests.live.conftest import need, until
from tests.live.migrate.applications import Applications
from tests.live.migrate.journey import benched, in_step, status
from tests.live.migrate.plain import Plain, plain


def fill(server: Plain, keys: int, *, field_ttls: bool) -> None:
    """A data set of every type."""
    pipe = server.client.pipeline(transaction=False)
    for number in range(keys):
        pipe.set(f"s:{number}", f"value {number}", px=9_000_000 if number % 3 == 0 else None)
        if number % 10 == 0:
            pipe.hset(f"h:{number}", mapping={f"f{place}": place for place in range(5)})
            pipe.zadd(f"z:{number}", {"a": 1, "b": 2.5})
            pipe.rpush(f"l:{number}", *range(6))
            pipe.sadd(f"i:{number}", *range(6))
            pipe.xadd(f"x:{number}", {"a": number})
        if field_ttls and number % 20 == 0:
            pipe.execute_command("HPEXPIRE", f"h:{number}", 8_000_000, "FIELDS", 1, "f1")
    pipe.xgroup_create("x:0", "readers", "0")
    pipe.execute()
    server.client.xreadgroup("readers", "one", {"x:0": ">"})


def test_redis_8_to_valkey_9_and_back_loses_nothing(tmp_path: Path) -> None:
    source_build, target_build = need("redis-8.0"), need("valkey-9.1")
    hook = tmp_path / "hook"
    hook.write_text(
        "#!/bin/sh\ncat > " + str(tmp_path / "facts") + "\necho pointed at $HOLDFAST_PRIMARY_PORT\n"
    )
    hook.chmod(0o700)
    with benched() as bench, plain(source_build) as source, plain(target_build) as target:
        fill(source, 3000, field_ttls=True)
        with Applications([source, target], field_ttls=True) as work:
            bench.run("migrate", "start", "m", "--from", source.url, "--to", target.url, check=True)
            time.sleep(1)
            told = bench.run("migrate", "verify", "m", "--json", check=True).facts
            assert told["different"] == 0
            assert told["keys"] >= 4500
            done = bench.run("migrate", "cutover", "m", "--hook", str(hook), "--json", check=True).facts
            switch = done["switches"][-1]
            assert switch["outcome"] == "done"
            assert 0 < switch["write_pause_ms"] < 3000
            assert len(switch["proofs"]) == 3
            assert "pointed at" in switch["hook"]
            assert json.loads((tmp_path / "facts").read_text())["primary_port"] == target.port
            assert source.info()["role"] == "slave"
            time.sleep(1)
            bench.run("migrate", "rollback", "m", check=True)
            assert source.info()["role"] == "master"
            assert target.info()["role"] == "slave"
            time.sleep(1)
            in_step(bench)
            bench.run("migrate", "cutover", "m", check=True)
            time.sleep(0.5)
        work.settle(target.client)
        assert work.count > 300
        assert work.refused > 0
        in_step(bench)
        assert bench.run("migrate", "verify", "m", "--json", check=True).facts["different"] == 0
        ttl = target.client.execute_command("HPTTL", "h:20", "FIELDS", 2, "f1", "f2")
        assert ttl[0] > 7_000_000
        assert ttl[1] == -1
        ended = bench.run("migrate", "finish", "m", "--yes", "--json", check=True).facts
        assert ended["stage"] == "finished"
        assert len(ended["full_syncs"]) == 1
        assert not ended["borrowed"]
        assert target.info()["role"] == "master"
        try:
            source.client.set("late", "1")
            raise AssertionError("the old source takes writes")
        except redis.exceptions.ReadOnlyError:
            pass
        until(lambda: status(bench)["worker_pid"] == 0)  # it has said that it is finished, and ends


def test_what_a_target_cannot_hold_stops_the_start_and_touches_nothing() -> None:
    with benched() as bench, plain(need("redis-8.0")) as source, plain(need("valkey-8.1")) as target:
        source.client.hset("h", mapping={"a": 1, "b": 2})
        source.client.execute_command("HPEXPIRE", "h", 9_000_000, "FIELDS", 1, "a")
        refused = bench.run("migrate", "start", "m", "--from", source.url, "--to", target.url)
        assert refused.code == 1
        assert "--accept losses" in refused.err
        assert "1 hashes have fields with TTLs" in refused.err
        assert target.info()["role"] == "master"
        words = ("migrate", "start", "m", "--from", source.url, "--to", target.url, "--accept", "losses")
        bench.run(*words, check=True)
        facts = in_step(bench)
        assert facts["losses"] == {"field-ttl": 1}
        source.client.execute_command("HPEXPIRE", "h", 8_000_000, "FIELDS", 1, "b")
        source.client.hset("h", "c", 3)
        source.client.execute_command("MULTI")
        source.client.execute_command("HPEXPIRE", "h", 8_000_000, "FIELDS", 1, "b")
        source.client.execute_command("SET", "in", "multi")
        source.client.execute_command("EXEC")
        source.client.execute_command("HSETEX", "h", "EX", 5000, "FIELDS", 1, "d", "4")
        assert source.client.wait(1, 5000) == 1
        assert target.client.hgetall("h") == {b"a": b"1", b"b": b"2", b"c": b"3", b"d": b"4"}
        assert target.client.get("in") == b"multi"
        assert source.offset == target.offset
        facts = in_step(bench)
        time.sleep(1)
        facts = status(bench)
        assert facts["losses"]["HPEXPIREAT: field TTLs"] == 2
        assert facts["losses"]["HSETEX: field TTLs"] == 1
        bench.run("migrate", "stop", "m", "--yes", check=True)
        assert target.info()["role"] == "master"
        assert target.client.get("in") == b"multi"
