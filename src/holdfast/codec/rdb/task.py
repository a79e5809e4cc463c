"""One value on its way into another form: its head, the bytes of it that have come, and what all conversions do with them."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.codec.rdb.cursor import decode_string
from holdfast.codec.rdb.errors import CorruptRdb, TooLong
from holdfast.codec.rdb.losses import Reason
from holdfast.codec.rdb.scan import Scanner
from holdfast.codec.rdb.sink import Sink
from holdfast.codec.rdb.walk import Walker


@dataclass(frozen=True)
class Bounds:
    """What a translation may hold, and from when on it may let things go."""

    held_bytes: int = 64 << 20
    """The most that is held of one value: a part that must be rewritten whole."""
    expired_before_ms: int | None = None
    """Fields that expired before this are left out where the target has no expiry for fields; None keeps them, for a
    source that will still say when they go."""


class GivenUp(Exception):  # noqa: N818, RUF100
    """The whole key is left out; nothing of it has been written."""


class Task(Walker):
    """Turns values of one form into another, one value after another: `begin`, then `feed` until the value has ended.

    What stands in the value's place goes into `sink`, what that takes away into `lost`: reasons, each with the number of
    parts it concerns. A conversion derives from this and says in `_go` what it does with the bytes at hand.
    """

    def __init__(self, sink: Sink, bounds: Bounds) -> None:
        super().__init__()
        self.sink = sink
        self.bounds = bounds
        self.db = 0
        self.has_key = False
        self.lost: list[tuple[Reason, int]] = []
        self._is_open = False
        self._is_done = False
        self._is_last = False
        self._head = b""
        self._head_at = 0
        self._cut_at = 0
        self._cut_end = 0
        self._type_at = 0
        self._head_end = 0
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0

    def begin(self, db: int, key: bytes | None, base: int) -> None:
        """A value without a head: only its type will be written before it. Args: `key`, None for a module's own data;
        `base`, the offset of the value's first byte, for errors.
        """
        self.db = db
        self.has_key = key is not None
        self._kept_key = key
        self._head = b""
        self._head_at = self._cut_at = self._cut_end = self._type_at = self._head_end = 0
        self.base = base
        self._begin()

    def begin_record(self, scan: Scanner, keeps_meta: bool) -> None:
        """The value of the key at which `scan` stands. What stands before its type, and its name, are written with it."""
        self.db = scan.db
        self.has_key = True
        self._kept_key = None
        self._head = scan.buf
        self._head_at = scan.record_at
        self._type_at = scan.key_at - 1
        self._head_end = scan.value_at
        self._cut_at = self._cut_end = self._type_at
        if scan.meta_at >= 0 and not keeps_meta:
            self._cut_at = scan.meta_at
            self._cut_end = scan.meta_end
        self.base = scan.value_offset
        self._begin()

    def _begin(self) -> None:
        self.at = 0
        self.end = 0
        self._skip = 0
        self._is_open = False
        self._is_done = False
        if self.lost:
            self.lost = []
        if self._waiting:
            self._waiting = []
        self._waiting_bytes = 0

    def feed(self, buf: bytes, at: int, end: int, is_last: bool) -> None:
        """More of the value: `buf` from `at` to before `end`; with `is_last` all of it has come.

        Raises: CorruptRdb; GivenUp, after which the key is left out; TooLong when a part that must be rewritten whole is
            longer than the bound and something has been written already.
        """
        if self._is_done:
            self.sink.span(buf, at, end)
            return
        left = self.end - self.at
        self._is_last = is_last
        if left == 0:
            self.base += self.at - at
            self.buf = buf
            self.at = at
            self.end = end
        else:
            self._waiting.append(buf[at:end])
            self._waiting_bytes += end - at
            # What is not whole is looked at again only when it has doubled.
            if self._waiting_bytes < left and not is_last:
                self._check_bound(left + self._waiting_bytes)
                return
            self.buf = self.buf[self.at : self.end] + b"".join(self._waiting)
            self.base += self.at
            self.at = 0
            self.end = left + self._waiting_bytes
            self._waiting = []
            self._waiting_bytes = 0
        self._p = self.buf
        if self._go():
            self._is_done = True
            self.sink.span(self.buf, self.at, self.end)
            self.at = self.end
        elif is_last:
            raise CorruptRdb(self.base + self.end, self.key_name(), "more of a value", "its end")
        else:
            self._check_bound(self.end - self.at)

    def _go(self) -> int:
        """Deal with the bytes from `at` to `end` as far as they go: 1 when the rest of the value may be carried as it is."""
        return 1

    def open(self, type: int) -> None:
        """Write what stands before the value, now that its type is known."""
        head = self._head
        if self._type_at > self._head_at:
            self.sink.span(head, self._head_at, self._cut_at)
            self.sink.span(head, self._cut_end, self._type_at)
        self.sink.byte(type)
        if self._head_end > 0:
            self.sink.span(head, self._type_at + 1, self._head_end)
        self._is_open = True

    def lose(self, reason: Reason, parts: int = 1) -> None:
        """Count something that does not arrive as it was."""
        if parts > 0:
            self.lost.append((reason, parts))

    def give_up(self, reason: Reason) -> GivenUp:
        """The error to raise when the whole key is to be left out; only before `open`."""
        self.lost = [(reason, 1)]
        return GivenUp()

    def key_name(self) -> bytes | None:
        """The key; None for a module's own data."""
        if self._kept_key is None and self.has_key:
            self._kept_key = decode_string(self._head, self._type_at + 1, self._head_end)[0]
        return self._kept_key

    def _check_bound(self, held: int) -> None:
        """Whether `held` bytes may be held for a part that is not whole. Raises: GivenUp, TooLong."""
        if held <= self.bounds.held_bytes:
            return
        if not self._is_open:
            raise self.give_up(Reason.TOO_BIG)
        what = "a part that must be rewritten whole"
        raise TooLong(self.base + self.at, self.key_name(), what, held, self.bounds.held_bytes)
