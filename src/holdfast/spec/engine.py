"""Which engine may carry the cache: its name, and the versions that will do."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, InstanceOf, PlainSerializer, WithJsonSchema

from holdfast.spec.model import Model

Version = tuple[int, int, int]

_COMPARISON = re.compile(r"(>=|<=|==|=|>|<)?\s*v?(\d{1,6}(?:\.\d{1,6}){0,2})(?=\s|,|$)", re.ASCII)


class EngineName(StrEnum):
    """An engine that Holdfast knows."""

    ANY = "any"
    VALKEY = "valkey"
    REDIS = "redis"


def _padded(parts: tuple[int, ...]) -> Version:
    first, second, third = (*parts, 0, 0)[:3]
    return first, second, third


@dataclass(frozen=True)
class VersionRange:
    """The versions that will do: `any`, a prefix (`8.0` means 8.0.x), or comparisons (`>=8.0 <10`)."""

    text: str
    comparisons: tuple[tuple[str, tuple[int, ...]], ...] = ()

    @classmethod
    def parse(cls, text: str) -> "VersionRange":
        """Read `>=8.0 <10`, `8.0` or `any`; ValueError with an example for anything else."""
        wanted = text.strip()
        if wanted.lower() == "any":
            return cls("any")
        found: list[tuple[str, tuple[int, ...]]] = []
        at = 0
        while at < len(wanted):
            match = _COMPARISON.match(wanted, at)
            if match is None:
                break
            found.append((match[1] or "", tuple(int(part) for part in match[2].split("."))))
            at = match.end()
            while at < len(wanted) and wanted[at] in " ,":
                at += 1
        if not found or at != len(wanted):
            raise ValueError(
                f'{text!r} is not a version range: write for example ">=8.0 <10", "8.0" or "any"'
            )
        spelt = " ".join(f"{sign}{'.'.join(map(str, parts))}" for sign, parts in found)
        return cls(spelt, tuple(found))

    def allows(self, version: Version) -> bool:
        """Whether `version` (major, minor, patch) is one of those wanted."""
        return all(_holds(version, sign, parts) for sign, parts in self.comparisons)


def _holds(version: Version, sign: str, parts: tuple[int, ...]) -> bool:
    """One comparison. An upper bound counts only the parts written: `<=9` takes 9.1.2, `>9` does not."""
    seen = version[: len(parts)]
    match sign:
        case ">=":
            return version >= _padded(parts)
        case "<":
            return version < _padded(parts)
        case "<=":
            return seen <= parts
        case ">":
            return seen > parts
        case _:
            return seen == parts


def _version_range(given: Any) -> Any:
    if isinstance(given, float):
        raise ValueError("a version is a text, for as numbers 8.10 and 8.1 are one: write it in quotes")
    if isinstance(given, int) and not isinstance(given, bool):
        given = str(given)
    return VersionRange.parse(given) if isinstance(given, str) else given


VersionRangeField = Annotated[
    InstanceOf[VersionRange],
    BeforeValidator(_version_range),
    PlainSerializer(lambda wanted: wanted.text, return_type=str, when_used="json"),
    WithJsonSchema({"type": ["string", "integer"], "examples": ["any", "8.0", ">=8.0 <10"]}),
]


class EngineSpec(Model):
    """Which engine carries the cache. Modules are not supported."""

    name: EngineName = EngineName.ANY
    """`valkey`, `redis`, or `any`: the best one found."""
    version: VersionRangeField = VersionRange("any")
    """Versions that will do: `any`, `8.0` (any 8.0.x) or comparisons such as `>=8.0 <10`."""
    path: str | None = Field(default=None, min_length=1, max_length=4096)
    """The server binary to use, where none that Holdfast finds by itself is meant."""
