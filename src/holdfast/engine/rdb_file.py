"""RDB files on disk: summed up, checked to the last value, told as JSON, and converted into another dialect's file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.codec.rdb.errors import RdbError
from holdfast.codec.rdb.events import End, Event, Header, Key
from holdfast.codec.rdb.losses import LossReport
from holdfast.codec.rdb.parser import Parser
from holdfast.codec.rdb.rewrite import Rewriter, Target
from holdfast.codec.rdb.summary import Summary, summarize
from holdfast.codec.rdb.values import Value, decode
from holdfast.errors import HoldfastError, Refused

PIECE_BYTES = 1 << 20
DECODED_BYTES = 64 << 20
"""A value larger than this in the file is walked and not decoded."""
FAULTS_KEPT = 100


@dataclass(eq=False)
class NoRdbFile(HoldfastError):
    """A file that cannot be read."""

    path: Path
    words: str

    def __str__(self) -> str:
        return (
            f"{self.path} cannot be read: {self.words}; name the RDB file of an engine, such as its dump.rdb"
        )


@dataclass(eq=False)
class RdbFileUnusable(HoldfastError):
    """A file that is not, or no longer, an RDB that can be read."""

    path: Path
    wrong: RdbError

    def __str__(self) -> str:
        return f"{self.path}: {self.wrong}"


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """What is wrong with RDB bytes within is said of `path`. Raises: RdbFileUnusable."""
    try:
        yield
    except RdbError as wrong:
        raise RdbFileUnusable(path, wrong) from wrong


@dataclass
class Checked:
    """What a check of every value found."""

    keys: int = 0
    functions: int = 0
    too_long: int = 0
    """Values that were walked and not decoded, being longer than DECODED_BYTES."""
    faults: list[str] = field(default_factory=list)
    """Values whose inside is wrong, though the file as a whole can be walked; the first hundred."""
    faulty: int = 0
    trailing_bytes: int = 0
    """Bytes behind the RDB's end."""

    @property
    def is_good(self) -> bool:
        return not self.faulty


@dataclass(frozen=True)
class Converted:
    """What became of a file."""

    source: str
    target: str
    keys: int
    keys_converted: int
    keys_lost: int
    bytes_in: int
    bytes_out: int
    losses: LossReport


def summary_of(path: Path, biggest: int = 10) -> Summary:
    """Sum a file up. Raises: NoRdbFile, RdbError."""
    return summarize(_pieces(path), _size(path), biggest)


def check(path: Path) -> Checked:
    """Walk a file and decode every value in it. Raises: NoRdbFile; RdbError where reading on is impossible."""
    checked = Checked()
    parser = Parser(DECODED_BYTES)
    pieces = _pieces(path)
    dialect = None
    for event in _until_end(parser, pieces):
        if isinstance(event, Header):
            dialect = event.dialect
        if not isinstance(event, Key):
            continue
        checked.keys += 1
        if event.value is None or dialect is None:
            checked.too_long += 1
            continue
        try:
            decode(event.type, event.value, dialect, event.key, event.offset)
        except RdbError as wrong:
            checked.faulty += 1
            if len(checked.faults) < FAULTS_KEPT:
                checked.faults.append(str(wrong))
    checked.trailing_bytes = len(parser.rest()) + sum(len(piece) for piece in pieces)
    return checked


def keys_of(path: Path) -> Iterator[tuple[Key, Value | None]]:
    """Each key with its value; None where it is longer than DECODED_BYTES. Raises: NoRdbFile, RdbError."""
    dialect = None
    for event in _events(path):
        if isinstance(event, Header):
            dialect = event.dialect
        elif isinstance(event, Key) and dialect is not None:
            value = event.value
            decoded = None if value is None else decode(event.type, value, dialect, event.key, event.offset)
            yield event, decoded


def convert(path: Path, into: Path, target: Target) -> Converted:
    """Write `path` as an RDB of the target's dialect to `into`, which is there whole or not at all.

    Raises: Refused when `into` is there already; NoRdbFile, RdbError.
    """
    if into.exists():
        raise Refused(
            f"Writing {into}", "it is there already", "Name a file that does not exist, or remove that one."
        )
    pieces = _pieces(path)
    rewriter = Rewriter(target, _size(path))
    part = into.with_name(f".{into.name}.{os.getpid()}.part")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as out:
            for piece in pieces:
                out.write(rewriter.feed(piece))
                if rewriter.is_finished:
                    break
            rewriter.finish()
            out.flush()
            os.fsync(out.fileno())
        os.link(part, into)  # unlike a rename, this fails when someone else has made it meanwhile
    except FileExistsError:
        raise Refused(
            f"Writing {into}", "it has appeared meanwhile", "Name a file that does not exist."
        ) from None
    finally:
        part.unlink(missing_ok=True)
    return Converted(
        str(rewriter.source),
        str(target.dialect),
        rewriter.keys,
        rewriter.keys_converted,
        rewriter.keys_lost,
        rewriter.bytes_in,
        rewriter.bytes_out,
        rewriter.losses,
    )


def _events(path: Path) -> Iterator[Event]:
    yield from _until_end(Parser(DECODED_BYTES, total=_size(path)), _pieces(path))


def _until_end(parser: Parser, pieces: Iterator[bytes]) -> Iterator[Event]:
    """All events. What is behind the end stays in `pieces`, but for the rest of the last piece. Raises: TruncatedRdb."""
    for piece in pieces:
        parser.feed(piece)
        for event in parser:
            yield event
            if isinstance(event, End):
                return
    parser.finish()


def _size(path: Path) -> int:
    """Bytes of a regular file; -1 for a pipe and the like."""
    try:
        return path.stat().st_size if path.is_file() else -1
    except OSError as wrong:
        raise NoRdbFile(path, wrong.strerror or str(wrong)) from wrong


def _pieces(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while piece := file.read(PIECE_BYTES):
                yield piece
    except OSError as wrong:
        raise NoRdbFile(path, wrong.strerror or str(wrong)) from wrong
