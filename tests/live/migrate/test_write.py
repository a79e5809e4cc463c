"""Writing a source, snapshot and stream, into any target: every acknowledged write exactly once, whatever fails meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tests.live.compare.data import Command, every_type
from tests.live.compare.test_compare import QUICK, kinds
from tests.live.conftest import need
from tests.live.migrate.ledger import Writers, account
from tests.live.migrate.writing import Writing, writing
from tests.live.plain import Plain, PlainCluster, move_slot, plain, plain_cluster, reached, send

from holdfast.compare.report import Report
from holdfast.compare.run import Comparison
from holdfast.compare.side import Side
from holdfast.engine.connection import Endpoint
from holdfast.migrate.write.checkpoint import PREFIX
from holdfast.migrate.write.errors import DatabaseNotMapped, SlotMovedAtSource


async def compared(
    source: Sequence[Endpoint], target: Sequence[Endpoint], databases: dict[int, int] | None = None
) -> Report:
    options = replace(QUICK, ignore=(PREFIX,), databases=databases)
    first, second = await Side.open(source), await Side.open(target)
    try:
        return await asyncio.wait_for(Comparison(first, second, options).run(), 60)
    finally:
        first.close()
        second.close()


async def fill(server: Plain, commands: Sequence[Command]) -> None:
    async with server.link() as pipe:
        await send(pipe, *commands)


async def test_one_server_into_a_cluster_with_commands_over_several_slots(tmp_path: Path) -> None:
    async with plain(need("valkey-8.1")) as (source,), plain_cluster(need("valkey-8.1"), 3) as target:
        await fill(source, every_type("a"))
        async with writing([source.endpoint], target.endpoints, tmp_path) as ways:
            await ways.caught_up()
            await fill(
                source,
                [
                    *(("INCR", f"c{number % 50}") for number in range(500)),
                    ("MSET", "a", 1, "b", 2, "c", 3),
                    ("RENAME", "string", "renamed"),
                    ("RENAME", "ends", "ends-renamed"),
                    ("COPY", "hash-long", "copied"),
                    ("SADD", "s1", "a", "b"),
                    ("SADD", "s2", "c"),
                    ("SUNIONSTORE", "s3", "s1", "s2"),
                    ("SMOVE", "s1", "s2", "a"),
                    ("RPUSH", "l1", 1, 2, 3),
                    ("LMOVE", "l1", "l2", "LEFT", "RIGHT"),
                    ("RPOPLPUSH", "l1", "l2"),
                    ("ZUNIONSTORE", "z", 2, "zset", "zset-long", "WEIGHTS", 2, 1),
                    ("PFMERGE", "merged", "loglog", "pf2"),
                    ("BITOP", "OR", "or", "bits", "number"),
                    ("SORT", "list-long", "LIMIT", 0, 5, "STORE", "sorted"),
                    ("GEOSEARCHSTORE", "near", "geo", "FROMLONLAT", 13, 52, "BYRADIUS", 500, "km", "ASC"),
                    ("DEL", "c1", "c2", "c3"),
                    (
                        "FUNCTION",
                        "LOAD",
                        "#!lua name=lib\nredis.register_function('f', function() return 1 end)",
                    ),
                ],
            )
            await ways.caught_up()
            report = await compared([source.endpoint], target.endpoints)
            assert kinds(report) == {}
            assert report.same > 60
            assert not ways.ways[0].writer.written.refused
            assert not ways.ways[0].writer.written.lost
            for server in target.primaries:
                assert await server.ask("FCALL", "f", 0) == 1
            await fill(source, [("FLUSHDB",), ("SET", "after", "flush"), ("INCR", "c1")])
            await ways.caught_up()
            flushed = await compared([source.endpoint], target.endpoints)
            assert (kinds(flushed), flushed.keys, flushed.keys_back) == ({}, 2, 2)


async def test_databases_follow_the_mapping_and_others_end_the_job(tmp_path: Path) -> None:
    async with plain(need("redis-7.0")) as (source,), plain(need("valkey-8.1")) as (target,):
        await fill(source, [("SELECT", 3), ("SET", "x", 1), ("SELECT", 0), ("SET", "y", 2)])
        mapping = {0: 7, 3: 0}
        async with writing([source.endpoint], [target.endpoint], tmp_path, databases=mapping) as ways:
            await ways.caught_up()
            await fill(
                source, [("SELECT", 3), ("INCR", "x"), ("MOVE", "x", 0), ("SELECT", 0), ("SWAPDB", 0, 3)]
            )
            await fill(source, [("SET", "z", 3), ("SELECT", 3), ("COPY", "x", "xx", "DB", 0), ("FLUSHDB",)])
            await fill(source, [("SELECT", 3), ("RPUSH", "list", 1)])
            await ways.caught_up()
            report = await compared([source.endpoint], [target.endpoint], mapping)
            assert kinds(report) == {}
            assert report.keys == 3
            await fill(source, [("SELECT", 5), ("SET", "lost", 1)])
            with pytest.raises(DatabaseNotMapped, match="database 5"):
                await ways.caught_up(10)


async def under_load(
    source: Sequence[Endpoint],
    target: Sequence[Endpoint],
    folder: Path,
    accidents: Callable[[Writing], Awaitable[None]],
    *,
    field_ttls: bool = False,
) -> Report:
    """Writers that count, a migration, accidents; the account must be even and both sides the same."""
    writers = Writers(source, field_ttls=field_ttls)
    await writers.start()
    try:
        async with writing(source, target, folder) as ways:
            await ways.caught_up()
            await accidents(ways)
            await writers.stop()
            await ways.caught_up()
            report = await compared(source, target)
            assert await account(writers.ledger, target) == []
            assert writers.ledger.acknowledged > 500
            refused = [way.writer.written.refused for way in ways.ways]
            assert refused == [{} for _ in ways.ways]
            assert [way.writer.written.lost for way in ways.ways] == [{} for _ in ways.ways]
    finally:
        await writers.stop()
    assert kinds(report) == {}
    return report


async def again_from_disk(ways: Writing) -> None:
    """All of ours dies and is made again on the same folder."""
    before = [way.writer.written.loads for way in ways.ways]
    await ways.stop()
    await asyncio.sleep(0.3)
    await ways.start()
    await ways.caught_up()
    assert [way.writer.written.loads for way in ways.ways] == [0 for _ in before], (
        "it goes on, and loads nothing anew"
    )


async def cut_links(servers: Sequence[Plain], kind: str) -> None:
    for server in servers:
        await server.ask("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")


async def test_every_write_once_from_one_server_to_three_shards(tmp_path: Path) -> None:
    async with plain(need("valkey-8.1")) as (source,), plain_cluster(need("valkey-8.1"), 3) as target:

        async def accidents(ways: Writing) -> None:
            for _ in range(2):
                await asyncio.sleep(0.3)
                await cut_links(target.primaries, "normal")
                await asyncio.sleep(0.3)
                await cut_links([source], "replica")
            await again_from_disk(ways)

        await under_load([source.endpoint], target.endpoints, tmp_path, accidents)


@pytest.mark.long
@pytest.mark.parametrize("engine", ["valkey-8.1", "redis-7.0"])
async def test_every_write_once_from_three_shards_to_three_with_failovers_of_the_target(
    tmp_path: Path, engine: str
) -> None:
    async with plain_cluster(need(engine), 3) as source, plain_cluster(need(engine), 3, 1) as target:

        async def accidents(ways: Writing) -> None:
            for number in range(2):
                await asyncio.sleep(0.5)
                await fail_over(target, number)
                await asyncio.sleep(0.5)
            await again_from_disk(ways)

        await under_load(source.endpoints, target.endpoints, tmp_path, accidents)


async def fail_over(cluster: PlainCluster, number: int) -> None:
    """Kill a primary; its replica is asked to stand for election."""
    cluster.primaries[number].kill()
    replica = cluster.replicas[number]

    await replica.ask(
        "CLUSTER", "FAILOVER", "FORCE"
    )  # once: where it cannot win, the engine itself asks later

    async def elected() -> bool:
        return "role:master" in (await replica.ask("INFO", "replication")).decode()

    await reached(elected)


@pytest.mark.long
async def test_every_write_once_while_slots_move_at_the_target(tmp_path: Path) -> None:
    async with plain(need("valkey-8.1")) as (source,), plain_cluster(need("valkey-8.1"), 3) as target:

        async def accidents(ways: Writing) -> None:
            first, _, last = target.primaries
            for slot in range(0, 5400, 90):
                await move_slot(target, slot, first, last)
            assert [way.writer.written.loads for way in ways.ways] == [1]

        await under_load([source.endpoint], target.endpoints, tmp_path, accidents)


@pytest.mark.long
async def test_every_write_once_from_three_shards_to_one_server(tmp_path: Path) -> None:
    async with plain_cluster(need("redis-8.0"), 3) as source, plain(need("redis-8.0")) as (target,):

        async def accidents(ways: Writing) -> None:
            await asyncio.sleep(0.5)
            await cut_links([target], "normal")
            await asyncio.sleep(0.5)
            await again_from_disk(ways)

        await under_load(source.endpoints, [target.endpoint], tmp_path, accidents, field_ttls=True)


async def test_a_flush_of_one_source_shard_empties_its_slots_only(tmp_path: Path) -> None:
    async with plain_cluster(need("valkey-8.1"), 3) as source, plain(need("valkey-8.1")) as (target,):
        side = await Side.open(source.endpoints)
        for number in range(300):
            await side.ask(0, b"k%d" % number, "SET", b"k%d" % number, number)
        async with writing(source.endpoints, [target.endpoint], tmp_path) as ways:
            await ways.caught_up()
            await source.primaries[1].ask("FLUSHALL")
            await side.ask(0, b"k1", "SET", b"k1", "again")
            await ways.caught_up()
            report = await compared(source.endpoints, [target.endpoint])
            assert kinds(report) == {}
            assert 150 < report.keys < 250
        side.close()


async def test_a_slot_moved_at_the_source_stops_the_job(tmp_path: Path) -> None:
    async with plain_cluster(need("valkey-8.1"), 3) as source, plain(need("valkey-8.1")) as (target,):
        side = await Side.open(source.endpoints)
        await side.ask(0, b"{x}1", "SET", b"{x}1", 1)
        async with writing(source.endpoints, [target.endpoint], tmp_path) as ways:
            await ways.caught_up()
            slot = await source.primaries[0].ask("CLUSTER", "KEYSLOT", "{x}1")
            owner = source.primaries[side.owner(b"{x}1")]
            other = next(each for each in source.primaries if each is not owner)
            await move_slot(source, slot, owner, other)
            with pytest.raises(SlotMovedAtSource, match=f"slot {slot} was moved"):
                await ways.caught_up(10)
        side.close()


async def test_a_resync_removes_what_the_new_snapshot_lacks(tmp_path: Path) -> None:
    async with plain(need("valkey-8.1")) as (source,), plain_cluster(need("valkey-8.1"), 3) as target:
        await fill(source, [("SET", f"k{number}", number) for number in range(500)])
        async with writing([source.endpoint], target.endpoints, tmp_path) as ways:
            await ways.caught_up()
            await ways.stop()
            await fill(source, [("DEL", f"k{number}") for number in range(0, 500, 2)])
            await fill(
                source,
                [("CONFIG", "SET", "repl-backlog-size", 1)],
            )
            await fill(source, [("SET", "filler", "x" * 2_000_000), ("DEL", "filler")])
            await ways.start()
            await ways.caught_up()
            report = await compared([source.endpoint], target.endpoints)
            assert (kinds(report), report.keys_back) == ({}, 250)
            assert ways.ways[0].writer.written.loads == 1
            assert ways.ways[0].writer.written.removed == 500


async def test_a_checkpoint_that_is_flushed_or_evicted_is_noticed(tmp_path: Path) -> None:
    async with plain(need("valkey-8.1")) as (source,), plain_cluster(need("valkey-8.1"), 3) as target:
        await fill(source, [("INCR", "k1"), ("INCR", "k2")])
        async with writing([source.endpoint], target.endpoints, tmp_path) as ways:
            await ways.caught_up()
            for server in target.primaries:
                await server.ask("FLUSHALL")
            await fill(source, [("INCR", "k1")])
            await ways.caught_up()
            report = await compared([source.endpoint], target.endpoints)
            assert (kinds(report), report.keys) == ({}, 2)
            assert ways.ways[0].writer.written.loads == 2
            assert any("full synchronisation" in each for each in ways.told)


@pytest.mark.parametrize("engine", ["valkey-8.1", "redis-7.0"])
async def test_keys_that_were_about_to_expire_and_were_kept_are_kept(tmp_path: Path, engine: str) -> None:
    """The target takes them after their time: with import-mode it keeps them, without it their time is put off."""
    async with plain(need(engine)) as (source,), plain_cluster(need(engine), 3) as target:
        await fill(source, [("SET", f"k{number}", number, "PX", 1500) for number in range(300)])
        await fill(source, [("SET", f"go{number}", number, "PX", 1500) for number in range(50)])
        await fill(source, [("SET", f"late{number}", number, "PX", 100_000) for number in range(50)])
        async with writing([source.endpoint], target.endpoints, tmp_path) as ways:
            relay = ways.ways[0].relay
            while not relay.spool.rdb_whole:
                await asyncio.sleep(0.005)
            await fill(source, [("PERSIST", f"k{number}") for number in range(300)])
            await ways.stop()
            await asyncio.sleep(1.6)
            await ways.start()
            await ways.caught_up()
            await asyncio.sleep(0.5)
            report = await compared([source.endpoint], target.endpoints)
            assert (kinds(report), report.keys) == ({}, 350)
