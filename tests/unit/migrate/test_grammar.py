"""Commands said to readers that are older than their writers."""

from __future__ import annotations

import pytest

from holdfast.codec.stream import write_command
from holdfast.migrate.relay.commands import TargetCommands
from holdfast.migrate.relay.filter import StreamFilter
from holdfast.migrate.relay.grammar import Release, Said, Unsayable, inexact, names_beyond, say

NEW = Release("valkey", (9, 1, 2))
OLD = Release("redis", (5, 0, 6))
R62 = Release("redis", (6, 2, 14))
NOW_MS = 1_700_000_000_000


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("SET k v", None),
        ("SET k v XX", None),
        ("SET k v PXAT 1700000005000", "PSETEX k 5000 v"),
        ("set k v NX exat 1700000005 GET", "PSETEX k 5000 v"),
        ("SET k v PXAT 1600000000000", "PSETEX k 1 v"),
        ("SET k v XX GET", "SET k v XX"),
        ("SET k v IFEQ old", "SET k v"),
        ("SET k v XX KEEPTTL", "SET k v XX"),
        ("ZADD z 1 m", None),
        ("ZADD z XX GT CH 1 m", "ZADD z XX CH 1 m"),
        ("ZADD z LT 1 m 2 n", Unsayable),
        ("LPOP l", None),
        ("LPOP l 1", "LPOP l"),
        ("RPOP l 7", Unsayable),
        ("XADD x MAXLEN = 5 1-1 a b", None),
        ("XADD x NOMKSTREAM MINID = 5-0 LIMIT 9 7-1 a MINID", "XADD x 7-1 a MINID"),
        ("XTRIM x MAXLEN = 5", None),
        ("XTRIM x MINID = 5", Unsayable),
        ("XGROUP CREATE x g 0 MKSTREAM ENTRIESREAD 3", "XGROUP CREATE x g 0 MKSTREAM"),
        ("XGROUP SETID x g 5-0 ENTRIESREAD 3", "XGROUP SETID x g 5-0"),
        ("XGROUP CREATECONSUMER x g c", "XCLAIM x g c 0 0-1"),
        ("XGROUP DESTROY x ENTRIESREAD", None),
        ("XSETID x 5-0 ENTRIESADDED 7 MAXDELETEDID 1-0", "XSETID x 5-0"),
        ("FLUSHALL", None),
        ("FLUSHALL SYNC", "FLUSHALL"),
        ("HSET h SYNC GT", None),
    ],
)
def test_what_a_redis_5_is_told(text: str, said: str | type[Unsayable] | None) -> None:
    told = say(text.encode().split(), OLD, NOW_MS)
    if said is None:
        assert told is None
    elif said is Unsayable:
        assert isinstance(told, Unsayable)
    else:
        assert isinstance(told, Said)
        assert b" ".join(told.words).decode() == said


def test_a_reader_that_knows_all_words_is_told_them() -> None:
    for text in ("SET k v PXAT 5", "SET k v KEEPTTL", "ZADD z GT 1 m", "LPOP l 7", "XTRIM x MINID = 5"):
        assert say(text.encode().split(), R62, NOW_MS) is None
    assert names_beyond(OLD, NEW) == frozenset()
    assert names_beyond(NEW, NEW) == frozenset()
    assert names_beyond(NEW, R62) == {b"SET", b"XGROUP", b"XSETID"}
    assert names_beyond(Release("redis", (8, 0, 2)), Release("valkey", (8, 0, 1))) == frozenset()
    assert b"SET" in names_beyond(Release("valkey", (8, 1, 8)), Release("redis", (8, 0, 2)))


def test_the_stream_stays_as_long_and_plain_commands_are_not_looked_at() -> None:
    names = frozenset({b"SET", b"ZADD", b"PSETEX"})
    target = TargetCommands(names, reader=OLD, beyond=names_beyond(NEW, OLD))
    passing = StreamFilter(target, 0, 0, lambda: NOW_MS)
    plain = write_command([b"SET", b"k", b"v"]) * 100
    assert passing.feed(plain) == plain
    assert passing.commands == 0
    ends = write_command([b"SET", b"k", b"v", b"PXAT", b"1700000005000"])
    made = passing.feed(ends)
    assert len(made) == len(ends)
    assert made.endswith(write_command([b"PSETEX", b"k", b"5000", b"v"]))
    far = write_command([b"SET", b"k", b"v", b"EXAT", b"9999999999"])
    assert len(passing.feed(far)) == len(far)
    loses = write_command([b"SET", b"k", b"v", b"KEEPTTL"])
    assert len(passing.feed(loses)) == len(loses)
    assert passing.losses == {"SET KEEPTTL: the key's time to live": 1}
    moved = write_command([b"LMOVE", b"a", b"b", b"RIGHT", b"LEFT"])
    made = passing.feed(moved)
    assert len(made) == len(moved)
    assert made.endswith(write_command([b"RPOPLPUSH", b"a", b"b"]))
    assert passing.feed(write_command([b"LMOVE", b"a", b"b", b"LEFT", b"LEFT"])).count(b"LMOVE") == 0
    assert passing.losses["LMOVE: the target has no such command"] == 1


def test_what_an_old_source_cannot_be_told_exactly() -> None:
    assert len(inexact(NEW, OLD)) == 4
    assert inexact(NEW, R62) == inexact(OLD, NEW) == ()
