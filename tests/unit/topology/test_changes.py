"""Directives and users that differ: changed while the node runs; those that only a restart changes are left alone here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from tests.unit.topology.drive import Wish, reach
from tests.unit.topology.model import World
from tests.unit.topology.wishes import nothing, wish

from holdfast.engine.directive import Directive, directive, words
from holdfast.topology.changes import change_steps, written_anew
from holdfast.topology.seen import Reach, SeenCache
from holdfast.topology.steps import SetConfig, SetUsers, Step
from holdfast.topology.steps_rolling import WriteAnew
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


def test_what_needs_a_restart_is_left_to_the_rolling_plan() -> None:
    world = pair()
    wanted = wanting(world, directive("databases", 32, "d"), directive("maxmemory", 5, "m"))
    steps = list(change_steps(wanted, configured(world, databases="16", maxmemory="0")))
    assert steps == [SetConfig("n1", {"maxmemory": ("0", "5")})]


def test_a_node_that_leaves_is_not_changed() -> None:
    world = pair()
    wanted = wanting(world, directive("maxmemory", 32, "d"))
    assert list(change_steps(wanted, configured(world, maxmemory="16"), leaving={"n1"})) == []


def test_what_a_server_failed_to_write_is_written_anew_where_the_spec_asks_for_it() -> None:
    world = pair()
    seen = world.seen()
    failed = replace(
        seen, nodes=tuple(replace(node, unwritten=("BGSAVE", "BGREWRITEAOF")) for node in seen.nodes)
    )
    snapshots = Wish.of(PAIR, persistence={"rdb": {"enabled": True}}).wanted(world)
    assert list(written_anew(snapshots, failed)) == [
        WriteAnew("n1", "BGSAVE"),
        WriteAnew("n2", "BGSAVE"),
    ]
    nothing_kept = Wish.of(PAIR, persistence={"rdb": {"enabled": False}}).wanted(world)
    assert list(written_anew(nothing_kept, failed)) == []


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
