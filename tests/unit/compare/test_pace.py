"""How the reading follows the server's answers."""

from __future__ import annotations

from holdfast.compare.pace import SLOWEST_KEYS_PER_S, Pace, PaceLimits, heard, opening

LIMITS = PaceLimits(added_ms=3.0)


def after(pace: Pace, answers_ms: list[float], running: float) -> Pace:
    for answer_ms in answers_ms:
        pace = heard(pace, answer_ms, running)
    return pace


def test_quick_answers_cost_no_speed() -> None:
    pace = after(opening(LIMITS, 0.2), [0.5] * 50, 100_000)
    assert pace.keys_per_s == LIMITS.keys_per_s
    assert pace.slowed == 0


def test_one_slow_answer_is_an_accident() -> None:
    assert after(opening(LIMITS, 0.2), [0.2, 0.2, 90.0, 0.2, 0.2], 100_000).slowed == 0


def test_slow_answers_halve_what_is_really_done() -> None:
    pace = after(opening(LIMITS, 0.2), [9.0] * 3, 100_000)
    assert pace.slowed == 1
    assert pace.keys_per_s == 50_000


def test_it_never_stops_altogether_and_recovers() -> None:
    slow = after(opening(LIMITS, 0.2), [90.0] * 500, 100)
    assert slow.keys_per_s == SLOWEST_KEYS_PER_S
    assert after(slow, [0.2] * 100, 500).keys_per_s == LIMITS.keys_per_s


def test_a_given_limit_is_never_passed() -> None:
    limits = PaceLimits(keys_per_s=1000)
    assert after(opening(limits, 0.2), [0.1] * 100, 1000).keys_per_s == 1000
