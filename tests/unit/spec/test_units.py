"""Texts with units, both ways."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.spec.units import duration_text, parse_duration_ms, parse_size_bytes, size_text


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("256mb", 256 << 20),
        ("5gb", 5 << 30),
        ("1k", 1000),
        ("1kb", 1024),
        ("1.5gb", 3 << 29),
        ("0", 0),
        ("12", 12),
        ("7 MB", 7 << 20),
        ("9b", 9),
    ],
)
def test_sizes_mean_what_the_engines_mean(text: str, size_bytes: int) -> None:
    assert parse_size_bytes(text) == size_bytes


@pytest.mark.parametrize(
    "text",
    ["", "mb", "5 gigs", "-1mb", "1.5b", "1e9", "\u0665mb", "5mb5", "9" * 30 + "gb", "99999999tb", "0.1kb"],
)
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"size|bytes|machine"):
        parse_size_bytes(text)


@pytest.mark.parametrize(
    ("text", "duration_ms"),
    [
        ("500ms", 500),
        ("30s", 30_000),
        ("15m", 900_000),
        ("4h", 14_400_000),
        ("30d", 2_592_000_000),
        ("1h30m", 5_400_000),
        ("1.5s", 1500),
        ("0", 0),
        ("2w", 1_209_600_000),
    ],
)
def test_durations(text: str, duration_ms: int) -> None:
    assert parse_duration_ms(text) == duration_ms


@pytest.mark.parametrize(
    "text", ["", "5", "s", "5 minutes", "-5s", "5s!", "1h 30", "\u0663s", "999999d", "5S5"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"duration|100 years"):
        parse_duration_ms(text)


@given(st.integers(min_value=0, max_value=(1 << 62)))
def test_every_size_survives_its_text(size_bytes: int) -> None:
    assert parse_size_bytes(size_text(size_bytes)) == size_bytes


@given(st.integers(min_value=0, max_value=10**12))
def test_every_duration_survives_its_text(duration_ms: int) -> None:
    assert parse_duration_ms(duration_text(duration_ms)) == duration_ms


@given(st.text(max_size=20))
def test_any_text_is_read_or_refused_as_a_value(text: str) -> None:
    for parse in (parse_size_bytes, parse_duration_ms):
        with contextlib.suppress(ValueError):
            assert parse(text) >= 0
