"""What to do when a node fails: breaker, retry budget, backoff, early refresh and jitter (pure: time and chance come in)."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from enum import StrEnum

BREAKER_FAILURES = 5
BREAKER_OPEN_S = 60.0
BREAKER_TRIALS = 3
"""The seeds' numbers: five failures in a row open it, for 60 s, then three calls must do well."""
FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 0.008, 0.5
BUDGET_SHARE, BUDGET_MOST = 0.2, 20.0
KEPT_OFFSETS = 64


class BreakerState(StrEnum):
    """Whether a node is asked."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(slots=True)
class Breaker:
    """One node's. A proof of life from elsewhere (its watcher reached it) ends the wait of an open one early."""

    failures_to_open: int = BREAKER_FAILURES
    open_s: float = BREAKER_OPEN_S
    trials: int = BREAKER_TRIALS
    failures: int = 0
    opened: int = 0
    """How often it has opened."""
    _open_until: float = 0.0
    _trials_begun: int = 0
    _trials_done: int = 0
    _half_open: bool = False

    def allows(self, now: float) -> bool:
        """Whether a call may be made now; one that is allowed while half open counts as a trial."""
        if self.failures < self.failures_to_open:
            return True
        if not self._half_open:
            if now < self._open_until:
                return False
            self._half_open, self._trials_begun, self._trials_done = True, 0, 0
        if self._trials_begun >= self.trials:
            if now < self._open_until + self.open_s:
                return False
            self._trials_begun = self._trials_done = 0  # the trials were given up half-way: others may try
            self._open_until = now
        self._trials_begun += 1
        return True

    def succeeded(self) -> None:
        """A call got an answer, whatever it says."""
        if self._half_open:
            self._trials_done += 1
            if self._trials_done < self.trials:
                return
            self._half_open = False
        self.failures = 0

    def failed(self, now: float) -> None:
        """A call got no answer."""
        self.failures += 1
        if self._half_open or self.failures == self.failures_to_open:
            self.failures = max(self.failures, self.failures_to_open)
            self._half_open = False
            self._open_until = now + self.open_s
            self.opened += 1

    def seen_alive(self, now: float) -> None:
        """The node's watcher has an answer from it: trials may begin at once, and again where some were given up."""
        if self.failures >= self.failures_to_open:
            self._open_until = min(self._open_until, now)
            self._trials_begun = self._trials_done

    @property
    def on_trial(self) -> bool:
        """Whether it is half open."""
        return self._half_open

    def state(self, now: float) -> BreakerState:
        """For figures; it changes nothing."""
        if self.failures < self.failures_to_open:
            return BreakerState.CLOSED
        return BreakerState.HALF_OPEN if self._half_open or now >= self._open_until else BreakerState.OPEN


@dataclass(slots=True)
class RetryBudget:
    """Retries are a share of the calls, so that a failing cache is not asked many times more than a healthy one."""

    share: float = BUDGET_SHARE
    most: float = BUDGET_MOST
    left: float = field(default=BUDGET_MOST)
    refused: int = 0

    def earn(self) -> None:
        """A call did well."""
        if self.left < self.most:
            self.left += self.share

    def spend(self) -> bool:
        """Take one retry; False when there is none left."""
        if self.left < 1:
            self.refused += 1
            return False
        self.left -= 1
        return True


def backoff_s(attempt: int, chance: float) -> float:
    """Exponential with full jitter. Args: `attempt` from 0; `chance` from 0 to 1."""
    return min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * (1 << min(attempt, 10))) * chance


def jittered_ms(ttl_ms: int, percent: float, chance: float) -> int:
    """The TTL, shortened by up to that share, so that what was written together does not end together."""
    return max(1, int(ttl_ms * (1 - percent / 100 * chance)))


def early_by_ms(load_ms: int, beta: float, chance: float) -> float:
    """How long before its end this reader takes a value for ended. Source: Vattani and others, VLDB 2015 (XFetch)."""
    return -load_ms * beta * math.log(max(chance, 1e-12))


class Offsets:
    """When primaries had which offsets of their streams: what a replica has of one tells since when it is behind."""

    def __init__(self) -> None:
        self._seen: dict[Hashable, deque[tuple[float, int]]] = {}

    def add(self, primary: Hashable, at: float, offset: int) -> None:
        """At that instant (monotonic) the primary's offset was that, or higher."""
        self._seen.setdefault(primary, deque(maxlen=KEPT_OFFSETS)).append((at, offset))

    def reached_at(self, primary: Hashable, offset: int) -> float:
        """The last instant known at which the primary had nothing beyond `offset`; -inf when there is none."""
        for at, seen in reversed(self._seen.get(primary, ())):
            if seen <= offset:
                return at
        return -math.inf
