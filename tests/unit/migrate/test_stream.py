"""The stream through the filter: as many bytes out as in, whatever the pieces; what is replaced, dropped, stopped."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.codec.rdb.dialect import dialect_named
from holdfast.codec.stream import (
    INCOMPLETE,
    STOPPED,
    StreamCorrupt,
    read_command,
    walk_over,
    walk_to,
    write_command,
)
from holdfast.migrate.relay import filter as filtering
from holdfast.migrate.relay.commands import TargetCommands, names_spoken
from holdfast.migrate.relay.filler import filler
from holdfast.migrate.relay.filter import StreamFilter, StreamStopped
from holdfast.migrate.relay.grammar import Release
from holdfast.migrate.relay.translation import rewriting_for

NAMES = frozenset({b"SET", b"HSET", b"DEL", b"RPUSH", b"RESTORE", b"MOVE", b"COPY"})
TARGET = TargetCommands(NAMES, databases=16)


def commands(data: bytes) -> list[list[bytes]]:
    found, at = [], 0
    while at < len(data):
        if data[at : at + 1] == b"\n":
            at += 1
            continue
        words, at = read_command(data, at)
        found.append(words)
    return found


@given(st.integers(0, 70_000))
def test_a_filler_is_as_long_as_asked_and_its_newlines_stand_first(length: int) -> None:
    made = filler(length)
    assert len(made) == length
    assert len(made) - len(made.lstrip(b"\n")) < 14
    assert all(words[0] == b"PING" for words in commands(made))


NAME = st.sampled_from(
    [b"SET", b"set", b"HPEXPIREAT", b"HSETEX", b"VADD", b"MULTI", b"EXEC", b"PING", b"Del"]
)
STREAM = st.lists(st.tuples(NAME, st.lists(st.binary(max_size=40), max_size=5)), max_size=30)


@given(STREAM, st.lists(st.integers(1, 60), max_size=40))
def test_any_pieces_give_the_same_and_just_as_many_bytes(
    stream: list[tuple[bytes, list[bytes]]], cuts: list[int]
) -> None:
    whole = b"".join(write_command([name, *rest]) for name, rest in stream)
    at_once = StreamFilter(TARGET, 100, 0)
    expected = at_once.feed(whole)
    assert len(expected) == len(whole)
    assert at_once.offset == 100 + len(whole)
    in_pieces, made, at = StreamFilter(TARGET, 100, 0), b"", 0
    for cut in [*cuts, len(whole) + 1]:
        made += in_pieces.feed(whole[at : at + cut])
        at += cut
    assert made == expected
    passed = [each for each in commands(expected) if each[0] not in {b"PING", b"HSET"}]
    assert passed == [
        [name, *rest] for name, rest in stream if name.upper() in {b"SET", b"DEL", b"MULTI", b"EXEC"}
    ]
    assert in_pieces.losses == at_once.losses


@pytest.mark.parametrize("name", [b"RPUSH", b"VADD"])
def test_a_large_command_in_small_pieces(name: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filtering, "WHOLE_MAX_BYTES", 100)
    large = write_command([name, b"k", *(b"%d" % place * 90 for place in range(9))])
    whole = write_command([b"SET", b"a", b"1"]) + large + write_command([b"SET", b"b", b"2"])
    passing, made, ahead = StreamFilter(TARGET, 0, 0), b"", False
    for at in range(0, len(whole), 7):
        made += passing.feed(whole[at : at + 7])
        ahead = ahead or not passing.at_command
    assert len(made) == len(whole)
    assert ahead is (name == b"RPUSH")
    assert (made == whole) is ahead
    assert commands(made)[-1] == [b"SET", b"b", b"2"]


def test_hsetex_becomes_hset_and_what_has_no_like_is_dropped_and_counted() -> None:
    passing = StreamFilter(TARGET, 0, 0)
    raw = write_command([b"HSETEX", b"h", b"PXAT", b"99", b"FIELDS", b"2", b"f", b"1", b"g", b"2"])
    made = passing.feed(raw)
    assert len(made) == len(raw)
    assert commands(made)[-1] == [b"HSET", b"h", b"f", b"1", b"g", b"2"]
    passing.feed(write_command([b"VADD", b"vectors", b"x"]))
    assert passing.losses == {"HSETEX: field TTLs": 1, "VADD: the target has no such command": 1}
    assert passing.lost_keys["VADD: the target has no such command"] == [b"vectors"]


def test_a_database_that_the_target_lacks_stops_the_stream_or_is_left_behind_by_consent() -> None:
    passing = StreamFilter(TargetCommands(NAMES, databases=4), 0, 0)
    passing.feed(write_command([b"SELECT", b"3"]))
    assert passing.db == 3
    before = write_command([b"SET", b"k", b"v"])
    assert passing.feed(before + write_command([b"SELECT", b"4"]) + before) == before
    assert passing.db == 3
    with pytest.raises(StreamStopped, match="database 4"):
        passing.feed(before)
    dropping = StreamFilter(TargetCommands(NAMES, 4, frozenset(range(4, 99))), 0, 0)
    raw = write_command([b"SELECT", b"7"]) + write_command([b"SET", b"k", b"v"])
    made = dropping.feed(raw)
    assert len(made) == len(raw)
    assert all(each[0] == b"PING" for each in commands(made))
    assert dropping.losses == {"a database that is left behind": 1}
    dropping.feed(write_command([b"SELECT", b"1"]))
    assert dropping.feed(write_command([b"COPY", b"a", b"b", b"DB", b"7"])) == b""
    assert "left behind" in str(dropping.stopped)


def test_a_payload_that_grows_is_dropped_and_one_that_shrinks_is_padded() -> None:
    payloads = {b"long": (b"much longer", ""), b"short and more": (b"short", "field-ttl"), b"none": None}
    target = TargetCommands(NAMES, payload=lambda body: payloads[body])
    for body in payloads:
        raw = write_command([b"RESTORE", b"k", b"0", body, b"REPLACE"])
        passing = StreamFilter(target, 0, 0)
        made = passing.feed(raw)
        assert len(made) == len(raw)
        assert (commands(made)[-1][0] == b"RESTORE") is (body == b"short and more")
        assert sum(passing.losses.values()) == 1


HOSTILE = [
    b"+OK\r\n", b"*0\r\n", b"*1\r\n+x\r\n", b"*x\r\n", b"*99999999999\r\n", b"*1\r\n$-1\r\n", b"*1\r\n$9999999999999\r\n"
]  # fmt: skip


@pytest.mark.parametrize("hostile", HOSTILE)
def test_what_is_no_stream_is_refused(hostile: bytes) -> None:
    with pytest.raises(StreamCorrupt):
        StreamFilter(TARGET, 0, 0).feed(hostile + b"x" * 100)


@given(st.binary(max_size=200))
def test_random_bytes_end_in_an_answer_or_a_refusal(data: bytes) -> None:
    passing = StreamFilter(TARGET, 0, 0)
    try:
        made = passing.feed(data)
    except (StreamCorrupt, StreamStopped):
        return
    assert len(made) <= len(data)


def test_walks_stop_where_they_should() -> None:
    one, other = write_command([b"SET", b"k", b"v"]), write_command([b"PING"])
    assert walk_over(one + other, 0, len(one + other), frozenset({b"SET"})) == (len(one), STOPPED)
    assert walk_to(one + other, 0, len(one + other), frozenset({b"PING"})) == (len(one), STOPPED)
    assert walk_over(one[:-1], 0, len(one) - 1, frozenset({b"SET"})) == (0, INCOMPLETE)


def test_what_a_reader_understands_that_cannot_be_asked() -> None:
    known = frozenset({b"SET", b"VADD", b"HPEXPIREAT"})
    assert names_spoken(known, valkey=True, field_ttls=False) == {b"SET"}
    assert names_spoken(known, valkey=True, field_ttls=True) == {b"SET", b"HPEXPIREAT"}
    assert names_spoken(known, valkey=False, field_ttls=True) == known


def test_what_sentinels_say_to_each_other_does_not_reach_those_of_the_other_end() -> None:
    target = TargetCommands(NAMES | {b"PUBLISH"})
    hello = write_command(
        [b"PUBLISH", b"__sentinel__:hello", b"127.0.0.1,26379,id,1,mymaster,127.0.0.1,6379,1"]
    )
    other = write_command([b"PUBLISH", b"news", b"of __sentinel__:hello"])
    stream = StreamFilter(target, 0, 0)
    made = stream.feed(other + hello + write_command([b"SET", b"a", b"1"]) + hello[:30])
    made += stream.feed(hello[30:])
    assert len(made) == len(other + hello * 2) + len(write_command([b"SET", b"a", b"1"]))
    passed = [words for words in commands(made) if words[0] != b"PING"]
    assert passed == [[b"PUBLISH", b"news", b"of __sentinel__:hello"], [b"SET", b"a", b"1"]]
    assert not stream.losses


def test_function_libraries_in_the_stream_are_signed_anew_or_counted_where_the_target_cannot_load_them() -> (
    None
):
    reader = Release("redis", (8, 0, 0))
    target = TargetCommands(NAMES | {b"FUNCTION"}, payload=lambda data: (data[::-1], ""), reader=reader)
    library = b"#!lua name=deep\n%b.register_function('f', function() return 1 end)"
    stream = (
        [b"FUNCTION", b"LOAD", b"REPLACE", library % b"redis"],
        [b"FUNCTION", b"LOAD", library % b"server"],
        [b"function", b"restore", b"payload", b"FLUSH"],
        [b"FUNCTION", b"FLUSH"],
    )
    passing = StreamFilter(target, 0, 0)
    whole = b"".join(map(write_command, stream))
    made = passing.feed(whole)
    assert len(made) == len(whole)
    passed = [words for words in commands(made) if words[0] != b"PING"]
    assert passed == [stream[0], [b"function", b"restore", b"daolyap", b"FLUSH"], stream[3]]
    assert passing.losses == {"FUNCTION LOAD: the target's engine cannot load such a library": 1}


@pytest.mark.parametrize(
    ("database", "written"), [(0, b"\xc0\x00"), (9, b"\xc0\x09"), (300, b"\xc1\x2c\x01")]
)
@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_the_database_that_the_stream_begins_in_is_read_from_the_rdb(
    database: int, written: bytes, piece: int
) -> None:
    data = b"REDIS0011\xfa\x0erepl-stream-db" + written + b"\xff" + bytes(8)
    passing = rewriting_for(dialect_named("valkey-8.1"), 16)
    for at in range(0, len(data), piece):
        passing.feed(data[at : at + piece])
    passing.finish()
    assert passing.stream_db == database
