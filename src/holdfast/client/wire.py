"""Commands as bytes and error replies as what they mean for the caller (pure)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import hiredis

pack: Callable[[tuple[Any, ...]], bytes] = hiredis.pack_command
ReplyError: type[Exception] = hiredis.ReplyError
Push: type[Any] = hiredis.PushNotification
INCOMPLETE = object()
"""From a reader that has no whole reply yet."""


def reader() -> Any:
    """A parser of replies; feed bytes, ask `gets()` until it says INCOMPLETE."""
    return hiredis.Reader(notEnoughData=INCOMPLETE)


class Meaning(Enum):
    """What an error reply asks for."""

    MOVED = auto()
    ASK = auto()
    AGAIN = auto()
    """The cluster is just changing, or the server is loading: the same a moment later."""
    NOT_PRIMARY = auto()
    """The node has become a replica, or lost its primary: look for the primary anew."""
    DENIED = auto()
    NO_SCRIPT = auto()
    WRONG_TYPE = auto()
    REFUSED = auto()


@dataclass(frozen=True, slots=True)
class Redirect:
    """Where MOVED and ASK point."""

    slot: int
    host: str
    port: int


_MEANINGS = {
    "MOVED": Meaning.MOVED,
    "ASK": Meaning.ASK,
    "TRYAGAIN": Meaning.AGAIN,
    "CLUSTERDOWN": Meaning.AGAIN,
    "LOADING": Meaning.AGAIN,
    "BUSY": Meaning.AGAIN,
    "READONLY": Meaning.NOT_PRIMARY,
    "MASTERDOWN": Meaning.NOT_PRIMARY,
    "NOREPLICAS": Meaning.AGAIN,
    "REDIRECT": Meaning.NOT_PRIMARY,
    "UNBLOCKED": Meaning.NOT_PRIMARY,
    "NOAUTH": Meaning.DENIED,
    "WRONGPASS": Meaning.DENIED,
    "NOPERM": Meaning.DENIED,
    "NOSCRIPT": Meaning.NO_SCRIPT,
    "WRONGTYPE": Meaning.WRONG_TYPE,
}


def meaning(said: str) -> Meaning:
    """Of an error reply, by its first word."""
    return _MEANINGS.get(said.partition(" ")[0], Meaning.REFUSED)


def redirect(said: str, asked_host: str) -> Redirect | None:
    """Read "MOVED 3999 127.0.0.1:6381"; an empty host is the one that was asked. None when it cannot be read."""
    words = said.split(" ")
    if len(words) != 3 or not words[1].isdigit():
        return None
    host, _, port = words[2].rpartition(":")
    if not port.isdigit() or not 0 < int(port) < 65_536:
        return None
    return Redirect(int(words[1]), host.strip("[]") or asked_host, int(port))


ASKING = pack(("ASKING",))

# A value that somebody else has changed meanwhile is left alone: one that was deleted stays deleted.
STORE_IF_SAME = """\
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[3] == '0' then redis.call('SET', KEYS[1], ARGV[2]) else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
return 1
"""
DELETE_IF_SAME = """\
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""
WRITE_FORWARD_IF_SAME = """\
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SETRANGE', KEYS[1], ARGV[2], ARGV[3])
return 1
"""


def eval_if_same(script: str, key: str, *arguments: bytes | str | int) -> tuple[Any, ...]:
    """The command that runs one of the scripts above; short enough to be sent whole each time."""
    return ("EVAL", script, 1, key, *arguments)
