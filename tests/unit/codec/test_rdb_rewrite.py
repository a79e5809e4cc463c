"""The rewriter on real files: what is carried is carried to the byte, whatever the pieces; what is lost is counted."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.codec import corpus

from holdfast.codec.crc import crc64
from holdfast.codec.rdb import types
from holdfast.codec.rdb.dialect import DIALECTS, dialect_of_header
from holdfast.codec.rdb.errors import CorruptRdb, RdbError, TooLong, TruncatedRdb, WrongChecksum
from holdfast.codec.rdb.events import Aux, Function, Key, ModuleAux, SelectDb, SlotInfo
from holdfast.codec.rdb.losses import Reason
from holdfast.codec.rdb.parser import events_of
from holdfast.codec.rdb.rewrite import Rewriter, Target, rewrite
from holdfast.codec.rdb.task import Bounds
from holdfast.codec.rdb.translate import translate
from holdfast.codec.rdb.writer import Writer, write_length, write_string

TARGETS = ["redis-6.2", "redis-7.0", "redis-7.2", "redis-8.0", "redis-8.8", "valkey-8.1", "valkey-9.1"]


def target(name: str, **more: object) -> Target:
    return Target(DIALECTS[name], **more)  # type: ignore[arg-type]


def rewrite_in_pieces(rewriter: Rewriter, data: bytes) -> bytes:
    return b"".join(rewriter.feed(data[at : at + 1000]) for at in range(0, len(data), 1000))


def small_rdb(name: str, *keys: tuple[bytes, int, bytes]) -> bytes:
    writer = Writer(DIALECTS[name])
    writer.select(0)
    for key, number, body in keys:
        writer.key(key, number, body)
    writer.end()
    return writer.take()


@pytest.mark.parametrize("name", corpus.NAMES)
def test_a_file_for_its_own_dialect_is_the_same_to_the_byte(name: str) -> None:
    data = corpus.rdb(name)
    own = dialect_of_header(data[:9])
    modules = frozenset({"test__rdb", "vectorset"})
    written, losses = rewrite(data, Target(own, modules=modules))
    assert not losses
    if "nocrc" in name:
        assert written == data[:-8] + crc64(data[:-8]).to_bytes(8, "little")
    else:
        assert written == data


@pytest.mark.parametrize("to", TARGETS)
@pytest.mark.parametrize("name", corpus.NAMES)
def test_every_real_file_for_every_target_holds_only_what_that_target_loads(name: str, to: str) -> None:
    data = corpus.rdb(name)
    written, losses = rewrite(data, target(to))
    before = {(event.db, event.key): event for event in events_of(data) if isinstance(event, Key)}
    after = {(event.db, event.key): event for event in events_of(written) if isinstance(event, Key)}
    rules = translate(dialect_of_header(data[:9]), DIALECTS[to])
    assert written[: len(DIALECTS[to].header)] == DIALECTS[to].header
    assert {event.type for event in after.values()} <= DIALECTS[to].loads
    gone = before.keys() - after.keys()
    assert not after.keys() - before.keys()
    assert len(gone) == sum(
        loss.keys
        for loss in losses.by_reason.values()
        if loss.is_missing and loss.reason not in (Reason.FUNCTION, Reason.MODULE_DATA)
    )
    for place, event in after.items():
        old = before[place]
        assert (event.expire_ms, event.idle_s, event.freq) == (old.expire_ms, old.idle_s, old.freq)
        assert event.type in rules[old.type].to
        if event.type == old.type and len(rules[old.type].to) == 1:
            assert event.value == old.value
    allowed = {reason for rule in rules.values() for reason in rule.reasons} | {
        Reason.FUNCTION,
        Reason.MODULE_DATA,
    }
    assert losses.by_reason.keys() <= allowed


@pytest.mark.parametrize("name", ["redis-unstable-20260609-streams", "redis-8.0.6-hashttl", "valkey-9.1.2-hashttl",
                                  "redis-7.4.1-moduleaux", "redis-unstable-20260609-xnack", "redis-7.0.15-quicklist-plain"])  # fmt: skip
@pytest.mark.parametrize("to", ["redis-6.2", "valkey-8.1", "valkey-9.1"])
def test_pieces_of_any_size_give_the_same_bytes(name: str, to: str) -> None:
    data = corpus.rdb(name)
    whole, losses = rewrite(data, target(to))
    for size in (1, 8, 300):
        rewriter = Rewriter(target(to))
        pieces = [rewriter.feed(data[at : at + size]) for at in range(0, len(data), size)]
        rewriter.finish()
        assert b"".join(pieces) == whole
        assert rewriter.losses.by_reason == losses.by_reason
        assert rewriter.bytes_out == len(whole)


@pytest.mark.parametrize("name", corpus.CAPTURES)
def test_the_rdb_of_a_full_sync_ends_by_itself_and_what_follows_is_given_back(name: str) -> None:
    facts, received = corpus.capture(name)
    rewriter = Rewriter(target("valkey-8.1"))
    at = facts["rdb_offset"]
    written = b""
    while not rewriter.is_finished:
        written += rewriter.feed(received[at : at + 1000])
        at += 1000
    end = facts["rdb_offset"] + facts["rdb_len"]
    assert rewriter.rest() == received[end:at]
    assert rewriter.rest()[:40] == facts["payload_header"].removeprefix("$EOF:").encode()[: at - end]
    assert list(events_of(written))


def test_field_ttls_that_the_target_has_no_place_for_are_counted_and_named() -> None:
    _, losses = rewrite(corpus.rdb("redis-8.0.6-hashttl"), target("valkey-8.1"))
    told = corpus.keys_told("redis-8.0.6-hashttl")
    with_ttl = [
        place
        for place, entry in told.items()
        if any(ms != -1 for _, ms in entry.get("field_expire_at_ms") or [])
    ]
    loss = losses.by_reason[Reason.FIELD_TTL]
    assert loss.keys == len(with_ttl)
    assert loss.parts == sum(ms != -1 for place in with_ttl for _, ms in told[place]["field_expire_at_ms"])
    assert set(loss.samples) <= set(with_ttl)
    assert not loss.is_missing


def test_expired_fields_are_left_out_where_nobody_will_say_when_they_go() -> None:
    at_ms = 1_900_000_000_000
    body = at_ms.to_bytes(8, "little") + write_length(3)
    for name, said in ((b"gone", 1), (b"stays", 5001), (b"plain", 0)):
        body += write_length(said) + write_string(name) + write_string(b"v")
    data = small_rdb("redis-8.0", (b"h", types.HASH_TTL, body))
    for to in ("valkey-8.1", "redis-6.2"):
        written, losses = rewrite(data, target(to, bounds=Bounds(expired_before_ms=at_ms + 1000)))
        (key,) = (event for event in events_of(written) if isinstance(event, Key))
        assert key.value == b"\x02\x05stays\x01v\x05plain\x01v"
        assert losses.by_reason[Reason.FIELD_EXPIRED].parts == 1
        assert losses.by_reason[Reason.FIELD_TTL].parts == 1
    written, losses = rewrite(data, target("valkey-8.1", bounds=Bounds(expired_before_ms=at_ms + 9999)))
    (key,) = (event for event in events_of(written) if isinstance(event, Key))
    assert key.value == b"\x01\x05plain\x01v"
    _, losses = rewrite(data, target("valkey-9.1", bounds=Bounds(expired_before_ms=at_ms + 9999)))
    assert not losses


def test_a_hash_whose_fields_all_expired_is_left_out() -> None:
    body = (1000).to_bytes(8, "little") + b"\x01\x01\x01f\x01v"
    data = small_rdb("redis-8.0", (b"h", types.HASH_TTL, body), (b"s", types.STRING, b"\x01v"))
    written, losses = rewrite(data, target("valkey-8.1", bounds=Bounds(expired_before_ms=2000)))
    assert [event.key for event in events_of(written) if isinstance(event, Key)] == [b"s"]
    assert losses.by_reason[Reason.FIELD_EXPIRED].samples == [(0, b"h")]


def test_databases_that_the_target_lacks_do_not_reach_it() -> None:
    name = "redis-8.0.6-functions-dbs-lfu"
    told = corpus.told(name)["dbs"]
    written, losses = rewrite(corpus.rdb(name), target("valkey-8.1", databases=5))
    kept = [event for event in events_of(written) if isinstance(event, SelectDb | Key)]
    assert {event.db for event in kept} == {0, 1}
    lost = sum(len(keys) for db, keys in told.items() if int(db) >= 5)
    assert losses.by_reason[Reason.DATABASE].keys == lost > 0


def test_modules_that_the_target_has_are_carried() -> None:
    data = corpus.rdb("redis-7.4.1-moduleaux")
    for modules in (frozenset[str](), frozenset({"test__rdb"})):
        rewriter = Rewriter(target("valkey-8.1", modules=modules))
        written = b"".join(rewriter.feed(data[at : at + 5]) for at in range(0, len(data), 5))
        events = list(events_of(written))
        assert any(isinstance(event, ModuleAux) for event in events) == bool(modules)
        assert (rewriter.keys_lost == 0) == bool(modules)
        assert (rewriter.keys, rewriter.keys_lost) == (2, 0 if modules else 1)


def test_slot_counts_and_notes_of_modules_go_only_where_they_are_known() -> None:
    body = (
        b"REDIS0013\xfa\x01a\x01b\xf4\x05\x01\x00"  # slot 5: one key
        b"\xf3\x01abcd\x02\x07\x00\xfc\x01\x00\x00\x00\x00\x00\x00\x00\x00\x01k\x01v"  # a note, an expiry, the key
        b"\xff"
    )
    data = body + crc64(body).to_bytes(8, "little")
    for to, slots, noted in (
        ("redis-8.0", True, False),
        ("redis-8.6", True, True),
        ("valkey-9.1", False, False),
    ):
        for size in (1, 1000):
            rewriter = Rewriter(target(to))
            written = b"".join(rewriter.feed(data[at : at + size]) for at in range(0, len(data), size))
            events = list(events_of(written))
            (key,) = (event for event in events if isinstance(event, Key))
            assert (key.key, key.value, key.expire_ms) == (b"k", b"\x01v", 1)
            assert (key.meta is not None) == noted
            assert any(isinstance(event, SlotInfo) for event in events) == slots
            assert any(isinstance(event, Aux) for event in events)
            assert (Reason.KEY_META in rewriter.losses.by_reason) == (not noted)


def test_a_function_in_a_file_that_says_it_is_older_is_carried_or_counted() -> None:
    writer = Writer(DIALECTS["redis-6.2"])
    writer.function(b"#!lua name=f\nredis.call('PING')")
    writer.end()
    data = writer.take()
    for to in ("valkey-8.1", "redis-6.2"):
        written, losses = rewrite(data, target(to))
        carried = [event.source for event in events_of(written) if isinstance(event, Function)]
        assert len(carried) + len(losses.by_reason) == 1
        assert bool(carried) == (to == "valkey-8.1")


def test_ownerless_entries_join_the_owner_that_an_earlier_translation_made() -> None:
    entry = bytes(8) + (1).to_bytes(8, "big")
    other = bytes(8) + (2).to_bytes(8, "big")
    group = (
        write_string(b"g") + b"\x00\x02\x02" + b"\x02" + entry + bytes(8) + b"\x01" + other + bytes(8) + b"\x01"
        + b"\x01" + write_string(b"__xnack__") + bytes(16) + b"\x01" + entry + b"\x01" + other
    )  # fmt: skip
    body = b"\x00\x02\x00\x02" + bytes(5) + b"\x01" + group + bytes(5)
    data = small_rdb("redis-8.8", (b"s", types.STREAM_5, body))
    written, losses = rewrite(data, target("valkey-8.1"))
    (key,) = (event for event in events_of(written) if isinstance(event, Key))
    assert key.value is not None
    assert key.value.count(b"__xnack__") == 1
    assert key.value.endswith(b"\x02" + entry + other)
    assert losses.by_reason[Reason.STREAM_OWNERLESS].parts == 1


def test_what_follows_the_end_is_never_written() -> None:
    data = corpus.rdb("redis-8.0.6-strings")
    for size in (1, 50, 1 << 20):
        rewriter = Rewriter(target("valkey-8.1"))
        more = data + b"*1\r\n$4\r\nPING\r\n" * 10
        written = b"".join(rewriter.feed(more[at : at + size]) for at in range(0, len(more), size))
        assert written == rewrite(data, target("valkey-8.1"))[0]
        assert rewriter.rest() == more[len(data) :]
        assert rewriter.bytes_out == len(written)


def test_a_compressed_name_that_cannot_be_expanded_does_not_pass() -> None:
    wrong = b"\xc3\x02\x03\x20\x05"  # a run from before the start
    for record in (b"\x00" + wrong + b"\x01v", b"\xfa\x01a" + wrong, b"\xf5" + wrong):
        body = b"REDIS0011" + record + b"\xff"
        for size in (1, 1 << 20):
            rewriter = Rewriter(target("valkey-8.1"))
            with pytest.raises(CorruptRdb, match="LZF"):
                b"".join(rewriter.feed(body[at : at + size]) for at in range(0, len(body), size))


def test_a_note_on_no_key_does_not_pass() -> None:
    body = b"REDIS0013\xf3\x00\xff"
    rewriter = Rewriter(target("valkey-8.1"))
    with pytest.raises(CorruptRdb, match=r"byte 11.*opcode 255"):
        rewriter.feed(body + crc64(body).to_bytes(8, "little"))


def test_nothing_with_an_end_comes_of_a_damaged_file() -> None:
    data = bytearray(corpus.rdb("redis-8.0.6-strings"))
    data[len(data) // 2] ^= 1
    rewriter = Rewriter(target("valkey-8.1"))
    sent = rewriter.feed(bytes(data[:-8]))
    with pytest.raises(WrongChecksum):
        rewriter.feed(bytes(data[-8:]))
    with pytest.raises(TruncatedRdb):
        list(events_of(sent))


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_damage_is_an_error_of_ours_or_a_whole_file(data: st.DataObject) -> None:
    name = data.draw(
        st.sampled_from(
            [
                "redis-unstable-20260609-streams",
                "redis-8.0.6-hashttl",
                "valkey-9.1.2-hashttl",
                "redis-unstable-20260609-xnack",
            ]
        )
    )
    body = bytearray(corpus.rdb(name)[:-8])
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(9, len(body) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(body) + crc64(bytes(body)).to_bytes(8, "little")
    to = data.draw(st.sampled_from(TARGETS))
    size = data.draw(st.sampled_from([37, 1 << 20]))
    rewriter = Rewriter(target(to, databases=16))
    try:
        written = b"".join(rewriter.feed(damaged[at : at + size]) for at in range(0, len(damaged), size))
    except RdbError:
        return
    if rewriter.is_finished:
        assert {event.type for event in events_of(written) if isinstance(event, Key)} <= DIALECTS[to].loads


def test_a_long_value_is_rewritten_without_being_held() -> None:
    head = b"REDIS0012\xfe\x00\x18\x01h" + (1000).to_bytes(8, "little") + write_length(50_000)
    field = b"\x05" + write_string(b"field-name") + write_string(b"v" * 100)
    rewriter = Rewriter(target("valkey-9.1", bounds=Bounds(held_bytes=4096)))
    written = [rewriter.feed(head)]
    for _ in range(50_000 // 100):
        out = rewriter.feed(field * 100)
        assert abs(len(out) - 100 * (len(field) + 7)) < 1000
        written.append(out)
    written.append(rewriter.feed(b"\xff" + bytes(8)))
    (key,) = (event for event in events_of(b"".join(written)) if isinstance(event, Key))
    assert key.type == types.VALKEY_HASH_TTL
    assert key.value is not None
    assert key.value.endswith(write_string(b"v" * 100) + (1004).to_bytes(8, "little"))


def test_a_part_beyond_the_bound_leaves_its_key_out_or_stops() -> None:
    listpack = bytes(8) + write_string(b"\x00" * 100_000)
    data = small_rdb("redis-8.0", (b"big", types.HASH_LISTPACK_TTL, listpack), (b"s", types.STRING, b"\x01v"))
    rewriter = Rewriter(target("valkey-9.1", bounds=Bounds(held_bytes=10_000)))
    written = b"".join(rewriter.feed(data[at : at + 1000]) for at in range(0, len(data), 1000))
    assert [event.key for event in events_of(written) if isinstance(event, Key)] == [b"s"]
    assert rewriter.losses.by_reason[Reason.TOO_BIG].samples == [(0, b"big")]
    node = b"\x01\x01" + write_string(b"x" * 100_000)
    data = small_rdb("redis-8.0", (b"big", types.LIST_QUICKLIST_2, node))
    rewriter = Rewriter(target("redis-6.2", bounds=Bounds(held_bytes=10_000)))
    with pytest.raises(TooLong, match='in key "big"'):
        rewrite_in_pieces(rewriter, data)
