"""One connection that came to the relay: what it asks is read, answered, or refused; hostile until it has logged in."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.engine.connection import Credentials

WORDS_MAX = 1024
WORD_MAX_BYTES = 64 * 1024
LINE_MAX_BYTES = 64 * 1024


class PeerConfused(Exception):
    """What came is no command; the connection is closed."""


@dataclass(eq=False)
class Peer:
    """What is known of whoever is at the other end."""

    name: str
    authenticated: bool
    eof: bool = False
    """It can read an RDB whose length is not known beforehand."""
    psync2: bool = False
    acknowledged: int = -1
    """Offset it has applied; -1 before it said so."""
    streaming: bool = False
    """It has asked for the stream."""
    fed: bool = False
    """It gets one history's data, and is of no use to another's."""


async def read_words(reader: asyncio.StreamReader) -> list[bytes]:
    """The next command: a RESP array, or a line of words; empty for a bare newline, which a loading replica sends.

    Raises: PeerConfused, also for what is larger than any command of a replica's; EOFError at the end.
    """
    line = await _line(reader)
    if not line.startswith(b"*"):
        return line.split()
    count = _number(line)
    if count > WORDS_MAX:
        raise PeerConfused(f"a command of {count} words")
    words = []
    for _ in range(count):
        head = await _line(reader)
        size = _number(head)
        if not head.startswith(b"$") or size > WORD_MAX_BYTES:
            raise PeerConfused(f"a word of {size} bytes")
        words.append((await reader.readexactly(size + 2))[:-2])
    return words


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        line = await reader.readuntil(b"\n")
    except asyncio.LimitOverrunError as long:
        raise PeerConfused("a line without an end") from long
    if len(line) > LINE_MAX_BYTES:
        raise PeerConfused("a line without an end")
    return line.strip()


def _number(line: bytes) -> int:
    text = line[1:]
    if not text.isdigit() or len(text) > 12:
        raise PeerConfused("a number that is none")
    return int(text)


def let_in(words: Sequence[bytes], wanted: Credentials) -> bool:
    """Whether AUTH's words are the user and password wanted; a lone password is taken for either user."""
    if len(words) == 2:
        return hmac.compare_digest(words[1], wanted.password.encode())
    if len(words) != 3:
        return False
    right_user = hmac.compare_digest(words[1], wanted.user.encode())
    return hmac.compare_digest(words[2], wanted.password.encode()) and right_user
