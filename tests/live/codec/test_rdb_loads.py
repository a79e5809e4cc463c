"""Files that were converted, loaded by the real engines they were converted for, and read back by commands."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
from tests.live.conftest import AT_HAND, Bench, need
from tests.live.ports import LOOPBACK, free_ports
from tests.unit.codec import corpus
from tests.unit.codec.corpus import same_bytes

from holdfast.codec.rdb import types
from holdfast.codec.rdb.dialect import DIALECTS, Dialect, dialect_of_engine
from holdfast.codec.rdb.dump import DumpTranslator
from holdfast.codec.rdb.events import Header, Key
from holdfast.codec.rdb.losses import Reason
from holdfast.codec.rdb.parser import events_of
from holdfast.codec.rdb.rewrite import Target, rewrite
from holdfast.codec.rdb.writer import Writer, write_length, write_string
from holdfast.engine.build import EngineBuild

EACH_ENGINE = pytest.mark.parametrize("engine", sorted(AT_HAND))


@dataclass
class Server:
    """A running engine that can be told to load a file."""

    build: EngineBuild
    folder: Path
    port: int
    link: Any

    @property
    def dialect(self) -> Dialect:
        return dialect_of_engine(self.build.name, self.build.version[0], self.build.version[1])

    def load(self, data: bytes) -> None:
        """Replace what it holds by the RDB `data`, as it does at its start."""
        (self.folder / "dump.rdb").write_bytes(data)
        assert self.link.execute_command("DEBUG", "RELOAD", "NOSAVE") in (b"OK", True)

    def database(self, db: int) -> Any:
        return client(self.port, db)


def client(port: int, db: int = 0) -> Any:
    return redis.Redis(LOOPBACK, port, db=db, protocol=2, socket_timeout=10, legacy_responses=True)


@contextmanager
def server_of(build: EngineBuild, folder: Path) -> Iterator[Server]:
    (port,) = free_ports(1)
    may_debug = ["--enable-debug-command", "yes"] if "enable-debug-command" in build.config_names else []
    command = [
        *build.command,
        "--port",
        str(port),
        "--bind",
        LOOPBACK,
        "--dir",
        str(folder),
        "--save",
        "",
        *may_debug,
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        link = client(port)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            with suppress(redis.ConnectionError):
                link.ping()
                break
            time.sleep(0.02)
        yield Server(build, folder, port, link)
    finally:
        process.kill()
        process.wait(10)


def ask(link: Any, *words: Any) -> Any:
    """A command's reply, in no other form than the server's own."""
    connection = link.connection_pool.get_connection()
    try:
        connection.send_command(*words)
        return connection.read_response()
    finally:
        link.connection_pool.release(connection)


def pairs(flat: list[Any]) -> list[tuple[Any, Any]]:
    return list(zip(flat[::2], flat[1::2], strict=True))


def matched(mine: list[Any], theirs: list[Any], same: Callable[[Any, Any], bool]) -> bool:
    left = list(theirs)
    for one in mine:
        at = next((at for at, other in enumerate(left) if same(one, other)), None)
        if at is None:
            return False
        del left[at]
    return not left


def assert_read_back(server: Server, link: Any, name: bytes, entry: Any, reported: set[Reason]) -> None:
    told, kind = entry["value"], entry["type"]
    if kind == "string":
        assert same_bytes(ask(link, "GET", name), told)
    elif kind == "list":
        items = ask(link, "LRANGE", name, 0, -1)
        assert len(items) == len(told)
        assert all(map(same_bytes, items, told))
    elif kind == "set":
        assert matched(ask(link, "SMEMBERS", name), told, same_bytes)
    elif kind == "zset":
        scores = pairs(ask(link, "ZRANGE", name, 0, -1, "WITHSCORES"))
        assert matched(
            scores,
            told,
            lambda mine, other: same_bytes(mine[0], other[0]) and float(mine[1]) == float(other[1]),
        )
    elif kind == "hash":
        fields = pairs(ask(link, "HGETALL", name))
        assert matched(fields, told, lambda mine, other: all(map(same_bytes, mine, other)))
        if server.dialect.has_field_ttl:
            wanted = [pair for pair in entry.get("field_expire_at_ms") or [] if pair[1] != -1]
            names = [field for field, _ in fields]
            said = ask(link, "HPEXPIRETIME", name, "FIELDS", len(names), *names)
            expiries = [(field, ms) for field, ms in zip(names, said, strict=True) if ms != -1]
            assert matched(
                expiries, wanted, lambda mine, other: same_bytes(mine[0], other[0]) and mine[1] == other[1]
            )
    elif kind == "stream":
        assert_stream_read_back(link, name, entry, reported)
    if server.build.version >= (7, 0, 0) and isinstance(entry["expire_at_ms"], int):
        assert ask(link, "PEXPIRETIME", name) == entry["expire_at_ms"]
    else:
        assert (ask(link, "PTTL", name) == -1) == (entry["expire_at_ms"] == -1)


def assert_stream_read_back(link: Any, name: bytes, entry: Any, reported: set[Reason]) -> None:
    entries = ask(link, "XRANGE", name, "-", "+")
    assert [number.decode() for number, _ in entries] == [number for number, _ in entry["value"]]
    for (_, fields), (_, theirs) in zip(entries, entry["value"], strict=True):
        assert len(fields) == len(theirs)
        assert all(map(same_bytes, fields, theirs))
    info = dict(pairs(ask(link, "XINFO", "STREAM", name)))
    assert info[b"last-generated-id"].decode() == entry["stream"]["last-generated-id"]
    groups = [dict(pairs(group)) for group in ask(link, "XINFO", "GROUPS", name)]
    assert len(groups) == len(entry["groups"])
    for told in entry["groups"]:
        (group,) = (group for group in groups if same_bytes(group[b"name"], told["name"]))
        assert group[b"last-delivered-id"].decode() == told["last_delivered_id"]
        pending = ask(link, "XPENDING", name, group[b"name"], "-", "+", 10000)
        assert len(pending) == len(told["pel"])
        for (number, owner, _, deliveries), (their_id, their_owner, _, their_count) in zip(
            pending, told["pel"], strict=True
        ):
            assert number.decode() == their_id
            ownerless = their_owner == "" and Reason.STREAM_OWNERLESS in reported
            assert same_bytes(owner, "__xnack__" if ownerless else their_owner)
            assert deliveries == their_count


@EACH_ENGINE
def test_every_file_of_every_engine_is_loaded_after_conversion_and_reads_the_same(
    engine: str, tmp_path: Path
) -> None:
    with server_of(need(engine), tmp_path) as server:
        for name in corpus.NAMES:
            written, losses = rewrite(corpus.rdb(name), Target(server.dialect, databases=16))
            lost = {(event.db, event.key) for event in events_of(written) if isinstance(event, Key)}
            server.load(written)
            told = corpus.keys_told(name)
            kept = {place: entry for place, entry in told.items() if place in lost}
            for db in {db for db, _ in told}:
                link = server.database(db)
                assert ask(link, "DBSIZE") == sum(of == db for of, _ in kept), name
                for (of, key), entry in kept.items():
                    if of == db:
                        assert_read_back(server, link, key, entry, set(losses.by_reason))
                link.close()
            if server.dialect.has_functions:
                assert len(ask(server.link, "FUNCTION", "LIST")) == len(
                    corpus.told(name).get("functions") or []
                ), name


@EACH_ENGINE
def test_forms_of_long_ago_are_loaded(engine: str, tmp_path: Path) -> None:
    """Written by no engine at hand: zipmaps, ziplists, lists and scores of Redis 2."""
    writer = Writer(DIALECTS["redis-2.6"])
    writer.select(0)
    writer.key(b"zipmap", types.HASH_ZIPMAP, write_string(b"\x02\x01a\x01\x00b\x01c\x02\x00de\xff"))
    writer.key(b"list", types.LIST, write_length(2) + write_string(b"x") + write_string(b"y"))
    writer.key(b"zset", types.ZSET, write_length(2) + b"\x01a\x032.5\x01b\xfe")
    writer.end()
    with server_of(need(engine), tmp_path) as server:
        written, losses = rewrite(writer.take(), Target(server.dialect))
        server.load(written)
        assert not losses
        assert sorted(ask(server.link, "HGETALL", "zipmap")) == [b"a", b"b", b"c", b"de"]
        assert ask(server.link, "LRANGE", "list", 0, -1) == [b"x", b"y"]
        assert ask(server.link, "ZRANGE", "zset", 0, -1, "WITHSCORES") == [b"a", b"2.5", b"b", b"inf"]


@EACH_ENGINE
def test_translated_dump_payloads_are_restored(engine: str, tmp_path: Path) -> None:
    names = [
        name for name in corpus.NAMES if any(part in name for part in ("hashttl", "collections", "streams"))
    ]
    with server_of(need(engine), tmp_path) as server:
        for name in names:
            events = list(events_of(corpus.rdb(name)))
            assert isinstance(events[0], Header)
            translator = DumpTranslator(events[0].dialect, Target(server.dialect))
            told = corpus.keys_told(name)
            ask(server.link, "FLUSHALL")
            for key in (event for event in events if isinstance(event, Key)):
                assert key.value is not None
                moved = translator.value(key.db, key.key, key.type, key.value)
                assert moved.payload is not None
                assert (
                    ask(server.link, "RESTORE", key.key, key.expire_ms or 0, moved.payload, "ABSTTL") == b"OK"
                )
                reported = {reason for reason, _ in moved.lost}
                assert_read_back(server, server.link, key.key, told[key.db, key.key], reported)


def test_what_a_live_redis_8_saves_valkey_loads_after_the_command(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    with server_of(need("redis-8.0"), tmp_path / "old") as source:
        ask(source.link, "HSET", "user:1", "name", "kim", "token", "t")
        ask(source.link, "HPEXPIREAT", "user:1", 1_999_999_999_000, "FIELDS", 1, "token")
        ask(source.link, "SET", "plan", "5g", "PXAT", 1_999_999_999_001)
        ask(source.link, "HSET", "gone:1", "a", "1", "b", "2")
        ask(source.link, "HPEXPIRE", "gone:1", 30, "FIELDS", 1, "a")
        ask(source.link, "SAVE")
    time.sleep(0.1)
    saved = tmp_path / "old" / "dump.rdb"
    for engine in ("valkey-8.1", "valkey-9.1"):
        if engine not in AT_HAND:
            continue
        out = bench.folder / f"{engine}.rdb"
        facts = bench.run("rdb", str(saved), "--convert-to", engine, str(out), "--json", check=True).facts
        reasons = {loss["reason"] for loss in facts["losses"]}
        assert reasons == ({"field-ttl", "field-expired"} if engine == "valkey-8.1" else set())
        assert bench.run("rdb", str(out), "--check").code == 0
        folder = tmp_path / engine
        folder.mkdir()
        with server_of(need(engine), folder) as target:
            target.load(out.read_bytes())
            assert ask(target.link, "HMGET", "user:1", "name", "token") == [b"kim", b"t"]
            assert ask(target.link, "PEXPIRETIME", "plan") == 1_999_999_999_001
            assert ask(target.link, "HGET", "gone:1", "b") == b"2"
            if engine == "valkey-9.1":
                assert ask(target.link, "HPEXPIRETIME", "user:1", "FIELDS", 2, "name", "token") == [
                    -1,
                    1_999_999_999_000,
                ]
            else:
                assert ask(target.link, "HEXISTS", "gone:1", "a") == 0


def test_the_command_tells_what_a_file_holds(bench: Bench) -> None:
    name = "redis-8.0.6-functions-dbs-lfu"
    file = str(corpus.FOLDER / f"{name}.rdb")
    facts = bench.run("rdb", file, "--json", check=True).facts
    told = corpus.keys_told(name)
    assert facts["keys"] == len(told)
    assert facts["expiring"] == sum(entry["expire_at_ms"] != -1 for entry in told.values())
    assert (facts["engine"], facts["rdb_version"], facts["checksum"], facts["functions"]) == (
        "redis 8.0.6",
        12,
        "right",
        1,
    )
    for database in facts["databases"]:
        counts = {kind: of["keys"] for kind, of in database["types"].items()}
        kinds = [entry["type"] for (db, _), entry in told.items() if db == database["db"]]
        assert counts == {kind: kinds.count(kind) for kind in kinds}
    text = bench.run("rdb", file, check=True).out
    assert "written by redis 8.0.6" in text
    lines = [json.loads(line) for line in bench.run("rdb", file, "--to", "json", check=True).out.splitlines()]
    assert {(line["db"], line["key"]) for line in lines} == {(db, key.decode()) for db, key in told}


def test_the_command_refuses_and_leaves_nothing_behind(bench: Bench) -> None:
    good = corpus.rdb("redis-8.0.6-strings")
    cut, out = bench.folder / "cut.rdb", bench.folder / "out.rdb"
    cut.write_bytes(good[:-20])
    refused = bench.run("rdb", str(cut), "--convert-to", "valkey-8.1", str(out))
    assert (refused.code, refused.err.startswith(f"holdfast: {cut}: the RDB ends too early")) == (1, True)
    assert bench.run("rdb", str(cut), "--check").code == 1
    assert bench.run("rdb", str(cut)).code == 1
    assert [path.name for path in bench.folder.iterdir()] == ["cut.rdb"]
    whole = bench.folder / "whole.rdb"
    whole.write_bytes(good)
    before = bench.run("rdb", str(whole), "--convert-to", "valkey-8.1", str(whole))
    assert (before.code, "there already" in before.err) == (1, True)
    assert whole.read_bytes() == good
    for words in (
        ["--convert-to", "valkey-8.1"],
        ["--convert-to", "memcached-1", str(out)],
        ["--to", "json", "--check"],
    ):
        assert bench.run("rdb", str(whole), *words).code == 2
    assert bench.run("rdb", str(whole), "--convert-to", "valkey-8.1", str(out)).code == 0
    assert out.stat().st_mode & 0o077 == 0


def test_a_value_that_is_damaged_inside_is_named_by_the_check(bench: Bench) -> None:
    writer = Writer(DIALECTS["redis-8.0"])
    writer.select(0)
    writer.key(b"good", types.STRING, b"\x01v")
    writer.key(b"cart:1", types.HASH_LISTPACK, write_string(b"\x0b\x00\x00\x00\x01\x00\x81a\x02\x00\xff"))
    writer.end()
    file = bench.folder / "damaged.rdb"
    file.write_bytes(writer.take())
    checked = bench.run("rdb", str(file), "--check", "--json")
    assert (checked.code, checked.facts["faulty"], checked.facts["keys"]) == (1, 1, 2)
    assert "cart:1" in checked.facts["faults"][0]
