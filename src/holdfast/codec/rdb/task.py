"""One value on its way into another form: what is known of it, and the hands that a conversion works with."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeVar

from holdfast.codec.rdb.cursor import Cursor
from holdfast.codec.rdb.errors import TooLong, TruncatedRdb
from holdfast.codec.rdb.losses import Reason

Read = TypeVar("Read")
Steps = Generator[None, None, None]
"""A conversion under way: it stops whenever it needs more bytes, and ends when the rest may be carried as it is."""


class Head:
    """What stands before a value: the key's database and name (None for a module's own data), and as they stand in the RDB
    `prefix` (expiry, idle time, frequency) and `name`.
    """

    __slots__ = ("db", "key", "name", "prefix")

    def __init__(self, db: int, key: bytes | None, prefix: bytes, name: bytes) -> None:
        self.db = db
        self.key = key
        self.prefix = prefix
        self.name = name


@dataclass(frozen=True)
class Bounds:
    """What a translation may hold, and from when on it may let things go."""

    held_bytes: int = 64 << 20
    """The most that is held of one value: a part that must be rewritten whole."""
    expired_before_ms: int | None = None
    """Fields that expired before this are left out where the target has no expiry for fields; None keeps them, for a
    source that will still say when they go."""


class GivenUp(Exception):  # noqa: N818, RUF100
    """The whole key is left out; what was to be written of it is not."""


class Task:
    """A value, the bytes of it that have come (`cursor`), what is written in its place (`out`) and what that loses."""

    def __init__(self, head: Head, bounds: Bounds) -> None:
        self.head = head
        self.bounds = bounds
        self.cursor = Cursor(b"", key=head.key)
        self.out: list[bytes] = []
        self.lost: list[tuple[Reason, int]] = []
        """Reasons, each with the number of parts it concerns."""
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._is_open = False

    def open(self, type: int) -> None:
        """Write what stands before the value, now that its type is known."""
        self.out += [self.head.prefix, bytes((type,)), self.head.name]
        self._is_open = True

    def lose(self, reason: Reason, parts: int = 1) -> None:
        """Count something that does not arrive as it was."""
        if parts:
            self.lost.append((reason, parts))

    def give_up(self, reason: Reason) -> GivenUp:
        """The error to raise when the whole key is to be left out; only before `open`."""
        self.lost = [(reason, 1)]
        return GivenUp()

    def feed(self, data: bytes, is_last: bool) -> bool:
        """More bytes of the value. Returns: whether there is something new to read (a part that is not whole is looked at
        again only when as much has come as there was).
        """
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        cursor = self.cursor
        left = cursor.left()
        if self._waiting_bytes < left and not is_last:
            return False
        rest = cursor.buf[cursor.at :]
        cursor.base += cursor.at
        cursor.buf = rest + b"".join(self._waiting) if left or len(self._waiting) > 1 else data
        cursor.at = 0
        cursor.end = left + self._waiting_bytes
        self._waiting = []
        self._waiting_bytes = 0
        return True

    def take_rest(self) -> bytes:
        """What has come and has not been read."""
        return self.cursor.raw(self.cursor.left()) + b"".join(self._waiting)

    def tried(self, reader: Callable[[], Read]) -> Read | None:
        """What `reader` reads, or None, with nothing read, when it is not whole: where very many values pass, a conversion
        asks again after a `yield`, as `read` does for it elsewhere. Raises: as `read`.
        """
        cursor = self.cursor
        start = cursor.at
        try:
            return reader()
        except TruncatedRdb:
            cursor.at = start
            self._check_bound()
            return None

    def read(self, reader: Callable[[], Read]) -> Generator[None, None, Read]:
        """What `reader` reads, which must be whole: it begins again until it is.

        Raises: GivenUp, or TooLong when something has been written already, where it is larger than the bound.
        """
        cursor = self.cursor
        while True:
            start = cursor.at
            try:
                return reader()
            except TruncatedRdb:
                cursor.at = start
                self._check_bound()
            yield

    def _check_bound(self) -> None:
        """Whether more may be held for a part that is not whole."""
        held = self.cursor.left()
        if held <= self.bounds.held_bytes:
            return
        if not self._is_open:
            raise self.give_up(Reason.TOO_BIG)
        what = "a part that must be rewritten whole"
        raise TooLong(self.cursor.base + self.cursor.at, self.head.key, what, held, self.bounds.held_bytes)

    def copy(self, reader: Callable[[], object]) -> Steps:
        """Carry on the bytes of what `reader` reads."""
        cursor = self.cursor

        def read() -> bytes:
            start = cursor.at
            reader()
            return cursor.buf[start : cursor.at]

        self.out.append((yield from self.read(read)))

    def copy_length(self) -> Generator[None, None, int]:
        """Carry on a length; returns it."""
        cursor = self.cursor

        def read() -> tuple[bytes, int]:
            start = cursor.at
            number = cursor.length()
            return cursor.buf[start : cursor.at], number

        raw, number = yield from self.read(read)
        self.out.append(raw)
        return number

    def copy_string(self) -> Steps:
        """Carry on a string of any length as it stands, without holding it."""
        cursor = self.cursor

        def read() -> tuple[bytes, int]:
            start = cursor.at
            size = cursor.string_head()
            return cursor.buf[start : cursor.at], size

        raw, size = yield from self.read(read)
        self.out.append(raw)
        while size:
            here = min(size, cursor.left())
            self.out.append(cursor.raw(here))
            size -= here
            if size:
                yield
