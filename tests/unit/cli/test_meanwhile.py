"""What supervisors brought back by themselves while a command ran, told once."""

from __future__ import annotations

from holdfast.cli.meanwhile import losses

SINCE = "2026-11-22T02:00:00.000+00:00"
BEFORE, AFTER = "2026-11-22T01:59:59.999+00:00", "2026-11-22T02:00:00.500+00:00"


def lost(node: str, *, at: str = AFTER, keeps_all: bool = False) -> dict[str, object]:
    return {
        "kind": "lost",
        "node": node,
        "at": at,
        "comes_back_with": "nothing: none of its data is on disk",
        "keeps_all": keeps_all,
    }


def test_what_came_back_short_is_told_once_for_each_node() -> None:
    assert losses([lost("n1"), lost("n1")], SINCE, ()) == [
        "n1 comes back with nothing: none of its data is on disk"
    ]


def test_what_was_before_or_lost_nothing_is_not_told() -> None:
    assert losses([lost("n1", at=BEFORE), lost("n2", keeps_all=True)], SINCE, ()) == []


def test_what_the_plan_has_told_is_not_told_again() -> None:
    told = ["n1, n2 come back empty: none of their data is on disk"]
    assert losses([lost("n1"), lost("n2"), lost("n12")], SINCE, told) == [
        "n12 comes back with nothing: none of its data is on disk"
    ]


def test_what_a_file_that_was_cut_off_cost_is_told() -> None:
    event = {
        "kind": "restarted",
        "node": "n3",
        "at": AFTER,
        "left_out": True,
        "why": "left out 12 bytes at its end",
    }
    assert losses([event], SINCE, ()) == ["n3 left out 12 bytes at its end"]
