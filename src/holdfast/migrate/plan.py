"""Decides what a migration does next, from what it remembers and what is seen. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from holdfast.engine.facts import Address
from holdfast.migrate.journal import Step
from holdfast.migrate.seen import SeenServer
from holdfast.topology.seen import Role

TRIES_MAX = 3
"""How often one order to switch is begun again after it was cut off before anything was fenced."""


class Follow(StrEnum):
    """What is to be done about the server that should follow us."""

    FOLLOWS = "follows"
    POINT = "point"
    """Tell it to follow us; it goes on where it is, or is synchronised anew."""
    MOVE = "move"
    """It follows an address that was ours: tell it the new one; it goes on where it is."""
    ADOPT = "adopt"
    """The same; its own history is ours up to where it stands, so nothing is copied again."""
    HANDS_OFF = "hands off"
    """Somebody else has made it a primary: what it holds now may be theirs."""


def follow(head: SeenServer, doors: tuple[Address, ...], history: str, pointed: str) -> Follow:
    """Judge the head of the end that is to follow.

    Args: `doors`, our addresses as it was told them, the one of now last; `history`, the id of what we carry, empty before we know; `pointed`, run id of
        the server that we last made follow us, empty before the first.
    """
    if head.role is Role.REPLICA and head.primary == doors[-1]:
        return Follow.FOLLOWS
    if head.role is Role.REPLICA and head.primary in doors:
        return Follow.MOVE
    if head.role is Role.REPLICA:
        return Follow.HANDS_OFF
    if not pointed:
        return Follow.POINT
    at_promotion = head.replid2 == history and head.offset == head.second_offset - 1
    if at_promotion:
        # Promoted, by whomever, and nothing has been written to it since.
        return Follow.ADOPT
    return Follow.HANDS_OFF if head.run_id == pointed else Follow.POINT


@dataclass(frozen=True)
class SwitchSeen:
    """What a switch that was cut off has left, as observed."""

    fenced: bool
    """The old primary follows our door, and says that it is a replica."""
    promoted: bool
    """The new one says that it is a primary."""


def go_on(step: Step, seen: SwitchSeen) -> Step:
    """Where a switch goes on after it was cut off in `step`.

    A promoted side is never taken back: its clients may have written. A fence without a promotion is gone on from, for
    whether both sides are equal is checked again before the promotion. Before the fence, all is begun anew.
    """
    if seen.promoted and seen.fenced:
        return step if step in {Step.ATTACH, Step.HOOK, Step.DONE} else Step.RELEASE
    if seen.promoted:
        return Step.FENCE if step in AFTER_FENCE else Step.UNDO
    if step is Step.UNDO:
        return Step.UNDO
    return Step.PROVE if seen.fenced else Step.PREPARE


AFTER_FENCE = frozenset(
    {Step.PROVE, Step.CHECK, Step.PROMOTE, Step.RELEASE, Step.ATTACH, Step.HOOK, Step.DONE}
)


def after(step: Step) -> Step:
    """The step that follows."""
    order: list[Step] = [each for each in Step if each is not Step.UNDO]
    return order[order.index(step) + 1]
