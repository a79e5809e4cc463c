"""kill -9 of the job at every step of a switch in mode `write`, there and back, with applications at work: it ends well each time."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.live.conftest import need
from tests.live.migrate.journey import benched, status
from tests.live.migrate.ledger import Writers, account
from tests.live.migrate.test_killed import POINTS, crash_in
from tests.live.migrate.test_write_switch import ACCEPTED, in_step, run
from tests.live.plain import Plain, plain, plain_cluster

from holdfast.engine.pipeline import refusal

QUICK = ["after hold writes", "before prove the fence", "before promote", "after open the way back"]


async def takes_writes(servers: list[Plain]) -> bool:
    """Of the server, or of all primaries of the cluster: a key of each one's own."""
    found = set()
    for server in servers:
        async with server.link() as pipe:
            for number in range(40):
                (said,) = await pipe.ask_all([("SET", f"probe:{number}", 1, "PX", 1)])
                if not refusal(said).startswith("MOVED"):
                    found.add(not refusal(said))
                    break
    assert len(found) == 1, "some take writes and some do not"
    return found.pop()


async def killed_at(points: list[str], folder: Path) -> None:
    async with (
        plain(need("redis-8.0"), "--repl-backlog-size", "64mb") as source,
        plain_cluster(need("valkey-8.1"), 3) as cluster,
    ):
        target = cluster.servers
        with benched() as bench:
            one, other = [source[0].endpoint], cluster.endpoints
            ends = ("--from", f"redis://{one[0]}", "--to", f"redis://{other[0]}")
            await run(bench, "migrate", "start", "m", *ends, "--mode", "write", *ACCEPTED)
            async with asyncio.timeout(20):  # the journal counts it within half a second
                while not status(bench)["full_syncs"]:
                    await asyncio.sleep(0.05)
            writers = Writers(one, tasks=2, other=other, pause_s=0.005)
            await writers.start()
            try:
                for number, point in enumerate(points):
                    there = number % 2 == 0
                    verb = "cutover" if there else "rollback"
                    await asyncio.to_thread(crash_in, bench, verb, point, folder / f"mark-{number}")
                    new, old = (target, source) if there else (source, target)
                    assert await takes_writes(new), point
                    assert not await takes_writes(old), point
                    facts = await in_step(bench)
                    assert not facts["wrong"], (point, facts["wrong"])
            finally:
                await writers.stop()
            facts = await in_step(bench)
            assert len(facts["full_syncs"]) == 1, facts["full_syncs"]
            told = (await run(bench, "migrate", "verify", "m", "--json")).facts
            assert (told["different"], told["changing"]) == (0, 0)
            assert await account(writers.ledger, other if status(bench)["primary"] == "target" else one) == []
            assert writers.ledger.acknowledged > 500


async def test_a_job_killed_at_the_steps_that_matter_most(tmp_path: Path) -> None:
    await killed_at(QUICK[:2], tmp_path)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", range(4))
async def test_a_job_killed_at_every_step_there_and_back(part: int, tmp_path: Path) -> None:
    share = -(-len(POINTS) // 4)
    await killed_at(POINTS[part * share : (part + 1) * share], tmp_path)
