"""Ends of mode `write` as other people run them: with passwords, TLS, users of many rights, databases, and restarts in between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import redis
from tests.live.conftest import need, until
from tests.live.engine.servers import make_tls
from tests.live.migrate.journey import benched, in_step, status
from tests.live.migrate.plain import Plain, plain
from tests.live.migrate.test_journey import fill
from tests.live.ports import LOOPBACK


def refused(client: Any) -> bool:
    """Whether a write of that client's is refused for want of rights."""
    try:
        client.set("late", "1", px=1)
    except redis.exceptions.NoPermissionError:
        return True
    return False


def rules(server: Plain) -> list[str]:
    return sorted(str(each) for each in server.client.acl_list())


@pytest.mark.long
@pytest.mark.timeout(180)
def test_passwords_and_tls_and_a_fence_that_outlasts_restarts(tmp_path: Path) -> None:
    ours, theirs = make_tls(tmp_path / "ours"), make_tls(tmp_path / "theirs")
    for name, word in (("from", "old-word"), ("to", "new-word")):
        (tmp_path / name).write_text(f"default\n{word}\n")
    with (
        benched() as bench,
        plain(need("redis-8.0"), password="old-word", tls=ours) as source,
        plain(need("valkey-8.0"), password="new-word", tls=theirs) as target,
    ):
        fill(source, 300, field_ttls=False)
        words = ["--from-auth-file", str(tmp_path / "from"), "--to-auth-file", str(tmp_path / "to")]
        words += ["--from-ca", ours.ca, "--to-ca", theirs.ca]
        ends = ("--from", source.url, "--to", target.url)
        bench.run("migrate", "start", "m", *ends, "--mode", "write", *words, check=True)
        in_step(bench)
        bench.run("migrate", "cutover", "m", check=True)
        assert refused(source.client)
        source.client.save()
        source.kill()
        source.start()
        assert refused(source.client)
        assert source.client.get("s:1") == b"value 1"
        target.client.set("later", "1")
        until(lambda: source.client.get("later") == b"1", 30)
        bench.run("migrate", "rollback", "m", check=True)
        assert not refused(source.client)
        assert refused(target.client)
        target.client.save()
        target.kill()
        target.start()
        assert refused(target.client)
        in_step(bench)
        bench.run("migrate", "cutover", "m", check=True)
        in_step(bench)
        assert bench.run("migrate", "verify", "m", "--json", check=True).facts["different"] == 0
        for file in (bench.state / "jobs").rglob("*"):
            if file.is_file() and file.name != "secrets.json":
                assert b"old-word" not in file.read_bytes(), file
                assert b"new-word" not in file.read_bytes(), file
        bench.run("migrate", "finish", "m", "--yes", check=True)
        assert refused(source.client)
        assert not refused(target.client)
        assert rules(target)[0].startswith("user default on ")
        assert len(rules(source)) == len(rules(target)) == 1


@pytest.mark.long
@pytest.mark.timeout(120)
@pytest.mark.parametrize("engine", ["redis-6.2", "redis-7.0", "valkey-9.1"])
def test_users_get_back_just_what_they_had(engine: str) -> None:
    with benched() as bench, plain(need(engine)) as source, plain(need("valkey-9.1")) as target:
        source.client.execute_command("ACL", "SETUSER", "app", "on", ">app", "~*", "+@all", "-@dangerous")
        source.client.execute_command("ACL", "SETUSER", "reader", "on", ">r", "~r:*", "+@read", "+set")
        if engine != "redis-6.2":
            source.client.execute_command(
                "ACL", "SETUSER", "odd", "on", ">o", "~*", "+get", "(~x:* +set +del)", "(~y:* +incr)"
            )
        before = rules(source)
        app = redis.Redis(host=LOOPBACK, port=source.port, username="app", password="app")
        app.set("k", "1")
        bench.run(
            "migrate", "start", "m", "--from", source.url, "--to", target.url, "--mode", "write", check=True
        )
        in_step(bench)
        bench.run("migrate", "cutover", "m", check=True)
        assert refused(app)
        if engine != "redis-6.2":
            odd = redis.Redis(host=LOOPBACK, port=source.port, username="odd", password="o")
            with pytest.raises(redis.exceptions.NoPermissionError):
                odd.incr("y:1")
        assert app.get("k") == b"1"
        source.client.execute_command("ACL", "SETUSER", "reader", ">another")  # a password changes meanwhile
        bench.run("migrate", "rollback", "m", check=True)
        assert not refused(app)
        now = [each for each in rules(source) if "holdfast-migrate" not in each]
        for old, new in zip(before, now, strict=True):
            assert old == new or "user reader" in old
        assert redis.Redis(host=LOOPBACK, port=source.port, username="reader", password="another").set(
            "r:1", 1
        )
        in_step(bench)
        bench.run("migrate", "stop", "m", "--yes", check=True)
        assert not refused(target.client)
        assert len(rules(source)) == len(before)
        assert len(rules(target)) == 1
        for server in (source, target):
            assert server.client.keys("holdfast:*") == []


@pytest.mark.long
@pytest.mark.timeout(120)
def test_databases_without_a_place_are_refused_and_named_ones_go_there_and_back() -> None:
    with benched() as bench, plain(need("redis-7.0")) as source, plain(need("valkey-9.1")) as target:
        third = redis.Redis(host=LOOPBACK, port=source.port, db=3)
        third.set("k", "3")
        source.client.set("k", "0")
        target.client.config_set("maxmemory-policy", "noeviction")
        ends = ("--from", source.url, "--to", target.url, "--mode", "write")
        said = bench.run("migrate", "start", "m", *ends, "--map-db", "3=0")
        assert said.code == 1
        assert "databases 0 are in use" in said.err
        assert "nothing was changed" in said.err
        bench.run("migrate", "start", "m", *ends, "--map-db", "3=0", "--map-db", "0=7", check=True)
        in_step(bench)
        seventh = redis.Redis(host=LOOPBACK, port=target.port, db=7)
        assert (target.client.get("k"), seventh.get("k")) == (b"3", b"0")
        told = bench.run("migrate", "verify", "m", "--json", check=True).facts
        assert (told["different"], told["keys"]) == (0, 2)
        bench.run("migrate", "cutover", "m", check=True)
        target.client.set("new", "3")
        seventh.set("new", "0")
        until(lambda: third.get("new") == b"3" and source.client.get("new") == b"0", 20)
        in_step(bench)
        told = bench.run("migrate", "verify", "m", "--json", check=True).facts
        assert (told["different"], told["keys"]) == (0, 4)
        bench.run("migrate", "rollback", "m", check=True)
        third.set("last", "3")
        until(lambda: target.client.get("last") == b"3", 20)
        assert not status(bench)["wrong"]
        bench.run("migrate", "stop", "m", "--yes", check=True)


@pytest.mark.long
@pytest.mark.timeout(120)
def test_an_old_source_that_comes_back_empty_closes_the_way_back_and_loses_nothing() -> None:
    with benched() as bench, plain(need("redis-7.0")) as source, plain(need("valkey-9.1")) as target:
        fill(source, 100, field_ttls=False)
        bench.run(
            "migrate", "start", "m", "--from", source.url, "--to", target.url, "--mode", "write", check=True
        )
        in_step(bench)
        bench.run("migrate", "cutover", "m", check=True)
        in_step(bench)
        source.kill()
        source.start()
        target.client.set("later", "1")
        until(lambda: "the way back is closed" in status(bench)["wrong"], 40)
        refusal = bench.run("migrate", "rollback", "m")
        assert refusal.code == 1
        assert "the way back is closed" in refusal.err
        assert target.client.get("s:1") == b"value 1"
        bench.run("migrate", "finish", "m", "--yes", check=True)
        assert target.client.keys("holdfast:*") == []


@pytest.mark.long
@pytest.mark.timeout(120)
def test_keys_whose_end_was_put_off_end_when_they_should_behind_a_cutover() -> None:
    """Redis 7.0 cannot be told to expire nothing by itself: ends that are near are put off by a minute until the stream has said more."""
    with benched() as bench, plain(need("redis-7.0")) as source, plain(need("redis-7.0")) as target:
        bench.run(
            "migrate", "start", "m", "--from", source.url, "--to", target.url, "--mode", "write", check=True
        )
        in_step(bench)
        for number in range(200):
            source.client.set(f"soon:{number}", "1", px=1_900)
        source.client.set("later", "1", px=600_000)
        bench.run("migrate", "cutover", "m", check=True)
        assert target.client.pttl("later") > 500_000
        until(lambda: not target.client.keys("soon:*"), 15)
        in_step(bench)
        assert bench.run("migrate", "verify", "m", "--json", check=True).facts["different"] == 0


@pytest.mark.long
@pytest.mark.timeout(120)
def test_an_append_only_file_that_is_loaded_without_its_transactions_closes_the_way_back() -> None:
    """Redis 7.0 and 8.0, Valkey 8.0 and 8.1 load their file as `default`, and EXEC asks for the rights that the fence has taken."""
    with (
        benched() as bench,
        plain(need("redis-8.0"), "appendonly yes") as source,
        plain(need("valkey-9.1")) as target,
    ):
        fill(source, 50, field_ttls=False)
        ends = ("--from", source.url, "--to", target.url, "--mode", "write")
        said = bench.run("migrate", "start", "m", *ends)
        assert said.code == 1
        assert "--accept source-aof" in said.err
        bench.run("migrate", "start", "m", *ends, "--accept", "source-aof", check=True)
        in_step(bench)
        bench.run("migrate", "cutover", "m", check=True)
        in_step(bench)
        source.kill()
        source.start()
        until(lambda: "was restarted while it was fenced" in status(bench)["way_back"], 40)
        assert bench.run("migrate", "rollback", "m").code == 1
        bench.run("migrate", "finish", "m", "--yes", check=True)
