"""The pull parser: RDB bytes in, events out, without any I/O and in bounded memory.

parser = Parser()
for data in pieces:
    parser.feed(data)
    for event in parser:  # until it needs more bytes
        ...
parser.finish()  # raises when the RDB has not ended
"""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.codec.rdb import stops
from holdfast.codec.rdb.cursor import Cursor
from holdfast.codec.rdb.dialect import Dialect
from holdfast.codec.rdb.events import (
    Aux,
    End,
    Event,
    Function,
    Header,
    Key,
    ModuleAux,
    ResizeDb,
    SelectDb,
    SlotImport,
    SlotInfo,
    ValueChunk,
    ValueEnd,
)
from holdfast.codec.rdb.modules import module_name
from holdfast.codec.rdb.scan import Scanner

WHOLE_BYTES = 16 << 20
"""A value up to this size comes in one piece, unless the caller asks otherwise."""

_ID_BYTES = 9
_NEED = stops.NEED
_KEY = stops.KEY
_VALUE_END = stops.VALUE_END


class Parser:
    """Args: `whole_bytes`, the size up to which values come whole; `total`, bytes of the input where they are known:
    lengths are then checked against what is left.
    """

    def __init__(self, whole_bytes: int = WHOLE_BYTES, total: int | None = None) -> None:
        self.scan = Scanner(-1 if total is None else total)
        self._whole_bytes = whole_bytes
        self._running: Iterator[Event | None] | None = None
        self._is_over = False

    @property
    def dialect(self) -> Dialect | None:
        """What the header said, once it was read."""
        dialect: Dialect | None = self.scan.dialect
        return dialect

    def feed(self, data: bytes) -> None:
        """Take the next bytes. Take all events before the next call."""
        self.scan.feed(data)

    def finish(self) -> None:
        """Say that no more bytes come. Raises: TruncatedRdb when the RDB has not ended."""
        self.scan.finish()

    def rest(self) -> bytes:
        """What was fed behind the RDB's end (after the End event): a mark, a stream of commands, or nothing."""
        return self.scan.rest()

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        """The next event. Raises: StopIteration when bytes are lacking or the RDB has ended; the errors of
        `Scanner.step`, after which the parser cannot go on.
        """
        event = self._next()
        if event is None:
            raise StopIteration
        return event

    def _next(self) -> Event | None:
        """The next event; None when there is none now."""
        scan = self.scan
        while not self._is_over:
            self._is_over = True  # unless this ends well
            if self._running is not None:
                try:
                    event = next(self._running)
                except StopIteration:
                    self._running = None
                    self._is_over = False
                    continue
                self._is_over = False
                return event
            stop = scan.step()
            if stop == _KEY:
                made = self._key()
                start = scan.value_at
                stop = scan.step()
                self._is_over = False
                if stop == _VALUE_END and scan.at - start <= self._whole_bytes:
                    made.value = scan.piece(start, scan.at)
                    return made
                self._running = self._long_value(made, start, stop)
            elif stop == stops.MODULE_AUX:
                self._running = self._module_aux(scan.value_at)
                self._is_over = False
            elif stop == _NEED:
                self._is_over = False
                return None
            else:
                event = self._other(stop)
                self._is_over = stop == stops.END
                return event
        return None

    def _long_value(self, made: Key, start: int, stop: int) -> Iterator[Event | None]:
        """A value that is not in the buffer whole, or too long to be kept whole. `stop` is what the walk of it met."""
        scan = self.scan
        pieces: list[bytes] = []
        size = 0
        told = False
        while True:
            piece = scan.buf[start : scan.at]
            size += len(piece)
            pieces.append(piece)
            if size > self._whole_bytes:
                if not told:
                    yield made
                    told = True
                for chunk in pieces:
                    if chunk:
                        yield ValueChunk(chunk)
                pieces = []
            if stop == _VALUE_END:
                break
            yield None
            start = scan.at
            stop = scan.step()
        if told:
            yield ValueEnd(size)
        else:
            made.set_value(b"".join(pieces))
            yield made

    def _module_aux(self, start: int) -> Iterator[Event | None]:
        scan = self.scan
        pieces: list[bytes] = []
        size = 0
        while True:
            stop = scan.step()
            piece = scan.buf[start : scan.at]
            size += len(piece)
            if size <= self._whole_bytes or size - len(piece) < _ID_BYTES:  # the id is wanted in any case
                pieces.append(piece)
            if stop == _VALUE_END:
                break
            yield None
            start = scan.at
        name = module_name(Cursor(b"".join(pieces)).length())
        yield ModuleAux(name, b"".join(pieces) if size <= self._whole_bytes else None)

    def _key(self) -> Key:
        scan = self.scan
        made = Key.__new__(Key)
        made.db = scan.db
        made.key = scan.key_name() or b""
        made.type = scan.type
        made.value = None
        made.expire_ms = scan.expire_ms if scan.expire_ms != -1 else None
        made.idle_s = scan.idle_s if scan.idle_s >= 0 else None
        made.freq = scan.freq if scan.freq >= 0 else None
        made.meta = scan.buf[scan.meta_at : scan.meta_end] if scan.meta_at >= 0 else None
        made.offset = scan.value_offset
        return made

    def _other(self, stop: int) -> Event:
        """The event of a stop that is no value."""
        scan = self.scan
        if stop == stops.HEADER and scan.dialect is not None:
            return Header(scan.dialect)
        if stop == stops.SELECT:
            return SelectDb(scan.db)
        if stop == stops.RESIZE:
            return ResizeDb(scan.first, scan.second)
        if stop == stops.SLOT_INFO:
            return SlotInfo(scan.first, scan.second, scan.third)
        if stop == stops.END:
            return End(scan.stored_crc or None)
        body = Cursor(scan.buf, scan.body_at, scan.end, scan.base)
        first = body.string()
        if stop == stops.AUX:
            return Aux(first, body.string())
        return Function(first) if stop == stops.FUNCTION else SlotImport(first)


def events_of(data: bytes, whole_bytes: int = WHOLE_BYTES) -> Iterator[Event]:
    """All events of an RDB that lies in memory. Raises: the errors of `Scanner.step`; TruncatedRdb at its end."""
    parser = Parser(whole_bytes, total=len(data))
    parser.feed(data)
    yield from parser
    parser.finish()
