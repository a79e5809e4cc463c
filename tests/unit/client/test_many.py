"""Many keys in one command, and their replies by key; the same by both builds, and as hiredis writes it."""

from __future__ import annotations

import os
import sys
from typing import Any

import hiredis
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.client import many
from holdfast.client.values import MAGIC, Values, with_header
from holdfast.client.wire import pack

IS_WRITTEN = "tests.unit.codec.written" in sys.modules
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


class Longer(str):
    """Text that lies about its length: counted by its word, the next command would be read out of it."""

    def __len__(self) -> int:
        return 1


def test_which_build_this_is() -> None:
    assert many.is_compiled() == (not str(many.__file__).endswith(".py"))
    if IS_WRITTEN:
        assert not many.is_compiled()
    elif os.environ.get("HOLDFAST_REQUIRE_COMPILED") == "1":
        assert many.is_compiled()


@given(st.lists(TEXT, max_size=20))
def test_it_is_sent_as_hiredis_writes_it(keys: list[str]) -> None:
    assert many.mget(keys) == pack(("MGET", *keys))


@pytest.mark.parametrize("size", [0, 1, 9, 10, 99, 100, 255, 256, 257, 70_000])
@pytest.mark.parametrize("letter", ["k", "é", "漢", "😀"])
def test_keys_are_counted_in_bytes(letter: str, size: int) -> None:
    keys = [letter * size, "next"]
    assert many.mget(keys) == pack(("MGET", *keys))


def test_text_of_another_class_is_not_counted_by_its_own_word() -> None:
    keys = [Longer("a\r\nFLUSHALL"), "b"]
    assert many.mget(list(keys)) == pack(("MGET", *keys))
    assert b"$11\r\na\r\nFLUSHALL\r\n" in many.mget(list(keys))


def test_what_cannot_be_sent_is_not() -> None:
    with pytest.raises(UnicodeEncodeError):
        many.mget(["bill:\ud800"])


def test_values_come_by_key_and_what_is_not_there_does_not() -> None:
    assert many.by_key(["a", "b", "c"], [b"1", None, b""], None) == {"a": b"1", "c": b""}
    assert many.by_key(["a", "b"], [b"1", b"[2]"], orjson.loads) == {"a": 1, "b": [2]}
    assert many.by_key(["a", "a"], [b"1", b"1"], None) == {"a": b"1"}
    assert many.by_key([], [], None) == {}


@pytest.mark.parametrize(
    "replies",
    [
        [b"1", MAGIC],
        [b"1", with_header(0, b"2")],
        [b"1", 2],
        [b"1", "2"],
        [b"1", [b"2"]],
        [b"1", hiredis.ReplyError("ERR")],
        [b"1"],
        [b"1", b"2", b"3"],
    ],
    ids=repr,
)
def test_what_is_no_bare_value_has_to_be_looked_at(replies: list[Any]) -> None:
    assert many.by_key(["a", "b"], replies, None) is None


@pytest.mark.parametrize("raw", [b"\xc1", b"\xc1I", b"H\xc1", b"\xc2H"])
def test_bytes_that_only_resemble_a_header_are_values(raw: bytes) -> None:
    assert many.by_key(["a"], [raw], None) == {"a": raw}


def test_what_a_decoder_cannot_read_has_to_be_looked_at() -> None:
    with pytest.raises(orjson.JSONDecodeError):
        many.by_key(["a"], [b"{"], orjson.loads)
    values = Values("n")
    assert values.by_key(["a", "b"], [b"1", b"{"]) is None
    assert values.by_key(["a", "b"], [b"1", None]) == {"a": 1}
    assert Values("n", "bytes").by_key(["a"], [b"{"]) == {"a": b"{"}
