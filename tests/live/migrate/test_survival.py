"""What kills or harms a server that replicates directly reaches no target of the relay: it lives, with its old data or the new."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from tests.live.conftest import need
from tests.live.migrate.plain import Plain, plain
from tests.live.migrate.scripted import OFFSET, Scripted, rdb, relaying, string
from tests.live.ports import LOOPBACK

from holdfast.codec.rdb.errors import RdbError, UnknownRdbType, UnknownRdbVersion, WrongChecksum
from holdfast.codec.stream import write_command
from holdfast.engine.connection import Endpoint
from holdfast.migrate.relay.filter import StreamStopped
from holdfast.migrate.relay.spool import SpoolTooSmall
from holdfast.migrate.relay.terms import LossNotAccepted

CORPUS = Path(__file__).resolve().parents[2] / "data" / "rdb"
OLD = {b"old:%d" % number: b"kept" for number in range(50)}
NEW = b"\xfe\x00" + string(b"new", b"value")
"""Database 0 with one key."""
MODULE_TYPE = b"\x07"


@pytest.fixture(scope="module", params=["valkey-8.1", pytest.param("valkey-9.1", marks=pytest.mark.long)])
def server(request: pytest.FixtureRequest) -> Iterator[Plain]:
    with plain(need(request.param)) as started:
        yield started


@pytest.fixture
def target(server: Plain) -> Iterator[Plain]:
    """The engine with the data that it must not lose."""
    server.client.flushall()
    server.client.mset(OLD)
    pid = server.process.pid if server.process else 0
    yield server
    assert server.process is not None
    assert server.process.pid == pid
    assert server.process.poll() is None, f"it died: {server.log()}"


def has_its_old_data(target: Plain) -> bool:
    keys = sorted(OLD)
    return bool(target.client.dbsize() == len(OLD) and target.client.mget(keys) == [OLD[key] for key in keys])


async def refused(
    target: Plain, source: Scripted, folder: Path, *, accepts_losses: bool = True
) -> BaseException:
    """Why the relay would not pass that on; the target has its old data then."""
    async with (
        source.listening(),
        relaying(Endpoint(LOOPBACK, source.port), target, folder, accepts_losses=accepts_losses) as way,
    ):
        failed = await way.failed()
        assert failed is not None, "it was passed on"
        assert way.server.full_syncs == 0, "the target was sent some of it"
        assert has_its_old_data(target)
    assert has_its_old_data(target)
    return failed


async def passed(target: Plain, source: Scripted, folder: Path) -> dict[str, int]:
    """Wait until the target has what the source sent; what was left out of it."""
    async with source.listening(), relaying(Endpoint(LOOPBACK, source.port), target, folder) as way:
        await way.in_step()
        return way.relay.counts.rdb_losses


@pytest.mark.parametrize("magic", [b"REDIS0099", b"VALKEY012", b"REDIS0080", b"OTHER0011"])
async def test_an_rdb_of_a_version_that_nobody_knows(target: Plain, magic: bytes, tmp_path: Path) -> None:
    failed = await refused(target, Scripted([rdb(NEW, magic)]), tmp_path)
    assert isinstance(failed, UnknownRdbVersion | RdbError)


@pytest.mark.parametrize("file", ["redis-8.0.6-hashttl", "redis-7.4.1-collections", "valkey-9.1.2-hashttl"])
async def test_an_rdb_of_a_dialect_that_the_target_would_refuse(
    target: Plain, file: str, tmp_path: Path
) -> None:
    """Refused by itself, after it has flushed its data where it is a Valkey 8.1."""
    await passed(target, Scripted([(CORPUS / f"{file}.rdb").read_bytes()]), tmp_path)
    assert target.client.dbsize() > 0
    assert target.client.get(b"old:1") is None


@pytest.mark.parametrize("number", [23 + 6, 31, 33, 200])
async def test_a_type_that_nobody_knows(target: Plain, number: int, tmp_path: Path) -> None:
    """Under the REDIS magic 22 to 243 are fatal to a relaxed Valkey 9, which has flushed its data by then."""
    target.client.config_set("rdb-version-check", "relaxed")
    body = NEW + bytes([number]) + b"\x03key\x05value"
    failed = await refused(target, Scripted([rdb(body, b"REDIS0012")]), tmp_path)
    assert isinstance(failed, UnknownRdbType)


async def test_a_checksum_that_is_wrong(target: Plain, tmp_path: Path) -> None:
    failed = await refused(target, Scripted([rdb(NEW, checksum=1234)]), tmp_path)
    assert isinstance(failed, WrongChecksum)


async def test_a_checksum_that_is_wrong_to_an_empty_target(target: Plain, tmp_path: Path) -> None:
    """It gets the RDB while that still comes, so it has most of it when the fault shows."""
    target.client.flushall()
    data = rdb(NEW + string(b"more", b"x") * 20_000, checksum=1234)
    source = Scripted([data], hold_at=len(data) - 100)
    async with (
        source.listening(),
        relaying(Endpoint(LOOPBACK, source.port), target, tmp_path) as way,
        asyncio.timeout(20),
    ):
        while way.server.full_syncs == 0:
            await asyncio.sleep(0.01)
        source.go_on.set()
        assert isinstance(await way.failed(), WrongChecksum)
        await asyncio.sleep(1.2)  # a Valkey 9 looks once a second at what has come
        assert target.client.dbsize() == 0


async def test_no_checksum(target: Plain, tmp_path: Path) -> None:
    await passed(target, Scripted([rdb(NEW, checksum=0)]), tmp_path)
    assert target.client.get("new") == b"value"


async def test_a_module_s_note_and_keys_of_a_module_that_the_target_lacks(
    target: Plain, tmp_path: Path
) -> None:
    for file, lost in (("redis-7.4.1-moduleaux", "module-data"), ("redis-8.0.6-newtypes", "module-key")):
        target.client.flushall()
        target.client.mset(OLD)
        data = (CORPUS / f"{file}.rdb").read_bytes()
        assert isinstance(
            await refused(target, Scripted([data]), tmp_path, accepts_losses=False), LossNotAccepted
        )
        losses = await passed(target, Scripted([data]), tmp_path)
        assert losses[lost] > 0, losses


@pytest.mark.long
async def test_a_function_library_that_the_target_s_engine_cannot_load(tmp_path: Path) -> None:
    """It ends a Redis that meets it in an RDB; so does one of an engine for scripts that nobody has."""
    library = b"#!lua name=deep\nserver.register_function('f', function() return 1 end)"
    body = b"".join(
        b"\xf5\x40" + bytes([len(each)]) + each for each in (library, library.replace(b"lua", b"js "))
    )
    data = rdb(body + NEW)
    with plain(need("redis-8.0")) as target:
        target.client.mset(OLD)
        failed = await refused(target, Scripted([data]), tmp_path, accepts_losses=False)
        assert isinstance(failed, LossNotAccepted)
        losses = await passed(target, Scripted([data]), tmp_path)
        assert losses == {"function-foreign": 2}
        assert target.client.get("new") == b"value"
        source = Scripted([data])
        async with source.listening():  # by itself
            target.client.execute_command("REPLICAOF", LOOPBACK, source.port)
            assert target.process is not None
            await asyncio.to_thread(target.process.wait, 20)


async def test_a_database_that_the_target_does_not_have(target: Plain, tmp_path: Path) -> None:
    body = NEW + b"\xfe\x14" + string(b"far", b"away")
    failed = await refused(target, Scripted([rdb(body)]), tmp_path, accepts_losses=False)
    assert isinstance(failed, LossNotAccepted)
    losses = await passed(target, Scripted([rdb(body)]), tmp_path)
    assert target.client.get("new") == b"value"
    assert target.client.get("far") is None
    assert sum(losses.values()) == 1, losses


async def test_the_stream_turns_to_a_database_that_the_target_does_not_have(
    target: Plain, tmp_path: Path
) -> None:
    """By itself it would log a line and write to the database that was selected before."""
    stream = b"".join(
        write_command(words)
        for words in ([b"SELECT", b"0"], [b"SET", b"a", b"1"], [b"SELECT", b"20"], [b"SET", b"new", b"wrong"])
    )
    source = Scripted([rdb(NEW)], stream)
    async with source.listening(), relaying(Endpoint(LOOPBACK, source.port), target, tmp_path) as way:
        failed = await way.failed()
        assert isinstance(failed, StreamStopped)
        assert failed.offset >= OFFSET
        async with asyncio.timeout(10):
            while target.client.get("a") != b"1":
                await asyncio.sleep(0.05)
        assert target.client.get("new") == b"value"


async def test_commands_that_the_target_lacks_alone_and_in_a_transaction(
    target: Plain, tmp_path: Path
) -> None:
    words = (
        [b"SELECT", b"0"],
        [b"VADD", b"vectors", b"VALUES", b"2", b"1", b"2", b"a"],
        [b"SET", b"a", b"1"],
        [b"MULTI"],
        [b"SET", b"b", b"1"],
        [b"VADD", b"vectors", b"VALUES", b"2", b"1", b"2", b"b"],
        [b"SET", b"c", b"1"],
        [b"EXEC"],
    )
    stream = b"".join(map(write_command, words))
    source = Scripted([rdb(NEW)], stream)
    async with source.listening(), relaying(Endpoint(LOOPBACK, source.port), target, tmp_path) as way:
        await way.in_step()
        async with asyncio.timeout(10):
            while way.relay.acknowledged < OFFSET + len(stream):
                await asyncio.sleep(0.02)
        assert way.relay.counts.stream_losses == {"VADD: the target has no such command": 2}
        assert target.client.mget("a", "b", "c") == [b"1"] * 3
        assert target.offset == OFFSET + len(stream)


async def test_a_link_that_breaks_in_the_middle_of_the_rdb(target: Plain, tmp_path: Path) -> None:
    data = rdb(NEW + b"".join(string(b"more:%d" % number, b"x" * 60) for number in range(20_000)))
    source = Scripted([data], cut_at=[len(data) // 2, 0, len(data) - 1])
    async with source.listening(), relaying(Endpoint(LOOPBACK, source.port), target, tmp_path) as way:
        while source.asked <= 2:
            assert has_its_old_data(target)
            await asyncio.sleep(0.05)
        await way.in_step()
        assert target.client.dbsize() == 20_001
        assert way.relay.counts.full_syncs == 4


async def test_random_bytes_in_place_of_an_rdb(target: Plain, tmp_path: Path) -> None:
    for number, data in enumerate((b"", b"REDIS", b"\x00" * 500, b"\xff" * 500, rdb(NEW)[:-9])):
        source = Scripted([data])
        async with (
            source.listening(),
            relaying(Endpoint(LOOPBACK, source.port), target, tmp_path / str(number)) as way,
        ):
            await way.failed(0.5)
            assert way.server.full_syncs == 0
            assert has_its_old_data(target)


async def test_directly_the_same_target_would_have_lost_its_data(server: Plain, tmp_path: Path) -> None:
    """So that the tests above are known to be able to fail: what comes here is refused by the engine itself, or kills it."""
    with plain(server.build) as victim:
        victim.client.mset(OLD)
        source = Scripted([rdb(NEW, checksum=1234)])
        async with source.listening():
            victim.client.execute_command("REPLICAOF", LOOPBACK, source.port)
            for _ in range(100):
                await asyncio.sleep(0.1)
                if victim.process is not None and victim.process.poll() is not None:
                    return
            try:
                assert not has_its_old_data(victim)
            except redis.exceptions.RedisError:
                return


def long_string(number: int, size: int) -> bytes:
    """A key as an RDB has it, with a value of that many bytes."""
    key = b"long:%04d" % number
    return b"\x00" + bytes([len(key)]) + key + b"\x80" + size.to_bytes(4, "big") + bytes(size)


async def test_a_data_set_beyond_the_spool_ends_it_and_the_old_data_stays(
    target: Plain, tmp_path: Path
) -> None:
    whole = rdb(b"\xfe\x00" + b"".join(long_string(number, 100_000) for number in range(400)))
    async with (
        Scripted([whole]).listening() as source,
        relaying(Endpoint(LOOPBACK, source.port), target, tmp_path, spool_bytes=16 << 20) as way,
    ):
        failed = await way.failed()
        assert isinstance(failed, SpoolTooSmall), failed
        assert failed.most_bytes == 16 << 20
        assert (15 << 20) * 0.8 < failed.held_bytes <= 16 << 20
        assert way.relay.spool.held_bytes == 0
        assert source.asked == 1
        assert has_its_old_data(target)


async def test_a_small_spool_carries_any_length_of_stream_and_never_holds_more(
    target: Plain, tmp_path: Path
) -> None:
    value = b"v" * 1000
    stream = b"".join(write_command([b"SET", b"s:%d" % (number % 100), value]) for number in range(40_000))
    bound = 8 << 20
    async with (
        Scripted([rdb(NEW)], stream).listening() as source,
        relaying(Endpoint(LOOPBACK, source.port), target, tmp_path, spool_bytes=bound) as way,
    ):
        most = 0
        async with asyncio.timeout(40):
            while way.relay.acknowledged < OFFSET + len(stream):
                most = max(most, way.relay.spool.held_bytes)
                assert way.relay.trouble == ""
                await asyncio.sleep(0.005)
        assert bound / 4 < most <= bound
        assert await asyncio.to_thread(target.client.dbsize) == 101
