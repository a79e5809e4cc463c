"""Reading values: lengths, strings and numbers from bytes at hand, each checked against what is left."""

from __future__ import annotations

import struct

from holdfast.codec import lzf
from holdfast.codec.rdb import limits
from holdfast.codec.rdb.errors import CorruptRdb, TooLong, TruncatedRdb

_DOUBLE = struct.Struct("<d")


class Cursor:
    """A place in `buf`, at `at`, from which values are read; nothing at `end` or after it is touched.

    Args: `base`, the offset of `buf`'s first byte in the whole input, and `key`, both for errors.
    Raises, in every method: TruncatedRdb when `end` comes too early (`at` is then anywhere), CorruptRdb, TooLong.
    """

    def __init__(
        self, buf: bytes, at: int = 0, end: int = -1, base: int = 0, key: bytes | None = None
    ) -> None:
        self.buf = buf
        self.at = at
        self.end = len(buf) if end < 0 else end
        self.base = base
        self.key = key

    def left(self) -> int:
        """Bytes that have not been read."""
        return self.end - self.at

    def length(self) -> int:
        """A length field: 0 to 2**64 - 1."""
        self._have(1, "a length")
        head = self.buf[self.at]
        size = 1 if head < 64 else 2 if head < 128 else 5 if head == 0x80 else 9 if head == 0x81 else 0
        if size == 0:
            raise self.corrupt("a length", f"0x{head:02x}")
        self._have(size, "a length")
        start = self.at
        self.at = start + size
        if size == 1:
            return head
        if size == 2:
            return (head & 63) << 8 | self.buf[start + 1]
        return int.from_bytes(self.buf[start + 1 : start + size], "big")

    def count(self) -> int:
        """A length that counts elements, each of which takes a byte of what is left or more."""
        number = self.length()
        if number > self.left():
            raise TruncatedRdb(
                self.base + self.end, self.key, f"{number} elements from byte {self.base + self.at}"
            )
        return number

    def string(self) -> bytes:
        """A string, expanded where it is compressed; an integer in its short form gives its decimal text."""
        self._have(1, "a string")
        head = self.buf[self.at]
        if head < 192:
            return self.raw(self.length())
        self.at += 1
        if head < 195:
            return b"%d" % int.from_bytes(self.raw(1 << (head & 3)), "little", signed=True)
        if head > 195:
            self.at -= 1
            raise self.corrupt("a string", f"0x{head:02x}")
        packed = self.length()
        length = self.length()
        if length > limits.STRING_BYTES:
            raise TooLong(self.base + self.at, self.key, "a compressed string", length, limits.STRING_BYTES)
        start = self.at
        try:
            return lzf.expand(self.raw(packed), length)
        except lzf.CorruptLzf as wrong:
            self.at = start
            raise self.corrupt("a string compressed with LZF", str(wrong)) from wrong

    def raw_string(self) -> bytes:
        """The bytes of a string as they stand, with its length, to be carried on."""
        start = self.at
        self.skip(self.string_head())
        return self.buf[start : self.at]

    def string_head(self) -> int:
        """Move past what says how a string is stored; returns how many bytes of it follow."""
        self._have(1, "a string")
        head = self.buf[self.at]
        if head < 192:
            return self.length()
        if head > 195:
            raise self.corrupt("a string", f"0x{head:02x}")
        self.at += 1
        if head < 195:
            return 1 << (head & 3)
        packed = self.length()
        self.length()
        return packed

    def raw(self, size: int) -> bytes:
        """The next `size` bytes."""
        start = self.at
        self.skip(size)
        return self.buf[start : start + size]

    def skip(self, size: int) -> None:
        """Move past `size` bytes."""
        self._have(size, f"{size} bytes")
        self.at += size

    def unsigned(self) -> int:
        """Eight bytes, lowest first: 0 to 2**64 - 1."""
        return int.from_bytes(self.raw(8), "little")

    def signed(self) -> int:
        """Eight bytes, lowest first, with a sign."""
        return int.from_bytes(self.raw(8), "little", signed=True)

    def double(self) -> float:
        """An eight-byte IEEE number, lowest byte first."""
        number: float = _DOUBLE.unpack(self.raw(8))[0]
        return number

    def corrupt(self, expected: str, found: str) -> CorruptRdb:
        """The error that says so of the place at hand."""
        return CorruptRdb(self.base + self.at, self.key, expected, found)

    def _have(self, size: int, what: str) -> None:
        if size > self.end - self.at:
            raise TruncatedRdb(self.base + self.end, self.key, what)


def decode_string(buf: bytes, at: int, end: int, base: int = 0) -> tuple[bytes, int]:
    """The string of `buf` that begins at `at`, and the index behind it. Raises: as Cursor does."""
    cursor = Cursor(buf, at, end, base)
    return cursor.string(), cursor.at
