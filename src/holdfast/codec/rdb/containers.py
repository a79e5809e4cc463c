"""The engines' packed forms of small collections inside one string, but for listpacks: ziplist, intset and zipmap.

Every reader checks each length against what is left and ends where the bytes say it ends. Raises, everywhere:
CorruptContainer. Source: src/ziplist.c, intset.c and zipmap.c of the engines.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from holdfast.errors import HoldfastError

_END = 0xFF
_UNKNOWN_COUNT = 0xFFFF
_ZIPLIST_HEAD = 10


@dataclass(eq=False)
class CorruptContainer(HoldfastError):
    """A packed collection whose bytes contradict themselves."""

    form: str
    at: int
    """Index in its bytes."""
    expected: str

    def __str__(self) -> str:
        return f"the {self.form} is corrupt at its byte {self.at}, where {self.expected} was expected"


def little(packed: bytes, at: int, width: int, end: int) -> int:
    """`width` bytes from `at`, lowest first; -1 where `end` comes before."""
    if at + width > end:
        return -1
    number = 0
    for step in range(width):
        one = packed[at + step]
        number |= one << 8 * step
    return number


def read_ziplist(packed: bytes) -> list[bytes]:
    """The entries; integers as their decimal text."""
    end = len(packed)
    if end < _ZIPLIST_HEAD + 1 or int.from_bytes(packed[:4], "little") != end or packed[end - 1] != _END:
        raise CorruptContainer("ziplist", 0, f"a total of {end} bytes with an end mark")
    count = packed[8] | packed[9] << 8
    at = _ZIPLIST_HEAD
    last = end - 1
    before = 0
    tail = at
    found: list[bytes] = []
    while at < last:
        tail = at
        said = packed[at]
        at += 1
        if said == 0xFE:
            said = little(packed, at, 4, last)
            at += 4
        if said != before or at >= last:
            raise CorruptContainer("ziplist", tail, f"{before} as the length of the entry before")
        head = packed[at]
        at += 1
        size = -1
        width = 0
        if head < 0x40:
            size = head
        elif head < 0x80:
            if at < last:
                size = (head & 63) << 8 | packed[at]
            at += 1
        elif head == 0x80:
            size = int.from_bytes(packed[at : at + 4], "big")
            at += 4
        elif 0xF1 <= head <= 0xFD:
            found.append(b"%d" % (head - 0xF1))
        else:
            width = integer_width(head)
            if width == 0 or at + width > last:
                raise CorruptContainer("ziplist", at - 1, "an entry")
            found.append(b"%d" % int.from_bytes(packed[at : at + width], "little", signed=True))
            at += width
        if head <= 0x80:
            if size < 0 or size > last - at:
                raise CorruptContainer("ziplist", tail, "a string inside its bytes")
            found.append(packed[at : at + size])
            at += size
        before = at - tail
    if at != last or (count != _UNKNOWN_COUNT and count != len(found)):
        raise CorruptContainer("ziplist", at, f"the end behind {count} entries")
    if int.from_bytes(packed[4:8], "little") != (tail if found else _ZIPLIST_HEAD):
        raise CorruptContainer("ziplist", 4, f"{tail} as the place of the last entry")
    return found


def integer_width(head: int) -> int:
    """Bytes of the integer behind a ziplist entry's head; 0 when it is no such head."""
    if head == 0xC0:
        return 2
    if head == 0xD0:
        return 4
    if head == 0xE0:
        return 8
    if head == 0xF0:
        return 3
    return 1 if head == 0xFE else 0


def write_ziplist(entries: Iterable[bytes]) -> bytes:
    """A ziplist of strings."""
    parts: list[bytes] = []
    count = 0
    before = 0
    tail = at = _ZIPLIST_HEAD
    for entry in entries:
        size = len(entry)
        if size < 64:
            head = bytes((size,))
        elif size < 16384:
            head = (0x4000 | size).to_bytes(2, "big")
        else:
            head = b"\x80" + size.to_bytes(4, "big")
        link = bytes((before,)) if before < 254 else b"\xfe" + before.to_bytes(4, "little")
        parts += [link, head, entry]
        before = len(link) + len(head) + size
        tail = at
        at += before
        count += 1
    sizes = (at + 1).to_bytes(4, "little") + tail.to_bytes(4, "little")
    return sizes + min(count, _UNKNOWN_COUNT).to_bytes(2, "little") + b"".join(parts) + b"\xff"


def read_intset(packed: bytes) -> list[bytes]:
    """The members as their decimal text, in rising order."""
    width = int.from_bytes(packed[:4], "little")
    count = int.from_bytes(packed[4:8], "little")
    if len(packed) < 8 or width not in (2, 4, 8) or len(packed) != 8 + width * count:
        raise CorruptContainer("intset", 0, f"a width of 2, 4 or 8 and a count that fit {len(packed)} bytes")
    numbers = [
        int.from_bytes(packed[at : at + width], "little", signed=True) for at in range(8, len(packed), width)
    ]
    if any(low >= high for low, high in itertools.pairwise(numbers)):
        raise CorruptContainer("intset", 8, "numbers in rising order")
    return [b"%d" % number for number in numbers]


def read_zipmap(packed: bytes) -> list[bytes]:
    """Fields and values in turn (Redis 2.4 and before)."""
    end = len(packed)
    found: list[bytes] = []
    at = 1
    while at < end and packed[at] != _END:
        size = packed[at]
        at += 1
        if size == 254:
            size = int.from_bytes(packed[at : at + 4], "little")
            at += 4
        free = 0
        if len(found) % 2:
            free = packed[at] if at < end else 0
            at += 1
        if size == 255 or at + size + free >= end:
            raise CorruptContainer("zipmap", at, "a string inside its bytes")
        found.append(packed[at : at + size])
        at += size + free
    if end < 2 or at != end - 1 or len(found) % 2 or (packed[0] < 254 and packed[0] != len(found) // 2):
        raise CorruptContainer("zipmap", at, "the end behind pairs of strings")
    return found
