"""Slots as ranges, shares and moves."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.codec.crc import SLOTS
from holdfast.topology.slots import (
    ALL_SLOTS,
    Move,
    SlotRange,
    Slots,
    balancing_moves,
    expand,
    parse_range,
    ranges,
    share,
)

bounded = settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))


@given(st.frozensets(st.integers(0, SLOTS - 1)))
@bounded
def test_ranges_written_and_read_again_are_the_same_slots(slots: Slots) -> None:
    found = ranges(slots)
    assert expand(parse_range(str(each)) for each in found) == slots
    assert sum(len(each) for each in found) == len(slots)
    for one, next_one in pairwise(found):
        assert one.last + 1 < next_one.first, "two ranges that are one"


@pytest.mark.parametrize(
    ("text", "slots"), [("0-5460", (0, 5460)), ("7", (7, 7)), ("16383", (16383, 16383)), ("0", (0, 0))]
)
def test_a_range_as_the_engines_write_it(text: str, slots: tuple[int, int]) -> None:
    assert parse_range(text) == SlotRange(*slots)
    assert str(SlotRange(*slots)) == text


@pytest.mark.parametrize("text", ["", "a", "1-", "-2", "1-b", "[7->-abc]"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        parse_range(text)


@pytest.mark.parametrize("shards", [1, 3, 4, 5, 6, 7, 100, 1000])
def test_shares_are_even_and_cover_every_slot_once(shards: int) -> None:
    shares = [share(index, shards) for index in range(shards)]
    assert frozenset().union(*shares) == ALL_SLOTS
    sizes = [len(each) for each in shares]
    assert sum(sizes) == SLOTS
    assert max(sizes) - min(sizes) <= 1
    assert all(len(ranges(each)) == 1 for each in shares)


def test_three_shares_of_a_new_cluster() -> None:
    assert [str(ranges(share(index, 3))[0]) for index in range(3)] == ["0-5460", "5461-10921", "10922-16383"]


@st.composite
def ownerships(draw: st.DrawFn) -> tuple[dict[str, Slots], list[str]]:
    """Some slots, owned by some nodes, of which some are to stay; some that stay own none yet."""
    owners = [f"n{number}" for number in range(draw(st.integers(1, 6)))]
    most = draw(st.integers(0, 60))
    taken: dict[str, set[int]] = {name: set() for name in owners}
    for slot in range(most):
        taken[draw(st.sampled_from(owners))].add(slot)
    new = [f"m{number}" for number in range(draw(st.integers(0, 3)))]
    keep = draw(st.lists(st.sampled_from(owners), unique=True)) + new
    return {name: frozenset(slots) for name, slots in taken.items()}, keep or owners[:1]


def carried_out(owned: dict[str, Slots], moves: tuple[Move, ...]) -> dict[str, Slots]:
    after = dict(owned)
    for move in moves:
        assert move.slots <= after[move.source]
        assert move.slots
        after[move.source] -= move.slots
        after[move.target] = after.get(move.target, frozenset()) | move.slots
    return after


def moved(moves: tuple[Move, ...]) -> int:
    return sum(len(move.slots) for move in moves)


@given(ownerships())
@bounded
def test_moves_lead_to_an_even_share_among_those_that_stay(
    given_: tuple[dict[str, Slots], list[str]],
) -> None:
    owned, keep = given_
    after = carried_out(owned, balancing_moves(owned, keep))
    sizes = [len(after.get(name, ())) for name in keep]
    assert max(sizes) - min(sizes) <= 1
    assert sum(sizes) == sum(len(slots) for slots in owned.values())


@given(ownerships())
@bounded
def test_no_more_slots_move_than_any_even_share_demands(given_: tuple[dict[str, Slots], list[str]]) -> None:
    owned, keep = given_
    floor, extra = divmod(sum(len(slots) for slots in owned.values()), len(keep))
    # However the larger shares are given out, what a node holds above its share must go.
    over = sorted((len(owned.get(name, ())) - floor for name in keep), reverse=True)
    leaving = sum(len(slots) for name, slots in owned.items() if name not in keep)
    least = leaving + sum(max(0, each - (place < extra)) for place, each in enumerate(over))
    assert moved(balancing_moves(owned, keep)) == least
    assert balancing_moves(owned, keep) == balancing_moves(owned, keep)


@given(ownerships(), st.data())
@bounded
def test_a_plan_made_after_some_of_the_moves_is_no_detour(
    given_: tuple[dict[str, Slots], list[str]], data: st.DataObject
) -> None:
    owned, keep = given_
    moves = balancing_moves(owned, keep)
    if not moves:
        return
    stop = data.draw(st.integers(0, len(moves) - 1))
    half = moves[stop]
    part = frozenset(sorted(half.slots)[: data.draw(st.integers(1, len(half.slots)))])
    done = (*moves[:stop], Move(half.source, half.target, part))
    rest = balancing_moves(carried_out(owned, done), keep)
    assert moved(done) + moved(rest) == moved(moves)


def test_an_even_cluster_needs_no_move() -> None:
    owned = {f"n{index}": share(index, 3) for index in range(3)}
    assert balancing_moves(owned, list(owned)) == ()
