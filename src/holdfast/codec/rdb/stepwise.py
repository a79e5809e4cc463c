"""Conversions written as generators: easy to read and slow, for forms of values that are seldom met."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TypeVar

from holdfast.codec.rdb.cursor import Cursor
from holdfast.codec.rdb.errors import TruncatedRdb
from holdfast.codec.rdb.sink import Sink
from holdfast.codec.rdb.task import Bounds, Task

Read = TypeVar("Read")
Steps = Generator[None, None, None]
"""A conversion under way: it stops whenever it needs more bytes, and ends when the rest may be carried as it is."""


class Stepwise(Task):
    """A conversion written as a generator, for values that are seldom met: it reads from `cursor`, writes into `out` and
    yields whenever it needs more bytes. Args: `make`, begins one.
    """

    def __init__(self, sink: Sink, bounds: Bounds, make: Callable[[Stepwise], Steps]) -> None:
        super().__init__(sink, bounds)
        self.cursor = Cursor(b"")
        self.out: list[bytes] = []
        self._make = make
        self._steps: Steps | None = None

    def _begin(self) -> None:
        Task._begin(self)
        self.out = []
        self.cursor.key = self.key_name()
        self._steps = self._make(self)

    def _go(self) -> int:
        cursor = self.cursor
        cursor.buf = self.buf
        cursor.at = self.at
        cursor.end = self.end
        cursor.base = self.base
        done = 0
        steps = self._steps
        if steps is None:
            return 0
        try:
            next(steps)
        except StopIteration:
            done = 1
        self.at = cursor.at
        for part in self.out:
            self.sink.write(part)
        self.out.clear()
        return done

    def read(self, reader: Callable[[], Read]) -> Generator[None, None, Read]:
        """What `reader` reads, which must be whole: it begins again until it is."""
        cursor = self.cursor
        while True:
            start = cursor.at
            try:
                return reader()
            except TruncatedRdb:
                cursor.at = start
            yield

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
