"""Hostile files: each is refused in bounded time and memory, with a place and a sentence."""

import time

import pytest

from holdfast.spec.document import LARGEST_BYTES, MOST_VALUES, read_document
from holdfast.spec.fault import SpecInvalid
from holdfast.spec.load import SpecSource, load_spec

SLOWEST_S = 20.0
"""Far above what any of these takes; a parser that never ends would pass it."""


def faults_of(*texts: str | bytes) -> list[str]:
    with pytest.raises(SpecInvalid) as refused:
        load_spec([SpecSource(f"f{index}.yaml", text) for index, text in enumerate(texts)])
    return [str(fault) for fault in refused.value.faults]


def test_bytes_that_are_not_utf8_are_named_with_their_place() -> None:
    assert faults_of(b"cache:\n  name: \xff\xfe") == [
        "f0.yaml:2:9: byte 0xff is not UTF-8; save the file as UTF-8 text"
    ]


def test_a_byte_order_mark_and_windows_lines_are_read() -> None:
    loaded = load_spec([SpecSource("f", b"\xef\xbb\xbfcache:\r\n  name: shop\r\n")])
    assert loaded.spec.cache.name == "shop"


def test_a_huge_file_is_refused_unread() -> None:
    (only,) = faults_of(b"a: b\n" * LARGEST_BYTES)
    assert f"more than the {LARGEST_BYTES}" in only


BOMB = "".join(
    [f"a0: &a0 [{', '.join(['x'] * 10)}]\n"]
    + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)]
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &a [*a]\n", "this alias holds itself"),
        ("a: &a {b: *a}\n", "this alias holds itself"),
        ("a: &a\n  b: &b\n    c: *a\n", "this alias holds itself"),
        (BOMB, f"unfold to more than {MOST_VALUES} values"),
        ("cache: !!python/object/apply:os.system [id]\n", "is not used in a spec"),
        ("cache: {name: !secret x}\n", "is not used in a spec"),
        ("<<: {cache: {name: x}}\n", "merge keys (<<) are not part of YAML 1.2"),
        ("? [a]\n: b\n", "a key is a plain text"),
        ("~: b\n", "a key is a plain text"),
        ("a: 1\n---\nb: 2\n", "write one document for one cache"),
        ("a: 'open\n", "not YAML"),
        ("a: *nowhere\n", "not YAML"),
        ("a:\n\t- b\n", "indent with spaces"),
        ("a: \x00\n", "U+0000 may not stand in YAML"),
        ("- a list\n", "not a map of sections"),
        ("just text\n", "not a map of sections"),
        ("", "begin with cache: {name: NAME}"),
        ("# only a comment\n", "begin with cache: {name: NAME}"),
        ("a: " + "{b: " * 30 + "1" + "}" * 30, "nests deeper than 24 levels"),
        ("[" * (LARGEST_BYTES - 1), "nests too deep"),
        ("- " * (LARGEST_BYTES // 2 - 1), "nests too deep"),
        ("{" * 5000, "nests too deep"),
    ],
)
def test_what_is_hostile_is_refused_in_words_and_in_time(text: str, said: str) -> None:
    started_s = time.monotonic()
    faults = faults_of(text)
    assert any(said in fault for fault in faults), faults
    assert time.monotonic() - started_s < SLOWEST_S


def test_aliases_that_unfold_to_little_are_values_like_others() -> None:
    loaded = load_spec(
        [SpecSource("f", "cache: {name: x}\nservices:\n  a: {pool: &p {max_total: 30}}\n  b: {pool: *p}\n")]
    )
    assert loaded.spec.services["b"].pool.max_total == 30


def test_keys_given_twice_are_faults_like_others_and_name_both_lines() -> None:
    faults = faults_of("cache: {name: x}\nmemory:\n  maxmemory: 1gb\n  samples: 0\n  maxmemory: 2gb\n")
    assert faults == [
        "f0.yaml:4:12: memory.samples: 0 is out of bounds; write at least 1",
        "f0.yaml:5:3: memory.maxmemory: this key was already given on line 3; keep one of the two",
    ]


@pytest.mark.parametrize("number", ["9" * 5000, "0x" + "f" * 100, "1e999999", ".inf", ".nan", "1_0", "-5"])
def test_numbers_that_are_no_sizes(number: str) -> None:
    assert faults_of(f"cache: {{name: x}}\nmemory: {{maxmemory: {number}, samples: {number}}}\n")


def test_yaml_1_2_words_are_words() -> None:
    document = read_document(
        "f", "a: off\nb: no\nc: 012\nd: 0o17\ne: 0x1F\nf: 2026-01-01\ng: 12:30\nh: true\ni: 1e3\n"
    )
    assert document.data == {
        "a": "off",
        "b": "no",
        "c": 12,
        "d": 15,
        "e": 31,
        "f": "2026-01-01",
        "g": "12:30",
        "h": True,
        "i": 1000.0,
    }
