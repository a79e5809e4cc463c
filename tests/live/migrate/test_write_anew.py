"""What a migration in mode `write` copies again because it cannot be gone on with, and what of it outlives the job's death."""

from __future__ import annotations

import asyncio

import pytest
from tests.live.conftest import need
from tests.live.migrate.journey import benched, kill_job, status
from tests.live.migrate.test_write_switch import ACCEPTED, in_step, run
from tests.live.plain import Plain, plain, plain_cluster, send

from holdfast.compare.side import Side


@pytest.mark.long
@pytest.mark.timeout(180)
async def test_what_a_source_shard_no_longer_has_is_copied_again_and_what_it_deleted_goes() -> None:
    async with (
        plain_cluster(need("redis-7.0"), 3) as source,
        plain_cluster(need("valkey-8.1"), 3) as target,
    ):
        shard = source.primaries[0]
        async with shard.link() as pipe:
            await send(pipe, *(("SET", f"{{3}}k{number}", number) for number in range(300)))
        async with source.primaries[2].link() as pipe:
            await send(pipe, *(("SET", f"{{a}}k{number}", number) for number in range(100)))
        with benched() as bench:
            ends = ("--from", f"redis://{shard.endpoint}", "--to", f"redis://{target.primaries[0].endpoint}")
            await run(bench, "migrate", "start", "m", *ends, "--mode", "write", *ACCEPTED)
            await in_step(bench)
            kill_job(bench)
            async with shard.link() as pipe:
                await send(pipe, *(("DEL", f"{{3}}k{number}") for number in range(0, 300, 2)))
                await send(pipe, ("CONFIG", "SET", "repl-backlog-size", 16_384))
                await send(
                    pipe, *(("SET", "{3}filler", "x" * 1_000_000) for _ in range(4)), ("DEL", "{3}filler")
                )
                await send(pipe, ("INCR", "{3}counter"))
            await run(bench, "migrate", "resume", "m")
            async with asyncio.timeout(40):
                while len((await in_step(bench))["full_syncs"]) < 4:
                    await asyncio.sleep(0.1)
            await in_step(bench)
            assert "no longer has what was missed" in status(bench)["full_syncs"][-1]
            told = (await run(bench, "migrate", "verify", "m", "--json")).facts
            assert (told["different"], told["changing"], told["keys"]) == (0, 0, 251), told
            for verb in ("cutover", "rollback"):
                await run(bench, "migrate", verb, "m")
                await in_step(bench)
            told = (await run(bench, "migrate", "verify", "m", "--json")).facts
            assert (told["different"], told["keys"]) == (0, 251), told
            await run(bench, "migrate", "stop", "m", "--yes")


@pytest.mark.long
@pytest.mark.timeout(180)
async def test_times_that_were_put_off_are_set_though_the_job_was_killed_meanwhile() -> None:
    """A target without import-mode gets keys that are about to end with a later time; it is put right after a kill too."""
    async with (
        plain(need("redis-7.0"), "--repl-backlog-size", "64mb") as (source,),
        plain_cluster(need("redis-7.0"), 3) as target,
    ):
        async with source.link() as pipe:
            await send(pipe, *(("SET", f"k{number}", number, "PX", 300_000) for number in range(200)))
        with benched() as bench:
            ends = ("--from", f"redis://{source.endpoint}", "--to", f"redis://{target.primaries[0].endpoint}")
            await run(bench, "migrate", "start", "m", *ends, "--mode", "write", *ACCEPTED)
            kill_job(bench)
            await run(bench, "migrate", "resume", "m")
            await in_step(bench)
            async with asyncio.timeout(30):
                while not all(
                    [await _left_ms(target.servers, number) <= 300_000 for number in (0, 7, 99, 199)]
                ):
                    await asyncio.sleep(0.3)
            told = (await run(bench, "migrate", "verify", "m", "--json")).facts
            assert (told["different"], told["keys"]) == (0, 200), told


async def _left_ms(servers: list[Plain], number: int) -> int:
    side = await Side.open([server.endpoint for server in servers])
    try:
        key = b"k%d" % number
        return int(await side.ask(0, key, "PTTL", key))
    finally:
        side.close()
