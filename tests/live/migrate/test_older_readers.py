"""A target that is older than its source is told what it knows no word for in words that it has: it ends with the same data."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.live.conftest import need
from tests.live.migrate.old_engine import redis_5
from tests.live.migrate.plain import Plain, plain
from tests.live.migrate.scripted import relaying
from tests.live.ports import LOOPBACK

from holdfast.engine.connection import Endpoint, EngineNode
from holdfast.migrate.observe import ask_server

WRITES = (
    "SET plain 1",
    "SET ends 1 PX 900000",
    "SET ends-too 1 EX 900 XX GET",
    "SET got 1 GET",
    "GETEX plain EX 900",
    "SET plain 2 IFEQ 1",
    "ZADD z 5 m 6 n",
    "ZADD z GT CH 7 m",
    "ZADD z LT 1 n",
    "RPUSH l a b c d e",
    "LPOP l 1",
    "RPOP l",
    "XADD x NOMKSTREAM 1-0 a b",
    "XADD x 1-1 a b",
    "XADD x 2-1 a b",
    "XADD x NOMKSTREAM MAXLEN ~ 100 3-1 a b",
    "XGROUP CREATE x g 0 ENTRIESREAD 0",
    "XREADGROUP GROUP g c COUNT 1 STREAMS x >",
    "XREADGROUP GROUP g c COUNT 1 NOACK STREAMS x >",
    "XGROUP CREATECONSUMER x g idle",
    "LMOVE l l2 RIGHT LEFT",
    "LMOVE l l2 RIGHT LEFT",
    "XSETID x 9-0 ENTRIESADDED 9 MAXDELETEDID 0-1",
    "HSET h f 1 g 2",
    "SADD s a b c",
    "SPOP s",
    "SET last 1",
)


async def carried(source: Plain, target: Plain, folder: Path) -> dict[str, int]:
    """Write all of it at the source and wait until the target has it; what was left out."""
    async with await EngineNode.connect(Endpoint(LOOPBACK, source.port)) as node:
        writer = await ask_server(node, (LOOPBACK, source.port))
    here = Endpoint(LOOPBACK, source.port)
    async with relaying(here, target, folder, writer=writer) as way:
        await way.in_step()
        for command in WRITES:
            if "IFEQ" in command and source.build.name != "valkey":
                continue
            await asyncio.to_thread(source.client.execute_command, *command.split())
        async with asyncio.timeout(20):
            while target.client.get("last") is None or target.offset != source.offset:
                await asyncio.sleep(0.05)
        return way.relay.counts.stream_losses


def same(source: Plain, target: Plain) -> None:
    """Types, values and times to live, by the engines' own words."""
    ours, theirs = source.client, target.client
    keys = sorted(ours.keys())
    assert sorted(theirs.keys()) == keys
    for key in keys:
        kind = ours.type(key)
        assert theirs.type(key) == kind
        assert abs(ours.pttl(key) - theirs.pttl(key)) < 3000, key
        read = {b"string": "GET", b"hash": "HGETALL", b"set": "SMEMBERS"}.get(kind)
        if read:
            assert ours.execute_command(read, key) == theirs.execute_command(read, key), key
    assert ours.lrange("l", 0, -1) == theirs.lrange("l", 0, -1)
    assert ours.zrange("z", 0, -1, withscores=True) == theirs.zrange("z", 0, -1, withscores=True)
    assert ours.xrange("x") == theirs.xrange("x")
    one, other = (each.xinfo_groups("x")[0] for each in (ours, theirs))
    for fact in ("name", "pending", "last-delivered-id", "consumers"):
        assert one[fact] == other[fact], fact
    assert ours.xinfo_stream("x")["last-generated-id"] == theirs.xinfo_stream("x")["last-generated-id"]


@pytest.mark.parametrize("pair", [("valkey-9.1", "redis-6.2")], ids="-to-".join)
async def test_a_reader_that_is_older(pair: tuple[str, str], tmp_path: Path) -> None:
    with plain(need(pair[0])) as source, plain(need(pair[1])) as target:
        assert await carried(source, target, tmp_path) == {}
        same(source, target)


@pytest.mark.long
async def test_a_redis_5(tmp_path: Path) -> None:
    with plain(need("valkey-9.1")) as source, plain(redis_5()) as target:
        assert await carried(source, target, tmp_path) == {}
        same(source, target)
