"""Cutover, way back and end in mode `write`, as an operator goes them, with applications at work on whichever end takes writes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.live.compare.data import every_type
from tests.live.conftest import Bench, Outcome, need
from tests.live.migrate.journey import benched, folder, status
from tests.live.migrate.ledger import Writers, account
from tests.live.plain import Plain, move_slot, move_whole, plain, plain_cluster, send

from holdfast.engine.connection import Endpoint
from holdfast.migrate.write.checkpoint import slot_tags

SHARDS = 3


@asynccontextmanager
async def end_of(engine: str, shards: int, replicas: int = 0) -> AsyncIterator[list[Plain]]:
    """A server by itself, or a cluster."""
    if shards == 1:
        async with plain(need(engine)) as servers:
            yield servers
    else:
        async with plain_cluster(need(engine), shards, replicas) as cluster:
            yield cluster.servers


def endpoints(servers: Sequence[Plain]) -> list[Endpoint]:
    return [server.endpoint for server in servers]


async def run(bench: Bench, *words: str, check: bool = True) -> Outcome:
    """A command, while the writers go on."""
    done = await asyncio.to_thread(bench.run, *words)
    if check and done.code != 0:
        log = folder(bench).log
        told = "\n".join(str(each["what"]) for each in folder(bench).events(30))
        pytest.fail(
            f"{words}: {done.out}{done.err}\n{told}\n{log.read_text()[-4000:] if log.exists() else ''}"
        )
    return done


async def in_step(bench: Bench, bound_s: float = 40.0) -> Any:
    """Wait until the follower is in step; the facts then."""
    async with asyncio.timeout(bound_s):
        while True:
            facts = status(bench)
            assert facts["stage"] == "running", f"{facts}\n{folder(bench).log.read_text()[-3000:]}"
            if facts["progress"].get("phase") == "tail" and not facts["progress"].get("trouble"):
                return facts
            await asyncio.sleep(0.1)


async def fill(server: Plain, keys: int) -> None:
    async with server.link() as pipe:
        await send(pipe, *every_type("a"), *(("SET", f"k:{number}", number) for number in range(keys)))


ACCEPTED = ("--accept", "losses", "--accept", "source-no-file")
"""These servers have no files of their own."""


async def there_and_back(
    source: Sequence[Plain],
    target: Sequence[Plain],
    *,
    field_ttls: bool = False,
    meanwhile: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """The whole way; at the end every acknowledged write is there exactly once, on both sides.

    Args: `meanwhile`, is done before each switch, while the applications write.
    """
    one, other = endpoints(source), endpoints(target)
    with benched() as bench:
        ends = ("--from", f"redis://{one[0]}", "--to", f"redis://{other[0]}")
        writers = Writers(one, tasks=2, other=other, field_ttls=field_ttls, pause_s=0.002)
        await writers.start()
        try:
            await run(bench, "migrate", "start", "m", *ends, "--mode", "write", *ACCEPTED)
            for verb in ("cutover", "rollback", "cutover"):
                await in_step(bench)
                await asyncio.sleep(0.3)
                if meanwhile is not None:
                    await meanwhile()
                before = writers.ledger.acknowledged
                facts = (await run(bench, "migrate", verb, "m", "--json")).facts
                switch = facts["switches"][-1]
                assert switch["outcome"] == "done", switch
                assert 0 < switch["write_pause_ms"] < 3000
                assert any(each.startswith("EXEC") or " EXEC" in each for each in switch["proofs"]), switch
                async with asyncio.timeout(20):
                    while writers.ledger.acknowledged < before + 100:
                        await asyncio.sleep(0.05)
        finally:
            await writers.stop()
        await in_step(bench)
        told = (await run(bench, "migrate", "verify", "m", "--json")).facts
        assert (told["different"], told["changing"]) == (0, 0)
        assert await account(writers.ledger, other) == []
        assert await account(writers.ledger, one) == []
        assert writers.ledger.acknowledged > 500
        assert writers.refused >= 3
        assert len(status(bench)["full_syncs"]) == (1 if len(source) == 1 else SHARDS)
        ended = (await run(bench, "migrate", "finish", "m", "--yes", "--json")).facts
        assert ended["stage"] == "finished"
        assert not ended["borrowed"]
        assert not ended["words"], ended["words"]
        for server in (*source, *target):
            assert await server.ask("KEYS", "holdfast:*") == []
            assert await server.ask("ACL", "USERS") == [b"default"]
        for server in source:
            async with server.link() as pipe:
                (said,) = await pipe.ask_all([("SET", "late", 1)])
                assert str(said).startswith("NOPERM")


async def test_from_one_server_to_three_shards_and_back() -> None:
    async with end_of("redis-8.0", 1) as source, end_of("valkey-8.1", 3) as target:
        await fill(source[0], 2000)
        await there_and_back(source, target)


@pytest.mark.long
@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("here", "there"),
    [
        (("valkey-8.1", 3), ("redis-8.0", 3)),
        (("redis-7.0", 3), ("valkey-9.1", 1)),
        (("redis-8.0", 1), ("valkey-9.1", 1)),
    ],
    ids=["3-to-3", "3-to-1", "1-to-1"],
)
async def test_the_other_shapes(here: tuple[str, int], there: tuple[str, int]) -> None:
    async with end_of(*here) as source, end_of(*there) as target:
        field_ttls = here[0] == "redis-8.0"
        await there_and_back(source, target, field_ttls=field_ttls)


@pytest.mark.long
@pytest.mark.timeout(240)
@pytest.mark.parametrize("shards", [1, 3])
async def test_slots_that_move_at_the_end_that_is_read_are_followed_in_order(shards: int) -> None:
    """There and, to one server, on the way back of it: from one shard to another, back, and in both directions at once."""
    async with plain_cluster(need("valkey-8.1"), 3) as source, end_of("valkey-8.1", shards) as target:
        a, b, c = source.primaries
        turns = 0

        async def meanwhile() -> None:
            nonlocal turns
            turns += 1
            if turns != 1:
                return  # the source is not read then
            for slot in range(0, 5400, 450):
                await move_slot(source, slot, a, b)
            for slot in range(5500, 10900, 450):
                await move_slot(source, slot, b, c)
            for slot in range(0, 5400, 900):
                await move_slot(source, slot, b, a)
            await asyncio.gather(
                *(move_slot(source, slot, a, c) for slot in range(100, 2800, 450)),
                *(move_slot(source, slot, c, a) for slot in range(11_000, 13_700, 450)),
            )

        await there_and_back(source.servers, target, meanwhile=meanwhile)


@pytest.mark.long
@pytest.mark.timeout(240)
async def test_slots_that_move_at_the_new_primary_are_followed_on_the_way_back() -> None:
    async with end_of("redis-8.0", 1) as source, plain_cluster(need("valkey-8.1"), 3) as target:
        a, b, _ = target.primaries
        turns = 0

        async def meanwhile() -> None:
            nonlocal turns
            turns += 1
            if turns == 2:
                for slot in range(0, 5400, 300):
                    await move_slot(target, slot, a, b)

        await there_and_back(source, target.servers, meanwhile=meanwhile)


async def begin_and_cancel(source: Plain, target: Plain, first: int, last: int) -> None:
    """A move that is given up in the middle, whose keys the other shard's stream tells of."""
    tag = slot_tags()[first].decode()
    async with source.link() as pipe:
        for number in range(40):
            await send(pipe, *(("SET", f"{{{tag}}}:big:{number}:{at}", "x" * 50_000) for at in range(20)))
        target_id = await target.ask("CLUSTER", "MYID")
        await send(pipe, ("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", first, last, "NODE", target_id))
        await asyncio.sleep(0.02)
        await pipe.ask_all([("CLUSTER", "CANCELSLOTMIGRATIONS")])  # it may be over already


@pytest.mark.long
@pytest.mark.timeout(240)
@pytest.mark.parametrize("there", [("valkey-8.1", 3), ("valkey-9.1", 1)], ids=["to-3", "to-1"])
async def test_slots_that_are_moved_whole_at_the_end_that_is_read_are_followed(
    there: tuple[str, int],
) -> None:
    """One after the other, from there on, back again, and in both directions at once."""
    backlog = ("--repl-backlog-size", "64mb")  # each shard gets what it imports at once
    async with plain_cluster(need("valkey-9.1"), 3, 0, *backlog) as source, end_of(*there) as target:
        a, b, c = source.primaries
        turns = 0

        async def meanwhile() -> None:
            nonlocal turns
            turns += 1
            if turns != 1:
                return  # the source is not read then
            await move_whole(a, b, 0, 900)
            await move_whole(b, c, 400, 700)
            await move_whole(b, a, 0, 200)
            await move_whole(a, b, 100, 150)
            await asyncio.gather(move_whole(a, b, 1000, 1300), move_whole(b, a, 6000, 6300))
            await begin_and_cancel(a, b, 2000, 2003)

        await there_and_back(source.servers, target, meanwhile=meanwhile)
