"""A machine without a majority ends its primaries before any other may replace them."""

import pytest

from holdfast.supervisor.lease import MARGIN_S, TOGETHER_S, Ballot, Lease, lease_s

LASTS_S = 3.0


def lease(own: str = "a", machines: tuple[str, ...] = ("a", "b", "c")) -> Lease:
    return Lease(own, machines, LASTS_S, began_s=0.0)


def test_one_answer_of_two_others_keeps_the_lease_of_three_and_none_loses_it() -> None:
    mine = lease()
    mine.answered_s = {"b": 10.0, "c": 0.0}
    assert mine.holds(12.9)
    assert not mine.holds(13.1)


@pytest.mark.parametrize("machines", [("a",), ("a", "b")])
def test_with_fewer_than_three_machines_no_lease_counts_and_none_is_lost(machines: tuple[str, ...]) -> None:
    mine = lease(machines=machines)
    assert not mine.counts
    assert mine.holds(1e6)
    assert not mine.majority_holds_gone("b", 1e6, {"a": ["b"]})


def test_a_supervisor_that_has_just_begun_is_given_the_time_of_one_lease() -> None:
    assert lease().holds(LASTS_S - 0.1)
    assert not lease().holds(LASTS_S + 0.1)
    assert not lease().is_gone("b", LASTS_S + 0.1)


@pytest.mark.parametrize("delay_s", [0.0, 0.2, 1.0])
def test_the_others_wait_longer_than_the_one_that_is_cut_off(delay_s: float) -> None:
    """Whatever the way of the last question took: the asker counts from its begin, the asked from its coming."""
    cut, other = lease("a"), lease("b")
    cut.answered_s = {"b": 100.0, "c": 0.0}
    other.heard_s = {"a": 100.0 + delay_s}
    ended_s = next(now / 10 for now in range(1000, 2000) if not cut.holds(now / 10))
    replaced_s = next(now / 10 for now in range(1000, 2000) if other.is_gone("a", now / 10))
    assert replaced_s - ended_s >= MARGIN_S - 0.2


def test_a_question_whose_answer_was_lost_renews_nothing() -> None:
    cut, other = lease("a"), lease("b")
    cut.answered_s = {"b": 10.0, "c": 10.0}
    other.heard_s = {"a": 40.0}  # a link that is cut one way: questions come, answers do not
    assert not cut.holds(41.0)
    assert not other.is_gone("a", 41.0)


def test_only_a_majority_of_all_machines_holds_one_for_gone() -> None:
    mine = lease(machines=("a", "b", "c", "d", "e"))
    mine.heard_s = {"e": 0.0}
    assert not mine.majority_holds_gone("e", 100.0, {"b": ["e"], "c": []})
    assert mine.majority_holds_gone("e", 100.0, {"b": ["e"], "c": ["e", "d"]})
    assert not mine.majority_holds_gone("e", 100.0, {"stranger": ["e"], "b": ["e"]})
    mine.heard_s["e"] = 99.0
    assert not mine.majority_holds_gone("e", 100.0, {"b": ["e"], "c": ["e"], "d": ["e"]})


def test_a_supervisor_that_ended_before_its_node_fell_silent_honours_no_lease() -> None:
    mine = lease()
    mine.heard_s = {"b": 50.0}
    assert mine.fell_silent_together("b", node_heard_s=50.0 + TOGETHER_S)
    assert not mine.fell_silent_together("b", node_heard_s=50.1 + TOGETHER_S)


def test_a_vote_is_given_once_until_it_has_lapsed() -> None:
    ballot = Ballot(lasts_s=15.0)
    assert ballot.give("a", 0.0)
    assert not ballot.give("b", 14.0)
    assert ballot.give("a", 14.0)
    assert not ballot.give("b", 28.0)
    assert ballot.give("b", 30.0)


def test_a_lease_ends_before_sentinels_elect_another() -> None:
    assert lease_s(5000) < 5.0
    assert lease_s(100) >= 2.0
