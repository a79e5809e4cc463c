"""What a migration does next, by table."""

from __future__ import annotations

import pytest

from holdfast.engine.facts import Address
from holdfast.migrate.ends import Layout
from holdfast.migrate.journal import Step
from holdfast.migrate.plan import Follow, SwitchSeen, after, follow, go_on
from holdfast.migrate.seen import SeenEnd, SeenServer
from holdfast.topology.seen import Role

DOORS: tuple[Address, ...] = (("10.0.0.1", 900), ("10.0.0.1", 901))


def server(role: Role = Role.PRIMARY, **facts: object) -> SeenServer:
    base = {
        "address": ("b", 1),
        "role": role,
        "engine": "valkey",
        "version": (9, 1, 0),
        "run_id": "r",
        "replid": "own",
    }
    return SeenServer(**{**base, **facts})  # type: ignore[arg-type]


def promoted_at(offset: int, *, history: str = "history") -> SeenServer:
    return server(replid2=history, second_offset=101, offset=offset)


@pytest.mark.parametrize(
    ("head", "pointed", "verdict"),
    [
        (server(Role.REPLICA, primary=DOORS[-1]), "r", Follow.FOLLOWS),
        (server(Role.REPLICA, primary=DOORS[0]), "r", Follow.MOVE),
        (server(Role.REPLICA, primary=("10.9.9.9", 1)), "", Follow.HANDS_OFF),
        (server(), "", Follow.POINT),
        (promoted_at(100), "other", Follow.ADOPT),
        (promoted_at(100), "r", Follow.ADOPT),
        (promoted_at(160), "other", Follow.POINT),
        (promoted_at(160), "r", Follow.HANDS_OFF),
        (promoted_at(100, history="foreign"), "r", Follow.HANDS_OFF),
    ],
)
def test_who_is_to_follow(head: SeenServer, pointed: str, verdict: Follow) -> None:
    assert follow(head, DOORS, "history", pointed) is verdict


@pytest.mark.parametrize("step", list(Step))
@pytest.mark.parametrize("fenced", [True, False])
@pytest.mark.parametrize("promoted", [True, False])
def test_a_switch_cut_off_never_takes_back_a_promotion_and_never_promotes_unfenced(
    step: Step, fenced: bool, promoted: bool
) -> None:
    to = go_on(step, SwitchSeen(fenced, promoted))
    if promoted and fenced:
        assert to in {Step.RELEASE, Step.ATTACH, Step.HOOK, Step.DONE}
    if not promoted:
        assert to in {Step.PREPARE, Step.PROVE, Step.UNDO}
        assert fenced or to is not Step.PROVE


def test_the_steps_come_in_order() -> None:
    step, seen = Step.PREPARE, [Step.PREPARE]
    while step is not Step.DONE:
        step = after(step)
        seen.append(step)
    order = (
        Step.HOLD,
        Step.SETTLE,
        Step.FENCE,
        Step.PROVE,
        Step.CHECK,
        Step.PROMOTE,
        Step.RELEASE,
        Step.ATTACH,
    )
    assert [each for each in seen if each in order] == list(order)


def test_the_head_is_the_server_that_follows_no_other_of_its_end() -> None:
    first = server(Role.REPLICA, address=("a", 1), primary=DOORS[0])
    second = server(Role.REPLICA, address=("b", 1), primary=("a", 1), run_id="s")
    assert SeenEnd("x", Layout.REPLICATED, (first, second)).head is first
    assert SeenEnd("x", Layout.REPLICATED, (second,), {("a", 1): "gone"}).head is None
    lone = server(address=("b", 1), run_id="s")
    assert SeenEnd("x", Layout.REPLICATED, (first, lone)).head is lone
    assert SeenEnd("x", Layout.REPLICATED, (server(), lone)).head is None
