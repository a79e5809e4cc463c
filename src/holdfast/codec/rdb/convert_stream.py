"""Streams from a newer form to an older one: what the older one has no place for is left out, the rest is carried."""

from __future__ import annotations

from dataclasses import dataclass, field

from holdfast.codec.rdb.cursor import Cursor
from holdfast.codec.rdb.losses import Reason
from holdfast.codec.rdb.stepwise import Steps, Stepwise
from holdfast.codec.rdb.translate import STREAMS
from holdfast.codec.rdb.writer import write_length, write_string

OWNER = b"__xnack__"
"""The consumer that gets the pending entries nobody owns: an engine before Redis 8.8 has no such entries."""
_NO_TIME = (0).to_bytes(8, "little")
_NEVER = b"\xff" * 8


@dataclass
class _Consumer:
    name: bytes
    seen: bytes
    active: bytes
    ids: list[bytes] = field(default_factory=list)


def stream_down(task: Stepwise, number: int, to: int) -> Steps:
    """A stream of type `number` as one of type `to`, which is older."""
    cursor = task.cursor
    has, gives = STREAMS.index(number), STREAMS.index(to)
    task.open(to)
    for _ in range((yield from task.copy_length())):
        yield from task.copy_string()
        yield from task.copy_string()
    for _ in range(3):
        yield from task.copy_length()
    if has >= 1:
        for _ in range(5):
            yield from task.copy_length() if gives >= 1 else task.read(cursor.length)
    groups = yield from task.copy_length()
    for _ in range(groups):
        yield from task.copy(lambda: _group_head(cursor))
        if has >= 1:
            yield from task.copy_length() if gives >= 1 else task.read(cursor.length)
        for _ in range((yield from task.copy_length())):
            yield from task.copy(lambda: (cursor.raw(24), cursor.length()))
        if has >= 4:
            yield from _consumers_with_ownerless(task, gives)
        else:
            yield from _consumers(task, has, gives)
    if has >= 1 and gives == 0:
        task.lose(Reason.STREAM_COUNTERS)
    if has >= 3:
        yield from _producers(task)


def _group_head(cursor: Cursor) -> None:
    cursor.skip(cursor.string_head())
    cursor.length()
    cursor.length()


def _consumers(task: Stepwise, has: int, gives: int) -> Steps:
    cursor = task.cursor
    count = yield from task.copy_length()
    for _ in range(count):
        yield from task.copy_string()
        yield from task.copy(lambda: cursor.skip(8))
        if has >= 2:
            yield from task.copy(lambda: cursor.skip(8)) if gives >= 2 else task.read(lambda: cursor.skip(8))
        for _ in range((yield from task.copy_length())):
            yield from task.copy(lambda: cursor.skip(16))
    if has >= 2 > gives:
        task.lose(Reason.CONSUMER_ACTIVE_TIME, count)


def _consumers_with_ownerless(task: Stepwise, gives: int) -> Steps:
    """Type 27 says behind the consumers which pending entries have none; they get one, so the consumers are held."""
    cursor = task.cursor
    consumers: list[_Consumer] = []
    for _ in range((yield from task.read(cursor.length))):
        name = yield from task.read(cursor.string)
        consumer = _Consumer(
            name, (yield from task.read(lambda: cursor.raw(8))), (yield from task.read(lambda: cursor.raw(8)))
        )
        yield from _read_ids(task, consumer.ids)
        consumers.append(consumer)
    ownerless: list[bytes] = []
    yield from _read_ids(task, ownerless)
    if gives < 2:
        task.lose(Reason.CONSUMER_ACTIVE_TIME, len(consumers))
    if ownerless:
        owner = next((consumer for consumer in consumers if consumer.name == OWNER), None)
        if owner is None:
            owner = _Consumer(OWNER, _NO_TIME, _NEVER)
            consumers.append(owner)
        owner.ids += ownerless
        task.lose(Reason.STREAM_OWNERLESS, len(ownerless))
    task.out.append(write_length(len(consumers)))
    for consumer in consumers:
        task.out += [write_string(consumer.name), consumer.seen]
        if gives >= 2:
            task.out.append(consumer.active)
        task.out += [write_length(len(consumer.ids)), *consumer.ids]


def _read_ids(task: Stepwise, into: list[bytes]) -> Steps:
    cursor = task.cursor
    for _ in range((yield from task.read(cursor.length))):
        one = yield from task.read(lambda: cursor.raw(16))
        into.append(one)


def _producers(task: Stepwise) -> Steps:
    """The record of idempotent producers, which is left out."""
    cursor = task.cursor
    for _ in range(2):
        yield from task.read(cursor.length)
    producers = yield from task.read(cursor.length)
    for _ in range(producers):
        yield from task.read(cursor.raw_string)
        for _ in range((yield from task.read(cursor.length))):
            yield from task.read(lambda: (cursor.raw_string(), cursor.length(), cursor.length()))
    for _ in range(2):
        yield from task.read(cursor.length)
    task.lose(Reason.STREAM_PRODUCERS, producers)
