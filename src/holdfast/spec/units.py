"""Texts with units become plain numbers here, once, and are written back the same way.

`5gb` -> bytes, `30s` -> milliseconds or seconds, `30d` -> days, `80%` -> percent. Size suffixes mean what the engines
mean by them: `kb mb gb` count in 1024, `k m g` in 1000.
"""

import re
from fractions import Fraction
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, ValidationInfo, WithJsonSchema

FROM_FILE = "holdfast_from_file"
"""Validation context key: set by the loader, so that a file must write the unit where code may pass a number."""

_SIZE_FACTORS = {
    "": 1,
    "b": 1,
    "k": 1000,
    "kb": 1 << 10,
    "m": 10**6,
    "mb": 1 << 20,
    "g": 10**9,
    "gb": 1 << 30,
    "t": 10**12,
    "tb": 1 << 40,
}
_SIZE = re.compile(r"(\d{1,19}(?:\.\d{1,9})?)\s*([kmgt]?b?)", re.ASCII)
_TIME_FACTORS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_TIME_PART = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)\s*(ms|[smhdw])", re.ASCII)
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,9})?)\s*%?", re.ASCII)
DAY_MS = _TIME_FACTORS_MS["d"]


def parse_size_bytes(text: str) -> int:
    """`256mb` -> 268435456. Raises ValueError, with an example, for anything else."""
    match = _SIZE.fullmatch(text.strip().lower())
    if match is None:
        raise ValueError(f"{text!r} is not a size: write for example 256mb or 5gb")
    size = Fraction(match[1]) * _SIZE_FACTORS[match[2]]
    if size.denominator != 1:
        raise ValueError(f"{text!r} is not a whole number of bytes")
    if size >= 1 << 63:
        raise ValueError(f"{text!r} is more than any machine has")
    return int(size)


def size_text(size_bytes: int) -> str:
    """268435456 -> `256mb`: the largest unit that divides it."""
    for suffix in ("tb", "gb", "mb", "kb"):
        if size_bytes and size_bytes % _SIZE_FACTORS[suffix] == 0:
            return f"{size_bytes // _SIZE_FACTORS[suffix]}{suffix}"
    return f"{size_bytes}b" if size_bytes else "0"


def parse_duration_ms(text: str) -> Fraction:
    """`1h30m` -> 5400000 (exact). `0` needs no unit. Raises ValueError, with an example, for anything else."""
    wanted = text.strip().lower()
    if wanted == "0":
        return Fraction(0)
    total, at = Fraction(0), 0
    while at < len(wanted) and (part := _TIME_PART.match(wanted, at)):
        total += Fraction(part[1]) * _TIME_FACTORS_MS[part[2]]
        at = part.end()
    if not wanted or at != len(wanted):
        raise ValueError(f"{text!r} is not a duration: write for example 500ms, 30s, 15m, 4h or 30d")
    if total > DAY_MS * 36_500:
        raise ValueError(f"{text!r} is more than 100 years")
    return total


def duration_text(duration_ms: float) -> str:
    """5400000 -> `90m`: the largest unit that divides it."""
    exact = Fraction(str(duration_ms)) if isinstance(duration_ms, float) else Fraction(duration_ms)
    if exact == 0:
        return "0"
    for suffix in ("d", "h", "m", "s"):
        count = exact / _TIME_FACTORS_MS[suffix]
        if count.denominator == 1:
            return f"{count}{suffix}"
    return f"{float(exact):.9g}ms" if exact.denominator != 1 else f"{exact}ms"


def percent_text(percent: float) -> str:
    """99.99 -> `99.99%`."""
    return f"{percent:.9g}%"


def _size(given: Any) -> Any:
    return parse_size_bytes(given) if isinstance(given, str) else given


def _percent(given: Any) -> Any:
    if not isinstance(given, str):
        return given
    match = _PERCENT.fullmatch(given.strip())
    if match is None:
        raise ValueError(f"{given!r} is not a percentage: write for example 80%")
    return float(match[1])


def _duration(given: Any, info: ValidationInfo, unit_ms: int, unit: str, *, whole: bool) -> Any:
    """A text in the field's own unit; a bare number only from code, for a file does not say what it counts."""
    if isinstance(given, bool):
        raise ValueError("a duration is wanted: write for example 30s")
    if isinstance(given, int | float):
        if given and info.context and info.context.get(FROM_FILE):
            raise ValueError(f"{given} has no unit: write for example {given}s or {given}ms")
        return given
    if not isinstance(given, str):
        return given
    count = parse_duration_ms(given) / unit_ms
    if not whole:
        return float(count)
    if count.denominator != 1:
        raise ValueError(f"{given!r} is not a whole number of {unit}")
    return int(count)


def _milliseconds(given: Any, info: ValidationInfo) -> Any:
    return _duration(given, info, 1, "milliseconds", whole=True)


def _seconds(given: Any, info: ValidationInfo) -> Any:
    return _duration(given, info, 1000, "seconds", whole=True)


def _days(given: Any, info: ValidationInfo) -> Any:
    return _duration(given, info, DAY_MS, "days", whole=True)


def _fractional_milliseconds(given: Any, info: ValidationInfo) -> Any:
    return _duration(given, info, 1, "milliseconds", whole=False)


def _fractional_seconds(given: Any, info: ValidationInfo) -> Any:
    return _duration(given, info, 1000, "seconds", whole=False)


def _seconds_text(duration_s: float) -> str:
    return duration_text(Fraction(str(duration_s)) * 1000)  # type: ignore[arg-type]


def _days_text(days: int) -> str:
    return f"{days}d" if days else "0"


def duration_schema(*words: str) -> WithJsonSchema:
    """The schema of a duration, or of one of `words` instead."""
    pattern = "|".join(["0", r"(\d+(\.\d+)?\s*(ms|s|m|h|d|w)\s*)+", *words])
    return WithJsonSchema(
        {
            "type": ["string", "integer"],
            "pattern": f"^({pattern})$",
            "maximum": 0,
            "examples": ["500ms", "30s", "4h", "30d", *words],
        }
    )


_DURATION_SCHEMA = duration_schema()

Bytes = Annotated[
    int,
    BeforeValidator(_size),
    PlainSerializer(size_text, return_type=str, when_used="json"),
    WithJsonSchema(
        {
            "type": ["string", "integer"],
            "pattern": r"^\d+(\.\d+)?\s*([kmgtKMGT]?[bB]?)$",
            "minimum": 0,
            "examples": ["256mb", "5gb"],
        }
    ),
]
Milliseconds = Annotated[
    int,
    BeforeValidator(_milliseconds),
    PlainSerializer(duration_text, return_type=str, when_used="json"),
    _DURATION_SCHEMA,
]
Seconds = Annotated[
    int,
    BeforeValidator(_seconds),
    PlainSerializer(_seconds_text, return_type=str, when_used="json"),
    _DURATION_SCHEMA,
]
Days = Annotated[
    int,
    BeforeValidator(_days),
    PlainSerializer(_days_text, return_type=str, when_used="json"),
    _DURATION_SCHEMA,
]
FractionalMilliseconds = Annotated[
    float,
    BeforeValidator(_fractional_milliseconds),
    PlainSerializer(duration_text, return_type=str, when_used="json"),
    _DURATION_SCHEMA,
]
FractionalSeconds = Annotated[
    float,
    BeforeValidator(_fractional_seconds),
    PlainSerializer(_seconds_text, return_type=str, when_used="json"),
    _DURATION_SCHEMA,
]
Percent = Annotated[
    float,
    BeforeValidator(_percent),
    PlainSerializer(percent_text, return_type=str, when_used="json"),
    WithJsonSchema(
        {
            "type": ["string", "number"],
            "pattern": r"^\d{1,3}(\.\d+)?\s*%?$",
            "minimum": 0,
            "maximum": 100,
            "examples": ["80%", "99.99%"],
        }
    ),
]
