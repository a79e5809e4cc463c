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
        self._running = self._run()

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
        event = next(self._running)
        if event is None:
            raise StopIteration
        return event

    def _run(self) -> Iterator[Event | None]:
        """Events, and None whenever bytes are lacking."""
        scan = self.scan
        while True:
            stop = scan.step()
            if stop == _KEY:
                made = self._key()
                start = scan.value_at
                stop = scan.step()
                if stop == _VALUE_END and scan.at - start <= self._whole_bytes:
                    made.set_value(scan.buf[start : scan.at])
                    yield made
                    continue
                yield from self._long_value(made, start, stop)
            elif stop == _NEED:
                yield None
            elif stop == stops.MODULE_AUX:
                yield from self._module_aux(scan.value_at)
            else:
                yield self._other(stop)
                if stop == stops.END:
                    return

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
        return Key(
            scan.db,
            scan.key_name() or b"",
            scan.type,
            None,
            scan.expire_ms if scan.expire_ms != -1 else None,
            scan.idle_s if scan.idle_s >= 0 else None,
            scan.freq if scan.freq >= 0 else None,
            scan.buf[scan.meta_at : scan.meta_end] if scan.meta_at >= 0 else None,
            scan.value_offset,
        )

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
