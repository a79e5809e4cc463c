"""Decides how hard a server may be read, from how quickly it answers a PING meanwhile. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

GROWTH = 1.25
CUT = 0.5
SLOWEST_KEYS_PER_S = 500.0
FASTEST_KEYS_PER_S = 10_000_000.0
REMEMBERED = 20


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
    undisturbed_ms: float
    """A PING before the reading began."""
    keys_per_s: float
    newest_ms: tuple[float, ...] = ()
    slowed: int = 0
    """How often the rate was cut."""


def opening(limits: PaceLimits, undisturbed_ms: float) -> Pace:
    """Full speed: the first answers say soon whether that is too much."""
    return Pace(limits, undisturbed_ms, limits.keys_per_s)


def heard(pace: Pace, answer_ms: float, running_keys_per_s: float) -> Pace:
    """The pace after one more PING.

    Args: `running_keys_per_s`, how fast keys were really read since the last one: a cut starts from there, for a limit that
        is far above what is done would take long to bite.
    """
    newest = (*pace.newest_ms, answer_ms)[-REMEMBERED:]
    after = replace(pace, newest_ms=newest)
    if len(newest) < 3:
        return after
    latest = sorted(newest[-5:])[len(newest[-5:]) // 2]
    if latest > pace.undisturbed_ms + pace.limits.added_ms:
        wanted = max(
            SLOWEST_KEYS_PER_S, min(pace.keys_per_s, max(running_keys_per_s, SLOWEST_KEYS_PER_S)) * CUT
        )
        return replace(after, keys_per_s=wanted, newest_ms=(), slowed=pace.slowed + 1)
    return replace(after, keys_per_s=min(pace.limits.keys_per_s, pace.keys_per_s * GROWTH))
