"""Which conversion a rule of the translation table stands for, and the small ones: listpacks into older forms, modules."""

from __future__ import annotations

import struct
from collections.abc import Callable

from holdfast.codec.rdb import types
from holdfast.codec.rdb.containers import CorruptContainer, read_listpack, write_ziplist
from holdfast.codec.rdb.convert_hash import (
    listpack_ttl,
    redis_ttl_to_plain,
    redis_ttl_to_valkey,
    valkey_ttl_to_plain,
    valkey_ttl_to_redis,
)
from holdfast.codec.rdb.convert_stream import stream_down
from holdfast.codec.rdb.losses import Reason
from holdfast.codec.rdb.modules import module_name
from holdfast.codec.rdb.task import Steps, Task
from holdfast.codec.rdb.translate import STREAMS, Rule
from holdfast.codec.rdb.writer import write_length, write_string

_DOUBLE = struct.Struct("<d")
_PLAIN = 1
_PACKED = 2


def conversion(number: int, rule: Rule, is_valkey: bool) -> Callable[[Task], Steps]:
    """The conversion of type `number` that `rule` asks for. Args: `is_valkey`: numbers from 22 on are Valkey 9's."""
    if number in STREAMS:
        return lambda task: stream_down(task, number, rule.to[0])
    if is_valkey and number == types.VALKEY_HASH_TTL:
        return valkey_ttl_to_redis if types.HASH_TTL in rule.to else valkey_ttl_to_plain
    has_ttl = types.VALKEY_HASH_TTL in rule.to
    if number in (types.HASH_TTL_RC, types.HASH_TTL):
        return lambda task: (redis_ttl_to_valkey if has_ttl else redis_ttl_to_plain)(task, number)
    if number in (types.HASH_LISTPACK_TTL_RC, types.HASH_LISTPACK_TTL):
        return lambda task: listpack_ttl(task, number, has_ttl)
    return _UNPACKED[number]


def keep_modules(names: frozenset[str], reason: Reason, opcode: int) -> Callable[[Task], Steps]:
    """Carries what belongs to one of the modules `names`, and leaves out the rest."""

    def keep(task: Task) -> Steps:
        start = yield from task.read(lambda: _raw_length(task))
        if module_name(start[1]) not in names:
            raise task.give_up(reason)
        task.open(opcode)
        task.out.append(start[0])

    return keep


def _raw_length(task: Task) -> tuple[bytes, int]:
    start = task.cursor.at
    number = task.cursor.length()
    return task.cursor.buf[start : task.cursor.at], number


def _entries(task: Task, packed: bytes, each: int) -> list[bytes]:
    try:
        found = read_listpack(packed)
    except CorruptContainer as wrong:
        raise task.cursor.corrupt("a listpack", str(wrong)) from wrong
    if len(found) % each:
        raise task.cursor.corrupt(f"a listpack with entries in groups of {each}", f"{len(found)} entries")
    return found


def _hash(task: Task) -> Steps:
    entries = _entries(task, (yield from task.read(task.cursor.string)), 2)
    task.open(types.HASH)
    task.out += [write_length(len(entries) // 2), *map(write_string, entries)]


def _set(task: Task) -> Steps:
    entries = _entries(task, (yield from task.read(task.cursor.string)), 1)
    task.open(types.SET)
    task.out += [write_length(len(entries)), *map(write_string, entries)]


def _zset(task: Task) -> Steps:
    entries = _entries(task, (yield from task.read(task.cursor.string)), 2)
    task.open(types.ZSET_2)
    task.out.append(write_length(len(entries) // 2))
    for at in range(0, len(entries), 2):
        try:
            score = float(entries[at + 1])
        except ValueError:
            raise task.cursor.corrupt("a score", repr(entries[at + 1])) from None
        task.out += [write_string(entries[at]), _DOUBLE.pack(score)]


def _list(task: Task) -> Steps:
    """Each node of listpack or single element becomes a ziplist."""
    cursor = task.cursor
    task.open(types.LIST_QUICKLIST)
    for _ in range((yield from task.copy_length())):
        form = yield from task.read(cursor.length)
        held = yield from task.read(cursor.string)
        if form not in (_PLAIN, _PACKED):
            raise cursor.corrupt("the form of a list's node, 1 or 2", str(form))
        entries = [held] if form == _PLAIN else _entries(task, held, 1)
        task.out.append(write_string(write_ziplist(entries)))


_UNPACKED: dict[int, Callable[[Task], Steps]] = {
    types.HASH_LISTPACK: _hash,
    types.ZSET_LISTPACK: _zset,
    types.SET_LISTPACK: _set,
    types.LIST_QUICKLIST_2: _list,
}
