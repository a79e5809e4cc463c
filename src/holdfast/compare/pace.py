"""Decides how hard a server may be read, from how quickly it answers a PING meanwhile. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

GROWTH = 1.25
CUT = 0.5
SLOWEST_KEYS_PER_S = 500.0
FASTEST_KEYS_PER_S = 10_000_000.0
LOOKS, LOOKS_LEAST = 5, 3
"""The median of so many newest answers is judged."""


@dataclass(frozen=True)
class PaceLimits:
    """What the reader may cost the server that is read."""

    added_ms: float = 3.0
    """How much longer than undisturbed a PING may take (the median of the newest looks)."""
    keys_per_s: float = FASTEST_KEYS_PER_S
    """Never faster than this, whatever the server stands."""


@dataclass(frozen=True)
class Pace:
    """The rate at which keys are asked for, and what it was learnt from."""

    limits: PaceLimits
    alone_ms: float
    """A PING while nothing was read, when that was last tried."""
    keys_per_s: float
    newest_ms: tuple[float, ...] = ()
    slowed: int = 0
    """How often the rate was cut."""

    @property
    def median_ms(self) -> float:
        """Of the newest looks."""
        newest = sorted(self.newest_ms[-LOOKS:])
        return newest[len(newest) // 2] if newest else 0.0

    @property
    def is_too_slow(self) -> bool:
        """Whether the server answers so late that reading has to pause, to see whether that is the reading's doing."""
        return len(self.newest_ms) >= LOOKS_LEAST and self.median_ms > self.alone_ms + self.limits.added_ms


def opening(limits: PaceLimits, alone_ms: float) -> Pace:
    """Full speed: the first answers say soon whether that is too much."""
    return Pace(limits, alone_ms, limits.keys_per_s)


def heard(pace: Pace, answer_ms: float) -> Pace:
    """The pace after one more PING. Quick answers let it grow; slow ones are for `judged`."""
    after = replace(pace, newest_ms=(*pace.newest_ms, answer_ms)[-LOOKS:])
    if len(after.newest_ms) < LOOKS_LEAST or after.is_too_slow:
        return after
    return replace(
        after,
        keys_per_s=min(pace.limits.keys_per_s, pace.keys_per_s * GROWTH),
        alone_ms=min(pace.alone_ms, after.median_ms),  # others that kept the server busy have gone
    )


def judged(pace: Pace, alone_ms: float, running_keys_per_s: float) -> Pace:
    """The pace after answers were too slow, and nothing was read for a moment.

    Args: `alone_ms`, a PING in that moment. When it is as slow, others keep the server (or the way to it) busy, and reading
        less would help nobody; `running_keys_per_s`, how fast keys were really read: a cut starts from there, for a limit
        that is far above what is done would take long to bite.
    """
    after = replace(pace, alone_ms=alone_ms, newest_ms=())
    if pace.median_ms <= alone_ms + pace.limits.added_ms:
        return after
    wanted = max(SLOWEST_KEYS_PER_S, min(pace.keys_per_s, running_keys_per_s) * CUT)
    return replace(after, keys_per_s=wanted, slowed=pace.slowed + 1)
