"""A target's primary dies while a snapshot is being copied into it: nothing is lost, and nothing is there twice."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.live.compare.data import every_type
from tests.live.compare.test_compare import kinds
from tests.live.conftest import Bench, need
from tests.live.migrate.journey import benched, folder, status
from tests.live.migrate.ledger import Writers, account
from tests.live.migrate.test_write import compared, fail_over
from tests.live.migrate.test_write_switch import ACCEPTED, end_of, endpoints, in_step, run
from tests.live.migrate.writing import Writing, writing
from tests.live.plain import Plain, plain, plain_cluster, send

from holdfast.migrate.resolve import cache_end
from holdfast.migrate.write.history import Phase
from holdfast.state import StateFolder

KEYS = 60_000
MANY_KEYS = 240_000
FILL = "for i = ARGV[1], ARGV[2] do redis.call('SET', 'k:{' .. KEYS[1] .. '}:' .. i, string.rep('v', 400) .. i) end"
PIECE = 5_000


async def fill(server: Plain, keys: int, tags: Sequence[str]) -> None:
    """So many keys that it takes a while to copy them. Args: `tags`, of slots that the server has."""
    each = keys // len(tags)
    async with server.link() as pipe:
        for tag in tags:
            for first in range(0, each, PIECE):
                await pipe.ask("EVAL", FILL, 1, tag, first, min(each, first + PIECE) - 1)


@dataclass(frozen=True)
class Moment:
    """When the primary is killed."""

    name: str
    has_come: Callable[[int, int], bool]
    """Whether so many keys written, of so many, are it."""


MOMENTS = (
    Moment("at the first keys", lambda keys, _: keys > 0),
    Moment("in the middle", lambda keys, of: keys > of // 2),
    Moment("near the end", lambda keys, of: keys > of * 9 // 10),
)


async def _copying(ways: Writing, moment: Moment) -> None:
    """Wait for the moment of the snapshot that the first way writes."""
    way = ways.ways[0]
    async with asyncio.timeout(30):
        while way.writer.phase is not Phase.LOADING or not moment.has_come(way.writer.loaded.keys, KEYS):
            way.failed()
            await asyncio.sleep(0)


@pytest.mark.long
@pytest.mark.timeout(120)
@pytest.mark.parametrize("moment", MOMENTS, ids=lambda each: each.name.replace(" ", "-"))
@pytest.mark.parametrize(
    ("here", "there"),
    [(("valkey-8.1", 1), "valkey-8.1"), (("redis-8.0", 1), "redis-8.0"), (("redis-7.0", 3), "redis-7.0")],
    ids=["1-to-valkey", "1-to-redis", "3-to-redis"],
)
async def test_a_primary_that_dies_in_mid_copy_loses_nothing(
    tmp_path: Path, here: tuple[str, int], there: str, moment: Moment
) -> None:
    """Values go as they are here: both ends speak one dialect."""
    async with end_of(*here) as source, plain_cluster(need(there), 3, 1) as target:
        tags = [str(number) for number in range(12)]
        if len(source) == 1:
            await fill(source[0], KEYS, tags)
            async with source[0].link() as pipe:
                await send(pipe, *every_type("a"))
        else:
            owners = [
                int(await source[0].ask("CLUSTER", "KEYSLOT", f"{{{tag}}}")) * 3 // 16384 for tag in tags
            ]
            chosen = [tag for tag, owner in zip(tags, owners, strict=True) if owner == 0]
            await fill(source[0], KEYS, chosen)
        writers = Writers(endpoints(source), tasks=2)
        await writers.start()
        try:
            async with writing(endpoints(source), target.endpoints, tmp_path) as ways:
                await _copying(ways, moment)
                writer = ways.ways[0].writer
                killed = target.primaries[1]
                killed.kill()
                assert writer.phase is Phase.LOADING
                await fail_over(target, 1)
                await asyncio.sleep(0.3)
                killed.start()  # as an operator would: it comes back as a replica
                await ways.caught_up()
                await writers.stop()
                await ways.caught_up()
                assert writer.written.loads >= 2, "the copy was over before the accident"
                report = await compared(endpoints(source), target.endpoints)
                assert kinds(report) == {}
                assert report.keys > KEYS * 9 // 10
                assert await account(writers.ledger, target.endpoints) == []
                assert writers.ledger.acknowledged > 300
                assert [way.writer.written.refused for way in ways.ways] == [{} for _ in ways.ways]
        finally:
            await writers.stop()


@pytest.mark.long
@pytest.mark.timeout(120)
async def test_no_key_is_copied_before_the_replicas_know_that_a_copy_has_begun(tmp_path: Path) -> None:
    """Who is promoted with keys of a copy and without that word would keep them, though a later snapshot may lack them."""
    async with (
        plain(need("valkey-8.1")) as (source,),
        plain_cluster(need("valkey-8.1"), 3, 1) as target,
    ):
        await fill(source, 1000, ["a"])
        halted = target.replicas[0].process
        assert halted is not None
        halted.send_signal(signal.SIGSTOP)
        try:
            async with writing([source.endpoint], target.endpoints, tmp_path) as ways:
                await asyncio.sleep(2)
                ways.ways[0].failed()
                assert ways.ways[0].relay.spool.rdb_whole
                counts = [await server.ask("DBSIZE") for server in target.primaries]
                assert sum(counts) <= 1, counts
                halted.send_signal(signal.SIGCONT)
                await ways.caught_up()
                report = await compared([source.endpoint], target.endpoints)
                assert (kinds(report), report.keys) == ({}, 1000)
        finally:
            halted.send_signal(signal.SIGCONT)


SPEC = (
    "format: 1\ncache:\n  name: new\nengine:\n  name: valkey\n  version: '{version}'\n"
    "topology:\n  mode: cluster\n  shards: 3\n  replicas: 1\nsecurity:\n  tls:\n    mode: off\n"
    "memory:\n  maxmemory: 1gb\n"
)


def _primaries(bench: Bench) -> list[str]:
    """The nodes of the cache that are primaries."""
    return [each["name"] for each in bench.status("new")["nodes"] if each["role"] == "primary"]


async def _in_mid_copy(bench: Bench) -> Any:
    """Wait until the job has written a fifth of the keys; the facts then."""
    async with asyncio.timeout(60):
        while True:
            facts = status(bench)
            seen = facts["progress"]
            assert seen.get("phase") != "tail", "the copy was over before the accident"
            if seen.get("phase") == Phase.LOADING.value and seen["keys"] > MANY_KEYS // 5:
                return facts
            await asyncio.sleep(0.02)


@pytest.mark.long
@pytest.mark.timeout(200)
@pytest.mark.parametrize("version", ["9.1", "8.1"])
async def test_a_cluster_of_ours_fails_over_in_mid_copy_and_in_the_tail(version: str) -> None:
    need(f"valkey-{version}")
    async with plain(need("redis-8.0")) as (source,):
        await fill(source, MANY_KEYS, [str(number) for number in range(24)])
        with benched() as bench:
            await run(bench, "up", str(bench.spec(SPEC.format(version=version))))
            writers = Writers([source.endpoint], tasks=2, pause_s=0.002)
            await writers.start()
            try:
                ends = ("--from", f"redis://{source.endpoint}", "--to", "new", "--mode", "write")
                started = asyncio.create_task(run(bench, "migrate", "start", "m", *ends, *ACCEPTED))
                while not folder(bench).path.exists():
                    await asyncio.sleep(0.02)
                before = _primaries(bench)
                await _in_mid_copy(bench)
                os.kill(bench.pids("new")[before[0]], signal.SIGKILL)
                await started
                await in_step(bench, 90)
                os.kill(bench.pids("new")[before[1]], signal.SIGKILL)  # and another one in the tail
                await asyncio.sleep(1)
                await in_step(bench)
            finally:
                await writers.stop()
            await in_step(bench)
            assert not set(before[:2]) & set(_primaries(bench))
            told = [str(each["what"]) for each in folder(bench).events(60)]
            assert any("the copy is begun again" in each for each in told), told
            assert any("its checkpoints are read again" in each for each in told), told
            facts = (await run(bench, "migrate", "verify", "m", "--json")).facts
            assert (facts["different"], facts["changing"]) == (0, 0), facts
            assert facts["keys"] > MANY_KEYS * 9 // 10
            end = cache_end(StateFolder(bench.state), "new")
            seeds = [end.endpoint(each) for each in end.servers]
            assert await account(writers.ledger, seeds) == []
            assert writers.ledger.acknowledged > 300
            assert not status(bench)["progress"]["losses"]
