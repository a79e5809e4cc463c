"""A source and a target that fail over, are restarted, or are written to by others while a migration goes on."""

from __future__ import annotations

import signal
import time

import pytest
from tests.live.conftest import Bench, need, until
from tests.live.migrate.applications import Applications
from tests.live.migrate.journey import benched, folder, in_step, status
from tests.live.migrate.plain import Plain, plain
from tests.live.ports import LOOPBACK


def follow(replica: Plain, primary: Plain) -> None:
    replica.client.execute_command("REPLICAOF", LOOPBACK, primary.port)
    until(lambda: replica.info().get("master_link_status") == "up", 20)


@pytest.mark.long
@pytest.mark.timeout(240)
def test_the_source_fails_over_to_its_replica() -> None:
    backlog = "repl-backlog-size 64mb"
    build = need("redis-8.0")
    with (
        benched() as bench,
        plain(build, backlog) as first,
        plain(build, backlog) as second,
        plain(need("valkey-9.1")) as target,
    ):
        follow(second, first)
        bench.run("migrate", "start", "m", "--from", first.url, "--to", target.url, check=True)
        with Applications([first, second], threads=2) as work:
            time.sleep(2)
            first.client.execute_command("FAILOVER", "TO", LOOPBACK, second.port, "TIMEOUT", 5000)
            until(lambda: second.info()["role"] == "master", 10)
            time.sleep(1)
            first.kill()
            time.sleep(2)
            in_step(bench)
        work.settle(second.client)
        until(lambda: target.client.dbsize() == second.client.dbsize(), 10)
        facts = status(bench)
        assert len(facts["full_syncs"]) == 1, facts
        in_step(bench)
        bench.run("migrate", "cutover", "m", check=True)
        work.settle(target.client)


@pytest.mark.long
@pytest.mark.timeout(240)
def test_the_target_s_primary_dies_and_its_replica_takes_over() -> None:
    build = need("valkey-9.1")
    with (
        benched() as bench,
        plain(need("redis-7.0")) as source,
        plain(build) as first,
        plain(build) as second,
    ):
        follow(second, first)
        bench.run("migrate", "start", "m", "--from", source.url, "--to", first.url, check=True)
        with Applications([source, second], threads=2) as work:
            time.sleep(2)
            first.kill()
            second.client.execute_command("REPLICAOF", "NO", "ONE")
            time.sleep(2)
            in_step(bench)
            until(lambda: second.info().get("master_link_status") == "up", 20)
            bench.run("migrate", "cutover", "m", check=True)
        work.settle(second.client)
        switch = status(bench)["switches"][-1]
        assert switch["new"] == f"{LOOPBACK}:{second.port}"


@pytest.mark.long
@pytest.mark.timeout(240)
def test_a_target_that_is_restarted_follows_again_and_one_that_others_promoted_is_left_alone() -> None:
    with benched() as bench, plain(need("redis-7.0")) as source, plain(need("valkey-8.1")) as target:
        source.client.set("a", "1")
        bench.run("migrate", "start", "m", "--from", source.url, "--to", target.url, check=True)
        target.kill()
        target.start()
        in_step(bench)
        until(lambda: target.client.get("a") == b"1", 20)
        until(lambda: folder(bench).read("journal")["pointed"] == target.client.info("server")["run_id"], 20)
        target.client.execute_command("REPLICAOF", "NO", "ONE")
        target.client.set("theirs", "1")
        until(lambda: status(bench)["stage"] == "failed", 20)
        assert "made a primary" in status(bench)["wrong"]
        assert target.client.get("theirs") == b"1"
        bench.run("migrate", "resume", "m", "--point-again", check=True)
        in_step(bench)
        until(lambda: target.client.get("theirs") is None, 20)


TRIES = 5


def _cut_over_with_the_target_halted(bench: Bench, source: Plain, target: Plain) -> tuple[int, str]:
    """Order the switch and halt the target once it has begun; how the order ended, and what it said."""
    assert target.process is not None
    ordered = bench.begin("migrate", "cutover", "m", "--bound-ms", "500")
    halted = False
    end = time.monotonic() + 20
    while ordered.poll() is None and time.monotonic() < end:
        period = source.client.config_get("repl-ping-replica-period")["repl-ping-replica-period"]
        if not halted and period == "3600":  # raised by the switch as its first step
            target.process.send_signal(signal.SIGSTOP)
            halted = True
        time.sleep(0.001)
    target.process.send_signal(signal.SIGCONT)
    _, said = ordered.communicate(timeout=60)
    return ordered.returncode, said


@pytest.mark.long
@pytest.mark.timeout(240)
def test_offsets_that_do_not_meet_undo_the_switch_and_the_source_serves_on() -> None:
    with benched() as bench, plain(need("redis-8.0")) as source, plain(need("valkey-9.1")) as target:
        bench.run("migrate", "start", "m", "--from", source.url, "--to", target.url, check=True)
        with Applications([source, target], threads=2) as work:
            time.sleep(1)
            target.client.execute_command("CLIENT", "NO-EVICT", "ON")
            source.client.config_set("repl-ping-replica-period", 10)
            for _ in range(TRIES):
                code, said = _cut_over_with_the_target_halted(bench, source, target)
                if code != 0:
                    break
                bench.run("migrate", "rollback", "m", check=True)  # it was over before the halt: once more
            else:
                pytest.fail(f"the switch was over before the target could be halted, {TRIES} times")
            assert "undone" in said or "not begun" in said
            assert source.info()["role"] == "master"
            before = work.count
            time.sleep(1)
            assert work.count > before
            in_step(bench)
            bench.run("migrate", "cutover", "m", check=True)
        work.settle(target.client)
        assert source.client.config_get("repl-ping-replica-period")["repl-ping-replica-period"] == "10"
