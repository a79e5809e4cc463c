"""Times to live on a target that cannot be told to expire nothing by itself. Pure.

A source says when a key goes (DEL in its stream), so its follower need not. A plain client's writes are another matter: a
key restored, or given a TTL, whose time has just passed is gone at once, and a TTL that the source prolonged meanwhile
then finds no key. Therefore such times are held: put off until the stream has said what became of the key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LOAD_HOLD_MS = 600_000
"""While a snapshot is written, keys that end within this time are held."""
LOAD_HELD_FOR_MS = 3_600_000
TAIL_HOLD_MS = 2_000
"""In the stream, TTLs that end within this time are held: the source's DEL, or its next word on the key, is near."""
TAIL_HELD_FOR_MS = 60_000
HELD_AT_MOST = 200_000
"""Keys whose true time is remembered, to be set once the stream has been caught up with."""


def held_in_load(expire_ms: int, now_ms: int) -> int:
    """The time to restore a key with."""
    return now_ms + LOAD_HELD_FOR_MS if expire_ms < now_ms + LOAD_HOLD_MS else expire_ms


@dataclass(frozen=True)
class PutOff:
    """A command whose time was put off."""

    words: list[bytes]
    own_ms: int
    given_ms: int
    of_key: bool
    """Whether it is the time of the key, and not of fields."""


def held_in_stream(name: bytes, words: Sequence[bytes], now_ms: int) -> PutOff | None:
    """The command with its time put off; None where it has none that is near. Args: `name`, in upper case."""
    at, unit_ms = _place(name, words)
    if not at or not words[at].isdigit() or int(words[at]) * unit_ms > now_ms + TAIL_HOLD_MS:
        return None
    found = list(words)
    given = (now_ms + TAIL_HELD_FOR_MS) // unit_ms
    found[at] = b"%d" % given
    return PutOff(found, int(words[at]) * unit_ms, given * unit_ms, not name.startswith(b"H"))


def _place(name: bytes, words: Sequence[bytes]) -> tuple[int, int]:
    if name in {b"PEXPIREAT", b"EXPIREAT"} and len(words) > 2:
        return 2, 1 if name == b"PEXPIREAT" else 1000
    if name in {b"HPEXPIREAT", b"HEXPIREAT"} and len(words) > 2:
        return 2, 1 if name == b"HPEXPIREAT" else 1000
    if name in {b"SET", b"HSETEX"}:
        for at in range(2 if name == b"HSETEX" else 3, len(words) - 1):
            word = words[at].upper()
            if word in {b"PXAT", b"EXAT"}:
                return at + 1, 1 if word == b"PXAT" else 1000
    return 0, 1


MAY_HAVE_TIME = frozenset({b"PEXPIREAT", b"EXPIREAT", b"HPEXPIREAT", b"HEXPIREAT", b"SET", b"HSETEX"})
