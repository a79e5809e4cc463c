"""The walker: moves over one value by its structure, wherever the bytes at hand end, and decodes nothing."""

from __future__ import annotations

from holdfast.codec.rdb import limits, shapes
from holdfast.codec.rdb.cursor import decode_string
from holdfast.codec.rdb.dialect import Dialect
from holdfast.codec.rdb.errors import CorruptRdb, TooLong, TruncatedRdb, UnknownRdbType

# Copies that the compiled loop can see as plain numbers.
_STRING_BOUND = limits.STRING_BYTES
_COUNT_BOUND = limits.ELEMENTS
_MOST_EXPANDED = limits.EXPANSION
_DONE = shapes.DONE
_STRING = shapes.STRING
_NUMBER = shapes.NUMBER
_RAW = shapes.RAW
_LOOP = shapes.LOOP
_LOOP_END = shapes.END
_SCORE = shapes.SCORE
_COUNT = shapes.COUNT
_COUNTED = shapes.COUNTED
_MAYBE = shapes.MAYBE
_ITEM = shapes.ITEM
_PROGRAMS = shapes.programs()
_CODE = _PROGRAMS[0]


class Walker:
    """Bytes at hand (`buf`, of which `at` to `end` are still to be walked), and the place in a value's program.

    Args: `total`, bytes of the whole input where that is known (else -1): lengths are then checked against what is left.
    """

    def __init__(self, total: int = -1) -> None:
        self.total = total
        self.base = 0
        self.buf = b""
        self._p = self.buf
        self.at = 0
        self.end = 0
        self.need = 1
        self.key_at = 0
        self._kept_key: bytes | None = None
        self._has_key = False
        self._number = 0
        self._skip = 0
        self._pc = 0
        self._depth = 0
        self._count = 0
        self._loop_at = [0] * 8
        self._loop_left = [0] * 8

    def walk_value(self, body: bytes, entry: int) -> int:
        """Walk over one value that begins `body`, by the program at `entry`; returns its bytes. Raises: also TruncatedRdb."""
        self.buf = body
        self._p = self.buf
        self.at = 0
        self.end = len(body)
        self._pc = entry
        self._depth = 0
        self._skip = 0
        if not self._walk():
            raise TruncatedRdb(self.end, None, "more of a value")
        return self.at

    def piece(self, start: int, end: int) -> bytes:
        """The bytes at hand from `start` to before `end`, which the caller has made sure of."""
        return self._p[start:end]

    def key_name(self) -> bytes | None:
        """The key of the record at hand; None outside a key's record."""
        if self._kept_key is not None or not self._has_key:
            return self._kept_key
        head = self._p[self.key_at]
        if head < 64:
            return self.piece(self.key_at + 1, self.key_at + 1 + head)
        return decode_string(self.buf, self.key_at, self.end, self.base)[0]

    def _length(self) -> int:
        """Move past one length field and set `_number`: 1, or 0 when it is not whole (`need`, from `at` on)."""
        p = self._p
        at = self.at
        room = self.end - at
        if room < 1:
            self.need = 1
            return 0
        head = p[at]
        if head < 64:
            self._number = head
            self.at = at + 1
            return 1
        if head < 128:
            if room < 2:
                self.need = 2
                return 0
            self._number = (head & 63) << 8 | p[at + 1]
            self.at = at + 2
            return 1
        if head == 0x80:
            if room < 5:
                self.need = 5
                return 0
            self._number = self._big_32(at + 1)
            self.at = at + 5
            return 1
        if head == 0x81:
            if room < 9:
                self.need = 9
                return 0
            high = self._big_32(at + 1)
            self._number = high << 32 | self._big_32(at + 5)
            self.at = at + 9
            return 1
        raise self._corrupt("a length", f"0x{head:02x}")

    def _string(self) -> int:
        """Move past a string's head and set `_skip` to the bytes that follow: 1, or 0 when the head is not whole."""
        if self.at >= self.end:
            self.need = 1
            return 0
        head = self._p[self.at]
        if head < 192:
            if not self._length():
                return 0
            if self._number > _STRING_BOUND:
                raise self._too_long("a string", _STRING_BOUND)
            self._skip = self._number
        elif head < 195:
            self.at += 1
            self._skip = 1 << (head & 3)
        elif head == 195:
            if not self._packed():
                return 0
        else:
            raise self._corrupt("a string", f"0x{head:02x}")
        if self.total >= 0 and self._skip > self._left():
            raise TruncatedRdb(
                self.total, self.key_name(), f"a string of {self._skip} bytes from byte {self.base + self.at}"
            )
        return 1

    def _packed(self) -> int:
        """The head of an LZF string: 195, bytes packed, bytes expanded."""
        start = self.at
        self.at = start + 1
        if not self._length():
            self.need += self.at - start
            self.at = start
            return 0
        packed = self._number
        if packed > _STRING_BOUND:
            raise self._too_long("a compressed string", _STRING_BOUND)
        if not self._length():
            self.need += self.at - start
            self.at = start
            return 0
        if self._number > _STRING_BOUND:
            raise self._too_long("a compressed string", _STRING_BOUND)
        if self._number > packed * _MOST_EXPANDED:
            raise self._corrupt(
                f"at most {packed * _MOST_EXPANDED} bytes from {packed} compressed ones", str(self._number)
            )
        self._skip = packed
        return 1

    def _walk(self) -> int:
        """Go on with the value at hand: 1 at its end, 0 when bytes are lacking (`at` then stands on what is not whole)."""
        while True:
            if self._skip > 0:
                room = self.end - self.at
                if room < self._skip:
                    self.at = self.end
                    self._skip -= room
                    self.need = 1
                    return 0
                self.at += self._skip
                self._skip = 0
            code = _CODE[self._pc]
            if code == _STRING:
                if not self._string():
                    return 0
                self._pc += 1
            elif code == _LOOP_END:
                level = self._depth - 1
                self._loop_left[level] -= 1
                if self._loop_left[level] > 0:
                    self._pc = self._loop_at[level]
                else:
                    self._depth = level
                    self._pc += 1
            elif code == _RAW:
                self._skip = _CODE[self._pc + 1]
                self._pc += 2
            elif code == _NUMBER:
                if not self._length():
                    return 0
                self._pc += 1
            elif code == _LOOP:
                if not self._length():
                    return 0
                self._enter(self._number)
            elif code == _DONE:
                return 1
            elif not self._seldom(code):
                return 0

    def _enter(self, count: int) -> int:
        """Begin a loop of `count` rounds, each of which takes at least a byte."""
        if count == 0:
            self._pc = _CODE[self._pc + 1]
            return 1
        if count > _COUNT_BOUND:
            raise self._too_long("a number of elements", _COUNT_BOUND)
        if self.total >= 0 and self._left() < count:
            raise TruncatedRdb(
                self.total, self.key_name(), f"{count} elements from byte {self.base + self.at}"
            )
        self._pc += 2
        self._loop_at[self._depth] = self._pc
        self._loop_left[self._depth] = count
        self._depth += 1
        return 1

    def _seldom(self, code: int) -> int:
        """The parts of old scores, modules and arrays; each is taken whole or not at all (0)."""
        start = self.at
        if code == _SCORE:
            if self.at >= self.end:
                self.need = 1
                return 0
            size = self._p[self.at]
            self.at += 1
            self._skip = size if size < 253 else 0
            self._pc += 1
            return 1
        if code == _COUNTED:
            return self._enter(self._count)
        if not self._length():
            return 0
        if code == _COUNT:
            self._count = self._number
            self._pc += 1
            return 1
        if code == _MAYBE:
            if self._number != 0 and not self._length():
                return self._again(start)
            self._pc += 1
            return 1
        number = self._number
        if code == _ITEM:
            if number > 3:
                raise self._corrupt("the tag of an array's element, 0 to 3", str(number))
            self._pc += 1
            if number == 1 or number == 2:
                self._skip = 8
                return 1
            if not self._string():
                self._pc -= 1
                return self._again(start)
            return 1
        return self._module_part(number, start)

    def _module_part(self, number: int, start: int) -> int:
        if number == 0:
            self._pc += 1
        elif number <= 2:
            if not self._length():
                return self._again(start)
        elif number == 3:
            self._skip = 4
        elif number == 4:
            self._skip = 8
        elif number == 5:
            if not self._string():
                return self._again(start)
        else:
            raise self._corrupt("a module's opcode, 0 to 5", str(number))
        return 1

    def _again(self, start: int) -> int:
        """Take a part that is not whole again, from its start."""
        self.need += self.at - start
        self.at = start
        return 0

    def _unsigned(self, at: int) -> int:
        """Eight bytes of `buf`, lowest first; the caller has made sure that they are there."""
        p = self._p
        low = p[at] | p[at + 1] << 8 | p[at + 2] << 16 | p[at + 3] << 24
        high = p[at + 4] | p[at + 5] << 8 | p[at + 6] << 16 | p[at + 7] << 24
        return low | high << 32

    def _signed(self, at: int) -> int:
        """The same as a signed number."""
        p = self._p
        low = p[at] | p[at + 1] << 8 | p[at + 2] << 16 | p[at + 3] << 24
        return low | self._signed_32(at + 4) << 32

    def _signed_32(self, at: int) -> int:
        """Four bytes, lowest first, as a signed number."""
        p = self._p
        top = p[at + 3]
        if top >= 128:
            top -= 256
        return p[at] | p[at + 1] << 8 | p[at + 2] << 16 | top << 24

    def _big_32(self, at: int) -> int:
        """Four bytes, highest first."""
        p = self._p
        return p[at] << 24 | p[at + 1] << 16 | p[at + 2] << 8 | p[at + 3]

    def _left(self) -> int:
        """Bytes from `at` to the end of an input whose size is known; 0 where more came than was said."""
        left = self.total - self.base - self.at
        return left if left > 0 else 0

    def _corrupt(self, expected: str, found: str) -> Exception:
        return CorruptRdb(self.base + self.at, self.key_name(), expected, found)

    def _too_long(self, what: str, bound: int) -> Exception:
        return TooLong(self.base + self.at, self.key_name(), what, self._number, bound)


def measure(type: int | None, body: bytes, dialect: Dialect) -> int:
    """How many bytes of `body` the value of `type` takes that begins with it; None for a module's note on a key.

    Raises: CorruptRdb and TooLong; TruncatedRdb when `body` is too short for it; UnknownRdbType.
    """
    walker = Walker(len(body))
    entries = _PROGRAMS[1]
    known = type is None or type in dialect.loads
    place = shapes.KEY_META_ENTRY if type is None else type
    if type is not None and dialect.has_valkey_numbers:
        place += shapes.VALKEY_ENTRIES
    if not known or entries[place] == shapes.NO_ENTRY:
        raise UnknownRdbType(0, place, str(dialect))
    return walker.walk_value(body, entries[place])
