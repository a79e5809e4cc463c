"""Decides what becomes of a key that looked different: the same after all, different for good, or never at rest. Pure.

Under live writes the second side is always a little behind, so one look proves nothing. A key is looked at again until its
two values are equal once (it follows), or both stay as they are for longer than the lag (it differs), or the bound of
patience is reached while it still changes (it is told apart: nothing is proven about it).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from holdfast.compare.judge import Difference

HISTORY = 8
"""Values of the first side that are remembered, as digests, to see whether the second follows."""


class Fate(StrEnum):
    """What is known about a suspect after a look."""

    WAIT = "wait"
    SAME = "same"
    DIFFERS = "differs"
    CHANGING = "changing"
    """It was written all the time and never seen equal, though the second side moves too."""


@dataclass(frozen=True)
class Patience:
    """How long a suspect is given, in seconds."""

    settle_s: float = 1.0
    """Longer than the lag: both values unchanged for so long, and unequal, are different."""
    give_up_s: float = 20.0
    """After this a key that still changes is reported as changing."""


@dataclass(frozen=True)
class Glance:
    """One look at a suspect: what differs, and a digest of each side's value."""

    difference: Difference | None
    first: bytes
    second: bytes


@dataclass(frozen=True)
class Suspect:
    """A key that looked different, and what has been seen since."""

    key: bytes
    database: int
    since_s: float
    next_s: float
    difference: Difference | None = None
    first: bytes = b""
    second: bytes = b""
    still_since_s: float = 0.0
    """Since when neither side has changed."""
    second_still_since_s: float = 0.0
    looks: int = 0
    history: tuple[bytes, ...] = ()
    """The newest digests of the first side, oldest first."""


def suspect(key: bytes, database: int, now_s: float, patience: Patience) -> Suspect:
    """A key just seen to differ; it is looked at again when the lag should have passed."""
    return Suspect(key, database, now_s, now_s + patience.settle_s / 4)


def weigh(seen: Suspect, glance: Glance, now_s: float, patience: Patience) -> tuple[Fate, Suspect]:
    """What follows from one more look at a suspect.

    Returns: the fate, and the suspect with the look in it; with WAIT, its `next_s` says when to look again.
    """
    if glance.difference is None:
        return Fate.SAME, seen
    first_time = seen.looks == 0
    moved_first = first_time or glance.first != seen.first
    moved_second = first_time or glance.second != seen.second
    history = (*seen.history, glance.first)[-HISTORY:] if moved_first else seen.history
    after = replace(
        seen,
        difference=glance.difference,
        first=glance.first,
        second=glance.second,
        still_since_s=now_s if moved_first or moved_second else seen.still_since_s,
        second_still_since_s=now_s if moved_second else seen.second_still_since_s,
        looks=seen.looks + 1,
        history=history,
        next_s=now_s + patience.settle_s / (4 if seen.looks < 4 else 2),
    )
    if now_s - after.still_since_s >= patience.settle_s:
        return Fate.DIFFERS, after
    if _left_behind(after, now_s, patience):
        return Fate.DIFFERS, after
    if now_s - seen.since_s >= patience.give_up_s:
        return Fate.CHANGING, after
    return Fate.WAIT, after


def restless(seen: Suspect) -> bool:
    """Whether the key has changed on the first side at nearly every look."""
    return len(seen.history) >= min(seen.looks, HISTORY) - 1 > 0


def _left_behind(seen: Suspect, now_s: float, patience: Patience) -> bool:
    """Whether the first side goes on while the second stands still at a value that the first has long left."""
    stood_s = now_s - seen.second_still_since_s
    return stood_s >= 3 * patience.settle_s and len(seen.history) >= 3 and seen.second not in seen.history
