"""Hashes with field TTLs, stored field by field, from one dialect's form to another's, in bounded memory.

Redis (types 22 of release candidates, and 24) writes a field's expiry before its name, Valkey (its type 22) behind its value.
"""

from __future__ import annotations

from holdfast.codec.rdb import types
from holdfast.codec.rdb.losses import Reason
from holdfast.codec.rdb.sink import Sink
from holdfast.codec.rdb.task import Bounds, Task

_START, _EXPIRY, _NAME, _VALUE, _CLOSE = range(5)
"""Where in a field the next byte stands: before everything, before an expiry that comes first, ..., behind the value."""
_NEVER_MS = -1
_MOST_MS = (1 << 63) - 1
_PLAIN, _VALKEY, _REDIS = range(3)
# Copies that the compiled loop need not look up.
_HASH = types.HASH
_HASH_TTL = types.HASH_TTL
_VALKEY_HASH_TTL = types.VALKEY_HASH_TTL


class HashFields(Task):
    """Args: `number`, the type that comes (`is_valkey`: as Valkey means it); `to`, the type that goes."""

    def __init__(self, sink: Sink, bounds: Bounds, number: int, is_valkey: bool, to: int) -> None:
        super().__init__(sink, bounds)
        self._expiry_first = not is_valkey
        self._has_least = not is_valkey and number == types.HASH_TTL
        self._to = _PLAIN if to == types.HASH else _VALKEY if to == types.VALKEY_HASH_TTL else _REDIS
        limit_ms = bounds.expired_before_ms
        self._must_choose = self._to == _PLAIN and limit_ms is not None
        self._limit_ms = limit_ms if limit_ms is not None else 0
        self._least_ms = 1
        self._expire_ms = _NEVER_MS
        self._left_fields = 0
        self._name_at = 0
        self._value_end = 0
        self._place = _START
        self._lost_expiries = 0

    def _begin(self) -> None:
        Task._begin(self)
        self._place = _START
        self._least_ms = 1
        self._lost_expiries = 0

    def _go(self) -> int:
        if self._must_choose:
            return self._choose() if self._is_last else 0
        if self._place == _START:
            if not self._prelude():
                return 0
            if self._to == _PLAIN:
                self.open(_HASH)
            elif self._to == _VALKEY:
                self.open(_VALKEY_HASH_TTL)
            else:
                # The smallest expiry of all stands first, as a base to add to. It need not be one of the fields': with 1,
                # what is added is the expiry itself, and no look ahead is needed.
                self.open(_HASH_TTL)
                self.sink.low_first(1)
            self.sink.length(self._left_fields)
            self._place = _EXPIRY
        if not (self._turn() if self._to == _REDIS else self._carry()):
            return 0
        if self._lost_expiries > 0:
            self.lose(Reason.FIELD_TTL, self._lost_expiries)
        return 1

    def _prelude(self) -> int:
        """Read what stands before the fields: 1, or 0 when it is not whole."""
        start = self.at
        if self._has_least:
            if self.end - start < 8:
                return 0
            self._least_ms = self._signed(start)
            self.at = start + 8
        if not self._length():
            self.at = start
            return 0
        self._left_fields = self._number
        return 1

    def _carry(self) -> int:
        """Carry names and values as they come, however long, and put expiries behind them or leave them out."""
        mark = self.at
        while self._left_fields > 0:
            if self._skip > 0:
                room = self.end - self.at
                if room < self._skip:
                    self._skip -= room
                    self.at = self.end
                    break
                self.at += self._skip
                self._skip = 0
            if self._place == _EXPIRY:
                if self._expiry_first:
                    self.sink.span(self.buf, mark, self.at)
                    mark = self.at
                    if not self._read_expiry():
                        return 0
                    mark = self.at
                self._place = _NAME
            elif self._place != _CLOSE:
                if not self._string():
                    break
                self._place += 1
            else:
                self.sink.span(self.buf, mark, self.at)
                mark = self.at
                if not self._expiry_first and not self._read_expiry():
                    return 0
                mark = self.at
                if self._to == _VALKEY:
                    self.sink.low_first(self._expire_ms)
                elif self._expire_ms != _NEVER_MS:
                    self._lost_expiries += 1
                self._left_fields -= 1
                self._place = _EXPIRY
        self.sink.span(self.buf, mark, self.at)
        return self._left_fields == 0

    def _turn(self) -> int:
        """Put expiries that come last before their fields, which must be whole for that."""
        while self._left_fields > 0:
            if not self._field():
                return 0
            if self._expire_ms == _NEVER_MS:
                self.sink.length(0)
            else:
                self.sink.length(self._expire_ms if self._expire_ms > 0 else 1)
            self.sink.span(self.buf, self._name_at, self._value_end)
            self._left_fields -= 1
        return 1

    def _choose(self) -> int:
        """A plain hash of the fields that have not expired. The value must be whole, since their number stands first."""
        if not self._prelude():
            return 0
        first = self.at
        count = self._left_fields
        kept = 0
        read = 0
        while read < count:
            if not self._field():
                return 0
            kept += self._expire_ms == _NEVER_MS or self._expire_ms >= self._limit_ms
            read += 1
        if kept == 0:
            raise self.give_up(Reason.FIELD_EXPIRED)
        self.open(_HASH)
        self.sink.length(kept)
        self.at = first
        while read > 0:
            self._field()
            if self._expire_ms == _NEVER_MS:
                self.sink.span(self.buf, self._name_at, self._value_end)
            elif self._expire_ms >= self._limit_ms:
                self.sink.span(self.buf, self._name_at, self._value_end)
                self._lost_expiries += 1
            read -= 1
        self.lose(Reason.FIELD_EXPIRED, count - kept)
        self.lose(Reason.FIELD_TTL, self._lost_expiries)
        return 1

    def _field(self) -> int:
        """Read a whole field, name and value from `_name_at` to `_value_end`: 1, or 0 with nothing read."""
        start = self.at
        if self._expiry_first and not self._read_expiry():
            return 0
        self._name_at = self.at
        if self._whole_string() and self._whole_string():
            self._value_end = self.at
            if self._expiry_first or self._read_expiry():
                return 1
        self.at = start
        return 0

    def _whole_string(self) -> int:
        """Move past a string: 1, or 0 when it is not whole."""
        if not self._string() or self._skip > self.end - self.at:
            self._skip = 0
            return 0
        self.at += self._skip
        self._skip = 0
        return 1

    def _read_expiry(self) -> int:
        """Read a field's expiry into `_expire_ms`: 1, or 0 with nothing read."""
        if not self._expiry_first:
            if self.end - self.at < 8:
                return 0
            self._expire_ms = self._signed(self.at)
            self.at += 8
            return 1
        if not self._length():
            return 0
        if self._number == 0:
            self._expire_ms = _NEVER_MS
            return 1
        added = self._number - 1
        if added > _MOST_MS or (self._least_ms > 0 and added > _MOST_MS - self._least_ms):
            raise self._corrupt("a field's expiry in ms", f"{self._least_ms} and {added}")
        self._expire_ms = self._least_ms + added
        if self._expire_ms < 0:
            raise self._corrupt("a field's expiry in ms", str(self._expire_ms))
        return 1
