"""Steps as JSON and as sentences."""

from __future__ import annotations

import json

import pytest

from holdfast.topology import steps, steps_repair, steps_rolling
from holdfast.topology.record import Kind
from holdfast.topology.steps import Step

EVERY: tuple[Step, ...] = (
    steps.AddNode("n1", Kind.SERVER, "h1", "a", 0, first_primary=True),
    steps.AddNode("sentinel-1", Kind.SENTINEL, "local", "a", follows="n1"),
    steps.StartNodes(("n1", "n2")),
    steps.AwaitSuccessor("n1", "n2", holds_data=True),
    steps.AwaitOneOwner("n1", "n2", frozenset({1, 2})),
    steps.LookAgain("n1 must answer"),
    steps.JoinCluster(("n1",)),
    steps.AssignSlots("n1", frozenset({1, 2, 3, 7})),
    steps.AttachReplica("n2", "n1"),
    steps.AwaitSettled(),
    steps.MoveSlots("n1", "n2", frozenset(range(10))),
    steps.Forget(("0123456789abcdef",)),
    steps.Unmark("n1", frozenset({7})),
    steps.RemoveNode("n1", "a replica too many"),
    steps.WatchPrimary("sentinel-1", "n1"),
    steps.TuneSentinel("sentinel-1", {"quorum": "2"}),
    steps.RefreshSentinels(),
    steps.SetConfig("n1", {"maxmemory": ("0", "100"), "save": ("900 1", "")}),
    steps.SetUsers("n1"),
    steps.RenewCertificates(("n1",)),
    steps.Relabel("n1", "b"),
    steps.Guard(),
    steps.SaveSpec("0123456789abcdef"),
    steps_rolling.ChangeEngine("Redis 7.0.15", "Valkey 9.1.2", "valkey-9.1.2@wheel"),
    steps_rolling.RestartNode("n1", Kind.SERVER, "primary without a replica", ("hz 10 -> 20",), 0.3),
    steps_rolling.SwitchPrimary("n1", "n2"),
    steps_rolling.WriteAnew("n1", "BGREWRITEAOF"),
    steps_repair.SaveAside("n1"),
    steps_repair.GiveUp("n1", "n2"),
    steps_repair.GiveUpSlots("n1", "n2", frozenset({1, 2})),
    steps_repair.TakeOver("n2", "n1"),
)


def test_no_kind_of_step_is_left_out_here() -> None:
    assert {type(step) for step in EVERY} == set(Step.__subclasses__())


def test_every_step_has_a_name_of_its_own() -> None:
    assert len({kind.name for kind in Step.__subclasses__()}) == len(Step.__subclasses__())


@pytest.mark.parametrize("step", EVERY, ids=lambda step: step.name)
def test_a_step_is_json_and_a_sentence(step: Step) -> None:
    facts = json.loads(json.dumps(step.to_json()))
    assert facts["step"] == step.name
    assert facts["title"] == step.title
    assert len(step.title) > len("set the")


def test_slots_are_shown_as_ranges() -> None:
    assert steps.AssignSlots("n1", frozenset({1, 2, 3, 7})).to_json()["slots"] == "1-3,7"
    assert steps.MoveSlots("n1", "n2", frozenset({5})).title == "move 1 slots from n1 to n2 (5)"


def test_an_empty_value_is_shown_as_such() -> None:
    assert steps.SetConfig("n1", {"save": ("900 1", "")}).title == "set on n1: save 900 1 -> (empty)"
