"""How a comparison is made: what counts as the same, how long is waited, how fast, and what is left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from holdfast.compare.judge import Tolerance
from holdfast.compare.pace import PaceLimits
from holdfast.compare.settle import Patience


@dataclass(frozen=True)
class Options:
    """How to compare."""

    tolerance: Tolerance = Tolerance()
    patience: Patience = Patience()
    pace: PaceLimits = PaceLimits()
    databases: Mapping[int, int] | None = None
    """Database of the first side -> of the second; each to its own number without it."""
    ignore: tuple[bytes, ...] = ()
    """Keys that begin so are nobody's data (a migration's own marks)."""
    batch_keys: int = 1000
    window: int = 4
    """Batches in flight for each shard."""
    suspects_at_most: int = 20_000
    """While so many wait to settle, no new keys are looked at."""
    listed_at_most: int = 1_000
