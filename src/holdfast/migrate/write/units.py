"""What is sent to the target at once: a unit for each cell, plain where it may run twice, else one transaction with its mark;
and what the target's replies say of it. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

PASSING = (
    "MOVED",
    "ASK",
    "TRYAGAIN",
    "CLUSTERDOWN",
    "LOADING",
    "MASTERDOWN",
    "READONLY",
    "NOREPLICAS",
    "MISCONF",
)
"""Refusals that say: not now, or not here. Others are about the command itself."""
FULL = ("OOM", "BUSY")
"""Refusals of a target that cannot take more at the moment."""
_MULTI = b"*1\r\n$5\r\nMULTI\r\n"
_EXEC = b"*1\r\n$4\r\nEXEC\r\n"


@dataclass(slots=True)
class Unit:
    """Commands for one cell, in the order of the stream."""

    cell: int
    commands: list[bytes] = field(default_factory=list)
    """Packed."""
    marked: bool = False
    """Whether one of them must not run twice: then all run in one transaction with the cell's checkpoint."""


@dataclass(frozen=True)
class Mark:
    """A checkpoint to be written."""

    key: bytes
    value: bytes

    def packed(self) -> bytes:
        """GETSET, so that the reply tells what was there: a mark that somebody flushed or evicted shows at once."""
        return b"*3\r\n$6\r\nGETSET\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (
            len(self.key),
            self.key,
            len(self.value),
            self.value,
        )


def packed(unit: Unit, mark: Mark | None, asking: bool = False) -> tuple[bytes, int]:
    """The unit as bytes, and how many replies it gets. Args: `mark`, of a marked unit; `asking`, for a node that is
    importing the slot.
    """
    ask = b"*1\r\n$6\r\nASKING\r\n" if asking else b""
    if mark is not None:
        body = b"".join((ask, _MULTI, *unit.commands, mark.packed(), _EXEC))
        return body, len(unit.commands) + 3 + asking
    if asking:
        return b"".join(ask + command for command in unit.commands), 2 * len(unit.commands)
    return b"".join(unit.commands), len(unit.commands)


class Fate(StrEnum):
    """What became of a unit."""

    DONE = "done"
    AGAIN = "again"
    """Nothing of it, or a part that may run twice, was done: it must be sent again."""
    WITHOUT = "without"
    """The target does not accept some of its commands at all: send it again without these."""
    MARK_LOST = "mark lost"


@dataclass(frozen=True)
class Told:
    """What the replies to a unit said."""

    fate: Fate
    words: str = ""
    """The refusal, where there was one."""
    again: tuple[int, ...] = ()
    """Commands of a plain unit that were not run, by their place: only these are sent again, for the others have run."""
    refused: tuple[tuple[int, str], ...] = ()
    """Commands that were refused for good, by their place in the unit, with the engine's words."""


DONE = Told(Fate.DONE)


def read_replies(
    unit: Unit, replies: Sequence[Any], expected: bytes | None, error: type, asking: bool = False
) -> Told:
    """What became of a unit.

    Args: `replies`, all of its own; `expected`, the mark that was there before, None for unknown; `error`, the type of a
        refusal among replies.
    """
    if unit.marked:
        return _read_marked(replies, expected, error, asking)
    if asking:
        replies = replies[1::2]
    if error not in map(type, replies):
        return DONE
    refusals = [(place, str(reply)) for place, reply in enumerate(replies) if type(reply) is error]
    passing = [(place, words) for place, words in refusals if _passes(words)]
    refused = tuple(each for each in refusals if each not in passing)
    if not passing:
        return Told(Fate.DONE, refused=refused)
    return Told(Fate.AGAIN, passing[0][1], tuple(place for place, _ in passing), refused)


def _read_marked(replies: Sequence[Any], expected: bytes | None, error: type, asking: bool) -> Told:
    """`[ASKING] MULTI command ... mark EXEC`: the last reply holds those of the commands, or says why there are none."""
    done = replies[-1]
    if type(done) is list:
        was = done[-1]
        if expected is not None and was != expected:
            return Told(
                Fate.MARK_LOST, "lost a checkpoint" if was is None else "has a checkpoint of another's"
            )
        refused = tuple((place, str(each)) for place, each in enumerate(done[:-1]) if type(each) is error)
        return Told(Fate.DONE, refused=refused) if refused else DONE
    queued = replies[1 + asking : -2]
    refusals = [(place, str(each)) for place, each in enumerate(queued) if type(each) is error]
    passing = [str(each) for each in (*queued, replies[-2]) if type(each) is error and _passes(str(each))]
    words = str(done)
    if passing or not refusals or not words.startswith("EXECABORT"):
        return Told(Fate.AGAIN, (passing or [words])[0])
    return Told(Fate.WITHOUT, words, refused=tuple(refusals))


def _passes(words: str) -> bool:
    return words.startswith(PASSING) or words.startswith(FULL)


def name_of(command: bytes) -> str:
    """What a packed command is called, in upper case."""
    return command.split(b"\r\n", 3)[2].decode("ascii", "backslashreplace")[:40].upper()
