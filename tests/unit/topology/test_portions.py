"""Batches of keys that move: bounded by bytes, each key once, in order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.topology.resharding import portions


@given(st.lists(st.integers(0, 300), max_size=60), st.integers(1, 300))
def test_every_key_goes_once_and_no_batch_of_several_is_too_large(sizes: list[int], at_most: int) -> None:
    keys = [f"k{number}" for number in range(len(sizes))]
    found = portions(keys, sizes, at_most)
    assert [key for part in found for key in part] == keys
    of = dict(zip(keys, sizes, strict=True))
    assert all(part for part in found)
    assert all(len(part) == 1 or sum(of[key] for key in part) <= at_most for part in found)


def test_a_value_larger_than_a_batch_goes_alone() -> None:
    assert portions(["a", "b", "c"], [10, 5_000_000, 10]) == [["a"], ["b"], ["c"]]
    assert portions([], []) == []
