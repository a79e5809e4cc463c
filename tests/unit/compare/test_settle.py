"""What becomes of a key that looked different, by the second."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from holdfast.compare.judge import Difference, Kind
from holdfast.compare.settle import Fate, Glance, Patience, suspect, weigh

APART = Difference(Kind.VALUE, "its value differs")
PATIENCE = Patience(settle_s=1.0, give_up_s=20.0)


def followed(glance_at: Callable[[float], Glance]) -> tuple[Fate, float]:
    """The fate of a key that looks like that at each moment, and when it was known."""
    now = 100.0
    seen = suspect(b"k", 0, now, PATIENCE)
    while True:
        assert now < 200, "a suspect has to come to an end"
        now = seen.next_s
        fate, seen = weigh(seen, glance_at(now - 100), now, PATIENCE)
        if fate is not Fate.WAIT:
            return fate, now - 100
        assert seen.next_s > now


def digest(number: float) -> bytes:
    return b"%d" % int(number)


def test_what_is_the_same_later_only_lagged() -> None:
    fate, after_s = followed(lambda at: Glance(APART if at < 0.6 else None, b"2", b"1"))
    assert fate is Fate.SAME
    assert after_s < 1


def test_what_stays_unequal_and_unchanged_for_longer_than_the_lag_differs() -> None:
    fate, after_s = followed(lambda at: Glance(APART, b"2", b"1"))
    assert fate is Fate.DIFFERS
    assert 1 <= after_s < 2


def test_it_differs_a_lag_after_its_last_change() -> None:
    fate, after_s = followed(lambda at: Glance(APART, digest(min(at, 5)), b"x"))
    assert fate is Fate.DIFFERS
    assert after_s > 3


def test_a_key_that_changes_on_both_sides_at_every_look_is_told_apart() -> None:
    fate, after_s = followed(lambda at: Glance(APART, digest(at * 1000), digest(at * 1000 - 50)))
    assert fate is Fate.CHANGING
    assert 20 <= after_s < 22


def test_a_second_side_that_stands_still_does_not_follow() -> None:
    fate, after_s = followed(lambda at: Glance(APART, digest(at * 1000), b"old"))
    assert fate is Fate.DIFFERS
    assert after_s < 5


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=200))
def test_every_suspect_ends_and_equality_always_ends_it(values: list[tuple[int, int]]) -> None:
    looks = iter(values)

    def glance(at: float) -> Glance:
        one, other = next(looks, (0, 1))
        return Glance(None if one == other else APART, digest(one), digest(other))

    fate, after_s = followed(glance)
    assert after_s < 23
    assert fate is not Fate.WAIT
