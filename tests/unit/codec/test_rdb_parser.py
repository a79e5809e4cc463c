"""The parser on real files, in pieces of any size, cut short, and damaged."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.codec import corpus

from holdfast.codec.crc import crc64
from holdfast.codec.rdb import types
from holdfast.codec.rdb.errors import (
    CorruptRdb,
    RdbError,
    TooLong,
    TruncatedRdb,
    UnknownRdbType,
    UnknownRdbVersion,
    WrongChecksum,
)
from holdfast.codec.rdb.events import Aux, End, Event, Function, Header, Key, ModuleAux, ValueChunk, ValueEnd
from holdfast.codec.rdb.parser import Parser, events_of

ENGINE_FIELD = {"redis": b"redis-ver", "valkey": b"valkey-ver"}
ON_THE_CORPUS = pytest.mark.parametrize("name", corpus.NAMES)


def in_pieces(data: bytes, size: int, whole_bytes: int) -> Iterator[Event]:
    parser = Parser(whole_bytes)
    for at in range(0, len(data), size):
        parser.feed(data[at : at + size])
        yield from parser
    parser.finish()


def with_crc(body: bytes) -> bytes:
    return body + crc64(body).to_bytes(8, "little")


def end_of(data: bytes, size: int) -> Event | str:
    """The last event, or what our error says; any other exception is a fault of the parser."""
    try:
        return list(in_pieces(data, size, 1 << 20))[-1]
    except RdbError as refused:
        return str(refused)


def rebuilt(events: list[Event]) -> list[tuple[int, bytes, int, int | None, bytes]]:
    """(db, key, type, expiry, value) of each key, whether it came whole or in chunks."""
    found: list[tuple[int, bytes, int, int | None, bytes]] = []
    begun: Key | None = None
    pieces: list[bytes] = []
    for event in events:
        if isinstance(event, Key) and event.value is not None:
            found.append((event.db, event.key, event.type, event.expire_ms, event.value))
        elif isinstance(event, Key):
            begun, pieces = event, []
        elif isinstance(event, ValueChunk):
            pieces.append(event.data)
        elif isinstance(event, ValueEnd):
            assert begun is not None
            assert event.size == sum(len(piece) for piece in pieces)
            found.append((begun.db, begun.key, begun.type, begun.expire_ms, b"".join(pieces)))
    return found


@ON_THE_CORPUS
def test_every_key_of_a_real_file_is_seen_with_its_type_and_expiry(name: str) -> None:
    events = list(events_of(corpus.rdb(name)))
    told = corpus.keys_told(name)
    seen = {(event.db, event.key): event for event in events if isinstance(event, Key)}
    assert seen.keys() == told.keys()
    for place, entry in told.items():
        kind = types.KIND_OF[seen[place].type]
        assert kind == ("module" if entry["type"] not in types.KIND_OF.values() else entry["type"])
        if entry["expire_at_ms"] == -1:
            assert seen[place].expire_ms is None
        elif isinstance(entry["expire_at_ms"], int):
            assert seen[place].expire_ms == entry["expire_at_ms"]
        if entry.get("freq") is not None:
            assert seen[place].freq == entry["freq"]
    assert isinstance(events[0], Header)
    assert events[0].dialect.header == corpus.rdb(name)[:9]
    engine = name.split("-")[0]
    assert any(isinstance(event, Aux) and event.field == ENGINE_FIELD[engine] for event in events)
    assert isinstance(events[-1], End)
    assert (events[-1].crc is None) == ("nocrc" in name)


@ON_THE_CORPUS
@pytest.mark.parametrize(("size", "whole_bytes"), [(1, 1 << 20), (7, 100), (1000, 0), (1 << 20, 50)])
def test_pieces_of_any_size_give_the_same_keys(name: str, size: int, whole_bytes: int) -> None:
    data = corpus.rdb(name)
    assert rebuilt(list(in_pieces(data, size, whole_bytes))) == rebuilt(list(events_of(data)))


def test_the_functions_and_a_modules_own_data_are_seen() -> None:
    name = "redis-7.4.1-functions-dbs-lfu"
    sources = [event.source for event in events_of(corpus.rdb(name)) if isinstance(event, Function)]
    assert sources
    assert all(source.startswith(b"#!lua name=") for source in sources)
    for whole_bytes in (0, 5, 1 << 20):
        modules = [
            event
            for event in in_pieces(corpus.rdb("redis-7.4.1-moduleaux"), 3, whole_bytes)
            if isinstance(event, ModuleAux)
        ]
        assert {event.module for event in modules} == {"test__rdb"}
        assert all((event.body is None) == (whole_bytes < 6) for event in modules)


@pytest.mark.parametrize("name", corpus.CAPTURES)
def test_what_follows_the_end_is_left_alone(name: str) -> None:
    facts, received = corpus.capture(name)
    parser = Parser()
    parser.feed(received[facts["rdb_offset"] :])
    assert any(isinstance(event, End) for event in parser)
    parser.finish()
    assert parser.rest() == received[facts["rdb_offset"] + facts["rdb_len"] :]


@pytest.mark.parametrize(
    "name", ["redis-8.0.6-functions-dbs-lfu", "redis-unstable-20260609-newtypes", "redis-7.4.1-moduleaux"]
)
def test_a_file_that_is_cut_anywhere_says_so(name: str) -> None:
    data = corpus.rdb(name)
    for length in range(len(data)):
        with pytest.raises(TruncatedRdb) as caught:
            list(events_of(data[:length]))
        assert caught.value.offset == length
        assert str(length) in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "redis-unstable-20260609-streams",
        "redis-7.4.1-hashttl",
        "valkey-9.1.2-hashttl",
        "redis-6.2.14-streams",
    ],
)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damage_is_an_error_of_ours_or_changes_only_bytes(name: str, data: st.DataObject) -> None:
    good = corpus.rdb(name)
    body = bytearray(good[:-8])
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(9, len(body) - 1))] = data.draw(st.integers(0, 255))
    size = data.draw(st.sampled_from([13, 4096, 1 << 20]))
    assert isinstance(end_of(with_crc(bytes(body)), size), End | str)


@settings(max_examples=300, deadline=None)
@given(
    version=st.sampled_from([b"REDIS0001", b"REDIS0009", b"REDIS0014", b"VALKEY080"]),
    noise=st.binary(max_size=200),
)
def test_noise_is_an_error_of_ours_or_a_file(version: bytes, noise: bytes) -> None:
    assert isinstance(end_of(version + noise, 5), End | str)


@pytest.mark.parametrize(
    "header",
    [b"REDIS0000", b"REDIS0015", b"REDIS0080", b"VALKEY011", b"VALKEY081", b"REDIS 012", b"HTTP/1.1 "],
)
def test_unknown_headers_are_refused(header: bytes) -> None:
    with pytest.raises(UnknownRdbVersion, match="nothing was read"):
        list(events_of(header + b"\xff" + bytes(8)))


def test_a_wrong_checksum_is_told_from_none() -> None:
    body = b"REDIS0011\xfe\x00\x00\x01k\x01v\xff"
    with pytest.raises(WrongChecksum, match="ends itself"):
        list(events_of(body + b"12345678"))
    assert list(events_of(body + bytes(8)))[-1] == End(None)
    assert list(events_of(with_crc(body)))[-1] == End(crc64(body))
    assert list(events_of(b"REDIS0004\xfe\x00\x00\x01k\x01v\xff"))[-1] == End(None)


@pytest.mark.parametrize(
    ("body", "error", "offset"),
    [
        (b"\x06\x01k", UnknownRdbType, 9),  # the modules of release candidates
        (b"\x1d\x01k", UnknownRdbType, 9),
        (b"\xf6", UnknownRdbType, 9),
        (b"\xf3\x00\x00\x01k\x01v", UnknownRdbType, 9),  # a note on a key, before there were any
        (b"\x00\x01k\x82", CorruptRdb, 12),
        (b"\x00\x01k\xc4", CorruptRdb, 12),
        (b"\x02\x01k\xc0\x01", CorruptRdb, 12),  # an integer where a number of elements stands
        (b"\x00\x01k\x81\x00\x00\x00\x7f\x00\x00\x00\x00", TooLong, 21),
        (b"\x00\x01k\x81\xff\xff\xff\xff\xff\xff\xff\xff", TooLong, 21),
        (b"\x02\x01k\x81\xff\xff\xff\xff\xff\xff\xff\xff", TooLong, 21),
        (b"\x00\x81\x00\x00\x00\x00\x7f\x00\x00\x00", TooLong, 19),  # a name of 2 GB
        (b"\x00\x01k\xc3\x01\x7f\xff\x00", CorruptRdb, 16),  # one byte that claims to expand to 16383
        (b"\xfe\x81\x00\x00\x00\x01\x00\x00\x00\x00", TooLong, 19),
        (b"\x07\x01k\x00\x06", CorruptRdb, 14),
    ],
)
def test_errors_name_the_place(body: bytes, error: type[RdbError], offset: int) -> None:
    with pytest.raises(error) as caught:
        list(in_pieces(b"REDIS0011" + body + bytes(40), 1000, 1 << 20))
    assert caught.value.offset == offset  # type: ignore[attr-defined]
    assert str(offset) in str(caught.value)


def test_errors_name_the_key_even_when_it_went_by_long_ago() -> None:
    value = b"\x02\x81" + (1 << 20).to_bytes(8, "big")
    stream = b"REDIS0011\x02\x05cart1" + value[1:] + b"\x01x" * 5000 + b"\xff"
    for size in (1, 100, 1 << 20):
        with pytest.raises(CorruptRdb, match='in key "cart1"'):
            list(in_pieces(stream, size, 1 << 20))


def test_lengths_are_checked_against_what_is_left_where_that_is_known() -> None:
    claims = b"REDIS0011\x02\x01k\x80\x00\x10\x00\x00"
    with pytest.raises(TruncatedRdb, match="1048576 elements from byte 17"):
        list(events_of(claims))
    with pytest.raises(TruncatedRdb, match="a string of 1048576 bytes from byte 17"):
        list(events_of(b"REDIS0011\x00\x01k\x80\x00\x10\x00\x00"))


def test_a_value_beyond_the_bound_is_never_held_whole() -> None:
    part = b"\x80\x00\x01\x00\x00" + bytes(65536)
    parser = Parser(whole_bytes=200_000)
    parser.feed(b"REDIS0011\x01\x01k\x80" + (160).to_bytes(4, "big"))
    largest = total = 0
    for _ in range(160):
        parser.feed(part)
        for event in parser:
            if isinstance(event, ValueChunk):
                largest = max(largest, len(event.data))
                total += len(event.data)
    assert largest <= 70_000
    assert total == 160 * len(part) + 5


def test_a_file_cut_between_two_keys_names_none_of_them() -> None:
    whole = b"REDIS0011\x00\x05cart1\x01v\x00\x05cart2\x01v"
    for size in (1, 5, 1 << 20):
        with pytest.raises(TruncatedRdb) as caught:
            list(in_pieces(whole, size, 1 << 20))
        assert caught.value.key is None


def test_after_an_error_there_are_no_more_events() -> None:
    parser = Parser()
    parser.feed(b"REDIS0011\x00\x01k\x01v\x63\x00\x01l\x01v\xff" + bytes(8))
    assert [type(next(parser)) for _ in range(2)] == [Header, Key]
    with pytest.raises(UnknownRdbType):
        next(parser)
    assert list(parser) == []
    with pytest.raises(TruncatedRdb):
        parser.finish()


def test_an_expiry_before_1970_is_negative() -> None:
    old = b"\xfd" + (-2).to_bytes(4, "little", signed=True) + b"\x00\x01a\x01v"
    new = b"\xfc" + (-3).to_bytes(8, "little", signed=True) + b"\x00\x01b\x01v"
    keys = [
        event for event in events_of(b"REDIS0011" + old + new + b"\xff" + bytes(8)) if isinstance(event, Key)
    ]
    assert [key.expire_ms for key in keys] == [-2000, -3]
