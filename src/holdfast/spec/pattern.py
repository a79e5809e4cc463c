"""A key pattern: the text that every key of a namespace looks like, with named fields in it.

    bill:inquiry:{customerId}:{month}     two fields; a key is bill:inquiry:CUST000001:202609
    cart:{{userId}}:items                 one field, written as the hash tag: a key is cart:{42}:items

Double braces stay as single braces in the key: a cluster then places all keys with the same `userId` together. A field
holds at least one character and no ':'.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Annotated

from pydantic import AfterValidator, StringConstraints, WithJsonSchema

LONGEST_PATTERN = 512
_FIELD = "\x00"
"""Stands for a field inside texts taken apart; no pattern and no sensible key holds it."""
_PART = re.compile(
    r"\{\{([A-Za-z][A-Za-z0-9_]{0,63})\}\}|\{([A-Za-z][A-Za-z0-9_]{0,63})\}|([A-Za-z0-9:._/|@#=+,;!$&~-]+)",
    re.ASCII,
)


@dataclass(frozen=True)
class Literal:
    """Text that every key has at this place."""

    text: str


@dataclass(frozen=True)
class FieldPart:
    """A place that differs from key to key."""

    name: str
    hash_tag: bool = False


@dataclass(frozen=True)
class KeyPattern:
    """What every key of a namespace looks like."""

    text: str
    parts: tuple[Literal | FieldPart, ...]

    @classmethod
    def parse(cls, text: str) -> KeyPattern:
        """Read `bill:inquiry:{customerId}:{month}`; ValueError that says what is wrong and where."""
        parts: list[Literal | FieldPart] = []
        at = 0
        while at < len(text):
            match = _PART.match(text, at)
            if match is None:
                raise ValueError(
                    f"{text!r} is not a key pattern at character {at + 1} ({text[at]!r}): write literal text and fields,"
                    " for example cart:{userId} or cart:{{userId}} for a hash tag"
                )
            parts.append(
                Literal(match[3]) if match[3] else FieldPart(match[1] or match[2], hash_tag=bool(match[1]))
            )
            at = match.end()
        pattern = cls(text, tuple(parts))
        pattern._refuse_ambiguity()
        return pattern

    def _refuse_ambiguity(self) -> None:
        names = self.fields
        if not any(isinstance(part, Literal) for part in self.parts):
            raise ValueError(
                f"{self.text!r} matches every key: begin with text of its own, for example cart:{{userId}}"
            )
        if len(set(names)) != len(names):
            raise ValueError(f"{self.text!r} names a field more than once")
        if sum(isinstance(part, FieldPart) and part.hash_tag for part in self.parts) > 1:
            raise ValueError(f"{self.text!r} has two hash tags: the engines look at the first only")
        for one, next_one in zip(self.parts, self.parts[1:], strict=False):
            bare = isinstance(one, FieldPart) and isinstance(next_one, FieldPart)
            if bare and not (one.hash_tag or next_one.hash_tag):  # type: ignore[union-attr]
                raise ValueError(
                    f"{self.text!r} has two fields with nothing between them: put for example ':' there"
                )

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields, in order."""
        return tuple(part.name for part in self.parts if isinstance(part, FieldPart))

    @property
    def hash_tag(self) -> str | None:
        """The field that decides the slot, where one is marked."""
        return next((part.name for part in self.parts if isinstance(part, FieldPart) and part.hash_tag), None)

    @cached_property
    def glob(self) -> str:
        """The engines' glob for these keys (ACL rules, SCAN MATCH): fields become '*', which also crosses ':'."""
        return "".join(
            part.text if isinstance(part, Literal) else ("{*}" if part.hash_tag else "*")
            for part in self.parts
        )

    @property
    def prefix(self) -> str:
        """Text with which every key begins; may be empty only before a leading field."""
        return self.glob.partition("*")[0]

    @cached_property
    def _segments(self) -> tuple[tuple[str, ...], ...]:
        """Between the colons, which no field crosses: the literal texts around the fields of each segment."""
        spelt = "".join(
            part.text if isinstance(part, Literal) else (f"{{{_FIELD}}}" if part.hash_tag else _FIELD)
            for part in self.parts
        )
        return tuple(tuple(segment.split(_FIELD)) for segment in spelt.split(":"))

    def match(self, key: str) -> dict[str, str] | None:
        """The values of the fields in `key`, or None where it is no key of this pattern. Linear in its length."""
        texts = key.split(":")
        if len(texts) != len(self._segments):
            return None
        values: list[str] = []
        for text, around in zip(texts, self._segments, strict=True):
            found = _between(text, around, shortest=1)
            if found is None:
                return None
            values += found
        return dict(zip(self.fields, values, strict=True))

    def key(self, **values: object) -> str:
        """The key with these field values; ValueError when one is missing, unknown, empty or holds ':'."""
        if set(values) != set(self.fields):
            raise ValueError(
                f"{self.text} wants {', '.join(self.fields) or 'no fields'}, not {', '.join(sorted(values)) or 'nothing'}"
            )
        spelt = {name: str(value) for name, value in values.items()}
        for name, value in spelt.items():
            if not value or ":" in value:
                raise ValueError(
                    f"{name}={value!r} does not fit into {self.text}: a field holds some text without ':'"
                )
        return "".join(
            part.text
            if isinstance(part, Literal)
            else (f"{{{spelt[part.name]}}}" if part.hash_tag else spelt[part.name])
            for part in self.parts
        )

    def overlaps(self, other: KeyPattern) -> bool:
        """Whether some key belongs to both."""
        return len(self._segments) == len(other._segments) and all(
            _meet(one, two) for one, two in zip(self._segments, other._segments, strict=True)
        )

    def opens(self, other: KeyPattern) -> bool:
        """Whether the engines' glob of this pattern also matches keys of `other` ('*' crosses ':' there)."""
        sample = other.glob.replace("*", _FIELD)
        return _between(sample, tuple(self.glob.split("*")), shortest=0) is not None


def _between(text: str, around: tuple[str, ...], shortest: int) -> list[str] | None:
    """What stands in `text` between the literal texts `around`, each gap at least `shortest` long, or None.

    The first place where a literal text fits is always good enough, so one pass decides.
    """
    first, *middle, last = around if len(around) > 1 else (*around, "")
    if len(around) == 1:
        return [] if text == first else None
    if not text.startswith(first):
        return None
    gaps: list[str] = []
    at = len(first)
    for literal in middle:
        found = text.find(literal, at + shortest)
        if found < 0:
            return None
        gaps.append(text[at:found])
        at = found + len(literal)
    end = len(text) - len(last)
    if end < at + shortest or not text.endswith(last):
        return None
    return [*gaps, text[at:end]]


def _meet(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether one text fits both segments. Where both have a field, only their ends can keep them apart: what lies
    between can be written one after the other."""
    if len(one) == 1:
        return _between(one[0], other, shortest=1) is not None
    if len(other) == 1:
        return _between(other[0], one, shortest=1) is not None
    heads = sorted((one[0], other[0]), key=len)
    tails = sorted((one[-1], other[-1]), key=len)
    return heads[1].startswith(heads[0]) and tails[1].endswith(tails[0])


@lru_cache(maxsize=4096)
def parse_pattern(text: str) -> KeyPattern:
    """`KeyPattern.parse`, remembered."""
    return KeyPattern.parse(text)


def _checked(text: str) -> str:
    parse_pattern(text)
    return text


PatternText = Annotated[
    str,
    StringConstraints(max_length=LONGEST_PATTERN),
    AfterValidator(_checked),
    WithJsonSchema(
        {
            "type": "string",
            "maxLength": LONGEST_PATTERN,
            "examples": ["bill:inquiry:{customerId}:{month}", "cart:{{userId}}:items"],
        }
    ),
]
"""A key pattern as text, known to parse."""
