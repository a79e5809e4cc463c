"""RESTORE commands from what an RDB holds, as the bytes that go over the wire. Pure."""

from __future__ import annotations

from holdfast.codec.crc import crc64

_ROOM_BYTES = 1 << 16
_BESIDE_BYTES = 256
"""What stands around key and value takes at most: words, lengths, footer."""
_LOOP_BYTES = 64
"""Up to this size a loop copies faster than a slice, which makes an object first."""


class RestorePacker:
    """Writes one command after another; the checksum of each value is reckoned here.

    Args: `version`, that of the RDB which the values come from (a DUMP ends with it).
    """

    def __init__(self, version: int) -> None:
        self._version = version
        self._room = bytearray(_ROOM_BYTES)
        self._p = self._room
        self._used = 0

    def pack(self, key: bytes, kind: int, value: bytes, ends_ms: int, freq: int, idle_s: int) -> bytes:
        """RESTORE of `key`, which replaces what is there.

        Args: `kind`, the number of the value's type, and `value`, as they stand in the RDB; `ends_ms`, Unix time, 0 for never;
            `freq`, `idle_s`, -1 for none, of which at most one counts.
        """
        size = len(value)
        if len(self._room) < len(key) + size + _BESIDE_BYTES:
            self._room = bytearray(len(key) + size + _BESIDE_BYTES)
            self._p = self._room
        self._used = 0
        has_more = freq >= 0 or idle_s >= 0
        self._put(b"*8\r\n$7\r\nRESTORE\r\n" if has_more else b"*6\r\n$7\r\nRESTORE\r\n")
        self._head(len(key))
        self._put(key)
        self._put(b"\r\n")
        self._word(ends_ms)
        self._head(size + 11)
        start = self._used
        self._p[start] = kind
        self._used = start + 1
        self._put(value)
        self._low_first(self._version, 2)
        self._low_first(crc64(bytes(self._room[start : self._used])), 8)
        self._put(b"\r\n$7\r\nREPLACE\r\n$6\r\nABSTTL\r\n")
        if freq >= 0:
            self._put(b"$4\r\nFREQ\r\n")
            self._word(freq)
        elif idle_s >= 0:
            self._put(b"$8\r\nIDLETIME\r\n")
            self._word(idle_s)
        return bytes(self._room[: self._used])

    def _put(self, data: bytes) -> None:
        size = len(data)
        put = self._used
        self._used = put + size
        if size > _LOOP_BYTES:
            self._room[put : put + size] = data
            return
        out = self._p
        for step in range(size):
            out[put + step] = data[step]

    def _low_first(self, number: int, width: int) -> None:
        out = self._p
        put = self._used
        for step in range(width):
            out[put + step] = number >> 8 * step & 255
        self._used = put + width

    def _digits(self, number: int, width: int) -> None:
        """A number, 0 and up, as text of that many digits."""
        out = self._p
        at = self._used + width
        self._used = at
        while width > 0:
            at -= 1
            out[at] = 48 + number % 10
            number //= 10
            width -= 1

    def _head(self, size: int) -> None:
        self._p[self._used] = 36
        self._used += 1
        self._digits(size, _width(size))
        self._put(b"\r\n")

    def _word(self, number: int) -> None:
        """A number as a word."""
        if number >= 0:
            width = _width(number)
            self._head(width)
            self._digits(number, width)
        else:  # what no engine takes, and says so
            self._put(b"$2\r\n-1")
        self._put(b"\r\n")


def _width(number: int) -> int:
    """Digits of a number, 0 to 2**63 - 1."""
    width = 1
    least = 10
    while width < 19 and number >= least:
        width += 1
        least *= 10
    return width


def is_compiled() -> bool:
    """Whether the compiled twin of this module is in charge."""
    return not __file__.endswith(".py")
