"""How the reading follows the server's answers."""

from __future__ import annotations

from holdfast.compare.pace import SLOWEST_KEYS_PER_S, Pace, PaceLimits, heard, judged, opening

LIMITS = PaceLimits(added_ms=3.0)


def after(pace: Pace, answers_ms: list[float], alone_ms: float = 0.2, running: float = 100_000) -> Pace:
    """The pace after those answers, with a look while nothing is read whenever they are too slow."""
    for answer_ms in answers_ms:
        pace = heard(pace, answer_ms)
        if pace.is_too_slow:
            pace = judged(pace, alone_ms, running)
    return pace


def test_quick_answers_cost_no_speed() -> None:
    pace = after(opening(LIMITS, 0.2), [0.5] * 50)
    assert pace.keys_per_s == LIMITS.keys_per_s
    assert pace.slowed == 0


def test_one_slow_answer_is_an_accident() -> None:
    assert after(opening(LIMITS, 0.2), [0.2, 0.2, 90.0, 0.2, 0.2]).slowed == 0


def test_answers_slow_by_our_doing_halve_what_is_really_done() -> None:
    pace = after(opening(LIMITS, 0.2), [9.0] * 3)
    assert pace.slowed == 1
    assert pace.keys_per_s == 50_000


def test_answers_as_slow_without_us_cost_no_speed_and_are_what_is_compared_with() -> None:
    pace = after(opening(LIMITS, 0.2), [9.0] * 50, alone_ms=8.0)
    assert (pace.slowed, pace.keys_per_s, pace.alone_ms) == (0, LIMITS.keys_per_s, 8.0)
    assert after(pace, [12.0] * 3, alone_ms=8.0).slowed == 1


def test_a_server_that_others_leave_alone_again_is_held_to_what_it_does_then() -> None:
    pace = after(opening(LIMITS, 8.0), [0.3] * 5)
    assert pace.alone_ms == 0.3
    assert after(pace, [8.0] * 5).slowed == 1


def test_it_never_stops_altogether_and_recovers() -> None:
    slow = after(opening(LIMITS, 0.2), [90.0] * 500, running=100)
    assert slow.keys_per_s == SLOWEST_KEYS_PER_S
    assert after(slow, [0.2] * 100).keys_per_s == LIMITS.keys_per_s


def test_a_given_limit_is_never_passed() -> None:
    limits = PaceLimits(keys_per_s=1000)
    assert after(opening(limits, 0.2), [0.1] * 100).keys_per_s == 1000
