"""A time in which somebody works on a cache: primaries are not switched back by themselves, and alerts are quiet. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Self


@dataclass(frozen=True)
class Maintenance:
    """One such time; it ends by itself."""

    since: str
    """UTC, ISO 8601."""
    until: str
    by: str
    why: str = ""

    @property
    def until_s(self) -> float:
        """Its end in seconds since 1970."""
        return datetime.fromisoformat(self.until).timestamp()

    def holds(self, now: datetime) -> bool:
        """Whether it is not over yet."""
        return now < datetime.fromisoformat(self.until)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Raises: KeyError, TypeError, ValueError."""
        found = cls(str(value["since"]), str(value["until"]), str(value["by"]), str(value["why"]))
        if datetime.fromisoformat(found.until).tzinfo is None:
            raise ValueError("a time without a zone")
        return found
