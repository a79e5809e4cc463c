"""Commands that meet: one does the work, the others say who does, and nothing is broken."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from tests.live.badluck.caches import TRACEBACK, bring_up, healthy, pids, refusal, roles, spec_text
from tests.live.conftest import Bench, Outcome, until

BOUND_S = 60.0


def ended(process: subprocess.Popen[str]) -> Outcome:
    """What a command in the background did, awaited."""
    out, err = process.communicate(timeout=BOUND_S)
    assert not TRACEBACK.search(err), err
    return Outcome(process.returncode, out, err, 0.0)


def test_two_ups_of_one_cache_at_once(bench: Bench) -> None:
    path = bench.spec(spec_text(mode="cluster"))
    both = [bench.begin("up", str(path)) for _ in range(2)]
    done = [ended(process) for process in both]
    assert sorted(each.code for each in done) == [0, 1]
    late = next(number for number, each in enumerate(done) if each.code)
    refusal(
        done[late], f"another command (pid {both[1 - late].pid})", "the cache shop", "nothing was changed"
    )
    assert len(roles(healthy(bench))) == 6


def test_two_caches_at_once_on_a_machine_without_a_supervisor(bench: Bench) -> None:
    for name in ("one", "two"):
        bench.spec(spec_text(name, mode="replicated"), f"{name}.yaml")
    both = [bench.begin("up", str(bench.folder / f"{name}.yaml")) for name in ("one", "two")]
    assert [ended(process).code for process in both] == [0, 0]
    ports = [node["port"] for name in ("one", "two") for node in healthy(bench, name)["nodes"]]
    assert len(set(ports)) == 4


def test_a_down_during_up_waits_for_nobody_and_breaks_nothing(bench: Bench) -> None:
    path = bench.spec(spec_text(mode="cluster"))
    up = bench.begin("up", str(path))
    assert up.stdout is not None
    assert "add node n1" in up.stdout.readline()
    record = bench.state / "caches" / "shop" / "record.json"
    until(record.exists, every_s=0.002)
    up.send_signal(signal.SIGSTOP)  # so that it is not through before the other has begun
    try:
        refusal(bench.run("down", str(path)), f"another command (pid {up.pid}) is changing the cache shop")
    finally:
        up.send_signal(signal.SIGCONT)
    assert ended(up).code == 0
    healthy(bench)


@pytest.mark.long
def test_an_up_during_down_is_told_so(bench: Bench) -> None:
    path = bring_up(bench, spec_text(mode="cluster", persistence="rdb"))
    down = bench.begin("down", "shop")
    lock = bench.state / "caches" / "shop" / "lock"
    until(lambda: lock.read_text().strip() == str(down.pid) or down.poll() is not None, every_s=0.002)
    up = ended(bench.begin("up", str(path)))
    assert ended(down).code == 0
    if up.code:  # it came while the other worked
        refusal(up, f"another command (pid {down.pid})", "nothing was changed")
        assert pids(bench) == {}
    bench.run("up", str(path), check=True)
    healthy(bench)


def test_a_new_state_folder_opened_by_many_at_once_is_taken_for_ours_by_all(tmp_path: Path) -> None:
    folders = [tmp_path / str(each) for each in range(200)]
    opened = textwrap.dedent("""
        import sys
        from holdfast.state import StateFolder
        print("ready", flush=True)
        sys.stdin.readline()
        for folder in sys.argv[1:]:
            StateFolder.open({"HOLDFAST_STATE": folder})
            (StateFolder.open({"HOLDFAST_STATE": folder}).path / "caches").mkdir(exist_ok=True)
    """)
    openers = [
        subprocess.Popen(
            [sys.executable, "-c", opened, *map(str, folders)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for opener in openers:
        assert opener.stdout
        assert opener.stdout.readline() == "ready\n"
    for opener in openers:
        assert opener.stdin
        opener.stdin.write("all at once\n")
        opener.stdin.flush()
    said = [opener.communicate(timeout=BOUND_S)[1] for opener in openers]
    assert said == [""] * len(openers)
    assert all({each.name for each in folder.iterdir()} == {"version", "caches"} for folder in folders)
