"""Which words are keys, and where a command of a stream goes."""

from __future__ import annotations

import pytest

from holdfast.codec.crc import key_slot
from holdfast.migrate.write.checkpoint import Marks, Place, read_place, slot_tags
from holdfast.migrate.write.keys import is_repeatable, key_places
from holdfast.migrate.write.route import Brought, InParts, Part, Refused, route


def words(text: str) -> list[bytes]:
    return [word.encode() for word in text.split()]


@pytest.mark.parametrize(
    ("command", "keys"),
    [
        ("SET k v", "k"),
        ("DEL a b c", "a b c"),
        ("MSET a 1 b 2", "a b"),
        ("RENAME a b", "a b"),
        ("SUNIONSTORE d a b", "d a b"),
        ("ZUNIONSTORE d 2 a b WEIGHTS 1 2", "d a b"),
        ("BITOP AND d a b", "d a b"),
        ("SORT l BY w_* STORE d", "l d"),
        ("SORT l", "l"),
        ("GEORADIUS g 1 2 3 km STOREDIST d", "g d"),
        ("EVAL s 2 a b x", "a b"),
        ("XGROUP CREATE s g 0", "s"),
        ("MSETEX 2 a 1 b 2 EX 5", "a b"),
        ("LMOVE a b LEFT RIGHT", "a b"),
        ("ZUNIONSTORE d 99 a", "d a"),
        ("FLUSHALL", ""),
        ("PING", ""),
        ("SELECT 3", ""),
        ("RENAME a", "a"),
        ("XGROUP CREATE", ""),
    ],
)
def test_keys(command: str, keys: str) -> None:
    given = words(command)
    assert [given[at] for at in key_places(given[0], given)] == words(keys)


def cell_of(key: bytes) -> int:
    """Cells by the first letter."""
    return key[0]


A, B, C, D = (ord(letter) for letter in "abcd")


@pytest.mark.parametrize(
    ("command", "wanted"),
    [
        ("DEL a1 b1 a2", InParts((Part(A, (b"DEL", b"a1", b"a2")), Part(B, (b"DEL", b"b1"))))),
        ("MSETNX a1 1 b1 2", InParts((Part(A, (b"MSET", b"a1", b"1")), Part(B, (b"MSET", b"b1", b"2"))))),
        ("DEL a1 a2", Part(A, (b"DEL", b"a1", b"a2"))),
        ("RENAME a b", Brought(B, (b"RENAME", b"a", b"b"), (1,), (Part(A, (b"DEL", b"a")),))),
        ("RENAMENX a b", Brought(B, (b"RENAME", b"a", b"b"), (1,), (Part(A, (b"DEL", b"a")),))),
        ("SMOVE a b m", Brought(B, (b"SMOVE", b"a", b"b", b"m"), (1,), (Part(A, (b"SREM", b"a", b"m")),))),
        (
            "LMOVE a b LEFT RIGHT",
            Brought(B, (b"LMOVE", b"a", b"b", b"LEFT", b"RIGHT"), (1,), (Part(A, (b"LPOP", b"a")),)),
        ),
        ("RPOPLPUSH a b", Brought(B, (b"RPOPLPUSH", b"a", b"b"), (1,), (Part(A, (b"RPOP", b"a")),))),
        ("SUNIONSTORE d a d2", Brought(D, (b"SUNIONSTORE", b"d", b"a", b"d2"), (2,), ())),
        ("SORT a STORE d", Brought(D, (b"SORT", b"a", b"STORE", b"d"), (1,), ())),
    ],
)
def test_routes(command: str, wanted: object) -> None:
    given = words(command)
    assert route(given[0], given, cell_of) == wanted


def test_a_script_over_several_cells_is_refused_by_name() -> None:
    found = route(b"EVAL", words("EVAL s 2 a b"), cell_of)
    assert isinstance(found, Refused)
    assert "EVAL" in found.why


@pytest.mark.parametrize("command", ["SET k v PXAT 9", "DEL k", "ZADD z 1 m", "HSET h f v", "PEXPIREAT k 9"])
def test_repeatable(command: str) -> None:
    assert is_repeatable(words(command)[0], words(command))


@pytest.mark.parametrize(
    "command",
    [
        "INCR k",
        "RPUSH l 1",
        "XADD s 1-1 f v",
        "SET k v NX",
        "SET k v KEEPTTL",
        "ZADD z INCR 1 m",
        "ZADD z nx 1 m",
        "PEXPIREAT k 9 GT",
        "RENAME a b",
        "APPEND k v",
        "EVAL s 0",
        "LPOP l",
        "SETNX k v",
        "NEWCOMMAND k",
    ],
)
def test_not_repeatable(command: str) -> None:
    assert not is_repeatable(words(command)[0], words(command))


def test_every_slot_has_a_tag_in_it() -> None:
    marks = Marks("name", "s0")
    assert all(key_slot(marks.checkpoint(tag)) == slot for slot, tag in enumerate(slot_tags()))
    assert key_slot(marks.brought(slot_tags()[77], 3)) == key_slot(marks.begun(slot_tags()[77])) == 77


def test_a_place_is_read_as_it_was_written() -> None:
    place = Place("8371445ffd0a22f53e8aae0b9a3f1f4be9bbf92c", 2**62, 15)
    assert read_place(place.to_bytes()) == place


@pytest.mark.parametrize(
    "value", [b"", b"x", b"id 1", b"id -1 0", b"id 1 0 0", b"i d 1 0", b"id 99999999999999999999 0"]
)
def test_what_is_no_place_is_none(value: bytes) -> None:
    assert read_place(value) is None
