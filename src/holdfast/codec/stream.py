# cython: annotation_typing=False
"""Walks a replication stream: where each command ends and what it is called, without looking at its values.

A primary sends its replicas RESP arrays of bulk strings, and bare newlines to keep a link alive (RESP specification;
processMultibulkBuffer in src/networking.c of the engines).
"""

from __future__ import annotations

from holdfast.errors import HoldfastError

INCOMPLETE = 0
"""Why a walk stopped: the buffer ends inside a command, or at its end."""
STOPPED = 1
"""Why a walk stopped: the next command is whole, and its name is one to stop at."""

_ARGUMENTS_MAX = 1 << 31
_BULK_MAX = 1 << 40


class StreamCorrupt(HoldfastError):
    """What came is no stream of commands."""

    def __init__(self, at: int, found: bytes) -> None:
        super().__init__(at, found)
        self.at = at
        self.found = found

    def __str__(self) -> str:
        return f"the stream of commands is damaged: at byte {self.at} of what was read stands {self.found!r}"


def walk_over(
    buf: bytes, at: int, end: int, listed: frozenset[bytes], plain: frozenset[bytes] = frozenset()
) -> tuple[int, int]:
    """Walk over whole commands whose names, as written, are in `listed`; stop at any other.

    Args: `buf`, read from `at` to before `end`, which is at most its length; `plain`, names of commands that are walked
        over when they have at most three words, the name counted.
    Returns: `(after, why)`: the index behind the last command walked over; INCOMPLETE or STOPPED.
    Raises: StreamCorrupt.
    """
    return _walk(buf, at, end, listed, plain, False)


def walk_to(buf: bytes, at: int, end: int, listed: frozenset[bytes]) -> tuple[int, int]:
    """The same, over whole commands whose names are not in `listed`, to the first whose name is."""
    return _walk(buf, at, end, listed, frozenset(), True)


def _walk(
    buf: bytes, at: int, end: int, listed: frozenset[bytes], plain: frozenset[bytes], stop_when: bool
) -> tuple[int, int]:
    while at < end:
        i = at
        if buf[i] == 10:
            at += 1
            continue
        if buf[i] != 42:
            raise StreamCorrupt(at, buf[at : min(end, at + 40)])
        left = 0
        i += 1
        while i < end and 48 <= buf[i] <= 57:
            left = left * 10 + (buf[i] - 48)
            if left > _ARGUMENTS_MAX:
                raise StreamCorrupt(at, buf[at : min(end, at + 40)])
            i += 1
        if i + 1 >= end:
            return at, INCOMPLETE
        if buf[i] != 13 or buf[i + 1] != 10 or left == 0:
            raise StreamCorrupt(at, buf[at : min(end, at + 40)])
        i += 2
        named_at = -1
        named_end = -1
        short = left <= 3
        while left > 0:
            if i >= end:
                return at, INCOMPLETE
            if buf[i] != 36:
                raise StreamCorrupt(i, buf[i : min(end, i + 40)])
            i += 1
            size = 0
            while i < end and 48 <= buf[i] <= 57:
                size = size * 10 + (buf[i] - 48)
                if size > _BULK_MAX:
                    raise StreamCorrupt(i, buf[i : min(end, i + 40)])
                i += 1
            if i + 1 >= end:
                return at, INCOMPLETE
            if buf[i] != 13 or buf[i + 1] != 10:
                raise StreamCorrupt(i, buf[i : min(end, i + 40)])
            i += 2
            if named_at < 0:
                named_at = i
                named_end = i + size
            i += size + 2
            if i > end:
                return at, INCOMPLETE
            left -= 1
        name = buf[named_at:named_end]
        if (name in listed) == stop_when and not (short and name in plain):
            return at, STOPPED
        at = i
    return at, INCOMPLETE


def read_command(buf: bytes, at: int) -> tuple[list[bytes], int]:
    """The arguments of the whole command at `at`, as `walk` found it, and the index behind it."""
    line_end = buf.index(b"\r\n", at)
    left = int(buf[at + 1 : line_end])
    at = line_end + 2
    words: list[bytes] = []
    while left:
        line_end = buf.index(b"\r\n", at)
        size = int(buf[at + 1 : line_end])
        at = line_end + 2
        words.append(buf[at : at + size])
        at += size + 2
        left -= 1
    return words, at


def write_command(words: list[bytes]) -> bytes:
    """The command as a primary sends it."""
    head = b"*%d\r\n" % len(words)
    return head + b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words])


def is_compiled() -> bool:
    """Whether the compiled twin of this module is in charge."""
    return not __file__.endswith(".py")
