"""Which conversion a rule of the translation table stands for, and the small ones: listpacks into older forms, modules."""

from __future__ import annotations

import struct
from collections.abc import Callable

from holdfast.codec.rdb import types
from holdfast.codec.rdb.containers import CorruptContainer, write_ziplist
from holdfast.codec.rdb.convert_hash import HashFields
from holdfast.codec.rdb.convert_listpack import HashListpack
from holdfast.codec.rdb.convert_stream import stream_down
from holdfast.codec.rdb.listpack import read_listpack
from holdfast.codec.rdb.losses import Reason
from holdfast.codec.rdb.modules import module_name
from holdfast.codec.rdb.sink import Sink
from holdfast.codec.rdb.stepwise import Steps, Stepwise
from holdfast.codec.rdb.task import Bounds, Task
from holdfast.codec.rdb.translate import STREAMS, Rule
from holdfast.codec.rdb.writer import write_length, write_string

_DOUBLE = struct.Struct("<d")
_PLAIN = 1
_PACKED = 2


Begin = Callable[[Sink, Bounds], Task]
"""Makes what converts all values of one type, one after another."""


def conversion(number: int, rule: Rule, is_valkey: bool) -> Begin:
    """The conversion of type `number` that `rule` asks for. Args: `is_valkey`: numbers from 22 on are Valkey 9's."""
    if number in STREAMS:
        return lambda sink, bounds: Stepwise(sink, bounds, lambda task: stream_down(task, number, rule.to[0]))
    if not is_valkey and number in (types.HASH_LISTPACK_TTL_RC, types.HASH_LISTPACK_TTL):
        return lambda sink, bounds: HashListpack(sink, bounds, number, rule.to)
    if number in (types.VALKEY_HASH_TTL, types.HASH_TTL):
        return lambda sink, bounds: HashFields(sink, bounds, number, is_valkey, rule.to[0])
    return lambda sink, bounds: Stepwise(sink, bounds, _UNPACKED[number])


def keep_modules(names: frozenset[str], reason: Reason, opcode: int) -> Begin:
    """Carries what belongs to one of the modules `names`, and leaves out the rest."""

    def keep(task: Stepwise) -> Steps:
        start = yield from task.read(lambda: _raw_length(task))
        if module_name(start[1]) not in names:
            raise task.give_up(reason)
        task.open(opcode)
        task.out.append(start[0])

    return lambda sink, bounds: Stepwise(sink, bounds, keep)


def _raw_length(task: Stepwise) -> tuple[bytes, int]:
    start = task.cursor.at
    number = task.cursor.length()
    return task.cursor.buf[start : task.cursor.at], number


def _entries(task: Stepwise, packed: bytes, each: int) -> list[bytes]:
    try:
        found = read_listpack(packed)
    except CorruptContainer as wrong:
        raise task.cursor.corrupt("a listpack", str(wrong)) from wrong
    if len(found) % each:
        raise task.cursor.corrupt(f"a listpack with entries in groups of {each}", f"{len(found)} entries")
    return found


def _hash(task: Stepwise) -> Steps:
    entries = _entries(task, (yield from task.read(task.cursor.string)), 2)
    task.open(types.HASH)
    task.out += [write_length(len(entries) // 2), *map(write_string, entries)]


def _set(task: Stepwise) -> Steps:
    entries = _entries(task, (yield from task.read(task.cursor.string)), 1)
    task.open(types.SET)
    task.out += [write_length(len(entries)), *map(write_string, entries)]


def _zset(task: Stepwise) -> Steps:
    entries = _entries(task, (yield from task.read(task.cursor.string)), 2)
    task.open(types.ZSET_2)
    task.out.append(write_length(len(entries) // 2))
    for at in range(0, len(entries), 2):
        try:
            score = float(entries[at + 1])
        except ValueError:
            raise task.cursor.corrupt("a score", repr(entries[at + 1])) from None
        task.out += [write_string(entries[at]), _DOUBLE.pack(score)]


def _list(task: Stepwise) -> Steps:
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


_UNPACKED: dict[int, Callable[[Stepwise], Steps]] = {
    types.HASH_LISTPACK: _hash,
    types.ZSET_LISTPACK: _zset,
    types.SET_LISTPACK: _set,
    types.LIST_QUICKLIST_2: _list,
}
