"""kill -9 of the job at every step of a switch, there and back, with applications at work: it ends well each time."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest
import redis
from tests.live.conftest import Bench, need
from tests.live.migrate.applications import Applications
from tests.live.migrate.journey import benched, in_step, kill_job, status
from tests.live.migrate.plain import Plain, plain

from holdfast.jobs.crash import CRASH_AT
from holdfast.migrate.journal import Step

POINTS = [
    *(
        f"{when} {step.value}"
        for step in Step
        if step not in {Step.DONE, Step.UNDO}
        for when in ("before", "after")
    ),
    "before the answer",
]


BACKLOG = "repl-backlog-size 64mb"
"""More than is written while a job is dead."""


def takes_writes(server: Plain) -> bool:
    try:
        with contextlib.closing(server.connect(socket_timeout=8.0)) as client:
            client.set("probe", "1", px=1)
        return True
    except redis.exceptions.ReadOnlyError:
        return False


def crash_in(bench: Bench, verb: str, point: str, mark: Path) -> None:
    """Order a switch whose job dies at `point` and is started again by its keeper; the order must end in a verdict."""
    kill_job(bench)
    bench.environ[CRASH_AT] = f"{point}:{mark}"
    bench.run("migrate", "resume", "m", check=True)
    in_step(bench)
    done = bench.run("migrate", verb, "m")
    assert mark.exists(), f"{verb}: {point} was never reached: {done.out}{done.err}"
    if done.code != 0:
        bench.run("migrate", verb, "m", check=True)
    del bench.environ[CRASH_AT]


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("points", [POINTS[:12], POINTS[12:]], ids=["to the fence", "behind it"])
def test_a_job_killed_at_every_step_there_and_back(points: list[str], tmp_path: Path) -> None:
    with (
        benched() as bench,
        plain(need("redis-7.0"), BACKLOG) as source,
        plain(need("valkey-9.1"), BACKLOG) as target,
    ):
        bench.run("migrate", "start", "m", "--from", source.url, "--to", target.url, check=True)
        with Applications([source, target], threads=2) as work:
            for number, point in enumerate(points):
                verb, new, old = (
                    ("cutover", target, source) if number % 2 == 0 else ("rollback", source, target)
                )
                crash_in(bench, verb, point, tmp_path / f"mark-{number}")
                assert takes_writes(new), point
                assert not takes_writes(old), point
                facts = in_step(bench)
                assert not facts["wrong"], (point, facts["wrong"])
        primary = target if status(bench)["primary"] == "target" else source
        work.settle(primary.client)
        facts = status(bench)
        assert len(facts["full_syncs"]) == 1, facts["full_syncs"]
        assert work.count > 500


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_job_killed_again_and_again_while_it_carries() -> None:
    with (
        benched() as bench,
        plain(need("redis-8.0"), "repl-backlog-size 64mb") as source,
        plain(need("valkey-9.1")) as target,
    ):
        bench.run("migrate", "start", "m", "--from", source.url, "--to", target.url, check=True)
        with Applications([source, target], threads=2, field_ttls=True) as work:
            for _ in range(6):
                time.sleep(0.7)
                kill_job(bench)
                time.sleep(0.3)
                bench.run("migrate", "resume", "m", check=True)
                in_step(bench)
            for turn in range(6):
                time.sleep(0.3)
                server = source if turn % 2 else target
                for kind in ("replica", "master"):
                    server.client.client_kill_filter(_type=kind)
            in_step(bench)
            bench.run("migrate", "cutover", "m", check=True)
        work.settle(target.client)
        assert len(status(bench)["full_syncs"]) == 1
        in_step(bench)
        assert bench.run("migrate", "verify", "m", "--json", check=True).facts["different"] == 0
