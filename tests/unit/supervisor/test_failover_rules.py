"""Who takes over from a dead primary, and whether anybody may: tables of what survivors say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from holdfast.engine.datafiles import DataFiles
from holdfast.supervisor.failover_rules import (
    Voice,
    best_replica,
    candidates,
    has_majority,
    is_armed,
    keeps_all,
    kept_words,
    ran_steadily,
    restart_pause_s,
    voters,
    was_primary,
    way_home,
    worthy,
    would_come_back_empty,
)
from holdfast.topology.cluster_view import Peer


def peers(primaries: Sequence[str], follows: Mapping[str, str]) -> dict[str, Peer]:
    """A cluster as one node sees it: owners of slots, and replicas with whom they follow."""
    owners = {name: Peer(name, "", owns_slots=True, failed=False) for name in primaries}
    return owners | {
        name: Peer(name, primary, owns_slots=False, failed=False) for name, primary in follows.items()
    }


def voice(name: str, seen: Mapping[str, Peer], offset: int = 0) -> Voice:
    return Voice(name, name, not seen[name].primary_id, seen[name].primary_id, offset, peers=seen)


WHOLE = peers(["a", "b", "c"], {"a1": "a", "a2": "a", "b1": "b"})
"""Three shards; a has two replicas, b one, c none."""


def survivors(*names: str, seen: Mapping[str, Peer] = WHOLE, **offsets: int) -> list[Voice]:
    return [voice(name, seen, offsets.get(name, 0)) for name in names]


@pytest.mark.parametrize(
    ("dead", "answering", "expected"),
    [
        ("a", ("b", "c", "a1"), True),
        ("a", ("a1",), True),
        ("c", ("a", "b"), True),
        ("a1", ("a", "b", "c", "a2"), False),
        ("a", (), False),
        ("stranger", ("a", "b"), False),
    ],
)
def test_whether_the_dead_node_was_a_primary(dead: str, answering: tuple[str, ...], expected: bool) -> None:
    assert was_primary(dead, survivors(*answering)) is expected


def test_a_primary_whose_slots_nobody_shows_is_known_by_its_replica() -> None:
    seen = {**WHOLE, "a": Peer("a", "", owns_slots=False, failed=True)}
    assert was_primary("a", survivors("b", "a1", seen=seen))
    assert not was_primary("a", survivors("b", "c", seen=seen))


def test_the_replica_with_the_most_data_is_asked_first() -> None:
    said = survivors("b", "a1", "a2", "b1", a1=70, a2=80, b1=900)
    assert [each.name for each in candidates("a", said)] == ["a2", "a1"]
    assert [each.name for each in candidates("a", survivors("a2", "a1"))] == ["a1", "a2"], (
        "by name where equal"
    )
    assert candidates("c", said) == []


@pytest.mark.parametrize(
    ("answering", "expected"),
    [(("b", "c", "a1"), True), (("a1", "a2"), False), ((), False), (("b",), False)],
)
def test_a_candidate_is_armed_once_every_voter_knows_it(answering: tuple[str, ...], expected: bool) -> None:
    assert is_armed("a1", "a", survivors(*answering)) is expected


def test_a_candidate_that_knows_of_no_slots_to_inherit_is_not_armed() -> None:
    blind = {**WHOLE, "a": Peer("a", "", owns_slots=False, failed=False)}
    assert not is_armed("a1", "a", [*survivors("b", "c"), voice("a1", blind)])
    assert is_armed("a1", "a", survivors("b", "c", "a1"))


def test_a_candidate_without_connections_to_a_majority_is_not_armed() -> None:
    deaf = {**WHOLE, "a1": replace(WHOLE["a1"], linked=False)}
    assert not is_armed("a1", "a", [*survivors("b", "a1"), voice("c", deaf)]), "its vote would be lost"
    alone = {**WHOLE, "c": replace(WHOLE["c"], linked=False)}
    assert not is_armed("a1", "a", [*survivors("b", "c"), voice("a1", alone)]), "it would not be asked"
    five = peers(["a", "b", "c", "d", "e"], {"a1": "a"})
    deaf = {**five, "a1": replace(five["a1"], linked=False)}
    assert is_armed("a1", "a", [*survivors("b", "c", "d", "a1", seen=five), voice("e", deaf)])


def test_a_voter_that_still_takes_the_candidate_for_a_primary_disarms_it() -> None:
    late = {**WHOLE, "a1": Peer("a1", "", owns_slots=False, failed=False)}
    assert not is_armed("a1", "a", [*survivors("b", "a1"), voice("c", late)])
    unknown = {name: peer for name, peer in WHOLE.items() if name != "a1"}
    assert not is_armed("a1", "a", [*survivors("b", "a1"), voice("c", unknown)])


@pytest.mark.parametrize(
    ("dead", "answering", "expected"),
    [
        (["a"], ("b", "c", "a1"), True),
        (["a", "b"], ("c", "a1", "b1"), False),
        (["a"], ("b", "a1"), False),
        (["a"], ("a1", "a2", "b1"), False),
    ],
)
def test_a_vote_needs_more_than_half_of_all_that_own_slots(
    dead: list[str], answering: tuple[str, ...], expected: bool
) -> None:
    assert has_majority(dead, survivors(*answering)) is expected


def test_two_of_four_are_no_majority() -> None:
    seen = peers(["a", "b", "c", "d"], {"a1": "a"})
    assert not has_majority(["a"], survivors("b", "c", "a1", seen=seen))
    assert has_majority(["a"], survivors("b", "c", "d", "a1", seen=seen))


def test_the_best_replica_outside_a_cluster() -> None:
    def alone(name: str, follows: str, offset: int) -> Voice:
        return Voice(name, "", not follows, follows, offset)

    said = [
        alone("n2", "10.0.0.1 7100", 70),
        alone("n3", "10.0.0.1 7100", 80),
        alone("n4", "10.0.0.9 7100", 900),
        alone("n5", "", 900),
    ]
    assert [each.name for each in best_replica("10.0.0.1 7100", said)] == ["n3", "n2"]


@pytest.mark.parametrize(
    ("primaries", "replicas", "way"),
    [
        ({"a": "x", "b": "y", "c": "z"}, {"a": [("a1", "y")]}, None),  # no zone holds a majority
        ({"a": "x", "b": "x", "c": "z"}, {"a": [("a1", "y")]}, ("a", "a1")),
        ({"a": "x", "b": "x", "c": "z"}, {"a": [("a1", "x")]}, None),  # would relieve nothing
        ({"a": "x", "b": "x", "c": "z"}, {"c": [("c1", "x")]}, None),  # would make it worse
        ({"a": "x", "b": "x", "c": "z"}, {"a": [("a1", "z")]}, None),  # trades one full zone for another
        ({"a": "x", "b": "x"}, {"a": [("a1", "y")]}, None),  # two have no majority to lose
        ({"a": "x", "b": "x", "c": "x"}, {"b": [("b1", "y")], "c": [("c1", "z")]}, ("b", "b1")),
        ({"a": "x", "b": "x", "c": "z"}, {}, None),
    ],
)
def test_the_way_home(
    primaries: dict[str, str], replicas: dict[str, list[tuple[str, str]]], way: tuple[str, str] | None
) -> None:
    assert way_home(primaries, replicas) == way


def test_the_way_home_comes_to_an_end() -> None:
    primaries = {"a": "x", "b": "x", "c": "x", "d": "x", "e": "y"}
    homes = {name: f"{name}1" for name in primaries}
    zones = {"a1": "y", "b1": "z", "c1": "y", "d1": "z", "e1": "x"}
    for _ in range(10):
        way = way_home(primaries, {name: [(homes[name], zones[homes[name]])] for name in primaries})
        if way is None:
            break
        owner, heir = way
        primaries[heir], zones[owner] = zones[heir], primaries.pop(owner)
        homes[heir] = owner
    else:
        raise AssertionError("it goes to and fro")
    assert max(list(primaries.values()).count(zone) for zone in "xyz") <= 2


@pytest.mark.parametrize(
    ("files", "others", "empty"), [(True, True, False), (False, True, True), (False, False, False)]
)
def test_a_restart_that_would_come_back_empty(files: bool, others: bool, empty: bool) -> None:
    assert would_come_back_empty(files, others) is empty


def test_who_votes_is_a_primary_with_slots_that_has_the_dead_one_down_as_an_owner() -> None:
    assert voters("a", survivors("b", "c", "a1", "b1")) == ["b", "c"]
    told = {**WHOLE, "a": Peer("a", "", owns_slots=False, failed=True)}
    assert voters("a", survivors("b", "c", seen=told)) == []


def test_what_a_primary_comes_back_with_is_said() -> None:
    at = "2026-11-21T19:00:00+00:00"
    assert kept_words(DataFiles()).startswith("nothing")
    assert (
        kept_words(DataFiles(holds_keys=True, written_at=at))
        == f"its snapshot of {at}: what was written after it is lost"
    )
    appended = DataFiles(holds_keys=True, appended=True, written_at=at)
    assert kept_words(appended) == f"its append-only file, last written at {at}"
    assert keeps_all(appended)
    assert not keeps_all(DataFiles(appended=True))
    assert not keeps_all(DataFiles(holds_keys=True))


def test_who_was_started_after_the_end_has_no_more_than_its_files() -> None:
    wanting = candidates("a", survivors("a1", "a2", a1=70, a2=80))
    assert worthy(wanting, lambda name: True, lambda: True) == wanting
    assert [each.name for each in worthy(wanting, lambda name: name == "a1", lambda: True)] == ["a1"]
    assert worthy(wanting, lambda name: False, lambda: True) == []
    assert worthy(wanting, lambda name: False, lambda: False) == wanting


@pytest.mark.parametrize(
    ("every_s", "expected"),
    [
        (0.1, [0.0, 0.5, 2.0, 5.0, 15.0, 30.0, 30.0, 30.0]),  # a crash at each start
        (4.0, [0.0, 0.5, 2.0, 5.0, 15.0, 30.0, 30.0, 30.0]),
        (8.0, [0.0] * 8),  # killed now and then
        (600.0, [0.0] * 8),
    ],
)
def test_a_node_that_ends_soon_after_each_start_is_started_ever_slower(
    every_s: float, expected: list[float]
) -> None:
    restarts, pauses = 0, []
    for _ in expected:
        if ran_steadily(restarts, every_s):
            restarts = 0
        pauses.append(restart_pause_s(restarts))
        restarts += 1
    assert pauses == expected


def test_one_that_was_slowed_down_must_run_longer_to_be_trusted_again() -> None:
    assert not ran_steadily(5, 140.0)
    assert ran_steadily(5, 151.0)
    assert not ran_steadily(100, 299.0)
