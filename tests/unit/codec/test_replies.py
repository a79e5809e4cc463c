"""Replies told apart and compared as the bytes that came, whatever pieces they come in and whatever they hold."""

from __future__ import annotations

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.codec.measured import NO_NUMBER, Bounds, Measured, in_groups
from holdfast.codec.replies import Frames, Replies, RepliesCorrupt, pack_each, pack_words, unlike
from holdfast.engine.pipeline import pack
from holdfast.engine.spans import value_of


def bulk(data: bytes | None) -> bytes:
    return b"$-1\r\n" if data is None else b"$%d\r\n%b\r\n" % (len(data), data)


TEXT = st.text(st.characters(exclude_characters="\r\n", max_codepoint=127), max_size=20).map(str.encode)
FLAT = st.one_of(
    st.binary(max_size=90).map(bulk),
    st.none().map(bulk),
    st.integers(-(10**15), 10**15).map(lambda number: b":%d\r\n" % number),
    TEXT.map(lambda words: b"-ERR %b\r\n" % words),
    TEXT.map(lambda words: b"+%b\r\n" % words),
)
NESTED = st.recursive(
    st.one_of(FLAT, st.just(b"*-1\r\n"), st.just(b"*0\r\n")),
    lambda inner: st.lists(inner, max_size=4).map(lambda parts: b"*%d\r\n%b" % (len(parts), b"".join(parts))),
    max_leaves=8,
)


@given(st.lists(NESTED, min_size=1, max_size=12), st.integers(1, 40))
def test_every_reply_ends_where_it_ends_in_pieces_of_any_size(replies: list[bytes], size: int) -> None:
    whole = b"".join(replies) + b"+NEXT\r\n"
    frames = Frames()
    for reply in replies:
        frames.want(1)
        at = 0
        while frames.left:
            assert at < len(reply)
            at = frames.walk(reply[: at + size], at, min(len(reply), at + size))
        assert at == len(reply)
    frames.want(len(replies))
    assert frames.walk(bytearray(whole), 0, len(whole)) == len(whole) - len(b"+NEXT\r\n")


@given(st.binary(max_size=60), st.integers(1, 9))
def test_damage_is_refused_or_waited_for_and_never_overrun(data: bytes, size: int) -> None:
    frames = Frames()
    frames.want(3)
    at = 0
    try:
        while at < len(data) and frames.left:
            end = min(len(data), at + size)
            after = frames.walk(data, at, end)
            assert at < after <= end
            at = after
    except RepliesCorrupt as refused:
        assert refused.found in data  # noqa: PT017 - either outcome is right


@pytest.mark.parametrize(
    "data", [b"$9999999999999999\r\n", b"!3\r\n", b"$1x\r\n", b"*99999999999999\r\n", b"PONG\r\n"]
)
def test_what_is_no_reply_is_refused(data: bytes) -> None:
    frames = Frames()
    frames.want(1)
    with pytest.raises(RepliesCorrupt):
        frames.walk(data, 0, len(data))


@given(st.lists(FLAT, max_size=20), st.data())
def test_a_reply_is_found_by_its_place(replies: list[bytes], data: st.DataObject) -> None:
    places = data.draw(st.permutations(range(len(replies) + 3)))[: len(replies)]
    held = Replies(len(replies) + 3)
    came = b"+OK\r\n" + b"".join(replies)
    assert held.take(came, 5, places) == len(came)
    for place, reply in zip(places, replies, strict=True):
        assert held.reply(place) == reply
        reader = hiredis.Reader()
        reader.feed(reply)
        expected, value = reader.gets(), value_of(reply)
        assert type(value) is type(expected)
        assert str(value) == str(expected)
        assert held.number(place) == (int(reply[1:-2]) if reply.startswith(b":") else NO_NUMBER)
    assert all(held.reply(place) == b"" for place in set(range(len(replies) + 3)) - set(places))
    assert held.reply(-1) == held.reply(len(replies) + 3) == b""
    assert held.other_than(b":1\r\n", places) == [at for at in places if held.reply(at) != b":1\r\n"]


def test_replies_that_are_not_all_there_and_places_that_are_none_are_refused() -> None:
    for came in (b"", b":1", b":1\r", b"$5\r\nabc\r\n", b"$99999999999999999999\r\n"):
        with pytest.raises(RepliesCorrupt):
            Replies(1).take(came, 0, [0])
    for place in (1, -1):
        with pytest.raises(RepliesCorrupt):
            Replies(1).take(b":1\r\n", 0, [place])


def test_a_base_is_added_to_what_is_left_and_not_to_what_says_something_else() -> None:
    held = Replies(4)
    held.take(b":500\r\n:-1\r\n", 0, [0, 2], 10_000)
    held.take(b":500\r\n:-2\r\n", 0, [1, 3])
    assert [held.number(place) for place in range(4)] == [10_500, 500, -1, -2]


PAIR = st.one_of(
    FLAT.map(lambda reply: (reply, reply)),
    st.tuples(FLAT, FLAT),
    st.tuples(
        st.binary(max_size=80), st.binary(min_size=10, max_size=10), st.binary(min_size=10, max_size=10)
    ).map(lambda parts: (bulk(parts[0] + parts[1]), bulk(parts[0] + parts[2]))),
)


@given(st.lists(PAIR, max_size=15), st.sampled_from([0, 10]))
def test_alike_are_strings_of_the_same_bytes_but_for_the_footer(
    pairs: list[tuple[bytes, bytes]], footer: int
) -> None:
    def same(one: bytes, other: bytes) -> bool:
        left, right = value_of(one), value_of(other)
        if type(left) is not bytes or type(right) is not bytes or not one[:1] == other[:1] == b"$":
            return False
        if len(left) != len(right) or len(left) < footer:
            return False
        return left[: len(left) - footer] == right[: len(right) - footer]

    places = list(range(len(pairs)))
    one, other = Replies(len(pairs)), Replies(len(pairs) + 1)
    one.take(b"".join(pair[0] for pair in pairs), 0, places)
    other.take(b"".join(pair[1] for pair in pairs), 0, places)
    assert unlike(one, other, places, footer) == [at for at in places if not same(*pairs[at])]


@given(st.lists(st.binary(max_size=400), max_size=12), st.sampled_from([b"GET", b"MEMORY USAGE"]))
def test_commands_are_packed_as_they_are_one_by_one(keys: list[bytes], command: bytes) -> None:
    places = list(range(0, len(keys), 2))
    words = command.split()
    assert pack_each(command, keys, places) == b"".join(pack(*words, keys[at]) for at in places)
    assert pack_words(b"EXISTS", keys) == pack("EXISTS", *keys)


BIG = 1 << 20
BOUNDS = Bounds(group_bytes=4 << 20, text_bytes=512, big_bytes=BIG, near_ms=1000)
SIZE = st.one_of(st.none(), st.integers(0, 3 * BIG), st.integers(0, 200))
END = st.one_of(st.just(-1), st.just(-2), st.just("error"), st.integers(0, 5000))


def measured(ends: list[int | str], sizes: list[int | None]) -> Measured:
    told = Replies(len(ends)), Replies(len(ends))
    places = list(range(len(ends)))
    told[0].take(
        b"".join(b"-ERR\r\n" if end == "error" else b":%d\r\n" % int(end) for end in ends), 0, places
    )
    told[1].take(b"".join(b"$-1\r\n" if size is None else b":%d\r\n" % size for size in sizes), 0, places)
    return Measured(told[0], told[1], 0, 64 * 1024)


@given(st.lists(st.tuples(END, END, SIZE, SIZE), max_size=60))
def test_every_key_is_in_one_group_under_what_it_needs_and_no_group_is_large(
    keys: list[tuple[int | str, int | str, int | None, int | None]],
) -> None:
    one = measured([key[0] for key in keys], [key[2] for key in keys])
    other = measured([key[1] for key in keys], [key[3] for key in keys])
    groups = in_groups(one, other, BOUNDS)
    assert sorted(at for group in groups for part in group for at in part) == list(range(len(keys)))
    for group in groups:
        for side in (2, 3):
            sizes = [keys[at][side] for part in group for at in part]
            held = sum(size for size in sizes if isinstance(size, int) and size <= BIG)
            assert held <= BOUNDS.group_bytes
        for at in (*group.small, *group.large):
            end, twin_end, size, twin = keys[at]
            assert isinstance(end, int)
            assert isinstance(twin_end, int)
            assert size is not None
            assert twin is not None
            assert max(size, twin) <= BIG
            assert end == twin_end != -2 or (min(end, twin_end) >= 0 and abs(end - twin_end) <= 1000)
            assert (at in group.large) == (min(size, twin) >= 512)


def test_sizes_that_may_not_be_asked_count_for_much() -> None:
    ends = Replies(100)
    ends.take(b":-1\r\n" * 100, 0, list(range(100)))
    told = Measured(ends, None, 0, 64 * 1024)
    groups = in_groups(told, told, BOUNDS)
    assert [len(group.large) for group in groups] == [64, 36]
