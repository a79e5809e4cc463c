"""A comparison can be written down at any moment and be gone on from."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.compare.judge import Difference, Kind
from holdfast.compare.report import Found, Lane, Report, StateUnreadable

KEYS = st.binary(max_size=20)
FOUND = st.builds(
    Found,
    st.integers(0, 15),
    KEYS,
    st.builds(Difference, st.sampled_from(Kind), st.text(max_size=5)),
    st.booleans(),
)


@given(
    st.dictionaries(st.text(max_size=9), st.builds(Lane, st.text(max_size=40), st.integers(0, 2**64 - 1))),
    st.lists(st.tuples(st.integers(0, 15), KEYS)),
    st.lists(FOUND),
)
def test_what_is_written_down_is_read_again(
    lanes: dict[str, Lane], suspects: list[tuple[int, bytes]], found: list[Found]
) -> None:
    report = Report(lanes=lanes, suspects=dict.fromkeys(suspects), same=7, took_s=1.5)
    for each in found:
        report.add(each, at_most=10)
    assert Report.resumed(json.loads(json.dumps(report.state()))) == report


@pytest.mark.parametrize(
    "state", [{}, {"format": 9}, {"format": 1, "lanes": [], "suspects": 3, "figures": []}]
)
def test_what_makes_no_sense_is_refused(state: dict[str, object]) -> None:
    with pytest.raises(StateUnreadable, match="start it anew"):
        Report.resumed(state)


def test_the_list_is_bounded_and_the_count_is_not() -> None:
    report = Report()
    for number in range(50):
        report.add(
            Found(0, b"%d" % number, Difference(Kind.MISSING, "gone"), settled=number % 2 == 0), at_most=10
        )
    assert (len(report.listed), report.different, report.changing) == (10, 25, 25)
    assert report.facts()["not_listed"] == 40
