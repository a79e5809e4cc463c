"""Replies of servers as the bytes that came (RESP2): where each ends, and at which keys those of two servers are not alike, without
an object for any of them.
"""

from __future__ import annotations

from array import array

from holdfast.errors import HoldfastError

_BETWEEN = 0
"""No reply has begun."""
_LONGEST = 1 << 40
"""Bytes of a string, and parts of an array, beyond which a length is taken for damage."""
_NO_NUMBER = -(1 << 63)
_LONGEST_NUMBER = 10**17
_LOOP_BYTES = 64
"""Up to this size a loop compares faster than slices, which make objects first."""
_HEADS_KEPT = 256


class RepliesCorrupt(HoldfastError):
    """What came is no RESP2."""

    def __init__(self, found: bytes) -> None:
        super().__init__(found)
        self.found = found

    def __str__(self) -> str:
        return f"where a reply was to begin or to go on stands {self.found!r}"


class Frames:
    """Counts whole replies in bytes that come in pieces of any size."""

    def __init__(self) -> None:
        self.left = 0
        """Replies that have not ended, parts of arrays counted."""
        self._skip = 0
        self._kind = _BETWEEN
        self._number = 0
        self._is_negative = False

    def want(self, count: int) -> None:
        """Begin to count: so many replies are to come. To be called when `left` is 0."""
        self.left = count

    def walk(self, buf: bytes | bytearray, at: int, end: int) -> int:
        """Read `buf` from `at` to before `end`, or to the end of the last reply that was wanted: how far it was read.

        Raises: RepliesCorrupt, after which nothing of the connection can be told apart.
        """
        while at < end and self.left > 0:
            if self._skip > 0:
                room = end - at
                if room < self._skip:
                    self._skip -= room
                    return end
                at += self._skip
                self._skip = 0
                self.left -= 1
                continue
            byte = buf[at]
            at += 1
            if self._kind == _BETWEEN:
                if byte != 36 and byte != 42 and byte != 43 and byte != 45 and byte != 58:
                    raise RepliesCorrupt(bytes(buf[at - 1 : min(end, at + 39)]))
                self._kind = byte
                self._number = 0
                self._is_negative = False
                continue
            if self._kind != 36 and self._kind != 42:
                while byte != 10 and at < end:
                    byte = buf[at]
                    at += 1
                if byte == 10:
                    self._kind = _BETWEEN
                    self.left -= 1
                continue
            if 48 <= byte <= 57:
                self._number = self._number * 10 + (byte - 48)
                if self._number > _LONGEST:
                    raise RepliesCorrupt(bytes(buf[at - 1 : min(end, at + 39)]))
            elif byte == 45:
                self._is_negative = True
            elif byte == 10:
                if self._kind == 42:
                    self.left += 0 if self._is_negative else self._number
                    self.left -= 1
                elif self._is_negative:
                    self.left -= 1
                else:
                    self._skip = self._number + 2
                self._kind = _BETWEEN
            elif byte != 13:
                raise RepliesCorrupt(bytes(buf[at - 1 : min(end, at + 39)]))
        return at


class Replies:
    """One reply for each of the keys that were asked about; a key goes by its place in a list that the caller has.

    Args: `count`, how long that list is.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.bytes_held = 0
        self._bufs: list[bytes] = []
        self._bases: list[int] = []
        self._in = array("q", bytes(8 * count))
        self._from = array("q", bytes(8 * count))
        self._to = array("q", bytes(8 * count))
        """Behind the reply; 0 where there is none."""

    def take(self, buf: bytes, at: int, places: list[int], base: int = 0) -> int:
        """Enter the replies that stand in `buf` from `at` on, about the keys at `places`, in that order; the index behind them.

        None of them may be an array. Args: `base`, what is to be added to those that are numbers and count something.
        Raises: RepliesCorrupt when they are not all there.
        """
        end = len(buf)
        which = len(self._bufs)
        self._bufs.append(buf)
        self._bases.append(base)
        for place in places:
            start = at
            number = 0
            is_text = at < end and buf[at] == 36
            is_negative = False
            at += 1
            while at < end and buf[at] != 10:
                if is_text:
                    if 48 <= buf[at] <= 57 and number < _LONGEST:
                        number = number * 10 + (buf[at] - 48)
                    elif buf[at] == 45:
                        is_negative = True
                at += 1
            at += 1
            if is_text and not is_negative:
                at += number + 2
            if at > end or not 0 <= place < self.count:
                raise RepliesCorrupt(buf[start : start + 40])
            self._in[place] = which
            self._from[place] = start
            self._to[place] = at
        self.bytes_held += at
        return at

    def reply(self, place: int) -> bytes:
        """The whole reply about the key at `place`, its type and line ends counted; empty when that was not asked about."""
        if not 0 <= place < self.count or self._to[place] == 0:
            return b""
        buf = self._bufs[self._in[place]]
        return buf[self._from[place] : self._to[place]]

    def number(self, place: int) -> int:
        """The reply as a number, its base added when it is 0 and up; -2**63 where it is none."""
        at = self._from[place]
        end = self._to[place] - 2
        if end <= 0:
            return _NO_NUMBER
        buf = self._bufs[self._in[place]]
        if buf[at] != 58:
            return _NO_NUMBER
        at += 1
        is_negative = buf[at] == 45
        if is_negative:
            at += 1
        number = 0
        while at < end:
            if not 48 <= buf[at] <= 57 or number >= _LONGEST_NUMBER:
                return _NO_NUMBER
            number = number * 10 + (buf[at] - 48)
            at += 1
        if is_negative:
            return -number
        base: int = self._bases[self._in[place]]
        return number + base

    def other_than(self, reply: bytes, places: list[int]) -> list[int]:
        """Those of the places at which something else than `reply` was answered."""
        size = len(reply)
        found: list[int] = []
        for place in places:
            at = self._from[place]
            if self._to[place] - at != size:
                found.append(place)
                continue
            buf = self._bufs[self._in[place]]
            step = 0
            while step < size and buf[at + step] == reply[step]:
                step += 1
            if step < size:
                found.append(place)
        return found


def unlike(one: Replies, other: Replies, places: list[int], footer: int) -> list[int]:
    """Those of the places at which the two did not answer the same string.

    Args: `footer`, bytes at the end of both strings that may differ.
    """
    found: list[int] = []
    for place in places:
        at = one._from[place]
        end = one._to[place] - 2 - footer
        start = other._from[place]
        size = end - at
        if size <= 0 or other._to[place] - 2 - footer - start != size:
            found.append(place)
            continue
        buf = one._bufs[one._in[place]]
        twin = other._bufs[other._in[place]]
        body = at  # a string shorter than the footer is none that has one
        while body < end and buf[body] != 10:
            body += 1
        if buf[at] != 36 or buf[at + 1] == 45 or body == end:
            found.append(place)
            continue
        if size > _LOOP_BYTES:
            if buf[at:end] != twin[start : start + size]:
                found.append(place)
            continue
        step = 0
        while step < size and buf[at + step] == twin[start + step]:
            step += 1
        if step < size:
            found.append(place)
    return found


def pack_each(command: bytes, keys: list[bytes], places: list[int]) -> bytes:
    """One command (words with a blank between) about each of the keys at `places`, as the bytes that go over the wire."""
    if not places:
        return b""
    heads = _HEADS.get(command)
    if heads is None:
        heads = _HEADS[command] = [_head(command, size) for size in range(_HEADS_KEPT)]
    parts: list[bytes] = []
    for place in places:
        key = keys[place]
        size = len(key)
        parts.append(heads[size] if size < _HEADS_KEPT else _head(command, size))
        parts.append(key)
    parts[0] = parts[0][2:]
    parts.append(b"\r\n")
    return b"".join(parts)


def _head(command: bytes, size: int) -> bytes:
    """What stands between two keys of which the second has `size` bytes."""
    words = command.split(b" ")
    named = b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words])
    return b"\r\n*%d\r\n%b$%d\r\n" % (len(words) + 1, named, size)


def pack_words(command: bytes, keys: list[bytes]) -> bytes:
    """One command about all of the keys."""
    parts = [b"*%d\r\n$%d\r\n%b" % (len(keys) + 1, len(command), command)]
    for key in keys:
        size = len(key)
        parts.append(_LENGTHS[size] if size < _HEADS_KEPT else b"\r\n$%d\r\n" % size)
        parts.append(key)
    parts.append(b"\r\n")
    return b"".join(parts)


_HEADS: dict[bytes, list[bytes]] = {}
_LENGTHS = [b"\r\n$%d\r\n" % size for size in range(_HEADS_KEPT)]


def is_compiled() -> bool:
    """Whether the compiled twin of this module is in charge."""
    return not __file__.endswith(".py")
