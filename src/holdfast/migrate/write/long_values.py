"""A value too long to be restored whole, as commands in pieces, made while its bytes come in. Pure.

Strings, lists, sets, sorted sets and hashes go in pieces. What has no such form (a stream with its groups, one packed block,
a compressed string) is gathered and restored whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from struct import unpack_from

from holdfast.codec.crc import crc64
from holdfast.codec.rdb import types
from holdfast.codec.rdb.containers import read_ziplist
from holdfast.codec.rdb.cursor import Cursor
from holdfast.codec.rdb.errors import TruncatedRdb
from holdfast.codec.rdb.listpack import read_listpack
from holdfast.engine.pipeline import pack

PIECE_BYTES = 256 << 10

Entry = tuple[bytes, ...]


def _member(cursor: Cursor) -> Entry:
    return (cursor.string(),)


def _field(cursor: Cursor) -> Entry:
    return (cursor.string(), cursor.string())


def _scored(cursor: Cursor) -> Entry:
    member = cursor.string()
    (score,) = unpack_from("<d", cursor.raw(8))
    return (repr(score).encode(), member)


def _ziplist(cursor: Cursor) -> Entry:
    return tuple(read_ziplist(cursor.string()))


def _node(cursor: Cursor) -> Entry:
    """A node of a list: one long element, or a listpack of some."""
    plain = cursor.length() == 1
    content = cursor.string()
    return (content,) if plain else tuple(read_listpack(content))


_READERS: dict[int, tuple[bytes, Callable[[Cursor], Entry]]] = {
    types.LIST: (b"RPUSH", _member),
    types.LIST_QUICKLIST: (b"RPUSH", _ziplist),
    types.LIST_QUICKLIST_2: (b"RPUSH", _node),
    types.SET: (b"SADD", _member),
    types.ZSET_2: (b"ZADD", _scored),
    types.HASH: (b"HSET", _field),
}


class LongValue:
    """One value on its way: `feed` and `end` give the commands that make it."""

    def __init__(
        self, key: bytes, kind: int, expire_ms: int | None, database: int, footer: bytes = b""
    ) -> None:
        self.key = key
        self.database = database
        self._kind = kind
        self._expire_ms = expire_ms
        self._footer = footer
        self._held: list[bytes] = []
        self._rest = b""
        self._left = -1
        """Entries, or bytes of a string, that are still to come; -1 before their number is known."""
        self._began = False
        self._whole = kind not in _READERS and kind != types.STRING

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Commands for what has come so far, in order.

        Raises: CorruptRdb, CorruptContainer.
        """
        if self._whole:
            self._held.append(data)
            return
        if self._kind == types.STRING:
            yield from self._string(data)
            return
        if not self._began:
            yield pack("DEL", self.key)
            self._began = True
        yield from self._entries(data)

    def end(self) -> Iterator[bytes]:
        """What is left to do once the value is whole."""
        if self._whole:
            yield self._restore()
        elif self._expire_ms is not None:
            yield pack("PEXPIREAT", self.key, self._expire_ms)

    def _string(self, data: bytes) -> Iterator[bytes]:
        if self._left < 0:
            cursor = Cursor(self._rest + data)
            if (
                cursor.buf[:1] and cursor.buf[0] >= 0xC0
            ):  # compressed, or a number: never longer than one piece unless packed
                self._whole = True
                self._held = [cursor.buf]
                return
            try:
                self._left = cursor.length()
            except TruncatedRdb:
                self._rest = cursor.buf
                return
            data = cursor.buf[cursor.at :]
            yield pack("SET", self.key, b"")
        for at in range(0, len(data), PIECE_BYTES):
            yield pack("APPEND", self.key, data[at : at + PIECE_BYTES])

    def _entries(self, data: bytes) -> Iterator[bytes]:
        name, read = _READERS[self._kind]
        cursor = Cursor(self._rest + data if self._rest else data)
        words: list[bytes] = []
        size = 0
        start = 0
        try:
            if self._left < 0:
                self._left = cursor.length()
                start = cursor.at
            while self._left:
                entry = read(cursor)
                start = cursor.at
                self._left -= 1
                words.extend(entry)
                size += sum(map(len, entry))
                if size >= PIECE_BYTES:
                    yield pack(name, self.key, *words)
                    words, size = [], 0
        except TruncatedRdb:
            pass
        self._rest = cursor.buf[start:]
        if words:
            yield pack(name, self.key, *words)

    def _restore(self) -> bytes:
        body = bytes([self._kind]) + b"".join(self._held) + self._footer
        payload = body + crc64(body).to_bytes(8, "little")
        return pack("RESTORE", self.key, self._expire_ms or 0, payload, "REPLACE", "ABSTTL")
