"""Decoded values against what clients read from the engines that wrote them; and the way back."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.codec import corpus
from tests.unit.codec.corpus import same_bytes

from holdfast.codec.lzf import CorruptLzf, expand
from holdfast.codec.rdb import types
from holdfast.codec.rdb.containers import (
    CorruptContainer,
    read_intset,
    read_ziplist,
    read_zipmap,
    write_ziplist,
)
from holdfast.codec.rdb.dialect import DIALECTS
from holdfast.codec.rdb.dump import DumpTranslator, read_dump, write_dump
from holdfast.codec.rdb.errors import RdbError, WrongDumpPayload
from holdfast.codec.rdb.events import Header, Key
from holdfast.codec.rdb.listpack import read_listpack, write_listpack
from holdfast.codec.rdb.parser import events_of
from holdfast.codec.rdb.rewrite import Target, rewrite
from holdfast.codec.rdb.streams import Stream
from holdfast.codec.rdb.values import Array, Hash, List, Module, Set, SortedSet, String, Value, decode, encode


def keys_of(data: bytes) -> tuple[Header, list[Key]]:
    events = list(events_of(data))
    assert isinstance(events[0], Header)
    return events[0], [event for event in events if isinstance(event, Key)]


def decoded(data: bytes) -> dict[tuple[int, bytes], Value]:
    header, keys = keys_of(data)
    return {(key.db, key.key): decode(key.type, key.value or b"", header.dialect, key.key) for key in keys}


def text_id(number: tuple[int, int]) -> str:
    return f"{number[0]}-{number[1]}"


def assert_same_unordered(mine: list[Any], theirs: list[Any], same: Any) -> None:
    assert len(mine) == len(theirs)
    left = list(theirs)
    for one in mine:
        at = next((at for at, other in enumerate(left) if same(one, other)), None)
        assert at is not None, one
        del left[at]


def assert_same(value: Value, entry: Any) -> None:
    told = entry["value"]
    if isinstance(value, String):
        assert same_bytes(value.data, told)
    elif isinstance(value, List):
        assert len(value.items) == len(told)
        assert all(map(same_bytes, value.items, told))
    elif isinstance(value, Set):
        assert_same_unordered(value.members, told, same_bytes)
    elif isinstance(value, SortedSet):
        assert_same_unordered(
            value.members,
            told,
            lambda mine, other: same_bytes(mine[0], other[0]) and mine[1] == float(other[1]),
        )
    elif isinstance(value, Hash):
        pairs = [(name, data) for name, data, _ in value.fields]
        assert_same_unordered(pairs, told, lambda mine, other: all(map(same_bytes, mine, other)))
        expiries = [(name, ms) for name, _, ms in value.fields if ms is not None]
        wanted = [pair for pair in entry.get("field_expire_at_ms") or [] if pair[1] != -1]
        assert_same_unordered(
            expiries, wanted, lambda mine, other: same_bytes(mine[0], other[0]) and mine[1] == other[1]
        )
    elif isinstance(value, Stream):
        assert_same_stream(value, entry)
    elif isinstance(value, Array):
        assert len(value.items) == told["count"]
        for (index, item), (their_index, their_item) in zip(value.items, told["items"], strict=False):
            assert index == their_index
            assert (item if isinstance(item, bytes) else str(item).encode()) == their_item.encode() or len(
                their_item
            ) > 100
    else:
        assert value.name in ("vectorset", "test__rdb")


def assert_same_stream(value: Stream, entry: Any) -> None:
    assert len(value.entries) == len(entry["value"])
    for mine, (their_id, their_fields) in zip(value.entries, entry["value"], strict=True):
        assert text_id(mine.id) == their_id
        flat = [part for pair in mine.fields for part in pair]
        assert all(map(same_bytes, flat, their_fields))
        assert len(flat) == len(their_fields)
    info = entry["stream"]
    assert (value.length, text_id(value.last_id)) == (info["length"], info["last-generated-id"])
    if value.max_deleted_id is not None and "max-deleted-entry-id" in info:
        assert text_id(value.max_deleted_id) == info["max-deleted-entry-id"]
        assert value.entries_added == info["entries-added"]
    assert len(value.groups) == len(entry["groups"])
    for told in entry["groups"]:
        (group,) = (group for group in value.groups if same_bytes(group.name, told["name"]))
        assert text_id(group.last_id) == told["last_delivered_id"]
        assert len(group.pending) == len(told["pel"])
        for each, (number, owner, delivered_ms, deliveries) in zip(group.pending, told["pel"], strict=True):
            assert text_id(each.id) == number
            assert same_bytes(each.consumer or b"", owner)
            assert (each.delivered_ms, each.deliveries) == (delivered_ms, deliveries)
        if value.entries_added is not None:
            assert group.entries_read == told.get("entries_read")


@pytest.mark.parametrize("name", corpus.NAMES)
def test_every_value_is_what_a_client_read(name: str) -> None:
    values = decoded(corpus.rdb(name))
    told = corpus.keys_told(name)
    assert values.keys() == told.keys()
    for place, value in values.items():
        assert_same(value, told[place])


@pytest.mark.parametrize("to", ["redis-6.2", "redis-7.0", "redis-8.0", "valkey-8.1", "valkey-9.1"])
@pytest.mark.parametrize("name", corpus.NAMES)
def test_a_converted_value_is_the_same_but_for_what_is_reported(name: str, to: str) -> None:
    written, losses = rewrite(corpus.rdb(name), Target(DIALECTS[to]))
    told = corpus.keys_told(name)
    reported = {str(reason) for reason in losses.by_reason}
    for place, value in decoded(written).items():
        entry = dict(told[place])
        if isinstance(value, Hash) and "field-ttl" in reported:
            assert all(ms is None for _, _, ms in value.fields)
            entry["field_expire_at_ms"] = []
        if isinstance(value, Stream) and "stream-ownerless" in reported:
            entry["groups"] = [
                group
                | {"pel": [[number, owner or "__xnack__", *rest] for number, owner, *rest in group["pel"]]}
                for group in entry["groups"]
            ]
        assert_same(value, entry)


@pytest.mark.parametrize("name", corpus.NAMES)
def test_dump_payloads_of_every_key_go_there_and_back(name: str) -> None:
    header, keys = keys_of(corpus.rdb(name))
    modules = frozenset({"vectorset", "test__rdb"})
    same = DumpTranslator(header.dialect, Target(header.dialect, modules=modules))
    other = DumpTranslator(header.dialect, Target(DIALECTS["valkey-8.1"]))
    for key in keys:
        assert key.value is not None
        payload = write_dump(key.type, key.value, header.dialect)
        dumped = read_dump(payload)
        assert (dumped.type, dumped.body, dumped.dialect.version) == (
            key.type,
            key.value,
            header.dialect.version,
        )
        assert same.payload(key.db, key.key, payload).payload == payload
        moved = other.payload(key.db, key.key, payload)
        if moved.payload is None:
            assert moved.lost
            continue
        there = read_dump(moved.payload)
        assert there.dialect.version == 11
        before = decode(key.type, key.value, header.dialect)
        after = decode(there.type, there.body, there.dialect)
        if not moved.lost:
            assert type(after) is type(before)
            assert after == before or isinstance(before, Stream)


def test_payloads_that_are_none_are_refused() -> None:
    good = write_dump(types.STRING, b"\x01v", DIALECTS["redis-8.0"])
    assert read_dump(good).body == b"\x01v"
    for wrong in (b"", good[:-1], good[:-8] + bytes(8), bytes((9,)) + good[1:]):
        with pytest.raises(WrongDumpPayload):
            read_dump(wrong)
    with pytest.raises(WrongDumpPayload, match="more than a value"):
        read_dump(write_dump(types.STRING, b"\x01vx", DIALECTS["redis-8.0"]))
    with pytest.raises(RdbError):
        read_dump(write_dump(types.STRING, b"\x05v", DIALECTS["redis-8.0"]))
    with pytest.raises(RdbError):
        read_dump(write_dump(types.HASH_TTL, b"\x05v", DIALECTS["redis-7.0"]))
    noted = b"\xf3\x01abcd\x02\x07\x00" + b"\x00\x01v"
    assert read_dump(write_dump(noted[0], noted[1:], DIALECTS["redis-8.6"])).body == b"\x01v"


def test_older_forms_are_read() -> None:
    redis = DIALECTS["redis-3.2"]
    zipmap = b"\x02\x01a\x01\x00b\x01c\x02\x01de\x00\xff"
    assert decode(types.HASH_ZIPMAP, bytes((len(zipmap),)) + zipmap, redis) == Hash(
        [(b"a", b"b", None), (b"c", b"de", None)]
    )
    listed = write_ziplist([b"a", b"300", b"x" * 300])
    size = b"\x41" + bytes((len(listed) - 256,))
    assert decode(types.LIST_ZIPLIST, size + listed, redis) == List([b"a", b"300", b"x" * 300])
    text = decode(types.ZSET, b"\x03\x01a\x032.5\x01b\xfe\x01c\xfd", redis)
    assert isinstance(text, SortedSet)
    assert text.members[:2] == [(b"a", 2.5), (b"b", math.inf)]
    assert math.isnan(text.members[2][1])
    candidates = b"\x02\x00\x01f\x01v\x81" + (1924992000000).to_bytes(8, "big") + b"\x01g\x01w"
    assert decode(types.HASH_TTL_RC, candidates, DIALECTS["redis-7.4"]) == Hash(
        [(b"f", b"v", None), (b"g", b"w", 1924992000000)]
    )


ENTRIES = st.lists(
    st.one_of(st.binary(max_size=80), st.integers(-(2**63), 2**63 - 1).map(lambda number: b"%d" % number), st.sampled_from([b"x" * 63, b"x" * 64, b"y" * 4095, b"y" * 4096, b"z" * 16383, b"z" * 16384, b"z" * 70000])),
    max_size=12,
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(entries=ENTRIES)
def test_packed_forms_are_read_as_written(entries: list[bytes]) -> None:
    assert read_listpack(write_listpack(entries)) == entries
    assert read_ziplist(write_ziplist(entries)) == entries


@settings(max_examples=200, deadline=None)
@given(noise=st.binary(max_size=60), entries=ENTRIES, at=st.integers(0, 10**6), byte=st.integers(0, 255))
def test_damaged_packed_forms_are_errors_or_lists(
    noise: bytes, entries: list[bytes], at: int, byte: int
) -> None:
    damaged = bytearray(write_listpack(entries))
    damaged[at % len(damaged)] = byte
    ziplist = bytearray(write_ziplist(entries))
    ziplist[at % len(ziplist)] = byte
    for read, packed in (
        (read_listpack, bytes(damaged)),
        (read_ziplist, bytes(ziplist)),
        (read_listpack, noise),
        (read_ziplist, noise),
        (read_intset, noise),
        (read_zipmap, noise),
    ):
        try:
            found = read(packed)
        except CorruptContainer:
            continue
        assert all(isinstance(entry, bytes) for entry in found)


@settings(max_examples=200, deadline=None)
@given(packed=st.binary(max_size=60), length=st.integers(0, 300))
def test_damaged_lzf_is_an_error_or_of_the_stated_length(packed: bytes, length: int) -> None:
    with contextlib.suppress(CorruptLzf):
        assert len(expand(packed, length)) == length


def test_lzf_runs_may_overlap_what_they_are_copied_from() -> None:
    assert expand(b"\x00a\xe0\x05\x00", 15) == b"a" * 15
    with pytest.raises(CorruptLzf, match="back does not fit"):
        expand(b"\x00a\x20\x01", 4)
    with pytest.raises(CorruptLzf, match="cannot expand"):
        expand(b"\x00a", 1 << 40)


VALUES = st.one_of(
    st.binary(max_size=300).map(String),
    st.lists(st.binary(max_size=20), max_size=20).map(List),
    st.lists(st.binary(max_size=20), unique=True, max_size=20).map(Set),
    st.lists(st.tuples(st.binary(max_size=20), st.floats(allow_nan=False)), max_size=9).map(SortedSet),
    st.lists(st.tuples(st.binary(max_size=9), st.binary(max_size=9), st.none() | st.integers(1, 10**14)), max_size=9).map(Hash),
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(value=VALUES, name=st.sampled_from(["redis-8.0", "valkey-9.1"]))
def test_what_is_encoded_is_decoded(value: Value, name: str) -> None:
    number, body = encode(value, DIALECTS[name])
    assert number in DIALECTS[name].loads
    assert decode(number, body, DIALECTS[name]) == value


@pytest.mark.parametrize(
    "name", [name for name in corpus.NAMES if "streams" not in name and "xnack" not in name]
)
def test_values_of_real_files_can_be_encoded_anew(name: str) -> None:
    header, keys = keys_of(corpus.rdb(name))
    for key in keys:
        value = decode(key.type, key.value or b"", header.dialect)
        if isinstance(value, Module | Array):
            continue
        number, body = encode(value, header.dialect)
        assert decode(number, body, header.dialect) == value


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damaged_values_are_errors_of_ours_or_values(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(corpus.NAMES))
    header, keys = keys_of(corpus.rdb(name))
    key = data.draw(st.sampled_from(keys))
    body = bytearray(key.value or b"\x00")
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(RdbError):
        assert decode(key.type, bytes(body), header.dialect, key.key)
