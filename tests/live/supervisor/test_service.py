"""The supervisor goes and comes: replaced under load, after a reboot, and as a service of the machine."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
from tests.live.conftest import Bench, until
from tests.live.supervisor.guarded import HANG_S, KEPT, await_health, events, shards_of, up
from tests.live.supervisor.ledger import Writers

from holdfast.host import systemd
from holdfast.state import StateFolder
from holdfast.supervisor import unit
from holdfast.supervisor.launch import is_running, leave_if_idle, using


def supervisor_of(bench: Bench) -> int:
    return int((bench.state / "supervisor" / "lock").read_text())


def power_off(bench: Bench) -> None:
    """The supervisor first, so that nobody sees the nodes end; then all of them."""
    os.kill(supervisor_of(bench), signal.SIGKILL)
    for pid in bench.pids().values():
        os.kill(pid, signal.SIGKILL)
    until(lambda: not bench.pids())


def test_it_is_replaced_under_load_and_no_node_notices(bench: Bench) -> None:
    way = up(bench, "valkey-9.1", "cluster")
    shard = shards_of(bench)[0]
    nodes, old = bench.pids(), supervisor_of(bench)
    with Writers(way, [shard["primary"], *shard["replicas"]], shard["slots"]) as writers:
        until(lambda: writers.acknowledged > 50)
        done = bench.run("supervisor", "upgrade", "--json", check=True).facts
        assert done["nodes"] == len(nodes)
        assert done["unwatched_s"] < HANG_S
        assert bench.pids() == nodes
        assert supervisor_of(bench) != old
        assert writers.errors == 0
        assert writers.longest_gap_s < HANG_S
        time.sleep(1.5)
        os.kill(nodes[shard["primary"]], signal.SIGKILL)  # the new one guards
        until(lambda: any(way.roles()[name] == "master" for name in shard["replicas"]), bound_s=HANG_S)
    assert all(account.errors == 0 or account.acknowledged for account in writers.accounts.values())
    await_health(bench, 30)


@pytest.mark.parametrize(
    ("engine", "mode"),
    [
        pytest.param("valkey-9.1", "cluster", marks=pytest.mark.long),
        pytest.param("redis-7.0", "sentinel", marks=pytest.mark.long),
        ("valkey-8.0", "replicated"),
    ],
)
def test_after_a_reboot_the_cache_comes_back_with_what_was_written_to_disk(
    bench: Bench, engine: str, mode: str
) -> None:
    way = up(bench, engine, mode, persistence=KEPT, timeout="5s")
    shard = shards_of(bench)[0]
    writers = Writers(way, [shard["primary"], *shard["replicas"]], shard["slots"])
    with writers:
        time.sleep(3.0)
        off_s = time.monotonic()
        power_off(bench)
    bench.run("supervisor", "upgrade", check=True)  # as the service manager would start it
    await_health(bench, 60)
    assert writers.lost(before_s=off_s - 2.5) == 0
    assert writers.acknowledged > 100
    assert bench.run("plan", "shop").code == 0


@pytest.mark.long
def test_a_primary_that_died_unwatched_and_has_nothing_on_disk_does_not_come_back_empty(bench: Bench) -> None:
    way = up(bench, "valkey-9.1", "cluster", persistence="persistence: {rdb: {enabled: false}}\n")
    shard = shards_of(bench)[0]
    with Writers(way, [shard["primary"], *shard["replicas"]], shard["slots"], wait=1) as writers:
        until(lambda: writers.acknowledged > 50)
    os.kill(supervisor_of(bench), signal.SIGKILL)
    os.kill(bench.pids()[shard["primary"]], signal.SIGKILL)
    until(lambda: shard["primary"] not in bench.pids())
    bench.run("supervisor", "upgrade", check=True)
    await_health(bench, 40)
    assert writers.lost() == 0
    assert [each["node"] for each in events(bench, "failover")] == [shard["primary"]]


def test_an_idle_supervisor_is_not_ended_while_a_command_uses_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in bench.environ.items():
        monkeypatch.setenv(name, value)
    state = StateFolder.open()

    async def work() -> None:
        async with using(state):
            assert not await leave_if_idle(state)  # what another cache's `down` does at its end
            assert await is_running(state)
        assert await leave_if_idle(state)
        assert not await is_running(state)

    asyncio.run(work())


@pytest.mark.long
def test_a_supervisor_that_hangs_is_named_and_holds_nobody_up_for_long(bench: Bench) -> None:
    up(bench, "valkey-9.1", "replicated")
    hung = supervisor_of(bench)
    os.kill(hung, signal.SIGSTOP)
    try:
        seen = bench.run("status", "shop")
        assert seen.took_s < 15  # one bound, not one for each question
        assert "n1" in seen.out
        refused = bench.run("up", "shop")
        assert refused.code == 1
        assert f"kill -9 {hung}" in refused.err
        assert refused.took_s < 45
    finally:
        os.kill(hung, signal.SIGCONT)
    assert bench.run("up", "shop").code == 0


def test_where_systemd_does_not_run_it_says_so_and_registers_nothing(bench: Bench) -> None:
    if systemd.BOOTED.is_dir():
        pytest.skip("systemd runs this machine")
    refused = bench.run("service", "install")
    assert refused.code == 1
    assert "holdfast supervisor run" in refused.err
    assert len(refused.err.strip().splitlines()) == 1
    assert not (bench.state / "supervisor" / "service.json").exists()
    assert bench.run("service", "remove", "--json").facts == {"removed": None}


@pytest.mark.parametrize("state", ["/srv/holdfast", '/srv/a b/100% $HOME/"q"/\\x/é'])
@pytest.mark.parametrize("system", [True, False])
def test_systemd_finds_no_fault_with_the_unit(tmp_path: Path, state: str, *, system: bool) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    made = unit.render(state, sys.executable, system=system)
    file = tmp_path / made.name
    file.write_text(made.text)
    assert systemd.faults(file) == ""
    file.write_text(made.text.replace(sys.executable, "/nowhere/python"))
    assert "/nowhere/python" in systemd.faults(file)  # it does look
