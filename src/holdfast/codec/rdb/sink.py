"""Where rewritten bytes gather on their way out, with the checksum of all that went before."""

from __future__ import annotations

from holdfast.codec.crc import Crc64

_ROOM_BYTES = 1 << 16
_PART_BYTES = 4096
"""A stretch from this size on is kept by itself; shorter ones are gathered in the room."""
_LOOP_BYTES = 64
"""Up to this size a loop copies faster than a slice, which makes an object first."""


class Sink:
    """Bytes written in order, in pieces of any size, until they are taken."""

    def __init__(self) -> None:
        self._room = bytearray(_ROOM_BYTES)
        self._p = self._room
        self._used = 0
        self._parts: list[bytes] = []
        self._crc = Crc64()

    def span(self, buf: bytes, at: int, end: int) -> None:
        """Write `buf` from `at` to before `end`, which the caller has made sure of."""
        size = end - at
        if size >= _PART_BYTES:
            self._settle()
            self._crc.add(buf, at, end)
            self._parts.append(buf[at:end])
            return
        if size > _ROOM_BYTES - self._used:
            self._settle()
        put = self._used
        self._used += size
        if size > _LOOP_BYTES:
            self._room[put : put + size] = buf[at:end]
            return
        out = self._p
        p = buf
        for step in range(size):
            out[put + step] = p[at + step]

    def write(self, data: bytes) -> None:
        """Write all of `data`."""
        self.span(data, 0, len(data))

    def byte(self, number: int) -> None:
        """Write one byte, 0 to 255."""
        if self._used == _ROOM_BYTES:
            self._settle()
        self._p[self._used] = number
        self._used += 1

    def low_first(self, number: int) -> None:
        """Write eight bytes, the lowest first."""
        if _ROOM_BYTES - self._used < 8:
            self._settle()
        out = self._p
        put = self._used
        for step in range(8):
            out[put + step] = number >> 8 * step & 255
        self._used += 8

    def length(self, number: int) -> None:
        """Write a length field, 0 to 2**64 - 1, in the shortest form."""
        if number < 64:
            self.byte(number)
            return
        if _ROOM_BYTES - self._used < 9:
            self._settle()
        out = self._p
        put = self._used
        if number < 16384:
            out[put] = 0x40 | number >> 8
            out[put + 1] = number & 255
            self._used += 2
            return
        size = 4 if number < 1 << 32 else 8
        out[put] = 0x80 if size == 4 else 0x81
        for step in range(size):
            out[put + size - step] = number >> 8 * step & 255
        self._used += 1 + size

    def crc(self) -> int:
        """The CRC-64 of everything written so far, taken or not."""
        self._settle()
        return self._crc.value

    def take(self) -> bytes:
        """What was written since it was last taken."""
        self._settle()
        taken = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts = []
        return taken

    def _settle(self) -> None:
        """What is in the room becomes a part."""
        if self._used:
            part = bytes(self._p[: self._used])
            self._crc.add(part, 0, self._used)
            self._parts.append(part)
            self._used = 0
