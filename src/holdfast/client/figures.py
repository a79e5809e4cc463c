"""What the client counts about itself: plain numbers, always on, cheap; exporters read them when they are asked."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

BOUNDS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 1.0)


@dataclass(slots=True)
class Spread:
    """How many measurements were at or below each bound."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    total_s: float = 0.0
    last_s: float = 0.0

    def add(self, took_s: float) -> None:
        self.total_s += took_s
        self.last_s = took_s
        for index, bound in enumerate(BOUNDS_S):
            if took_s <= bound:
                self.counts[index] += 1
                return
        self.counts[-1] += 1


@dataclass(slots=True)
class Figures:
    """Since the cache was opened. Counted without a lock: under many threads a count may miss a few."""

    hits_l2: int = 0
    misses: int = 0
    loads: int = 0
    load_failures: int = 0
    shared_loads: int = 0
    """Callers that waited for another's load instead of loading."""
    early_refreshes: int = 0
    stale_serves: int = 0
    negative_hits: int = 0
    lease_waits: int = 0
    stores_refused: int = 0
    """Loaded values not stored because the key was changed or deleted meanwhile."""
    store_failures: int = 0
    unreadable: int = 0
    replica_fallbacks: int = 0
    retries: int = 0
    redirects: int = 0
    unavailable: int = 0
    links_lost: int = 0
    invalidation_lag: Spread = field(default_factory=Spread)
    """From this client's own writes to the invalidation that follows them."""

    def as_dict(self) -> dict[str, int]:
        """The counters by name."""
        return {name: value for name, value in asdict(self).items() if isinstance(value, int)}
