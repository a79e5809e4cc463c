"""A value kept in this process's memory, and the look that says whether it may still be served; compiled where it can be."""

from __future__ import annotations

import time  # compiled, the clocks are asked without Python in between
import time as coarse
from typing import Any

NEVER = float("-inf")
GONE = object()
"""From a look that found nothing which may be served."""


class Trust:
    """Until when (monotonic) entries read from one node may be served; made anew for each life of its link."""

    __slots__ = ("until",)

    def __init__(self, until: float = NEVER) -> None:
        self.until = until


class Entry:
    """A value in the first tier."""

    __slots__ = ("hits", "owner", "size", "trust", "until", "value")

    def __init__(self, value: Any, owner: object, until: float, trust: Trust, size: int) -> None:
        self.value, self.owner, self.until, self.trust, self.size = value, owner, until, trust, size
        self.hits = 0
        """Since the clock's hand last came by: counts hits, and keeps the entry when it is not 0."""


class View:
    """What is kept for one owner, by key."""

    __slots__ = ("entries",)

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}

    def look(self, key: Any) -> Any:
        """The value of a key while it may be served, else GONE; counts the hit. Takes no lock."""
        if type(key) is not str:
            return GONE
        entry = self.entries.get(key)
        if entry is None:
            return GONE
        # Ends that are a quarter of a second off and more are held against a coarse clock: compiled, on Linux, that is the
        # kernel's last tick (4 ms ago at most) and costs a fifth. A value would be served too long only if ticks stood
        # still for all that time while this process ran on, and the link broke in the same moment.
        now = coarse.monotonic() + 0.25
        if now >= entry.until or now >= entry.trust.until:
            now = time.monotonic()
            if now >= entry.until or now >= entry.trust.until:
                return GONE
        entry.hits += 1
        return entry.value


def is_compiled() -> bool:
    """Whether the compiled twin of this module is in charge."""
    return not __file__.endswith(".py")
