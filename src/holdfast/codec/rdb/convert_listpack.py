"""Small hashes with field TTLs, which Redis stores as a listpack of (field, value, expiry in ms or 0)."""

from __future__ import annotations

from holdfast.codec import lzf
from holdfast.codec.rdb import types
from holdfast.codec.rdb.containers import CorruptContainer
from holdfast.codec.rdb.listpack import Listpack
from holdfast.codec.rdb.losses import Reason
from holdfast.codec.rdb.sink import Sink
from holdfast.codec.rdb.task import Bounds, Task
from holdfast.codec.rdb.writer import write_string

_NEVER_MS = -1
_MOST_MS = 10**15 - 1
_UNKNOWN_COUNT = 0xFFFF
# Copies that the compiled loop need not look up.
_HASH = types.HASH
_VALKEY_HASH_TTL = types.VALKEY_HASH_TTL
_FIELD_TTL = Reason.FIELD_TTL


class HashListpack(Task):
    """Types 23 (release candidates) and 25 to Valkey's 22 where some field has a TTL and the target knows them, else to a
    plain hash. Args: `to`, the types that go.

    The value is read once where its head and its first field say what is to be written first, which is nearly always: fields
    with a TTL stand before those without.
    """

    def __init__(self, sink: Sink, bounds: Bounds, number: int, to: tuple[int, ...]) -> None:
        super().__init__(sink, bounds)
        limit_ms = bounds.expired_before_ms
        self._has_least = number == types.HASH_LISTPACK_TTL
        self._has_ttl = types.VALKEY_HASH_TTL in to
        self._must_choose = not self._has_ttl and limit_ms is not None
        self._limit_ms = limit_ms if limit_ms is not None else 0
        self._expire_ms = _NEVER_MS
        self._behind = Listpack()
        self._ahead = Listpack()
        self._listpack = b""
        self._listpack_at = 0
        self._listpack_end = 0

    def _go(self) -> int:
        if not self._is_last or not self._find():
            return 0
        try:
            return self._once() or self._twice()
        except CorruptContainer as wrong:
            raise self._corrupt("a hash as a listpack with TTLs", str(wrong)) from wrong

    def _once(self) -> int:
        """Write the fields as they are read: 1, or 0 with nothing written when that takes knowing all of them."""
        entry = self._ahead
        entry.open(self._listpack, self._listpack_at, self._listpack_end)
        if self._must_choose or not 0 < entry.said < _UNKNOWN_COUNT or entry.said % 3:
            return 0
        if self._has_ttl:
            if not self._look() or self._expire_ms == _NEVER_MS:
                return 0
            entry.open(self._listpack, self._listpack_at, self._listpack_end)
        self.open(_VALKEY_HASH_TTL if self._has_ttl else _HASH)
        self.sink.length(entry.said // 3)
        with_ttl = 0
        while entry.next():
            self._write_entry(entry)
            if entry.next():
                self._write_entry(entry)
                if entry.next():
                    self._read_expiry()
                    if self._has_ttl:
                        self.sink.low_first(self._expire_ms)
                    else:
                        with_ttl += self._expire_ms != _NEVER_MS
        self.lose(_FIELD_TTL, with_ttl)
        return 1

    def _twice(self) -> int:
        """Look at all fields first, and then write those that are kept."""
        fields = 0
        kept = 0
        with_ttl = 0
        self._ahead.open(self._listpack, self._listpack_at, self._listpack_end)
        while self._look():
            fields += 1
            kept += self._is_kept()
            with_ttl += self._expire_ms != _NEVER_MS
        if kept == 0:
            raise self.give_up(Reason.FIELD_EXPIRED)
        if self._has_ttl and with_ttl > 0:
            self.open(_VALKEY_HASH_TTL)
            self.sink.length(fields)
            self._write(True)
            return 1
        self.open(_HASH)
        self.sink.length(kept)
        self._write(False)
        self.lose(Reason.FIELD_EXPIRED, fields - kept)
        self.lose(_FIELD_TTL, with_ttl - (fields - kept))
        return 1

    def _find(self) -> int:
        """Find the listpack in the value, and expand it where it is compressed: 1, or 0 when the value is not whole."""
        if self._has_least:
            self.at += 8
        if self.at >= self.end:
            return 0
        head = self._p[self.at]
        if not self._string() or self._skip > self.end - self.at:
            return 0
        start = self.at
        self.at += self._skip
        self._skip = 0
        if head != 195:
            self._listpack = self.buf
            self._listpack_at = start
            self._listpack_end = self.at
            return 1
        if self._number > self.bounds.held_bytes:
            raise self.give_up(Reason.TOO_BIG)
        try:
            self._listpack = lzf.expand(self.buf[start : self.at], self._number)
        except lzf.CorruptLzf as wrong:
            raise self._corrupt("a string compressed with LZF", str(wrong)) from wrong
        self._listpack_at = 0
        self._listpack_end = self._number
        return 1

    def _look(self) -> int:
        """Look at the expiry of the next field: 1, or 0 when there is no more field."""
        if not self._ahead.next():
            return 0
        if not self._ahead.next() or not self._ahead.next():
            found = f"{self._ahead.count} entries"
            raise self._corrupt("a listpack of fields, values and TTLs", found)
        self._read_expiry()
        return 1

    def _read_expiry(self) -> None:
        """The number at hand as an expiry: `_expire_ms`."""
        entries = self._ahead
        number = entries.number
        if not entries.is_number:
            number = -1 if entries.size == 0 or entries.size > 15 else 0
            at = entries.at
            end = at + entries.size
            p = self._listpack
            while number >= 0 and at < end:
                number = number * 10 + p[at] - 48 if 48 <= p[at] <= 57 else -1
                at += 1
        if not 0 <= number <= _MOST_MS:
            raise self._corrupt("a field's expiry in ms", repr(entries.text()))
        self._expire_ms = number if number > 0 else _NEVER_MS

    def _is_kept(self) -> bool:
        return not self._must_choose or self._expire_ms == _NEVER_MS or self._expire_ms >= self._limit_ms

    def _write(self, with_expiry: bool) -> None:
        """Write all fields that are kept."""
        self._ahead.open(self._listpack, self._listpack_at, self._listpack_end)
        self._behind.open(self._listpack, self._listpack_at, self._listpack_end)
        while self._look():
            self._behind.next()
            if self._is_kept():
                self._write_entry(self._behind)
                self._behind.next()
                self._write_entry(self._behind)
                if with_expiry:
                    self.sink.low_first(self._expire_ms)
            else:
                self._behind.next()
            self._behind.next()

    def _write_entry(self, entry: Listpack) -> None:
        """Write the name or value at hand."""
        if entry.is_number:
            self.sink.write(write_string(entry.text()))
        else:
            self.sink.length(entry.size)
            self.sink.span(self._listpack, entry.at, entry.at + entry.size)
