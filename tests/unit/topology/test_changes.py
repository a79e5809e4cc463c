"""Directives and users that differ: changed while the node runs, or refused because only a restart can."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from tests.unit.topology.drive import Wish, reach
from tests.unit.topology.model import World
from tests.unit.topology.wishes import nothing, wish

from holdfast.engine.directive import Directive, directive, words
from holdfast.topology.changes import RestartNeeded, change_steps
from holdfast.topology.seen import Reach, SeenCache
from holdfast.topology.steps import SetConfig, SetUsers, Step
from holdfast.topology.wanted import Wanted

PAIR = wish("replicated", replicas=1)


def pair() -> World:
    world = nothing("replicated")
    reach(world, Wish.of(PAIR))
    return world


def wanting(world: World, *directives: Directive) -> Wanted:
    wanted = Wish.of(PAIR).wanted(world)
    return replace(wanted, directives={"n1": directives, "n2": directives})


def configured(world: World, **values: str) -> SeenCache:
    """As seen, with those directives on n1 and none known on n2."""
    seen = world.seen()
    config = {name.replace("_", "-"): value for name, value in values.items()}
    return replace(
        seen,
        nodes=tuple(replace(node, config=config if node.name == "n1" else {}) for node in seen.nodes),
    )


@pytest.mark.parametrize(
    ("wished", "seen", "changes"),
    [
        ([directive("maxmemory", "2gb", "m")], {"maxmemory": str(2 << 30)}, None),
        ([directive("maxmemory", 100, "m")], {"maxmemory": "0"}, {"maxmemory": ("0", "100")}),
        ([words("save", (900, 1), "s")], {"save": "900 1"}, None),
        ([words("save", (), "s")], {"save": "900 1"}, {"save": ("900 1", "")}),
        ([directive("replicaof", "x", "r")], {"replicaof": "y"}, None),
        ([directive("not-known", 1, "r")], {"maxmemory": "0"}, None),
        (
            [directive("hz", 10, "h"), directive("timeout", 5, "t")],
            {"hz": "20", "timeout": "0"},
            {"hz": ("20", "10"), "timeout": ("0", "5")},
        ),
    ],
)
def test_what_a_running_server_takes_is_set(
    wished: Sequence[Directive], seen: dict[str, str], changes: dict[str, tuple[str, str]] | None
) -> None:
    world = pair()
    steps = list(change_steps(wanting(world, *wished), configured(world, **seen)))
    assert steps == ([] if changes is None else [SetConfig("n1", changes)])


def test_what_needs_a_restart_is_refused_with_every_difference() -> None:
    world = pair()
    wanted = wanting(world, directive("databases", 32, "d"), directive("maxmemory", 5, "m"))
    with pytest.raises(RestartNeeded) as told:
        list(change_steps(wanted, configured(world, databases="16", maxmemory="0")))
    assert told.value.directives == (("n1", "databases", "16", "32"),)
    assert "databases on n1 (16 -> 32)" in str(told.value)
    assert "Nothing was changed" in str(told.value)
    assert "holdfast down CACHE && holdfast up FILE" in str(told.value)


def test_a_node_that_leaves_needs_no_restart_and_no_change() -> None:
    world = pair()
    wanted = wanting(world, directive("databases", 32, "d"))
    assert list(change_steps(wanted, configured(world, databases="16"), leaving={"n1"})) == []


def test_a_node_that_does_not_answer_or_was_not_asked_is_left_alone() -> None:
    world = pair()
    wanted = wanting(world, directive("maxmemory", 5, "m"))
    seen = configured(world, maxmemory="0")
    silent = replace(seen, nodes=tuple(replace(node, reach=Reach.SILENT) for node in seen.nodes))
    assert list(change_steps(wanted, silent)) == []
    unasked = replace(seen, nodes=tuple(replace(node, config=None, acl="") for node in seen.nodes))
    assert list(change_steps(wanted, unasked)) == []


@pytest.mark.parametrize(
    ("applied", "steps"),
    [
        (("users-1", "acl of users-1"), []),
        (("users-0", "acl of users-1"), [SetUsers("n1")]),  # the spec changed
        (("users-1", "acl of users-0"), [SetUsers("n1")]),  # somebody changed the server
        (None, [SetUsers("n1")]),  # it was never noted
    ],
)
def test_users_that_differ_are_set(applied: tuple[str, str] | None, steps: list[Step]) -> None:
    world = pair()
    acl = {name: digests for name, digests in world.record.acl.items() if name != "n1"}
    world.record = replace(world.record, acl=acl if applied is None else {**acl, "n1": applied})
    assert list(change_steps(Wish.of(PAIR).wanted(world), world.seen())) == steps
