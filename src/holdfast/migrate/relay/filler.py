"""Bytes that a replica reads and that change nothing, of any wanted length. Pure.

A command that the target cannot run is replaced by as many bytes, so that both ends go on counting the same offsets and
a link that broke continues where it was. A replica takes `PING <padding>` from its primary and counts it at once; a
bare newline is skipped, and counted when the next command is applied, so newlines stand before what follows them.
"""

from __future__ import annotations

_PING = b"*1\r\n$4\r\nPING\r\n"
_PADDED = b"*2\r\n$4\r\nPING\r\n$%d\r\n%b\r\n"
_PADDED_EMPTY = len(_PADDED % (0, b""))


def filler(length: int) -> bytes:
    """Exactly `length` bytes, 0 and up: newlines first, then at most one PING."""
    if length < len(_PING):
        return b"\n" * length
    if length < _PADDED_EMPTY:
        return b"\n" * (length - len(_PING)) + _PING
    room = length - _PADDED_EMPTY
    digits = 1
    while room - (digits - 1) >= 10**digits:
        digits += 1
    # At a border between numbers of digits one byte may stay over: a longer length line, or a shorter padding.
    padding = min(room - (digits - 1), 10**digits - 1)
    if padding < 10 ** (digits - 1) and digits > 1:
        digits -= 1
        padding = 10**digits - 1
    made = _PADDED % (padding, b"." * padding)
    return b"\n" * (length - len(made)) + made
