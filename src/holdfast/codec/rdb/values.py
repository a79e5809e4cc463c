"""Values decoded, on demand: from a type and its bytes to what a client would read; and back, in the plainest form."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from holdfast.codec.rdb import types
from holdfast.codec.rdb.containers import (
    CorruptContainer,
    read_intset,
    read_ziplist,
    read_zipmap,
)
from holdfast.codec.rdb.cursor import Cursor
from holdfast.codec.rdb.dialect import Dialect
from holdfast.codec.rdb.listpack import read_listpack
from holdfast.codec.rdb.modules import module_name
from holdfast.codec.rdb.streams import Stream, read_stream
from holdfast.codec.rdb.translate import STREAMS
from holdfast.codec.rdb.writer import write_length, write_string
from holdfast.errors import WrongUsage

_DOUBLE = struct.Struct("<d")
_FLOAT = struct.Struct("<f")
_NEVER_MS = -1


@dataclass(frozen=True, slots=True)
class String:
    """A string, bitmap or HyperLogLog."""

    data: bytes


@dataclass(frozen=True, slots=True)
class List:
    """A list, from its head to its tail."""

    items: list[bytes]


@dataclass(frozen=True, slots=True)
class Set:
    """A set, in the order in which it is stored, which means nothing."""

    members: list[bytes]


@dataclass(frozen=True, slots=True)
class SortedSet:
    """Members with their scores, in the order in which they are stored."""

    members: list[tuple[bytes, float]]


@dataclass(frozen=True, slots=True)
class Hash:
    """Fields with their values and when they expire (ms since 1970; None for never), in the order in which they are stored."""

    fields: list[tuple[bytes, bytes, int | None]]


@dataclass(frozen=True, slots=True)
class Module:
    """A value of a module's type: only the module knows what its parts mean."""

    name: str
    version: int
    parts: list[int | float | bytes]


@dataclass(frozen=True, slots=True)
class Array:
    """A sparse array of Redis 8.8."""

    items: list[tuple[int, bytes | int | float]]
    """(index, element)."""
    next_index: int | None
    """Where the next insertion goes, where that was set."""


Value = String | List | Set | SortedSet | Hash | Stream | Module | Array


def decode(type: int, body: bytes, dialect: Dialect, key: bytes | None = None, base: int = 0) -> Value:
    """The value whose bytes are `body`.

    Args: `type`, the number before the key, as `dialect` means it; `key` and `base` (the offset of `body` in the whole) are
        for errors.
    Raises: CorruptRdb and TruncatedRdb, also where `body` holds more than the value; WrongUsage for an unknown type.
    """
    cursor = Cursor(body, 0, -1, base, key)
    if type in STREAMS:
        value: Value = read_stream(cursor, STREAMS.index(type))
    elif type == types.VALKEY_HASH_TTL and dialect.has_valkey_numbers:
        value = Hash([_valkey_field(cursor) for _ in range(cursor.count())])
    elif type in _READERS:
        value = _READERS[type](cursor)
    else:
        raise WrongUsage(f"values of type {type} cannot be decoded", f"{dialect.name} has no such type")
    if cursor.left():
        raise cursor.corrupt("the end of the value", f"{cursor.left()} bytes more")
    return value


def encode(value: Value, dialect: Dialect) -> tuple[int, bytes]:
    """A type that `dialect` loads, and the value's bytes in it. Streams and modules are carried as bytes, not encoded.

    Raises: WrongUsage for those, for an array, and for field TTLs where the dialect has none.
    """
    if isinstance(value, String):
        return types.STRING, write_string(value.data)
    if isinstance(value, List):
        return types.LIST, write_length(len(value.items)) + b"".join(map(write_string, value.items))
    if isinstance(value, Set):
        return types.SET, write_length(len(value.members)) + b"".join(map(write_string, value.members))
    if isinstance(value, SortedSet):
        pairs = (write_string(member) + _DOUBLE.pack(score) for member, score in value.members)
        return types.ZSET_2, write_length(len(value.members)) + b"".join(pairs)
    if isinstance(value, Hash):
        return _encode_hash(value, dialect)
    raise WrongUsage(f"a {type(value).__name__.lower()} is not encoded", "carry its bytes instead")


def _encode_hash(value: Hash, dialect: Dialect) -> tuple[int, bytes]:
    count = write_length(len(value.fields))
    if all(expire_ms is None for _, _, expire_ms in value.fields):
        pairs = (write_string(name) + write_string(data) for name, data, _ in value.fields)
        return types.HASH, count + b"".join(pairs)
    if not dialect.has_field_ttl:
        raise WrongUsage("a hash with field TTLs is not encoded", f"{dialect.name} has none: drop them first")
    if dialect.has_valkey_numbers:
        each = (
            write_string(name) + write_string(data) + _signed(_NEVER_MS if expire_ms is None else expire_ms)
            for name, data, expire_ms in value.fields
        )
        return types.VALKEY_HASH_TTL, count + b"".join(each)
    least = min(expire_ms for _, _, expire_ms in value.fields if expire_ms is not None)
    each = (
        write_length(0 if expire_ms is None else expire_ms - least + 1)
        + write_string(name)
        + write_string(data)
        for name, data, expire_ms in value.fields
    )
    return types.HASH_TTL, _signed(least) + count + b"".join(each)


def _signed(number: int) -> bytes:
    return number.to_bytes(8, "little", signed=True)


def _packed(read: Callable[[bytes], list[bytes]], cursor: Cursor, each: int = 1) -> list[bytes]:
    """The entries of a packed collection, which come in groups of `each`."""
    start = cursor.at
    try:
        entries = read(cursor.string())
    except CorruptContainer as wrong:
        cursor.at = start
        raise cursor.corrupt("a packed collection", str(wrong)) from wrong
    if len(entries) % each:
        raise cursor.corrupt(f"entries in groups of {each}", f"{len(entries)} of them")
    return entries


def _strings(cursor: Cursor) -> list[bytes]:
    return [cursor.string() for _ in range(cursor.count())]


def _score(cursor: Cursor, text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        raise cursor.corrupt("a score", repr(text)) from None


def _text_score(cursor: Cursor) -> float:
    size = cursor.raw(1)[0]
    if size == 253:
        return float("nan")
    return float("inf") if size == 254 else float("-inf") if size == 255 else _score(cursor, cursor.raw(size))


def _zset(cursor: Cursor) -> SortedSet:
    return SortedSet([(cursor.string(), _text_score(cursor)) for _ in range(cursor.count())])


def _zset_2(cursor: Cursor) -> SortedSet:
    return SortedSet([(cursor.string(), cursor.double()) for _ in range(cursor.count())])


def _packed_zset(read: Callable[[bytes], list[bytes]], cursor: Cursor) -> SortedSet:
    entries = _packed(read, cursor, 2)
    return SortedSet([(entries[at], _score(cursor, entries[at + 1])) for at in range(0, len(entries), 2)])


def _packed_hash(read: Callable[[bytes], list[bytes]], cursor: Cursor) -> Hash:
    entries = _packed(read, cursor, 2)
    return Hash([(entries[at], entries[at + 1], None) for at in range(0, len(entries), 2)])


def _ziplists(cursor: Cursor) -> List:
    return List([item for _ in range(cursor.count()) for item in _packed(read_ziplist, cursor)])


def _quicklist(cursor: Cursor) -> List:
    items: list[bytes] = []
    for _ in range(cursor.count()):
        form = cursor.length()
        if form not in (1, 2):
            raise cursor.corrupt("the form of a list's node, 1 or 2", str(form))
        items += [cursor.string()] if form == 1 else _packed(read_listpack, cursor)
    return List(items)


def _valkey_field(cursor: Cursor) -> tuple[bytes, bytes, int | None]:
    name, data, expire_ms = cursor.string(), cursor.string(), cursor.signed()
    return name, data, None if expire_ms == _NEVER_MS else expire_ms


def _hash_ttl(cursor: Cursor, least: int) -> Hash:
    fields: list[tuple[bytes, bytes, int | None]] = []
    for _ in range(cursor.count()):
        said = cursor.length()
        fields.append((cursor.string(), cursor.string(), said + least - 1 if said else None))
    return Hash(fields)


def _hash_listpack_ttl(cursor: Cursor) -> Hash:
    entries = _packed(read_listpack, cursor, 3)
    fields: list[tuple[bytes, bytes, int | None]] = []
    for at in range(0, len(entries), 3):
        said = entries[at + 2]
        if not said.isdigit() or len(said) > 15:
            raise cursor.corrupt("a field's expiry in ms", repr(said))
        fields.append((entries[at], entries[at + 1], int(said) or None))
    return Hash(fields)


def _after_least(cursor: Cursor) -> Hash:
    cursor.signed()
    return _hash_listpack_ttl(cursor)


def _hash(cursor: Cursor) -> Hash:
    return Hash([(cursor.string(), cursor.string(), None) for _ in range(cursor.count())])


def _module(cursor: Cursor) -> Module:
    number = cursor.length()
    parts: list[int | float | bytes] = []
    while kind := cursor.length():
        if kind == 1:
            length = cursor.length()
            parts.append(length - (1 << 64) if length >> 63 else length)
        elif kind == 2:
            parts.append(cursor.length())
        elif kind == 3:
            parts.append(_FLOAT.unpack(cursor.raw(4))[0])
        elif kind == 4:
            parts.append(cursor.double())
        elif kind == 5:
            parts.append(cursor.string())
        else:
            raise cursor.corrupt("a module's opcode, 0 to 5", str(kind))
    return Module(module_name(number), number & 1023, parts)


def _array(cursor: Cursor) -> Array:
    count = cursor.count()
    next_index = cursor.length() if cursor.length() else None
    items: list[tuple[int, bytes | int | float]] = []
    for _ in range(count):
        index, tag = cursor.length(), cursor.length()
        if tag in (0, 3):
            items.append((index, cursor.string()))
        elif tag in (1, 2):
            items.append((index, cursor.signed() if tag == 1 else cursor.double()))
        else:
            raise cursor.corrupt("the tag of an array's element, 0 to 3", str(tag))
    return Array(items, next_index)


_READERS: dict[int, Callable[[Cursor], Value]] = {
    types.STRING: lambda cursor: String(cursor.string()),
    types.LIST: lambda cursor: List(_strings(cursor)),
    types.SET: lambda cursor: Set(_strings(cursor)),
    types.ZSET: _zset,
    types.HASH: _hash,
    types.ZSET_2: _zset_2,
    types.MODULE: _module,
    types.HASH_ZIPMAP: lambda cursor: _packed_hash(read_zipmap, cursor),
    types.LIST_ZIPLIST: lambda cursor: List(_packed(read_ziplist, cursor)),
    types.SET_INTSET: lambda cursor: Set(_packed(read_intset, cursor)),
    types.ZSET_ZIPLIST: lambda cursor: _packed_zset(read_ziplist, cursor),
    types.HASH_ZIPLIST: lambda cursor: _packed_hash(read_ziplist, cursor),
    types.LIST_QUICKLIST: _ziplists,
    types.HASH_LISTPACK: lambda cursor: _packed_hash(read_listpack, cursor),
    types.ZSET_LISTPACK: lambda cursor: _packed_zset(read_listpack, cursor),
    types.LIST_QUICKLIST_2: _quicklist,
    types.SET_LISTPACK: lambda cursor: Set(_packed(read_listpack, cursor)),
    types.HASH_TTL_RC: lambda cursor: _hash_ttl(cursor, 1),
    types.HASH_LISTPACK_TTL_RC: _hash_listpack_ttl,
    types.HASH_TTL: lambda cursor: _hash_ttl(cursor, cursor.signed()),
    types.HASH_LISTPACK_TTL: _after_least,
    types.ARRAY: _array,
}
"""Type, as Redis means it -> its reader; streams apart."""
