"""Two real keyspaces compared: engines, topologies, every type, live writes, and ends in the middle."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from tests.live.compare.data import FAR_MS, SPOILT, Command, every_type
from tests.live.conftest import need
from tests.live.plain import Plain, move_slot, plain, plain_cluster, reached, send

from holdfast.compare.options import Options
from holdfast.compare.pace import PaceLimits
from holdfast.compare.report import Report
from holdfast.compare.run import Comparison
from holdfast.compare.settle import Patience
from holdfast.compare.side import Side, SideLost
from holdfast.engine.connection import Endpoint, NodeGone
from holdfast.engine.pipeline import pack
from holdfast.errors import Refused

QUICK = Options(patience=Patience(settle_s=0.4, give_up_s=4.0), pace=PaceLimits(added_ms=10_000))

PATIENT = replace(QUICK, patience=Patience(settle_s=1.0, give_up_s=20.0))
"""Where a replica follows: a busy machine may hold it up for longer than a quick comparison waits."""


@asynccontextmanager
async def sides(
    first: Sequence[Endpoint], second: Sequence[Endpoint], big_bytes: int = 1 << 20
) -> AsyncIterator[tuple[Side, Side]]:
    one, other = await Side.open(first, patience_s=10), await Side.open(second, patience_s=10)
    one.big_bytes = other.big_bytes = big_bytes
    try:
        yield one, other
    finally:
        one.close()
        other.close()


async def compared(
    first: Sequence[Endpoint], second: Sequence[Endpoint], options: Options = QUICK, big_bytes: int = 1 << 20
) -> Report:
    async with asyncio.timeout(60), sides(first, second, big_bytes) as (one, other):
        return await Comparison(one, other, options).run()


async def fill(server: Plain, commands: Sequence[Command]) -> None:
    async with server.link() as pipe:
        await send(pipe, *commands)


async def fill_cluster(side: Side, commands: Sequence[Command]) -> None:
    for words in commands:
        at = 2 if words[0] in {"XGROUP"} else 1
        key = words[at] if isinstance(words[at], bytes) else str(words[at]).encode()
        assert isinstance(key, bytes)
        await side.ask(0, key, *words)


def kinds(report: Report) -> dict[str, str]:
    return {each.key.decode(errors="replace"): each.difference.kind.value for each in report.listed}


PAIRS = [
    ("redis-8.0", "valkey-9.1"),
    ("redis-6.2", "valkey-8.1"),
    ("redis-7.0", "valkey-8.0"),
    ("valkey-9.1", "redis-8.0"),
]


@pytest.mark.parametrize(("first", "second"), PAIRS)
@pytest.mark.parametrize("big_bytes", [1 << 20, 100], ids=["whole", "in-pieces"])
async def test_every_type_on_two_engines(first: str, second: str, big_bytes: int) -> None:
    async with plain(need(first)) as (one,), plain(need(second)) as (other,):
        await fill(one, every_type("a"))
        await fill(other, every_type("bb"))
        same = await compared([one.endpoint], [other.endpoint], big_bytes=big_bytes)
        assert kinds(same) == {}
        assert same.complete
        assert same.keys == same.keys_back == same.same == 20
        for commands, _ in SPOILT.values():
            await fill(other, commands)
        spoilt = await compared([one.endpoint], [other.endpoint], big_bytes=big_bytes)
        assert kinds(spoilt) == {key: kind for key, (_, kind) in SPOILT.items()}
        assert spoilt.different == len(SPOILT)


@pytest.mark.parametrize("first", ["redis-8.0", "redis-6.2"])
async def test_large_strings_are_read_as_they_are(first: str) -> None:
    """Of two sizes: below and above what is asked for at once; the spoilt ones differ in one byte, in type, or in when they end."""
    large: list[Command] = [
        ("SET", f"k{number}", f"{number:05} " * (400 if number % 9 else 80_000)) for number in range(300)
    ]
    large += [("PEXPIREAT", f"k{number}", FAR_MS) for number in range(0, 300, 3)]
    async with plain(need(first)) as (one,), plain(need("valkey-8.1")) as (other,):
        for server in (one, other):
            await fill(server, large)
        same = await compared([one.endpoint], [other.endpoint])
        assert kinds(same) == {}
        assert same.same == 300
        assert same.bytes_read > 2400 * 260
        spoilt: list[Command] = [
            ("SETRANGE", "k1", 2399, "?"),
            ("DEL", "k2"),
            ("HSET", "k2", "f", "x" * 3000),
            ("PEXPIREAT", "k3", FAR_MS + 90_000),
            ("PEXPIREAT", "k4", FAR_MS),
            ("DEL", "k5"),
            ("APPEND", "k9", "x"),
        ]
        await fill(other, spoilt)
        found = await compared([one.endpoint], [other.endpoint])
        assert kinds(found) == {
            "k1": "value", "k2": "type", "k3": "ttl", "k4": "ttl", "k5": "missing", "k9": "value",
        }  # fmt: skip


async def test_large_values_of_other_types_among_strings() -> None:
    """What is taken for a string and is none is compared as what it is; where most are none their types are asked for first."""
    data: list[Command] = []
    for number in range(600):
        strings = number < 200 or number % 7 == 0
        text = f"{number:05} " * 200
        data.append(("SET", f"k{number}", text) if strings else ("HSET", f"k{number}", "f", text, "g", "1"))
    async with plain(need("redis-7.0")) as (one,), plain(need("valkey-8.1")) as (other,):
        for server in (one, other):
            await fill(server, data)
        same = await compared([one.endpoint], [other.endpoint], replace(QUICK, batch_keys=50))
        assert kinds(same) == {}
        assert same.same == 600
        await fill(
            other, [("HSET", "k300", "g", "2"), ("SETRANGE", "k301", 1199, "?"), ("SET", "k302", "x" * 2000)]
        )
        found = await compared([one.endpoint], [other.endpoint], replace(QUICK, batch_keys=50))
        assert kinds(found) == {"k300": "value", "k301": "value", "k302": "type"}


@pytest.mark.parametrize("big_bytes", [1 << 20, 100], ids=["whole", "in-pieces"])
async def test_ttls_of_fields(big_bytes: int) -> None:
    fields = [word for number in range(1000) for word in (f"f{number}", number)]
    hashes: list[Command] = [
        ("HSET", "small", "a", 1, "b", 2),
        ("HSET", "large", *fields),
        ("HSET", "none", *fields),
    ]
    ends: list[Command] = [
        ("HPEXPIREAT", "small", FAR_MS, "FIELDS", 1, "a"),
        ("HPEXPIREAT", "large", FAR_MS, "FIELDS", 2, "f1", "f999"),
    ]
    async with plain(need("redis-8.0")) as (one,), plain(need("valkey-9.1")) as (other,):
        for server in (one, other):
            await fill(server, hashes + ends)
        assert kinds(await compared([one.endpoint], [other.endpoint], big_bytes=big_bytes)) == {}
        await fill(other, [("HPERSIST", "small", "FIELDS", 1, "a")])
        await fill(other, [("HPEXPIREAT", "large", FAR_MS + 50_000, "FIELDS", 1, "f999")])
        found = await compared([one.endpoint], [other.endpoint], big_bytes=big_bytes)
        assert kinds(found) == {"small": "field-ttl", "large": "field-ttl"}


async def test_one_server_and_a_cluster_both_ways_and_its_slots_in_motion() -> None:
    async with plain(need("valkey-8.1")) as (one,), plain_cluster(need("valkey-8.1"), 3) as cluster:
        commands: list[Command] = [("SET", f"k{number}", number) for number in range(3000)]
        await fill(one, commands)
        async with sides([one.endpoint], cluster.endpoints) as (first, second):
            await fill_cluster(second, commands)
            assert (await Comparison(first, second, QUICK).run()).different == 0
            await second.ask(0, b"k7", "SET", "k7", "other")
            await second.ask(0, b"k8", "DEL", "k8")
            await second.ask(0, b"k9999", "SET", "k9999", "x")
            forth = await Comparison(first, second, QUICK).run()
            assert kinds(forth) == {"k7": "value", "k8": "missing", "k9999": "extra"}
            back = await Comparison(second, first, QUICK).run()
            assert kinds(back) == {"k7": "value", "k8": "extra", "k9999": "missing"}
            assert back.keys == 3000
        slow = replace(QUICK, batch_keys=20, pace=PaceLimits(keys_per_s=3000))
        async with sides(cluster.endpoints, [one.endpoint]) as (second, first):
            running = asyncio.create_task(Comparison(second, first, slow).run())
            for slot in range(60):
                await move_slot(cluster, slot, cluster.primaries[0], cluster.primaries[2])
            moved = await running
            assert kinds(moved) == {"k7": "value", "k8": "extra", "k9999": "missing"}
            assert moved.keys >= 2990


async def test_a_replica_under_writes_settles_and_what_parted_is_found() -> None:
    async with plain(need("valkey-8.1"), count=2) as (one, other):
        await fill(one, every_type("a"))
        await other.ask("REPLICAOF", "127.0.0.1", one.port)
        await reached(lambda: _linked(other))
        async with sides([one.endpoint], [other.endpoint]) as (_, led):
            assert led.keyspace.shards[0].primary == one.endpoint, "a replica's keyspace is its primary's"
        await fill(other, [("CONFIG", "SET", "replica-read-only", "no"), ("SET", "string", "parted")])
        stop = asyncio.Event()
        writer = asyncio.create_task(_write(one, stop))
        try:
            async with sides([one.endpoint], [one.endpoint]) as (first, second), _pointed_at(second, other):
                report = await asyncio.wait_for(Comparison(first, second, PATIENT).run(), 60)
        finally:
            stop.set()
            await writer
        assert kinds(report) == {"string": "value"}
        assert report.changing == 0


async def test_keys_never_at_rest_are_told_apart_from_keys_that_differ() -> None:
    async with plain(need("valkey-8.1"), count=2) as (one, other):
        await fill(one, [("SET", "stale", 1)])
        await fill(other, [("SET", "stale", 0)])
        stop = asyncio.Event()
        writer = asyncio.create_task(_part(one, other, stop))
        try:
            report = await compared([one.endpoint], [other.endpoint])
        finally:
            stop.set()
            await writer
        assert {each.key: each.settled for each in report.listed} == {b"stale": True, b"restless": False}
        assert (report.different, report.changing) == (1, 1)


@asynccontextmanager
async def _pointed_at(side: Side, server: Plain) -> AsyncIterator[None]:
    """The side reads `server`, a replica that other tests would be led away from."""
    shard = replace(side.keyspace.shards[0], primary=server.endpoint, replicas=())
    side.keyspace = replace(side.keyspace, shards=(shard,))
    await side._connect()
    yield


async def _linked(server: Plain) -> bool:
    return "master_link_status:up" in (await server.ask("INFO", "replication")).decode()


async def _write(server: Plain, stop: asyncio.Event) -> None:
    number = 0
    async with server.link() as pipe:
        while not stop.is_set():
            number += 1
            await pipe.send(
                pack("INCR", "counter")
                + pack("RPUSH", "queue", number)
                + pack("SET", f"new{number % 500}", number),
                3,
            )
            await asyncio.sleep(0)


async def _part(one: Plain, other: Plain, stop: asyncio.Event) -> None:
    """`restless` is written on both sides all the time, never the same."""
    async with one.link() as here, other.link() as there:
        number = 0
        while not stop.is_set():
            number += 1
            await here.ask("SET", "restless", f"here {number}")
            await there.ask("SET", "restless", f"there {number}")
            await asyncio.sleep(0.01)


async def test_it_goes_on_where_it_was_stopped() -> None:
    async with plain(need("valkey-8.1"), count=2) as (one, other):
        commands: list[Command] = [("SET", f"k{number}", number) for number in range(20_000)]
        for server in (one, other):
            await fill(server, commands)
        await fill(other, [("SET", "k11", "x"), ("DEL", "k19999")])
        slow = replace(QUICK, pace=PaceLimits(keys_per_s=15_000))
        async with sides([one.endpoint], [other.endpoint]) as (first, second):
            comparison = Comparison(first, second, slow)
            running = asyncio.create_task(comparison.run())
            end = time.monotonic() + 20
            while comparison.report.keys < 8_000 and time.monotonic() < end:
                await asyncio.sleep(0.01)
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
            state = json.loads(json.dumps(comparison.report.state()))
        before = Report.resumed(state).keys
        assert 8_000 <= before < 20_000
        async with sides([one.endpoint], [other.endpoint]) as (first, second):
            report = await Comparison(first, second, QUICK, Report.resumed(state)).run()
        assert kinds(report) == {"k11": "value", "k19999": "missing"}
        assert report.keys == 20_000
        assert report.same <= 20_000 - 2 + 5 * QUICK.batch_keys, "what was compared is not compared again"


async def test_a_server_that_is_gone_ends_it_and_one_that_comes_back_does_not() -> None:
    async with plain(need("valkey-8.1"), count=2) as (one, other):
        commands: list[Command] = [("SET", f"k{number}", number) for number in range(5_000)]
        for server in (one, other):
            await fill(server, commands)
        slow = replace(QUICK, pace=PaceLimits(keys_per_s=4_000))
        async with sides([one.endpoint], [other.endpoint]) as (first, second):
            comparison = Comparison(first, second, slow)
            running = asyncio.create_task(comparison.run())
            await asyncio.sleep(0.4)
            other.kill()
            await asyncio.sleep(0.3)
            other.start()
            await other.ready()
            await fill(other, commands[:4_000])
            report = await asyncio.wait_for(running, 40)
            assert report.complete
            assert set(kinds(report).values()) <= {"missing"}
            assert report.counts["missing"] >= 300, "what the restart lost is told"
            first.patience_s = second.patience_s = 0.5
            one.kill()
            with pytest.raises((SideLost, NodeGone), match=r"127\.0\.0\.1"):
                await asyncio.wait_for(Comparison(first, second, slow).run(), 20)


async def test_databases_are_paired_by_number_or_as_told() -> None:
    async with plain(need("redis-7.0")) as (one,), plain(need("valkey-8.1")) as (other,):
        await fill(one, [("SET", "a", 1), ("SELECT", 3), ("SET", "b", 2)])
        await fill(other, [("SET", "a", 1), ("SELECT", 5), ("SET", "b", 2)])
        report = await compared([one.endpoint], [other.endpoint])
        assert sorted((each.database, each.difference.kind.value) for each in report.listed) == [
            (3, "missing"),
            (5, "extra"),
        ]
        told = await compared([one.endpoint], [other.endpoint], replace(QUICK, databases={0: 0, 3: 5}))
        assert (told.different, told.same) == (0, 2)
        partly = await compared([one.endpoint], [other.endpoint], replace(QUICK, databases={0: 0}))
        assert len(partly.left_out) == 2


async def test_a_database_that_the_other_side_cannot_have_is_refused_before_anything_is_read() -> None:
    async with plain(need("valkey-8.1")) as (one,), plain_cluster(need("valkey-8.1"), 3) as cluster:
        await fill(one, [("SELECT", 2), ("SET", "b", 2)])
        with pytest.raises(Refused, match="database 2"):
            await compared([one.endpoint], cluster.endpoints)
