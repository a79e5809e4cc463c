"""Listpacks, the packed form of small collections since Redis 7.0: read entry by entry, checked, and written.

Source: src/listpack.c of the engines.
"""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.codec.rdb.containers import CorruptContainer

_END = 0xFF
_UNKNOWN_COUNT = 0xFFFF
_HEAD_BYTES = 6


class Listpack:
    """A place in a listpack. `next` moves to the next entry and describes it: `is_number` and `number`, or a string of
    `size` bytes that begins at `at` of the bytes given to `open`. `count` is how many have been met, `said` how many
    its head says that there are (65535: unknown).
    """

    def __init__(self) -> None:
        self._buf = b""
        self._p = self._buf
        self._start = 0
        self._at = 0
        self._last = 0
        self.said = 0
        self.count = 0
        self.is_number = False
        self.number = 0
        self.at = 0
        self.size = 0

    def open(self, buf: bytes, at: int, end: int) -> int:
        """Begin with the listpack that lies in `buf` from `at` to before `end`. Raises: CorruptContainer."""
        self._buf = buf
        self._p = self._buf
        self._start = at
        self._at = at + _HEAD_BYTES
        self._last = end - 1
        self.count = 0
        p = self._p
        if end - at < _HEAD_BYTES + 1 or self._low_first(at, 4) != end - at or p[end - 1] != _END:
            raise self._corrupt(at, f"a total of {end - at} bytes with an end mark")
        self.said = p[at + 4] | p[at + 5] << 8
        return 1

    def next(self) -> int:
        """Go to the next entry: 1, or 0 behind the last one. Raises: CorruptContainer."""
        p = self._p
        at = self._at
        if at >= self._last:
            if at != self._last or (self.said != _UNKNOWN_COUNT and self.said != self.count):
                raise self._corrupt(at, f"the end behind {self.said} entries")
            return 0
        head = p[at]
        self.is_number = False
        self.size = 0
        # One byte behind the first is always there: at worst it is the end mark.
        if head < 0x80:
            self.is_number = True
            self.number = head
            behind = at + 1
        elif head < 0xC0:
            self.size = head & 63
            behind = at + 1
        elif head < 0xE0:
            self.is_number = True
            self.number = (head & 31) << 8 | p[at + 1]
            if self.number >= 4096:
                self.number -= 8192
            behind = at + 2
        elif head < 0xF0:
            self.size = (head & 15) << 8 | p[at + 1]
            behind = at + 2
        elif head == 0xF0:
            behind = at + 5
            if behind > self._last:
                raise self._corrupt(at, "a string inside its bytes")
            self.size = self._low_first(at + 1, 4)
        elif head <= 0xF4:
            width = 2 if head == 0xF1 else 3 if head == 0xF2 else 4 if head == 0xF3 else 8
            behind = at + 1 + width
            if behind > self._last:
                raise self._corrupt(at, f"an integer of {width} bytes")
            self.is_number = True
            self.number = self._low_first(at + 1, width)
        else:
            raise self._corrupt(at, "an entry")
        if self.size < 0 or self.size > self._last - behind:
            raise self._corrupt(at, "a string inside its bytes")
        self.at = behind
        behind += self.size
        whole = behind - at
        if not self._is_back_length(behind, whole):
            raise self._corrupt(behind, f"{whole} as the length of the entry before")
        self._at = behind + _back_length_bytes(whole)
        self.count += 1
        return 1

    def text(self) -> bytes:
        """The entry at hand; an integer as its decimal text."""
        return b"%d" % self.number if self.is_number else self._buf[self.at : self.at + self.size]

    def _low_first(self, at: int, width: int) -> int:
        """`width` bytes from `at`, lowest first, with a sign; the caller has made sure that they are there."""
        p = self._p
        number = 0
        for step in range(width - 1):
            one = p[at + step]
            number |= one << 8 * step
        one = p[at + width - 1]
        if one >= 128:
            one -= 256
        return number | one << 8 * (width - 1)

    def _is_back_length(self, at: int, size: int) -> bool:
        """Whether `size`, seven bits a byte, highest first, stands at `at`."""
        width = _back_length_bytes(size)
        if width > self._last - at:
            return False
        if width == 1:
            return self._p[at] == size
        for step in range(width):
            wanted = size >> 7 * (width - 1 - step) & 127
            if step:
                wanted |= 128
            if self._p[at + step] != wanted:
                return False
        return True

    def _corrupt(self, at: int, expected: str) -> CorruptContainer:
        return CorruptContainer("listpack", at - self._start, expected)


def _back_length_bytes(size: int) -> int:
    """Bytes in which a listpack writes the length of an entry behind it."""
    if size <= 127:
        return 1
    if size < 16383:
        return 2
    if size < 2097151:
        return 3
    return 4 if size < 268435455 else 5


def read_listpack(packed: bytes) -> list[bytes]:
    """The entries; integers as their decimal text. Raises: CorruptContainer."""
    entries = Listpack()
    entries.open(packed, 0, len(packed))
    found: list[bytes] = []
    while entries.next():
        found.append(entries.text())
    return found


def write_listpack(entries: Iterable[bytes]) -> bytes:
    """A listpack of strings (an engine reads them as it reads integers)."""
    parts: list[bytes] = []
    count = 0
    for entry in entries:
        size = len(entry)
        if size < 64:
            head = bytes((0x80 | size,))
        elif size < 4096:
            head = bytes((0xE0 | size >> 8, size & 255))
        else:
            head = b"\xf0" + size.to_bytes(4, "little")
        whole = len(head) + size
        width = _back_length_bytes(whole)
        back = [(whole >> 7 * (width - 1 - step) & 127) | (128 if step else 0) for step in range(width)]
        parts += [head, entry, bytes(back)]
        count += 1
    body = b"".join(parts)
    total = _HEAD_BYTES + len(body) + 1
    return total.to_bytes(4, "little") + min(count, _UNKNOWN_COUNT).to_bytes(2, "little") + body + b"\xff"
