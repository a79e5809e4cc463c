"""Keys, prefixes, values, layouts and the first tier, each alone."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import threading
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.client.errors import KeyInvalid, NamespaceInvalid, ValueRefused
from holdfast.client.first_tier import FirstTier
from holdfast.client.kept import Entry, Trust
from holdfast.client.keys import KeyPattern, prefix_free, slot_of
from holdfast.client.layout import Address, Layout, ShardAt, read_role, read_slots, replicated_layout
from holdfast.client.opening import declare, profile_of_url
from holdfast.client.rules import Offsets, early_by_ms, jittered_ms
from holdfast.client.shapes import Unshapeable, reader_of
from holdfast.client.values import Unreadable, Values, take_apart, with_header
from holdfast.errors import WrongUsage
from holdfast.spec.pattern import parse_pattern

PATTERNS = (
    "bill:inquiry:{customerId}:{month}",
    "cart:{{userId}}:items",
    "a:{x}-{y}",
    "{tenant}:x",
    "fixed",
    "p:{a}{{b}}",
)
FIELD = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


@given(st.sampled_from(PATTERNS), st.lists(FIELD, min_size=2, max_size=2))
def test_keys_are_those_of_the_spec(text: str, values: list[str]) -> None:
    """The library builds and takes apart keys as the control plane's own patterns do."""
    pattern, spec = KeyPattern("n", text), parse_pattern(text)
    fields = dict(zip(spec.fields, values, strict=False))
    assert pattern.fields == spec.fields
    assert pattern.prefix == spec.prefix
    try:
        wanted = spec.key(**fields)
    except ValueError:
        with pytest.raises(KeyInvalid):
            pattern.build(fields)
        return
    try:
        key = pattern.build(fields)
    except KeyInvalid as refused:  # ambiguous: nobody could take it apart again
        if "could also be read" not in str(refused):
            raise
        return
    assert key == wanted
    assert pattern.take_apart(key) == fields


class Size(enum.StrEnum):
    SMALL = "small"


@pytest.mark.parametrize("value", ["x", 5, UUID(int=1), Size.SMALL])
def test_fields_are_text_numbers_and_the_like(value: Any) -> None:
    assert KeyPattern("n", "a:{b}").build({"b": value}) == f"a:{value}"


@pytest.mark.parametrize("text", ["", "{a}", "a:{b}:{b}", "a {b}", "a:{b", "a:{1}"])
def test_patterns_that_cannot_be_meant_are_refused(text: str) -> None:
    with pytest.raises(NamespaceInvalid):
        KeyPattern("n", text)


@given(
    st.lists(st.text(st.sampled_from("ab:"), max_size=4), max_size=12),
    st.text(st.sampled_from("ab:"), max_size=6),
)
def test_prefixes_cover_what_they_covered_and_never_overlap(prefixes: list[str], key: str) -> None:
    fewest = prefix_free(prefixes)
    assert any(key.startswith(p) for p in prefixes) == any(key.startswith(p) for p in fewest)
    assert not any(a != b and a.startswith(b) for a in fewest for b in fewest)


@pytest.mark.parametrize(
    ("key", "slot"), [(b"123456789", 12739), (b"foo{bar}x", 5061), (b"bar", 5061), (b"a{}b", 0x2F7F)]
)
def test_slots_are_the_clusters(key: bytes, slot: int) -> None:
    import redis.crc

    assert slot_of(key) == redis.crc.key_slot(key)
    if key != b"a{}b":
        assert slot_of(key) == slot


JSON_VALUES = st.recursive(
    st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(JSON_VALUES, st.sampled_from(["json", "msgpack"]), st.booleans(), st.sampled_from([None, 1]))
def test_values_come_back(value: Any, codec: str, headed: bool, above: int | None) -> None:
    values = Values("n", codec, None, above)
    raw = values.encode(value, fresh_until_ms=5, load_ms=6, headed=headed)
    assert Values("n", "json").decode(take_apart(raw, 0)) == value, "another version's reader"


@pytest.mark.parametrize("value", [float("nan"), [1, {"a": float("inf")}]])
def test_numbers_that_json_has_not_are_refused(value: Any) -> None:
    with pytest.raises(ValueRefused, match="NaN and infinity"):
        Values("n").encode(value)


def test_values_beyond_the_bound_are_refused() -> None:
    with pytest.raises(ValueRefused, match="1000 is the most"):
        Values("n", "bytes", largest_bytes=1000).encode(b"x" * 1001)
    with pytest.raises(ValueRefused, match="1000 is the most"):  # it could not be read back
        Values("n", "bytes", None, 100, largest_bytes=1000).encode(b"x" * 100_000)


@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda tail: b"\xc1H\x01" + tail))
def test_hostile_bytes_are_unreadable_and_nothing_else(raw: bytes) -> None:
    for values in (
        Values("n", "json"),
        Values("n", "bytes"),
        Values("n", "json", Thing),
        Values("n", "msgpack"),
    ):
        try:
            values.decode(take_apart(raw, values.codec))
        except Unreadable:
            continue


@pytest.mark.parametrize("form", [0x10, 0x20])
def test_a_claimed_size_is_not_believed(form: int) -> None:
    import zstandard

    bomb = b"\xff\xff\xff\x7f" if form == 0x10 else zstandard.ZstdCompressor().compress(b"\0" * 2**21)
    with pytest.raises(Unreadable, match="more than a value may have"):
        Values("n", "json", largest_bytes=2**20).decode(take_apart(with_header(form, bomb), 0))


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Thing:
    name: str
    at: datetime.datetime
    colour: Colour
    parts: list[Thing] = dataclasses.field(default_factory=list)
    note: str | None = None
    sizes: dict[str, float] = dataclasses.field(default_factory=dict)
    pair: tuple[int, str] = (1, "a")


def test_dataclasses_come_back_with_all_they_hold() -> None:
    inner = Thing("in", datetime.datetime(2026, 11, 21, tzinfo=datetime.UTC), Colour.RED)
    thing = Thing("out", inner.at, Colour.RED, [inner], None, {"a": 1.5}, (2, "b"))
    for codec in ("json", "msgpack"):
        values = Values("n", codec, Thing)
        if codec == "msgpack":
            continue
        assert values.decode(take_apart(values.encode(thing), values.codec)) == thing
    with pytest.raises(ValueRefused, match="Thing is kept here"):
        Values("n", "json", Thing).encode({"name": "x"})


@pytest.mark.parametrize("hint", [complex, dict[int, str], object.__init__])
def test_hints_that_cannot_be_read_back_are_refused_when_the_namespace_is_opened(hint: Any) -> None:
    with pytest.raises(Unshapeable):
        reader_of(hint)


def test_roles_say_who_leads() -> None:
    a, b, c = Address("a", 1), Address("b", 1), Address("c", 1)
    follower = [b"slave", b"a", 1, b"connected", 10]
    seen = {
        a: read_role([b"master", 10, [[b"b", b"1", b"10"]]], "a"),
        b: read_role(follower, "b"),
        c: read_role([b"master", 99, []], "c"),
    }
    assert replicated_layout({k: v for k, v in seen.items() if v}) == Layout((ShardAt(a, (b,)),)), (
        "c was left behind"
    )
    assert replicated_layout({}) is None
    for broken in (None, [], [b"master"], [b"sentinel", []], "x", [b"slave", b"a", b"x", b"connected", 1]):
        assert read_role(broken, "a") is None


@pytest.mark.parametrize(
    "reply", [None, [], [[0, 99999, [b"a", 1]]], [[0]], [[5, 1, [b"a", 1]]], [[0, 1, []]], "x"]
)
def test_slots_that_cannot_be_read_are_no_layout(reply: Any) -> None:
    assert read_slots(reply, "a") is None


def test_slots_are_read_and_their_loss_is_seen() -> None:
    before = read_slots([[0, 99, [b"a", 1, b"id"], [b"b", 1, b"id"]], [100, 16383, [b"", 2, b"id"]]], "seed")
    after = read_slots([[0, 50, [b"a", 1, b"id"], [b"b", 1, b"id"]], [51, 16383, [b"", 2, b"id"]]], "seed")
    assert before is not None
    assert after is not None
    assert before.shard_of(99) == ShardAt(Address("a", 1), (Address("b", 1),))
    assert before.shard_of(100) == ShardAt(Address("seed", 2))
    assert before.lost_by(after) == {Address("a", 1)}
    assert after.lost_by(before) == {Address("seed", 2)}
    assert before.lost_by(before) == frozenset()


class Tier:
    """A first tier whose time is moved by hand."""

    def __init__(self, entries: int = 10, size: int = 10_000) -> None:
        self.now = 0.0
        self.l1 = FirstTier(entries, size, lambda: self.now)
        self.trust = Trust(100.0)
        self.owner = object()

    def fill(self, key: str, value: Any = 1, until: float = 50.0, size: int = 100) -> bool:
        token = self.l1.token(key, self.trust)
        return self.l1.fill(token, key, Entry(value, self.owner, until, self.trust, size))

    def get(self, key: str) -> Any:
        entry = self.l1.get(key, self.owner)
        return entry.value if entry else None


def test_an_entry_is_served_until_it_ends_or_nobody_vouches_for_it() -> None:
    tier = Tier()
    assert tier.fill("a")
    assert tier.get("a") == 1
    assert tier.l1.get("a", object()) is None, "another namespace's view"
    tier.now = 50.0
    assert tier.get("a") is None
    tier.now = 10.0
    tier.trust.until = 10.0
    assert tier.get("a") is None


def test_a_fill_that_was_overtaken_is_dropped() -> None:
    for spoil in ("invalidate", "flush", "distrust"):
        tier = Tier()
        token = tier.l1.token("a", tier.trust)
        if spoil == "invalidate":
            tier.l1.invalidate("a")
        elif spoil == "flush":
            tier.l1.flush()
        else:
            tier.trust.until = -1
        assert not tier.l1.fill(token, "a", Entry(1, tier.owner, 50, tier.trust, 100))
        assert tier.get("a") is None
        assert tier.l1.dropped_fills == 1
    assert Tier().l1.token("a", None) is None


def test_the_bounds_hold_and_what_is_used_stays() -> None:
    tier = Tier(entries=10)
    for n in range(10):
        tier.fill(f"k{n}")
    for _ in range(3):
        assert tier.get("k0") == 1
    for n in range(10, 18):
        tier.fill(f"k{n}")
    assert len(tier.l1.entries) == 10
    assert tier.get("k0") == 1
    assert tier.get("k1") is None
    assert tier.l1.hits == 4
    tier = Tier(entries=1000, size=1000)
    for n in range(50):
        tier.fill(f"k{n}", size=100)
        assert tier.l1.bytes <= 1000
    assert not tier.fill("big", size=500), "one value may not take it all"
    assert tier.l1.bytes == sum(entry.size for entry in tier.l1.entries.values())


def test_threads_do_not_break_its_books() -> None:
    tier = Tier(entries=50, size=5_000)
    wrong: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            for n in range(3000):
                key = f"k{(n * seed) % 97}"
                tier.fill(key, size=60 + seed)
                tier.l1.get(key, tier.owner)
                if n % 5 == 0:
                    tier.l1.invalidate(key)
                if n % 500 == 0:
                    tier.l1.flush()
        except BaseException as failed:
            wrong.append(failed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(1, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert tier.l1.bytes == sum(entry.size for entry in tier.l1.entries.values()) <= 5_000


def test_jitter_only_shortens_and_early_refresh_grows_with_the_load() -> None:
    assert jittered_ms(1000, 10, 0.0) == 1000
    assert jittered_ms(1000, 10, 1.0) == 900
    assert early_by_ms(100, 1.0, 0.5) == pytest.approx(69.3, abs=0.1)
    assert early_by_ms(0, 1.0, 0.5) == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"ttl_s": float("nan")}, "ttl_s"),
        ({"ttl_s": -1}, "ttl_s"),
        ({"ttl_s": 1, "kind": "cash"}, "kind"),
        ({"ttl_s": 1, "tier": "l3"}, "tier"),
        ({"ttl_s": 1, "read": "anywhere"}, "read"),
        ({"ttl_s": 1, "jitter_percent": 100}, "jitter"),
        ({"ttl_s": 1, "lease": 5}, "lease"),
    ],
)
def test_declarations_that_mean_nothing_are_refused(words: dict[str, Any], told: str) -> None:
    with pytest.raises(NamespaceInvalid, match=told):
        declare("a:{b}", **words)


@pytest.mark.parametrize(
    "url",
    ["", "http://a", "valkey://", "valkey://a:0", "valkey://a:x", "valkey://a/3", "valkey+sentinel://a", "valkey+ring://a",
     "valkey://a?pool=1", "valkey://a?max_total=0"],
)  # fmt: skip
def test_urls_that_name_no_cache_are_refused(url: str) -> None:
    with pytest.raises(WrongUsage):
        profile_of_url(url, {})


def test_urls_say_where_and_who() -> None:
    profile, password = profile_of_url("valkeys+sentinel://me:s%40cret@a,[::1]:5/cart?max_total=3", {})
    assert (profile.mode, profile.cache, profile.user, password) == ("sentinel", "cart", "me", "s@cret")
    assert [(seed.host, seed.port) for seed in profile.seeds] == [("a", 26379), ("::1", 5)]
    assert profile.ca_file == ""
    assert profile.pool.max_total == 3


def test_a_replica_has_what_its_primary_had_at_the_last_instant_not_beyond_it() -> None:
    offsets = Offsets()
    for at, offset in ((1.0, 100), (2.0, 200), (3.0, 200), (4.0, 300)):
        offsets.add("p", at, offset)
    assert [offsets.reached_at("p", each) for each in (99, 100, 199, 200, 300, 999)] == [
        float("-inf"), 1.0, 1.0, 3.0, 4.0, 4.0,
    ]  # fmt: skip
    assert offsets.reached_at("another", 100) == float("-inf")
