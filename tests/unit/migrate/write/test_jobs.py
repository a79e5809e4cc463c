"""Moves of whole slots, as the stream of the shard that gets them tells of them."""

from __future__ import annotations

import pytest

from holdfast.codec.crc import key_slot
from holdfast.codec.stream import write_command
from holdfast.migrate.ends import Side
from holdfast.migrate.write.batch import Batcher
from holdfast.migrate.write.databases import Databases
from holdfast.migrate.write.jobs import (
    Ended,
    EndSeeker,
    Past,
    SlotJob,
    Verdict,
    next_job,
    read_job,
    under_way,
)
from holdfast.migrate.write.notes import Notes, ReadShard
from holdfast.topology.slots import SlotRange

ESTABLISH = "CLUSTER SYNCSLOTS ESTABLISH SOURCE d8ef NAME b9f4 SLOTSRANGE 10 11 500 502"
JOB = SlotJob(b"b9f4", "d8ef", frozenset({10, 11, 500, 501, 502}), 77)


def stream(*commands: str) -> bytes:
    return b"".join(write_command([word.encode() for word in command.split()]) for command in commands)


@pytest.mark.parametrize(
    "command",
    [
        "CLUSTER SYNCSLOTS ACK",
        "CLUSTER SYNCSLOTS FINISH STATE SUCCESS NAME b9f4 MESSAGE x",
        "CLUSTER SYNCSLOTS ESTABLISH SOURCE d8ef",
        "CLUSTER SETSLOT 1 NODE x",
        "CLUSTER",
    ],
)
def test_only_one_command_begins_a_move(command: str) -> None:
    assert read_job(command.encode().split(), 77) is None
    assert read_job(ESTABLISH.encode().split(), 77) == JOB
    assert read_job(ESTABLISH.lower().replace("d8ef", "d8ef").encode().split(), 77) == JOB


@pytest.mark.parametrize(("state", "verdict"), [("SUCCESS", Verdict.DONE), ("FAILED", Verdict.GIVEN_UP)])
@pytest.mark.parametrize("cut", [1, 7, 33, 1000])
def test_the_end_is_found_however_the_stream_is_cut(state: str, verdict: Verdict, cut: int) -> None:
    end = stream(
        "SET a 1", "CLUSTER SYNCSLOTS PAUSED", f"CLUSTER SYNCSLOTS FINISH STATE {state} NAME b9f4 MESSAGE m"
    )
    others = stream("CLUSTER SYNCSLOTS FINISH STATE SUCCESS NAME other MESSAGE b", "PING") + b"\n"
    data = others + end + stream("SET b 2")
    seeker, ended, held = EndSeeker(JOB, 77), None, 0
    while ended is None:
        held += cut
        assert held < len(data) + cut
        ended, _ = seeker.feed(data[seeker.at - 77 : held])
    assert ended == Ended(verdict, 77 + len(others + end))


def test_a_move_ends_the_stretch_until_it_was_dealt_with() -> None:
    head, move, inside = (
        stream("SET a 1"),
        stream(ESTABLISH),
        stream("SET foreign 1", "SET a 2", "MSET foreign 1 foreign 2"),
    )
    slot = key_slot(b"foreign")
    owned = frozenset(range(16384)) - {slot, 10, 11, 500, 501, 502}
    batcher = Batcher(Databases(1), cluster=True, owned=owned)
    batch = batcher.make(head + move + inside, 100, 0, {})
    assert batch.job is not None
    assert (batch.end, batch.job.offset) == (100 + len(head), 100 + len(head) + len(move))
    after = batch.job.offset
    batcher.past = Past(after)
    batch = batcher.make(move + inside, 100 + len(head), 0, {})
    assert (batch.job, batch.foreign, batch.end) == (None, slot, after)
    end = after + len(inside)
    batcher.past = Past(after).with_slots([slot], end)
    batch = batcher.make(move + inside + stream("SET foreign 3"), 100 + len(head), 0, {})
    assert b"".join(batch.units[key_slot(b"a")].commands) == stream("SET a 2")
    assert (batch.foreign, batch.end) == (slot, end)


def test_what_was_dealt_with_is_remembered_as_it_was() -> None:
    past = Past(9).with_slots(JOB.slots, 400).with_slots([10, 600], 300)
    notes = Notes().with_read(Side.SOURCE, (ReadShard((("h", 1),), (SlotRange(1, 2),), past=past),))
    assert Notes.from_json(notes.to_json()) == notes
    assert past.has(500, 400)
    assert past.has(10, 400)
    assert past.has(600, 300)
    assert not past.has(500, 401)
    assert not past.has(503, 78)


def test_slots_that_come_back_are_seen_in_the_stream() -> None:
    before = stream("SET a 1", "CLUSTER SYNCSLOTS ESTABLISH SOURCE s NAME n SLOTSRANGE 7 9")
    data = before + stream(ESTABLISH, "SET a 2")
    job, whole = next_job(data, 100, frozenset({501}))
    assert job is not None
    assert (job.name, job.offset) == (b"b9f4", 100 + whole)
    assert whole == len(before) + len(stream(ESTABLISH))
    assert next_job(data, 100, frozenset({12})) == (None, len(data))
    assert next_job(data[:-3], 100, frozenset({12})) == (None, len(data) - len(stream("SET a 2")))


def test_moves_that_go_on_are_told_from_those_that_are_over() -> None:
    told = [
        [b"name", b"one", b"state", b"success"],
        {"name": "two", "state": "receiving-snapshot"},
        [b"name", b"three", b"state", b"cancelled"],
        [b"name"],
        "x",
    ]
    assert under_way(told) == {b"one": False, b"two": True, b"three": False}
    assert under_way(None) == {}
