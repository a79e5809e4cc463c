"""The scanner: walks RDB bytes by structure, in bounded memory, and stops at each record; it decodes nothing.

It is what the parser and the rewriter stand on, and the only loop that every byte passes.
"""

from __future__ import annotations

from holdfast.codec.crc import Crc64
from holdfast.codec.rdb import limits, shapes, stops, types
from holdfast.codec.rdb.cursor import decode_string
from holdfast.codec.rdb.dialect import OLDEST_CHECKSUMMED, Dialect, dialect_of_header
from holdfast.codec.rdb.errors import TruncatedRdb, UnknownRdbType, WrongChecksum
from holdfast.codec.rdb.walk import Walker

# Copies that the compiled loop can see as plain numbers.
_NEED = stops.NEED
_KEY = stops.KEY
_VALUE_END = stops.VALUE_END
_UNKNOWN = shapes.NO_ENTRY
_WHOLE_BOUND = limits.WHOLE_BYTES
_IN_HEADER, _IN_RECORD, _IN_VALUE, _IN_FOOTER, _ENDED = range(5)
_ENTRIES = shapes.programs()[1]
_HEADER_BYTES = 9
_LZF = 195
_MOST_IDLE_S = (1 << 63) - 1


class Scanner(Walker):
    """A cursor over RDB bytes that are fed in pieces of any size.

    `step` goes to the next stop and says which (NEED when bytes are lacking); the attributes then describe it. Indexes
    count in `buf`, which `feed` replaces: whatever lies before `at` is then forgotten.
    Args: `total`, bytes of the whole input where that is known: lengths are then checked against what is left.
    """

    def __init__(self, total: int = -1) -> None:
        super().__init__(total)
        self.dialect: Dialect | None = None
        self.need = _HEADER_BYTES
        self.record_at = 0
        self.value_at = 0
        self.value_offset = 0
        self.body_at = 0
        self.second_at = 0
        self.meta_at = -1
        self.meta_end = -1
        self.type = -1
        self.db = 0
        self.expire_ms = -1
        self.idle_s = -1
        self.freq = -1
        self.first = 0
        self.second = 0
        self.third = 0
        self.crc = 0
        self.stored_crc = 0
        self._crc = Crc64()
        self._crc_at = 0
        self._state = _IN_HEADER
        self._version = 0
        self._valkey = False
        self._has_meta = False
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._entry = [_UNKNOWN] * 256

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the input. What lies before `at` is forgotten."""
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        left = self.end - self.at
        if left + self._waiting_bytes < self.need:
            return
        self._forget()
        rest = self.buf[self.at :] if left else b""
        self.buf = rest + b"".join(self._waiting) if left or len(self._waiting) > 1 else data
        self._waiting = []
        self._waiting_bytes = 0
        self._p = self.buf
        self.base += self.at
        self.at = 0
        self._crc_at = 0
        self.end = len(self.buf)

    def finish(self) -> None:
        """Say that no more bytes come. Raises: TruncatedRdb when the RDB has not ended."""
        if self._state != _ENDED:
            expected = {_IN_HEADER: "a header", _IN_RECORD: "a record", _IN_FOOTER: "a checksum"}
            raise TruncatedRdb(
                self.base + self.end + self._waiting_bytes,
                self.key_name() if self._state == _IN_VALUE else None,
                expected.get(self._state, "more of a value"),
            )

    def rest(self) -> bytes:
        """What was fed and lies behind the end of the RDB: a mark, a stream of commands, or nothing."""
        return self.buf[self.at :] + b"".join(self._waiting)

    def has_footer(self) -> bool:
        """Whether eight bytes of checksum follow the EOF opcode (RDB 5 and later)."""
        return self._version >= OLDEST_CHECKSUMMED

    def step(self) -> int:
        """Go to the next stop.

        Returns: HEADER (`dialect`), SELECT (`db`), RESIZE and SLOT_INFO (`first`, `second`, `third`), AUX (its two
            strings begin at `body_at` and `second_at`), FUNCTION (its string begins at `body_at`), SLOT_IMPORT, MODULE_AUX
            and KEY (`record_at`, `key_at`, `value_at`, `type`, `expire_ms`, `idle_s`, `freq`, `meta_at` to `meta_end`;
            -1 where there is none; `key_name()`), VALUE_END (the value of the last KEY or MODULE_AUX ends at `at`; the rest is
            still as it was at KEY, but for the indexes where bytes were fed since), END (`crc` and
            `stored_crc`), or NEED: feed more, then call again. All but a value lie in `buf` whole; of a value, what lies
            before `at` has been walked and will not be needed again.
        Raises: CorruptRdb, TooLong, TruncatedRdb (where `total` is known), UnknownRdbType, UnknownRdbVersion, WrongChecksum.
        """
        self.need = 1
        if self._state == _IN_VALUE:
            if not self._walk():
                return _NEED
            self._state = _IN_RECORD
            return _VALUE_END
        if self._state == _IN_RECORD:
            return self._record()
        if self._state == _IN_HEADER:
            return self._header()
        if self._state == _IN_FOOTER:
            return self._footer()
        return stops.END

    def _header(self) -> int:
        if self.end < _HEADER_BYTES:
            return _NEED
        dialect = dialect_of_header(self.buf[:_HEADER_BYTES])
        self.dialect = dialect
        loads = dialect.loads
        first = shapes.VALKEY_ENTRIES if dialect.has_valkey_numbers else 0
        for number in range(256):
            # Below 22 all dialects agree, so that a file which says less than it holds is still read.
            if number < types.HASH_TTL_RC or number in loads:
                self._entry[number] = _ENTRIES[first + number]
        self.at = _HEADER_BYTES
        self._version = dialect.version
        self._valkey = dialect.has_valkey_numbers
        self._has_meta = dialect.has_key_meta
        self._state = _IN_RECORD
        return stops.HEADER

    def _record(self) -> int:
        """Read one record up to where its value begins."""
        self.record_at = self.at
        self.expire_ms = -1
        self.idle_s = -1
        self.freq = -1
        self.meta_at = -1
        self.meta_end = -1
        self._has_key = False
        self._kept_key = None
        while True:
            if self.at >= self.end:
                return self._short(1)
            number = self._p[self.at]
            self.at += 1
            if number < 243:
                return self._key(number)
            if number == 252:
                if self.end - self.at < 8:
                    return self._short(8)
                self.expire_ms = self._signed(self.at)
                self.at += 8
            elif number == 253:
                if self.end - self.at < 4:
                    return self._short(4)
                self.expire_ms = 1000 * self._signed_32(self.at)
                self.at += 4
            elif number == 249:
                if self.at >= self.end:
                    return self._short(1)
                self.freq = self._p[self.at]
                self.at += 1
            elif number == 248:
                if not self._length():
                    return self._short(self.need)
                self.idle_s = self._number & _MOST_IDLE_S
            elif number == 243 and self._has_meta:
                if not self._meta():
                    return _NEED
            else:
                return self._opcode(number)

    def _key(self, number: int) -> int:
        self.type = number
        entry = self._entry[number]
        if entry == _UNKNOWN:
            raise UnknownRdbType(self.base + self.at - 1, number, str(self.dialect))
        self.key_at = self.at
        if not self._whole_string():
            return _NEED
        self._has_key = True
        return self._begin_value(entry, _KEY)

    def _begin_value(self, entry: int, stop: int) -> int:
        self._kept_key = None
        self.value_at = self.at
        self.value_offset = self.base + self.at
        self._pc = entry
        self._depth = 0
        self._skip = 0
        self._state = _IN_VALUE
        self.need = 1
        return stop

    def _meta(self) -> int:
        """A key's metadata (opcode 243 of Redis 8.6) must lie in `buf` whole: 1 when it does."""
        start = self.at - 1
        self._pc = _ENTRIES[shapes.KEY_META_ENTRY]
        self._depth = 0
        self._skip = 0
        whole = self._walk()
        if self.at + self._skip - start > limits.META_BYTES:
            self._number = self.at + self._skip - start
            raise self._too_long("a module's note on a key", limits.META_BYTES)
        if not whole:
            self._short(self._skip + 1)
            return 0
        self.meta_at = start
        self.meta_end = self.at
        return 1

    def _opcode(self, number: int) -> int:
        """A record that is no key. (A key's expiry before it belongs to nothing: the engines ignore it too. A module's note
        on a key does not: a target that knows no such notes could not read on.)
        """
        if self.meta_at >= 0:
            self.at -= 1
            raise self._corrupt("the key on which a module made a note", f"opcode {number}")
        if number == types.SELECTDB:
            if not self._length():
                return self._short(self.need)
            if self._number > limits.DATABASE:
                raise self._too_long("the number of a database", limits.DATABASE)
            self.db = self._number
            return stops.SELECT
        if number == types.EOF:
            self._state = _IN_FOOTER
            return self._footer()
        if number == types.AUX:
            self.body_at = self.at
            if not self._whole_string():
                return _NEED
            self.second_at = self.at
            return stops.AUX if self._whole_string() else _NEED
        if number == types.FUNCTION:
            self.body_at = self.at
            return stops.FUNCTION if self._whole_string() else _NEED
        if number == types.RESIZEDB:
            return stops.RESIZE if self._numbers(2) else _NEED
        if number == types.SLOT_INFO:
            return stops.SLOT_INFO if self._numbers(3) else _NEED
        if number == types.MODULE_AUX:
            self.type = types.MODULE_AUX
            return self._begin_value(_ENTRIES[shapes.MODULE_AUX_ENTRY], stops.MODULE_AUX)
        if number == types.SLOT_IMPORT and self._valkey:
            return self._slot_import()
        raise UnknownRdbType(self.base + self.at - 1, number, str(self.dialect))

    def _slot_import(self) -> int:
        self.body_at = self.at
        if not self._whole_string():
            return _NEED
        if not self._length():
            return self._short(self.need)
        if self._number > 16384:
            raise self._too_long("the number of slot ranges", 16384)
        ranges = self._number
        while ranges > 0:
            if not self._length():
                return self._short(self.need)
            if not self._length():
                return self._short(self.need)
            ranges -= 1
        return stops.SLOT_IMPORT

    def _numbers(self, count: int) -> int:
        """Read two or three lengths into `first`, `second` and `third`: 1 when they are there."""
        for which in range(count):
            if not self._length():
                self._short(self.need)
                return 0
            if which == 0:
                self.first = self._number
            elif which == 1:
                self.second = self._number
            else:
                self.third = self._number
        return 1

    def _footer(self) -> int:
        """The checksum behind the EOF opcode, which files before version 5 do not have."""
        if self.has_footer():
            if self.end - self.at < 8:
                self.need = 8
                return _NEED
            self._forget()
            self.stored_crc = self._unsigned(self.at)
            self.at += 8
            if self.stored_crc != 0 and self.stored_crc != self.crc:
                raise WrongChecksum(self.stored_crc, self.crc)
        self._state = _ENDED
        self._has_key = False
        return stops.END

    def _forget(self) -> None:
        """What lies before `at` goes into the checksum; a key that is still needed is kept."""
        self._crc.add(self.buf, self._crc_at, self.at)
        self.crc = self._crc.value
        self._crc_at = self.at
        if self._state != _IN_VALUE:
            self._has_key = False
        elif self._has_key and self._kept_key is None:
            self._kept_key = self.key_name()

    def _short(self, lacking: int) -> int:
        """Go back to the start of the record, whose head must lie in `buf` whole: at least `lacking` bytes from `at` on."""
        self.need = self.at + lacking - self.record_at
        self.at = self.record_at
        return _NEED

    def _whole_string(self) -> int:
        """Move past a string that must lie in `buf` whole: 1 when it does. One that is compressed must be right, for a server
        ends itself over a name that is not.
        """
        start = self.at
        if not self._string():
            self._short(self.need)
            return 0
        if self._skip > self.end - self.at:
            if self._skip > _WHOLE_BOUND:
                raise self._too_long("a name, an AUX field or a function library", _WHOLE_BOUND)
            self._short(self._skip)
            return 0
        if self._p[start] == _LZF:
            if self._number > _WHOLE_BOUND:
                raise self._too_long("a name, an AUX field or a function library", _WHOLE_BOUND)
            decode_string(self.buf, start, self.end, self.base)
        self.at += self._skip
        self._skip = 0
        return 1
