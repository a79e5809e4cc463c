"""The migrations of tests: started and ended on a bench, their processes ended by their own pid."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.live.conftest import Bench, make_bench

from holdfast.cli.migrate.views import status_facts
from holdfast.engine.process import ProcessIdentity
from holdfast.jobs.folder import JobFolder


def folder(bench: Bench, name: str = "m") -> JobFolder:
    return JobFolder(bench.state / "jobs" / "migration" / name)


def status(bench: Bench, name: str = "m") -> Any:
    return status_facts(folder(bench, name), 20)


def kill_job(bench: Bench, name: str = "m", *, keeper: bool = True) -> None:
    """kill -9 of the worker, and of its keeper, so that nobody starts another."""
    pid = folder(bench, name).worker_pid()
    if pid <= 0:
        return
    above = keeper_of(pid)
    for each in (above, pid) if keeper and above else (pid,):
        with contextlib.suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)
    end = time.monotonic() + 10
    while ProcessIdentity.of(pid) is not None and time.monotonic() < end:
        time.sleep(0.01)


def keeper_of(pid: int) -> int:
    """The process that keeps a worker; 0 when it is gone."""
    try:
        parent = int((Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
        words = (Path("/proc") / str(parent) / "cmdline").read_bytes()
    except (OSError, ValueError, IndexError):
        return 0
    return parent if b"holdfast.jobs" in words else 0


@contextlib.contextmanager
def benched() -> Iterator[Bench]:
    """A bench whose migrations are killed at the end."""
    import shutil

    bench = make_bench()
    try:
        yield bench
    finally:
        for each in (bench.state / "jobs" / "migration").glob("*"):
            kill_job(bench, each.name)
        bench.close()
        shutil.rmtree(bench.state.parent, ignore_errors=True)


def in_step(bench: Bench, name: str = "m", bound_s: float = 40.0) -> Any:
    """Wait until the follower is in step; the facts then."""
    end = time.monotonic() + bound_s
    while True:
        facts = status(bench, name)
        seen = facts["progress"]
        if seen.get("phase") == "tail" and not seen.get("trouble") and facts["stage"] == "running":
            return facts
        if time.monotonic() > end or facts["stage"] == "failed":
            log = folder(bench, name).log
            pytest.fail(f"not in step: {facts}\n{log.read_text()[-3000:] if log.exists() else ''}")
        time.sleep(0.2)
