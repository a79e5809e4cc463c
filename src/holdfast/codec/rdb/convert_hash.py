"""Hashes with field TTLs from one dialect's form to another's, field by field, in bounded memory."""

from __future__ import annotations

from collections.abc import Generator

from holdfast.codec.rdb import types
from holdfast.codec.rdb.containers import CorruptContainer, read_listpack
from holdfast.codec.rdb.cursor import Cursor
from holdfast.codec.rdb.losses import Reason
from holdfast.codec.rdb.task import Steps, Task
from holdfast.codec.rdb.writer import write_length, write_string

NEVER_MS = -1


Field = tuple[bytes, bytes, int]
"""A field's name and its value as strings of an RDB, and when it expires; NEVER_MS for never."""


def redis_ttl_to_plain(task: Task, number: int) -> Steps:
    """Types 22 (release candidates) and 24 to a hash without field TTLs."""
    if task.bounds.expired_before_ms is not None:
        yield from _without_the_expired(task, number)
        return
    task.open(types.HASH)
    if number == types.HASH_TTL:
        yield from task.read(task.cursor.signed)
    count = yield from task.copy_length()
    lost = 0
    for _ in range(count):
        if (yield from task.read(task.cursor.length)):
            lost += 1
        yield from task.copy_string()
        yield from task.copy_string()
    task.lose(Reason.FIELD_TTL, lost)


def redis_ttl_to_valkey(task: Task, number: int) -> Steps:
    """Types 22 (release candidates) and 24 to Valkey's 22."""
    task.open(types.VALKEY_HASH_TTL)
    least = 1
    if number == types.HASH_TTL:
        least = yield from task.read(task.cursor.signed)
    count = yield from task.copy_length()
    for _ in range(count):
        said = yield from task.read(task.cursor.length)
        yield from task.copy_string()
        yield from task.copy_string()
        expire_ms = said + least - 1 if said else NEVER_MS
        task.out.append(_ms(expire_ms, task.cursor))


def listpack_ttl(task: Task, number: int, has_ttl: bool) -> Steps:
    """Types 23 (release candidates) and 25 to Valkey's 22 where some field has a TTL and the target knows them, else to a
    plain hash.
    """
    cursor = task.cursor
    if number == types.HASH_LISTPACK_TTL:
        while task.tried(cursor.signed) is None:
            yield
    while (packed := task.tried(cursor.string)) is None:
        yield
    fields = listpack_fields(packed, cursor)
    # The fields without a TTL are the last ones.
    if has_ttl and fields and fields[0][2] != NEVER_MS:
        task.open(types.VALKEY_HASH_TTL)
        task.out.append(write_length(len(fields)))
        for name, value, expire_ms in fields:
            task.out += (name, value, _ms(expire_ms, cursor))
        return
    _write_plain(task, fields)


def valkey_ttl_to_plain(task: Task) -> Steps:
    """Valkey's 22 to a hash without field TTLs."""
    if task.bounds.expired_before_ms is not None:
        yield from _without_the_expired(task, None)
        return
    task.open(types.HASH)
    count = yield from task.copy_length()
    lost = 0
    for _ in range(count):
        yield from task.copy_string()
        yield from task.copy_string()
        if (yield from task.read(task.cursor.signed)) != NEVER_MS:
            lost += 1
    task.lose(Reason.FIELD_TTL, lost)


def valkey_ttl_to_redis(task: Task) -> Steps:
    """Valkey's 22 to type 24. The smallest expiry, which stands first there, is a base to add to and need not be one of
    the fields': with 1, what is added is the expiry itself, and no look ahead is needed.
    """
    task.open(types.HASH_TTL)
    task.out.append((1).to_bytes(8, "little"))
    count = yield from task.copy_length()
    for _ in range(count):
        name, value, expire_ms = yield from task.read(lambda: _valkey_field(task.cursor))
        said = 0 if expire_ms == NEVER_MS else max(expire_ms, 1)
        task.out += (write_length(said), name, value)


def listpack_fields(packed: bytes, cursor: Cursor) -> list[Field]:
    """The fields of a listpack of (field, value, expiry or 0). Raises: CorruptRdb."""
    try:
        entries = read_listpack(packed)
    except CorruptContainer as wrong:
        raise cursor.corrupt("a hash as a listpack with TTLs", str(wrong)) from wrong
    if len(entries) % 3:
        raise cursor.corrupt("a listpack of fields, values and TTLs", f"{len(entries)} entries")
    found = []
    for at in range(0, len(entries), 3):
        said = entries[at + 2]
        if not said.isdigit() or len(said) > 15:
            raise cursor.corrupt("a field's expiry in ms", repr(said))
        found.append((write_string(entries[at]), write_string(entries[at + 1]), int(said) or NEVER_MS))
    return found


def _valkey_field(cursor: Cursor) -> Field:
    return cursor.raw_string(), cursor.raw_string(), cursor.signed()


def _without_the_expired(task: Task, number: int | None) -> Generator[None, None, None]:
    """A plain hash of the fields that have not expired; held whole, since their number stands first.
    Args: `number`, the type as Redis means it; None for Valkey's 22.
    """
    cursor = task.cursor

    def redis_field(least: int) -> Field:
        said = cursor.length()
        return cursor.raw_string(), cursor.raw_string(), said + least - 1 if said else NEVER_MS

    def read() -> list[Field]:
        if number is None:
            return [_valkey_field(cursor) for _ in range(cursor.count())]
        least = cursor.signed() if number == types.HASH_TTL else 1
        return [redis_field(least) for _ in range(cursor.count())]

    _write_plain(task, (yield from task.read(read)))


def _write_plain(task: Task, fields: list[Field]) -> None:
    limit = task.bounds.expired_before_ms
    kept = fields
    if limit is not None:
        kept = [field for field in fields if field[2] == NEVER_MS or field[2] >= limit]
    if not kept:
        raise task.give_up(Reason.FIELD_EXPIRED)
    task.open(types.HASH)
    task.out.append(write_length(len(kept)))
    lost = 0
    for name, value, expire_ms in kept:
        task.out += (name, value)
        lost += expire_ms != NEVER_MS
    task.lose(Reason.FIELD_EXPIRED, len(fields) - len(kept))
    task.lose(Reason.FIELD_TTL, lost)


def _ms(expire_ms: int, cursor: Cursor) -> bytes:
    if not -1 <= expire_ms < 1 << 63:
        raise cursor.corrupt("a field's expiry in ms", str(expire_ms))
    return expire_ms.to_bytes(8, "little", signed=True)
