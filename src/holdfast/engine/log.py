"""A server's log file: its last lines, following it, and keeping it small.

The server opens the file anew for each line it writes (that is what `logfile` with a path means), so a log that is
renamed away goes on in a new file and no line is lost. Logs come from outside: they are read as text with
replacements, and never more of them than was asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

CHUNK_BYTES = 64 * 1024
LINE_MAX_BYTES = 16 * 1024


@dataclass(frozen=True)
class LogLimits:
    """How much of a log is kept: the current file up to a size, and so many older ones."""

    size_bytes: int = 8 << 20
    older_files: int = 4


def tail(path: Path, lines: int, *, newest_bytes: int = 1 << 20) -> list[str]:
    """The last `lines` lines among the newest bytes; none where there is no log yet."""
    found = read_from(path, max(0, size_bytes(path) - newest_bytes)).splitlines()
    return [printable(line) for line in found[-lines:]] if lines > 0 else []


def read_from(path: Path, offset: int, *, at_most_bytes: int = 1 << 20) -> str:
    """What was written from `offset` on; a log that was rotated meanwhile is read from its beginning."""
    try:
        with path.open("rb") as file:
            if offset > os.fstat(file.fileno()).st_size:
                offset = 0
            file.seek(offset)
            return file.read(at_most_bytes).decode("utf-8", "replace")
    except FileNotFoundError:
        return ""


def size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


async def follow(path: Path, *, every_s: float = 0.25) -> AsyncIterator[str]:
    """New lines as they come, across rotations, until the caller stops; begins at the log's present end."""
    file = _opened(path)
    if file:
        file.seek(0, os.SEEK_END)
    rest = b""
    try:
        while True:
            file = file or _opened(path)
            chunk = file.read(CHUNK_BYTES) if file else b""
            if chunk:
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    yield printable(line.decode("utf-8", "replace"))
                rest = rest[-LINE_MAX_BYTES:]
                continue
            if file and _was_replaced(path, file.fileno()):  # and read to its end, just now
                file.close()
                file = None
                continue
            await asyncio.sleep(every_s)
    finally:
        if file:
            file.close()


def rotate(path: Path, limits: LogLimits) -> bool:
    """Rename a log that has grown past its limit to `.1`, older ones one further; whether that was done.

    Raises: OSError when the folder cannot be written.
    """
    if size_bytes(path) < limits.size_bytes:
        return False
    if limits.older_files < 1:
        path.unlink()
        return True
    for number in range(limits.older_files, 0, -1):
        older = path if number == 1 else _numbered(path, number - 1)
        with contextlib.suppress(FileNotFoundError):
            older.replace(_numbered(path, number))
    return True


def printable(line: str) -> str:
    """A line that can be shown: what would move a terminal's cursor or change its colours becomes '?'."""
    return "".join(c if c.isprintable() or c == "\t" else "?" for c in line[:LINE_MAX_BYTES])


def _opened(path: Path) -> BinaryIO | None:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return None


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _was_replaced(path: Path, descriptor: int) -> bool:
    """Whether the path is by now another file than the open one; False while there is none."""
    try:
        there, here = path.stat(), os.fstat(descriptor)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino) or there.st_size < os.lseek(
        descriptor, 0, os.SEEK_CUR
    )
