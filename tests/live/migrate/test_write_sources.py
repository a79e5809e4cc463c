"""A primary of the source dies while it is read: the target ends with what the source still has, and with nothing else."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

import pytest
from tests.live.compare.test_compare import kinds
from tests.live.conftest import need, until
from tests.live.migrate.journey import benched, in_step, kill_job, status
from tests.live.migrate.ledger import Writers, account
from tests.live.migrate.plain import plain as served
from tests.live.migrate.test_failovers import follow
from tests.live.migrate.test_write import compared, fail_over
from tests.live.migrate.test_write_copying import fill
from tests.live.migrate.writing import writing
from tests.live.plain import PlainCluster, plain_cluster

from holdfast.codec.crc import key_slot
from holdfast.compare.side import Side
from holdfast.migrate.write.history import Phase

BACKLOG = ("--repl-backlog-size", "64mb")
AHEAD, AHEAD_BYTES = 300, 100_000
"""More than the sockets in between hold: a replica reads on what they do when its primary is dead."""


async def write_what_the_replica_misses(source: PlainCluster) -> None:
    """Writes that only the first shard's primary, and who reads it beside the replica, ever see."""
    halted = source.replicas[0].process
    assert halted is not None
    halted.send_signal(signal.SIGSTOP)
    side = await Side.open([source.primaries[0].endpoint])
    try:
        key = next(b"{%d}" % number for number in range(100) if side.owner(b"{%d}" % number) == 0)
        for number in range(AHEAD):
            await side.ask(0, key, "SET", b"ahead:%b:%d" % (key, number), b"x" * AHEAD_BYTES)
        await asyncio.sleep(1)  # they are in the target by now
        source.primaries[0].kill()
    finally:
        side.close()
        halted.send_signal(signal.SIGCONT)


@pytest.mark.long
@pytest.mark.timeout(120)
@pytest.mark.parametrize("ahead", [False, True], ids=["in-step", "we-are-ahead-of-its-replica"])
@pytest.mark.parametrize("engine", ["valkey-8.1", "redis-7.0"])
async def test_a_primary_of_the_source_that_dies_in_the_tail(
    tmp_path: Path, engine: str, ahead: bool
) -> None:
    async with (
        plain_cluster(need(engine), 3, 1, *BACKLOG) as source,
        plain_cluster(need(engine), 3) as target,
    ):
        writers = Writers(source.endpoints, tasks=2, pause_s=0.001)
        await writers.start()
        try:
            async with writing(source.endpoints, target.endpoints, tmp_path) as ways:
                await ways.caught_up()
                await asyncio.sleep(0.5)
                if ahead:
                    await write_what_the_replica_misses(source)
                await fail_over(source, 0)
                await asyncio.sleep(1)
                await writers.stop()
                await ways.caught_up()
                report = await compared(source.endpoints, target.endpoints)
                assert kinds(report) == {}
                loads = [way.writer.written.loads for way in ways.ways]
                assert loads[0] == (2 if ahead else 1), ways.told
                assert sum(loads) == 3 + ahead
                # What the source itself has lost with its primary is no loss of ours.
                assert await account(writers.ledger, target.endpoints) == await account(
                    writers.ledger, source.endpoints
                )
                assert writers.ledger.acknowledged > 300
        finally:
            await writers.stop()


@pytest.mark.long
@pytest.mark.timeout(120)
@pytest.mark.parametrize("engine", ["valkey-8.1", "redis-7.0"])
async def test_a_primary_of_the_source_that_dies_while_its_snapshot_is_copied(
    tmp_path: Path, engine: str
) -> None:
    async with (
        plain_cluster(need(engine), 3, 1, *BACKLOG) as source,
        plain_cluster(need(engine), 3) as target,
    ):
        tags = [str(number) for number in range(40) if key_slot(b"{%d}" % number) < 16384 // 3]
        await fill(source.primaries[0], 60_000, tags)
        writers = Writers(source.endpoints, tasks=2, pause_s=0.001)
        await writers.start()
        try:
            async with writing(source.endpoints, target.endpoints, tmp_path) as ways:
                way = ways.ways[0]
                async with asyncio.timeout(30):
                    while way.writer.phase is not Phase.LOADING or way.writer.loaded.keys < 1000:
                        way.failed()
                        await asyncio.sleep(0)
                await fail_over(source, 0)
                await asyncio.sleep(1)
                await writers.stop()
                await ways.caught_up()
                report = await compared(source.endpoints, target.endpoints)
                assert kinds(report) == {}
                assert report.keys > 59_000
                assert await account(writers.ledger, target.endpoints) == await account(
                    writers.ledger, source.endpoints
                )
        finally:
            await writers.stop()


@pytest.mark.long
@pytest.mark.timeout(120)
def test_an_old_primary_that_comes_back_empty_is_not_read() -> None:
    """Nobody has told it yet that it has a successor: what it would send is an empty snapshot."""
    build = need("redis-7.0")
    with (
        benched() as bench,
        served(build) as first,
        served(build, "repl-backlog-size 64mb") as second,
        served(need("valkey-9.1")) as target,
    ):
        follow(second, first)
        first.client.mset({f"k{number}": number for number in range(500)})
        ends = ("--from", first.url, "--to", target.url, "--mode", "write")
        bench.run("migrate", "start", "m", *ends, check=True)
        in_step(bench)
        kill_job(bench)
        until(lambda: second.offset == first.offset, 10)
        first.kill()
        second.client.execute_command("REPLICAOF", "NO", "ONE")
        first.start()
        assert first.client.dbsize() == 0
        bench.run("migrate", "resume", "m", check=True)
        until(lambda: "both say that they are its primary" in str(status(bench)["progress"]), 20)
        time.sleep(2)
        assert target.client.get("k1") == b"1"
        follow(first, second)
        second.client.set("later", 1)
        until(lambda: target.client.get("later") == b"1", 20)
        in_step(bench)
        told = bench.run("migrate", "verify", "m", "--json", check=True).facts
        assert (told["different"], told["keys"]) == (0, 501)
        assert len(status(bench)["full_syncs"]) == 1
        bench.run("migrate", "stop", "m", "--yes", check=True)
