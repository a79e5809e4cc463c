"""Key patterns: their globs, their keys, and whether two can claim one key."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.spec.pattern import KeyPattern


def test_a_pattern_taken_apart() -> None:
    pattern = KeyPattern.parse("bill:inquiry:{customerId}:{month}")
    assert pattern.fields == ("customerId", "month")
    assert pattern.glob == "bill:inquiry:*:*"
    assert pattern.prefix == "bill:inquiry:"
    assert pattern.hash_tag is None
    assert pattern.key(customerId="C1", month=202609) == "bill:inquiry:C1:202609"
    assert pattern.match("bill:inquiry:C1:202609") == {"customerId": "C1", "month": "202609"}
    assert pattern.match("bill:inquiry:C1") is None
    assert pattern.match("bill:inquiry:C1:2:3") is None


def test_double_braces_are_the_hash_tag_and_stay_in_the_key() -> None:
    pattern = KeyPattern.parse("cart:{{userId}}:items")
    assert pattern.hash_tag == "userId"
    assert pattern.glob == "cart:{*}:items"
    assert pattern.key(userId=42) == "cart:{42}:items"
    assert pattern.match("cart:{42}:items") == {"userId": "42"}
    assert pattern.match("cart:42:items") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{a}",
        "{{a}}",
        "a b",
        "a:{x",
        "a:{x}{y}",
        "a:{x}:{x}",
        "a:*",
        "a:[x]",
        "a:{{x}}:{{y}}",
        "a:{}",
        "a:{1x}",
        'a"',
        "a\n",
        "ä:{x}",
        "a\\b",
        "a:{{{x}}}",
    ],
)
def test_what_could_mean_two_things_is_refused(text: str) -> None:
    with pytest.raises(
        ValueError, match=r"pattern|matches every key|more than once|hash tags|nothing between"
    ):
        KeyPattern.parse(text)


@pytest.mark.parametrize("values", [{}, {"userId": ""}, {"userId": "a:b"}, {"other": "1"}])
def test_a_key_is_never_made_of_what_does_not_fit(values: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"wants|does not fit"):
        KeyPattern.parse("cart:{userId}").key(**values)


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        ("a:{x}", "a:{y}", True),
        ("a:{x}", "a:{x}:{y}", False),
        ("a:{x}", "a:b", True),
        ("a:{x}", "b:{x}", False),
        ("a:b{x}", "a:{x}c", True),
        ("a:b{x}", "a:c{x}", False),
        ("a:{x}:c", "a:b:{y}", True),
        ("a:{{x}}", "a:{x}", True),
        ("a:{{x}}", "a:b", False),
        ("user:{id}", "user:profile:{id}", False),
        ("x{a}y", "xy", False),
        ("x{a}y", "xyy", True),
    ],
)
def test_two_patterns_overlap_when_one_key_fits_both(one: str, other: str, meet: bool) -> None:
    assert KeyPattern.parse(one).overlaps(KeyPattern.parse(other)) is meet
    assert KeyPattern.parse(other).overlaps(KeyPattern.parse(one)) is meet


PIECES = st.lists(st.sampled_from(["a", "b", ":", "{f}"]), min_size=1, max_size=5)


def _pattern(pieces: list[str]) -> KeyPattern | None:
    names = iter("pqrst")
    try:
        return KeyPattern.parse(
            "".join(piece if piece != "{f}" else f"{{{next(names)}}}" for piece in pieces)
        )
    except ValueError:
        return None


def _every_key(length: int) -> list[str]:
    keys = [""]
    for _ in range(length):
        keys += [key + letter for key in keys for letter in "ab:" if len(key) == len(keys[-1])]
    return keys


KEYS = _every_key(6)


@given(PIECES, PIECES)
def test_overlap_is_what_trying_every_short_key_says(one_pieces: list[str], other_pieces: list[str]) -> None:
    one, other = _pattern(one_pieces), _pattern(other_pieces)
    if one is None or other is None:
        return
    tried = any(one.match(key) is not None and other.match(key) is not None for key in KEYS)
    if tried:
        assert one.overlaps(other)
    elif len(one_pieces) + len(other_pieces) <= 6:
        assert not one.overlaps(other)


@given(PIECES, st.sampled_from(KEYS))
def test_match_is_what_a_regular_expression_says(pieces: list[str], key: str) -> None:
    pattern = _pattern(pieces)
    if pattern is None:
        return
    spelt = "".join("([^:]+?)" if piece == "{f}" else re.escape(piece) for piece in pieces)
    found = re.fullmatch(spelt, key)
    assert pattern.match(key) == (dict(zip(pattern.fields, found.groups(), strict=True)) if found else None)


def test_long_patterns_and_keys_take_no_long_time() -> None:
    started_s = time.monotonic()
    many = KeyPattern.parse("-".join(f"a{{f{number}}}" for number in range(60)))
    assert many.match("a" * 50_000) is None
    assert many.overlaps(KeyPattern.parse("a{x}a"))
    assert many.opens(KeyPattern.parse("a" * 500)) is False
    assert time.monotonic() - started_s < 2


def test_the_engines_star_crosses_colons() -> None:
    short, long, apart = (
        KeyPattern.parse(text) for text in ("user:{id}", "user:{id}:cart:{item}", "order:{id}")
    )
    assert short.opens(long)
    assert not long.opens(short)
    assert not short.opens(apart)
    assert re.fullmatch(short.glob.replace("*", ".*"), "user:1:cart:2")
