"""The writer: the bytes of lengths, strings and records, and whole RDBs with their checksum."""

from __future__ import annotations

from holdfast.codec.crc import crc64
from holdfast.codec.rdb import types
from holdfast.codec.rdb.dialect import OLDEST_CHECKSUMMED, Dialect

_SHORT = [bytes((number,)) for number in range(64)]


def write_length(number: int) -> bytes:
    """A length field, 0 to 2**64 - 1, in the shortest form."""
    if number < 64:
        return _SHORT[number]
    if number < 16384:
        return (0x4000 | number).to_bytes(2, "big")
    if number < 1 << 32:
        return b"\x80" + number.to_bytes(4, "big")
    return b"\x81" + number.to_bytes(8, "big")


def write_string(text: bytes) -> bytes:
    """A string with its length; never compressed, which every engine loads."""
    return write_length(len(text)) + text


class Writer:
    """Builds an RDB of one dialect; `take` gives what has been written since it was last called.

    The order is the caller's: AUX fields and functions first, then for each database `select` and its keys, then `end`.
    """

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self._crc = 0
        self._parts = [dialect.header]

    def aux(self, field: bytes, value: bytes) -> None:
        """A note, like redis-ver."""
        self._parts += [bytes((types.AUX,)), write_string(field), write_string(value)]

    def function(self, source: bytes) -> None:
        """A function library."""
        self._parts += [bytes((types.FUNCTION,)), write_string(source)]

    def select(self, db: int, keys: int = 0, expires: int = 0) -> None:
        """The keys that follow are of `db`; with `keys`, how many come, as a hint."""
        self._parts += [bytes((types.SELECTDB,)), write_length(db)]
        if keys:
            self._parts += [bytes((types.RESIZEDB,)), write_length(keys), write_length(expires)]

    def key(self, name: bytes, type: int, body: bytes, expire_ms: int | None = None) -> None:
        """A key, whose value `body` is in the form of `type`, as the dialect means that number."""
        if expire_ms is not None:
            self._parts += [bytes((types.EXPIRETIME_MS,)), expire_ms.to_bytes(8, "little", signed=True)]
        self._parts += [bytes((type,)), write_string(name), body]

    def end(self) -> None:
        """Close the RDB, with its checksum."""
        self._parts.append(bytes((types.EOF,)))
        closed = self.take()
        checksum = self._crc.to_bytes(8, "little") if self.dialect.version >= OLDEST_CHECKSUMMED else b""
        self._parts = [closed, checksum]

    def take(self) -> bytes:
        """What has been written and not taken."""
        written = b"".join(self._parts)
        self._parts = []
        self._crc = crc64(written, self._crc)
        return written
