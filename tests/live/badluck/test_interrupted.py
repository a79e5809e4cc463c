"""`up` ended from outside, at every step: it says so, and the next one goes on from what is there to the same end."""

from __future__ import annotations

import os
import re
import signal
import subprocess

import pytest
from tests.live.badluck.caches import healthy, read, roles, spec_text, write
from tests.live.conftest import Bench

STEP = re.compile(r"^ *\d+\.\d\d s  ")
BOUND_S = 60.0
STEPS = {"standalone": 4, "replicated": 5, "sentinel": 11, "cluster": 16}
"""Steps that are told while a cache of that mode comes up from nothing; a test says when this is no longer true."""
SHORT = {("cluster", 1), ("cluster", 7), ("cluster", 12)}
EVERY_STEP = [
    pytest.param(mode, step, marks=() if (mode, step) in SHORT else pytest.mark.long, id=f"{mode}-{step}")
    for mode, steps in STEPS.items()
    for step in range(1, steps + 1)
]


def up_until(bench: Bench, mode: str, step: int, number: signal.Signals) -> tuple[int, str]:
    """Begin an `up` from nothing and send it a signal when it tells of the step; its exit code and stderr."""
    path = bench.spec(spec_text(mode=mode, persistence="aof"))
    process = bench.begin("up", str(path))
    assert process.stdout is not None
    told = 0
    for line in process.stdout:
        told += bool(STEP.match(line))
        if told == step:
            os.kill(process.pid, number)
            break
    try:
        _, err = process.communicate(timeout=BOUND_S)
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail(f"up did not end within {BOUND_S:g} s of {number.name}")
    assert told == step, f"{mode} has only {told} steps by now"
    return process.returncode, err


def goes_on(bench: Bench, mode: str) -> None:
    """The next `up` ends healthy, with every node there once."""
    bench.run("up", str(bench.folder / "cache.yaml"), check=True)
    expected = {"standalone": 1, "replicated": 2, "sentinel": 6, "cluster": 6}[mode]
    assert len(roles(healthy(bench))) == expected
    kept = write(bench, "shop")
    assert read(bench, "shop", kept) == kept


@pytest.mark.parametrize(("mode", "step"), EVERY_STEP)
def test_ctrl_c_ends_up_after_the_step_and_the_next_up_goes_on(bench: Bench, mode: str, step: int) -> None:
    code, err = up_until(bench, mode, step, signal.SIGINT)
    assert (code, err.splitlines()) == (
        130,
        [
            "holdfast: stopping after this step (Ctrl-C again: at once)",
            "holdfast: interrupted; what was done stays done, run the same command again to go on",
        ],
    )
    status = bench.run("status", "shop")
    assert (status.code, status.err) in {(0, ""), (3, "")}  # 0: it was the last step
    goes_on(bench, mode)


@pytest.mark.parametrize(
    ("mode", "step"),
    [
        pytest.param(
            mode, step, marks=() if (mode, step) == ("cluster", 7) else pytest.mark.long, id=f"{mode}-{step}"
        )
        for mode, steps in STEPS.items()
        for step in range(1, steps + 1)
    ],
)
def test_a_killed_up_leaves_what_the_next_one_goes_on_from(bench: Bench, mode: str, step: int) -> None:
    code, _ = up_until(bench, mode, step, signal.SIGKILL)
    assert code == -signal.SIGKILL
    goes_on(bench, mode)


@pytest.mark.long
def test_the_steps_of_the_matrix_are_all_there_are(bench: Bench) -> None:
    done = bench.run("up", str(bench.spec(spec_text(mode="cluster", persistence="aof"))), check=True)
    assert sum(bool(STEP.match(line)) for line in done.out.splitlines()) == STEPS["cluster"]


def test_a_second_ctrl_c_ends_up_at_once(bench: Bench) -> None:
    path = bench.spec(spec_text(mode="sentinel"))
    process = bench.begin("up", str(path))
    assert process.stdout is not None
    assert process.stderr is not None
    for line in process.stdout:
        if "wait for every replica" in line:  # the longest of the steps
            break
    process.send_signal(signal.SIGINT)
    assert "stopping after this step" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=BOUND_S)
    assert (process.returncode, "Traceback" in err) == (130, False)
    assert "interrupted; what was done stays done" in err
    goes_on(bench, "sentinel")
