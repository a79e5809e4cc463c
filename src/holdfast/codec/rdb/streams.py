"""Streams decoded: entries, consumer groups, what is pending, and the producers of Redis 8.6."""

from __future__ import annotations

from dataclasses import dataclass, field

from holdfast.codec.rdb.containers import CorruptContainer
from holdfast.codec.rdb.cursor import Cursor
from holdfast.codec.rdb.listpack import read_listpack

EntryId = tuple[int, int]
"""(milliseconds, sequence)."""
_UNKNOWN_READ = (1 << 64) - 1
_DELETED = 1
_SAME_FIELDS = 2


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: its id and its fields with values, in order, as they were added."""

    id: EntryId
    fields: list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Pending:
    """An entry that was delivered and not acknowledged."""

    id: EntryId
    consumer: bytes | None
    """None where nobody owns it (Redis 8.8)."""
    delivered_ms: int
    deliveries: int


@dataclass(frozen=True, slots=True)
class Consumer:
    """A consumer of a group."""

    name: bytes
    seen_ms: int
    active_ms: int | None
    """None where it never was, or the form does not say."""


@dataclass(frozen=True, slots=True)
class Group:
    """A consumer group."""

    name: bytes
    last_id: EntryId
    entries_read: int | None
    """None where that is not known."""
    pending: list[Pending]
    consumers: list[Consumer]


@dataclass(frozen=True, slots=True)
class Producer:
    """An idempotent producer (Redis 8.6) and the entries it added under ids of its own."""

    name: bytes
    added: list[tuple[bytes, EntryId]]


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream. The counters are None where the form does not have them."""

    entries: list[Entry]
    length: int
    last_id: EntryId
    groups: list[Group]
    first_id: EntryId | None = None
    max_deleted_id: EntryId | None = None
    entries_added: int | None = None
    producers: list[Producer] = field(default_factory=list)


def read_stream(cursor: Cursor, form: int) -> Stream:
    """The stream at the cursor. Args: `form`, 0 to 4, its place in `translate.STREAMS`."""
    entries: list[Entry] = []
    for _ in range(cursor.count()):
        master = cursor.string()
        if len(master) != 16:
            raise cursor.corrupt("an id of 16 bytes", f"{len(master)} bytes")
        entries += _node(cursor, _id(master))
    length = cursor.length()
    last_id = (cursor.length(), cursor.length())
    first_id = max_deleted_id = entries_added = None
    if form >= 1:
        first_id, max_deleted_id = (cursor.length(), cursor.length()), (cursor.length(), cursor.length())
        entries_added = cursor.length()
    groups = [_group(cursor, form) for _ in range(cursor.count())]
    producers = _producers(cursor) if form >= 3 else []
    if length != len(entries):
        raise cursor.corrupt(f"{length} entries, as the stream says", str(len(entries)))
    return Stream(entries, length, last_id, groups, first_id, max_deleted_id, entries_added, producers)


def _id(raw: bytes) -> EntryId:
    return int.from_bytes(raw[:8], "big"), int.from_bytes(raw[8:], "big")


def _node(cursor: Cursor, master: EntryId) -> list[Entry]:
    """The living entries of one node. Source: the layout in src/t_stream.c: a master entry (count, deleted, its fields, 0),
    then entries of (flags, differences to the master id, [number of fields, fields,] values, number of parts).
    """
    start = cursor.at
    try:
        parts = iter(read_listpack(cursor.string()))
        count, deleted = int(next(parts)), int(next(parts))
        shared = [next(parts) for _ in range(int(next(parts)))]
        next(parts)
        found: list[Entry] = []
        for _ in range(count + deleted):
            flags = int(next(parts))
            # A difference is stored with a sign, but counts on in 64 bits without one.
            number = tuple((base + int(next(parts))) & _UNKNOWN_READ for base in master)
            if flags & _SAME_FIELDS:
                fields = [(name, next(parts)) for name in shared]
            else:
                fields = [(next(parts), next(parts)) for _ in range(int(next(parts)))]
            next(parts)
            if not flags & _DELETED:
                found.append(Entry((number[0], number[1]), fields))
        if len(found) != count or next(parts, None) is not None:
            raise cursor.corrupt(f"a node of {count} entries", f"{len(found)} or more")
        return found
    except (CorruptContainer, ValueError, StopIteration, RuntimeError) as wrong:
        cursor.at = start
        raise cursor.corrupt("a node of a stream", str(wrong) or "too few parts") from wrong


def _group(cursor: Cursor, form: int) -> Group:
    name = cursor.string()
    last_id = (cursor.length(), cursor.length())
    read = cursor.length() if form >= 1 else _UNKNOWN_READ
    times: dict[EntryId, tuple[int, int]] = {}
    for _ in range(cursor.count()):
        number = _id(cursor.raw(16))
        times[number] = (cursor.signed(), cursor.length())
    owners: dict[EntryId, bytes | None] = {}
    consumers: list[Consumer] = []
    for _ in range(cursor.count()):
        owner, seen = cursor.string(), cursor.signed()
        active = cursor.signed() if form >= 2 else -1
        consumers.append(Consumer(owner, seen, None if active == -1 else active))
        for _ in range(cursor.count()):
            owners[_id(cursor.raw(16))] = owner
    if form >= 4:
        for _ in range(cursor.count()):
            owners.setdefault(_id(cursor.raw(16)), None)
    if owners.keys() != times.keys():
        raise cursor.corrupt("an owner for every pending entry", f"{len(owners)} of {len(times)}")
    pending = [Pending(number, owners[number], *times[number]) for number in sorted(times)]
    return Group(name, last_id, None if read == _UNKNOWN_READ else read, pending, consumers)


def _producers(cursor: Cursor) -> list[Producer]:
    cursor.length()
    cursor.length()
    found = []
    for _ in range(cursor.count()):
        name = cursor.string()
        added = [(cursor.string(), (cursor.length(), cursor.length())) for _ in range(cursor.count())]
        found.append(Producer(name, added))
    cursor.length()
    cursor.length()
    return found
