"""Hashes with field TTLs in every stored form, to every target, in pieces of any size: what is decoded is what went in."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from holdfast.codec.rdb import types
from holdfast.codec.rdb.dialect import DIALECTS
from holdfast.codec.rdb.dump import DumpTranslator
from holdfast.codec.rdb.errors import CorruptRdb, RdbError
from holdfast.codec.rdb.events import Key
from holdfast.codec.rdb.listpack import write_listpack
from holdfast.codec.rdb.losses import Reason
from holdfast.codec.rdb.parser import events_of
from holdfast.codec.rdb.rewrite import Rewriter, Target
from holdfast.codec.rdb.task import Bounds
from holdfast.codec.rdb.values import Hash, decode
from holdfast.codec.rdb.writer import Writer, write_length, write_string

NOW_MS = 1_900_000_000_000
Fields = list[tuple[bytes, bytes, int | None]]


@dataclass(frozen=True)
class Form:
    """One way in which a hash with field TTLs is stored."""

    source: str
    number: int


FORMS = {
    "fields-rc": Form("redis-7.4", types.HASH_TTL_RC),
    "listpack-rc": Form("redis-7.4", types.HASH_LISTPACK_TTL_RC),
    "fields": Form("redis-8.0", types.HASH_TTL),
    "listpack": Form("redis-8.0", types.HASH_LISTPACK_TTL),
    "valkey": Form("valkey-9.1", types.VALKEY_HASH_TTL),
}


def stored(form: str, fields: Fields) -> bytes:
    """The value's bytes as an engine writes them."""
    number = FORMS[form].number
    least = min((ms for _, _, ms in fields if ms is not None), default=0)
    head = least.to_bytes(8, "little")
    if form.startswith("listpack"):
        in_order = sorted(fields, key=lambda field: (field[2] is None, field[2]))
        packed = write_listpack(
            [entry for name, data, ms in in_order for entry in (name, data, b"%d" % (ms or 0))]
        )
        return (head if number == types.HASH_LISTPACK_TTL else b"") + write_string(packed)
    parts = [head] if number == types.HASH_TTL else []
    parts.append(write_length(len(fields)))
    for name, data, ms in fields:
        pair = write_string(name) + write_string(data)
        if form == "valkey":
            parts.append(pair + (-1 if ms is None else ms).to_bytes(8, "little", signed=True))
        else:
            base = least if number == types.HASH_TTL else 1
            parts.append(write_length(0 if ms is None else ms - base + 1) + pair)
    return b"".join(parts)


def rdb_of(form: str, *bodies: bytes) -> bytes:
    writer = Writer(DIALECTS[FORMS[form].source])
    writer.select(0)
    for at, body in enumerate(bodies):
        writer.key(b"h%d" % at, FORMS[form].number, body, NOW_MS if at % 2 else None)
    writer.end()
    return writer.take()


def rewritten(data: bytes, target: Target, size: int) -> tuple[bytes, Rewriter]:
    rewriter = Rewriter(target)
    out = b"".join([rewriter.feed(data[at : at + size]) for at in range(0, len(data), size)])
    rewriter.finish()
    return out, rewriter


TEXT = st.one_of(st.binary(max_size=12), st.binary(min_size=60, max_size=70), st.just(b"x" * 5000))
TTL = st.one_of(st.none(), st.integers(NOW_MS - 20_000, NOW_MS + 20_000), st.just(1))
HASH = st.lists(st.tuples(TEXT, TEXT, TTL), min_size=1, max_size=6)


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=60, deadline=None)
@given(
    hashes=st.lists(HASH, min_size=1, max_size=3),
    to=st.sampled_from(["valkey-9.1", "valkey-8.1", "redis-8.0", "redis-6.2"]),
    limit=st.sampled_from([None, NOW_MS]),
    size=st.sampled_from([1, 7, 100, 1 << 20]),
)
@example(hashes=[[(b"f", b"v", 1)]], to="redis-6.2", limit=NOW_MS, size=1 << 20)
def test_every_form_says_the_same_in_every_other(
    form: str, hashes: list[Fields], to: str, limit: int | None, size: int
) -> None:
    data = rdb_of(form, *(stored(form, fields) for fields in hashes))
    target = Target(DIALECTS[to], bounds=Bounds(expired_before_ms=limit))
    out, rewriter = rewritten(data, target, size)
    has_ttl = to in ("valkey-9.1", "redis-8.0")
    wanted = {}
    lost = {Reason.FIELD_TTL: 0, Reason.FIELD_EXPIRED: 0}
    for at, fields in enumerate(hashes):
        kept = fields
        if not has_ttl:
            kept = [field for field in fields if limit is None or field[2] is None or field[2] >= limit]
            lost[Reason.FIELD_EXPIRED] += len(fields) - len(kept) if kept else 1
            lost[Reason.FIELD_TTL] += sum(ms is not None for _, _, ms in kept)
            kept = [(name, text, None) for name, text, _ in kept]
        if kept:
            wanted[b"h%d" % at] = (sorted(kept, key=repr), NOW_MS if at % 2 else None)
    found = {}
    for event in events_of(out):
        if isinstance(event, Key):
            assert event.value is not None
            value = decode(event.type, event.value, DIALECTS[to])
            assert isinstance(value, Hash)
            found[event.key] = (sorted(value.fields, key=repr), event.expire_ms)
    assert found == wanted
    assert {reason: loss.parts for reason, loss in rewriter.losses.by_reason.items()} == {
        reason: parts for reason, parts in lost.items() if parts
    }


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=150, deadline=None)
@given(data=st.data(), fields=HASH, to=st.sampled_from(["valkey-9.1", "redis-8.0", "valkey-8.1"]))
def test_a_damaged_hash_is_an_error_of_ours_or_a_hash(
    form: str, data: st.DataObject, fields: Fields, to: str
) -> None:
    body = bytearray(stored(form, fields))
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, min(len(body) - 1, 40)))] = data.draw(st.integers(0, 255))
    limit = data.draw(st.sampled_from([None, NOW_MS]))
    target = Target(DIALECTS[to], bounds=Bounds(held_bytes=1 << 20, expired_before_ms=limit))
    translator = DumpTranslator(DIALECTS[FORMS[form].source], target)
    try:
        translated = translator.value(0, b"h", FORMS[form].number, bytes(body))
        if translated.payload is not None:
            decode(translated.payload[0], translated.payload[1:-10], DIALECTS[to])
    except RdbError:
        return


def test_an_expiry_that_is_no_time_is_refused_in_every_form() -> None:
    last = (1 << 63) - 1
    pair = write_string(b"f") + write_string(b"v")
    listpack = write_string(write_listpack([b"f", b"v", b"-5"]))
    for form, body in (
        ("fields-rc", b"\x01\x81" + ((1 << 63) + 1).to_bytes(8, "big") + pair),
        ("fields", last.to_bytes(8, "little") + b"\x01\x02" + pair),
        ("fields", (1).to_bytes(8, "little") + b"\x01\x81" + b"\xff" * 8 + pair),
        ("fields", (-9).to_bytes(8, "little", signed=True) + b"\x01\x02" + pair),
        ("listpack", bytes(8) + listpack),
        ("listpack-rc", write_string(write_listpack([b"f", b"v", b"12345678901234567"]))),
        ("listpack-rc", write_string(write_listpack([b"f", b"v", b""]))),
        ("listpack-rc", write_string(write_listpack([b"f", b"v", b"1x"]))),
    ):
        with pytest.raises(CorruptRdb, match="expiry in ms"):
            rewritten(rdb_of(form, body), Target(DIALECTS["valkey-9.1"]), 1 << 20)


def test_the_latest_expiry_there_can_be_is_carried() -> None:
    last = (1 << 63) - 1
    pair = write_string(b"f") + write_string(b"v")
    body = last.to_bytes(8, "little") + b"\x01\x01" + pair
    out, _ = rewritten(rdb_of("fields", body), Target(DIALECTS["valkey-9.1"]), 1 << 20)
    (key,) = (event for event in events_of(out) if isinstance(event, Key))
    assert key.value == b"\x01" + pair + last.to_bytes(8, "little")


def test_a_compressed_listpack_is_expanded_and_one_that_claims_too_much_leaves_its_key_out() -> None:
    packed = write_listpack([b"name", b"v" * 40, b"%d" % NOW_MS])
    literal = b"".join(
        bytes((len(packed[at : at + 32]) - 1,)) + packed[at : at + 32] for at in range(0, len(packed), 32)
    )
    whole = bytes(8) + b"\xc3" + write_length(len(literal)) + write_length(len(packed)) + literal
    greedy = bytes(8) + b"\xc3" + write_length(len(literal)) + write_length(100 * len(literal)) + literal
    target = Target(DIALECTS["valkey-9.1"], bounds=Bounds(held_bytes=1000))
    out, rewriter = rewritten(rdb_of("listpack", whole, greedy), target, 1 << 20)
    (key,) = (event for event in events_of(out) if isinstance(event, Key))
    assert key.value == b"\x01" + write_string(b"name") + write_string(b"v" * 40) + NOW_MS.to_bytes(
        8, "little"
    )
    assert rewriter.losses.by_reason[Reason.TOO_BIG].samples == [(0, b"h1")]


def test_integers_in_a_listpack_become_text() -> None:
    numbers = (
        (b"\x7f", 127), (b"\xdf\xff", -1), (b"\xd0\x00", -4096), (b"\xcf\xff", 4095), (b"\xf1\x00\x80", -32768),
        (b"\xf2\xff\xff\x7f", 8388607), (b"\xf2\x00\x00\x80", -8388608), (b"\xf3\xff\xff\xff\xff", -1),
        (b"\xf3\x00\x00\x00\x80", -(1 << 31)), (b"\xf3\xff\xff\xff\x7f", (1 << 31) - 1),
        (b"\xf4" + b"\xff" * 7 + b"\x7f", (1 << 63) - 1), (b"\xf4" + bytes(7) + b"\x80", -(1 << 63)),
    )  # fmt: skip
    body = b"".join(2 * (raw + bytes((len(raw),))) + b"\x00\x01" for raw, _ in numbers)
    total = 6 + len(body) + 1
    packed = total.to_bytes(4, "little") + (3 * len(numbers)).to_bytes(2, "little") + body + b"\xff"
    out, _ = rewritten(
        rdb_of("listpack", bytes(8) + write_string(packed)), Target(DIALECTS["valkey-9.1"]), 1 << 20
    )
    (key,) = (event for event in events_of(out) if isinstance(event, Key))
    assert key.type == types.HASH
    assert key.value is not None
    value = decode(key.type, key.value, DIALECTS["valkey-9.1"])
    assert isinstance(value, Hash)
    assert value.fields == [(b"%d" % number, b"%d" % number, None) for _, number in numbers]


def test_a_value_that_must_be_held_is_held_within_the_bound() -> None:
    """Of fields that may have expired the number stands first, so the value is held: up to the bound, not twice it."""
    field = b"\x05" + write_string(b"f" * 50) + write_string(b"v" * 49)
    data = rdb_of("fields", bytes(8) + write_length(3000) + field * 3000)
    bounds = Bounds(held_bytes=200_000, expired_before_ms=1)
    rewriter = Rewriter(Target(DIALECTS["valkey-8.1"], bounds=bounds))
    fed = 0
    while Reason.TOO_BIG not in rewriter.losses.by_reason:
        rewriter.feed(data[fed : fed + 1000])
        fed += 1000
    assert 200_000 < fed < 203_000
