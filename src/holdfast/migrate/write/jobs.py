"""Slots that an engine moves whole (`CLUSTER MIGRATESLOTS`), as the stream of the shard that gets them tells of it. Pure.

Between ESTABLISH and FINISH stands all that the slots hold, key by key as commands, and then what was written to them
meanwhile; the shard's own writes stand among it. Only FINISH says whether the slots are the shard's. The shard that had
them says nothing but the UNLINKs of their keys, and those after FINISH.

Source: CLUSTER SYNCSLOTS in the replication streams of Valkey 9.1, moves that succeeded, were cancelled, and lost an end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from holdfast.codec.stream import STOPPED, read_command, walk_to

CLUSTER = b"CLUSTER"
_LISTED = frozenset({CLUSTER, CLUSTER.lower()})


class Verdict(StrEnum):
    """What became of a move."""

    DONE = "done"
    GIVEN_UP = "given up"


@dataclass(frozen=True)
class SlotJob:
    """A move to the shard whose stream this stands in."""

    name: bytes
    source: str
    """Id of the node that gives the slots."""
    slots: frozenset[int]
    offset: int
    """Behind the command that begins it."""


@dataclass(frozen=True)
class Ended:
    """The end of a move."""

    verdict: Verdict
    offset: int
    """Nothing of the move stands at or behind it."""


def read_job(words: Sequence[bytes], offset: int) -> SlotJob | None:
    """The move that the command begins; None for any other command. Args: `offset`, behind it."""
    if [word.upper() for word in words[:3]] != [CLUSTER, b"SYNCSLOTS", b"ESTABLISH"]:
        return None
    named = {word.upper(): at for at, word in enumerate(words)}
    if not {b"SOURCE", b"NAME", b"SLOTSRANGE"} <= named.keys():
        return None
    numbers = []
    for word in words[named[b"SLOTSRANGE"] + 1 :]:
        if not word.isdigit():
            break
        numbers.append(int(word))
    slots: frozenset[int] = frozenset()
    for first, last in zip(numbers[::2], numbers[1::2], strict=False):
        slots |= frozenset(range(first, last + 1))
    source = words[named[b"SOURCE"] + 1].decode("ascii", "backslashreplace")
    return SlotJob(words[named[b"NAME"] + 1], source, slots, offset)


def read_end(words: Sequence[bytes], offset: int, name: bytes) -> Ended | None:
    """The end of the move of that name; None when the command is not that. Args: `offset`, behind it."""
    if [word.upper() for word in words[:3]] != [CLUSTER, b"SYNCSLOTS", b"FINISH"] or name not in words[3:]:
        return None
    state = [word.upper() for word in words]
    done = b"STATE" in state and b"SUCCESS" in state[state.index(b"STATE") :][:2]
    return Ended(Verdict.DONE if done else Verdict.GIVEN_UP, offset)


@dataclass(frozen=True)
class Past:
    """What of one stream is not to be written, or waited for, when it is met (again): slots come and go."""

    jobs_until: int = -1
    """Offset behind the last move of whole slots that has been dealt with."""
    slots: Mapping[int, int] = field(default_factory=dict)
    """Slot that was given away, or never came -> offset up to which what the stream says of it has been done, or is void."""

    def has(self, slot: int, offset: int) -> bool:
        """Whether a command on `slot`, which is not the stream's own, and which ends at `offset`, is of the past."""
        return offset <= self.slots.get(slot, -1)

    def with_slots(self, slots: Iterable[int], offset: int) -> Past:
        """The same, with these slots of the past up to `offset`."""
        return replace(
            self, slots={**self.slots, **{each: max(offset, self.slots.get(each, -1)) for each in slots}}
        )


def next_job(piece: bytes, offset: int, slots: frozenset[int]) -> tuple[SlotJob | None, int]:
    """The first move of any of `slots` in the whole commands of `piece`, which begins at `offset`; and how many bytes those are."""
    place = 0
    while True:
        place, why = walk_to(piece, place, len(piece), _LISTED)
        if why != STOPPED:
            return None, place
        words, place = read_command(piece, place)
        job = read_job(words, offset + place)
        if job is not None and job.slots & slots:
            return job, place


@dataclass
class EndSeeker:
    """Looks through a stream for the end of a move, as far as it has come."""

    job: SlotJob
    at: int
    """Offset up to which it has been looked through."""

    def feed(self, piece: bytes) -> tuple[Ended | None, int]:
        """The end, if it stands in the whole commands of `piece`, which begins at `at`; and how many bytes those are."""
        place = 0
        while True:
            place, why = walk_to(piece, place, len(piece), _LISTED)
            if why != STOPPED:
                break
            words, place = read_command(piece, place)
            ended = read_end(words, self.at + place, self.job.name)
            if ended is not None:
                return ended, place
        self.at += place
        return None, place


_OVER = ("success", "failed", "cancel")


def under_way(migrations: object) -> dict[bytes, bool]:
    """The moves that a node knows of (its CLUSTER GETSLOTMIGRATIONS), by name: whether they go on."""
    found: dict[bytes, bool] = {}
    for each in migrations if isinstance(migrations, list) else ():
        facts = dict(_pairs(each))
        name, state = facts.get(b"name"), facts.get(b"state")
        if isinstance(name, bytes) and isinstance(state, bytes):
            found[name] = not state.decode("ascii", "replace").startswith(_OVER)
    return found


def _pairs(entry: object) -> Iterable[tuple[object, object]]:
    if isinstance(entry, dict):
        return [(_raw(key), _raw(value)) for key, value in entry.items()]
    words = [_raw(each) for each in entry] if isinstance(entry, list) else []
    return zip(words[::2], words[1::2], strict=False)


def _raw(value: object) -> object:
    return value.encode() if isinstance(value, str) else value
