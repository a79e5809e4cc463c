"""Which values are asked for together."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.compare.looks import GROUP_BYTES, Measured, in_groups

BIG = 1 << 20
SIZE = st.one_of(st.none(), st.integers(0, 3 * BIG), st.integers(0, 200))


@given(st.lists(st.tuples(SIZE, SIZE), max_size=60))
def test_every_key_is_in_one_group_and_no_group_is_large(sizes: list[tuple[int | None, int | None]]) -> None:
    first, second = ([pair[side] for pair in sizes] for side in (0, 1))
    ends = [-1] * len(sizes)
    groups = in_groups(Measured(ends, first), Measured(ends, second), BIG)
    assert [place for group in groups for place in group] == list(range(len(sizes)))
    for group in groups:
        for side in (first, second):
            held = sum(size for at in group if (size := side[at]) is not None and size <= BIG)
            assert held <= GROUP_BYTES
