"""Options of commands that came with later engines, taken out for a reader that is older than the writer. Pure.

A reader may have a command and not know a word of it: it would answer its primary with a syntax error, log a line, and be wrong
from there on. The condition that such a word states held at the writer, or the command would not be in its stream, so most can be
left out; what cannot is said. Sources: the commands' history in the engines' documentation; forms as they were seen in streams.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Version = tuple[int, int, int]


@dataclass(frozen=True)
class Release:
    """Who writes or reads a stream, as far as its grammar goes."""

    engine: str = "valkey"
    version: Version = (9, 1, 0)

    def knows(self, redis: Version, valkey: Version) -> bool:
        """Whether it has what came with these releases."""
        return self.version >= (valkey if self.engine == "valkey" else redis)


@dataclass(frozen=True)
class Said:
    """The command in words that the reader knows."""

    words: tuple[bytes, ...]
    lost: str = ""


@dataclass(frozen=True)
class Unsayable:
    """There are no such words."""

    why: str


_SINCE_6_0 = ((6, 0, 0), (7, 2, 0))
_SINCE_6_2 = ((6, 2, 0), (7, 2, 0))
_SINCE_7_0 = ((7, 0, 0), (7, 2, 0))
_IFEQ = ((8, 4, 0), (8, 1, 0))
_LATER_WORDS = {
    b"SET": (_SINCE_6_0, _SINCE_6_2, _IFEQ),
    b"ZADD": (_SINCE_6_2,),
    b"LPOP": (_SINCE_6_2,),
    b"RPOP": (_SINCE_6_2,),
    b"XADD": (_SINCE_6_2,),
    b"XTRIM": (_SINCE_6_2,),
    b"XGROUP": (_SINCE_6_2, _SINCE_7_0),
    b"XSETID": (_SINCE_7_0,),
    b"FLUSHALL": (_SINCE_6_2,),
    b"FLUSHDB": (_SINCE_6_2,),
}
_NOT_EXACT = (
    (_SINCE_6_0, "SET KEEPTTL and INCRBYFLOAT of a key that expires"),
    (_SINCE_6_2, "LPOP and RPOP of several elements"),
    (_SINCE_6_2, "ZADD GT or LT of several members"),
    (_SINCE_6_2, "XADD and XTRIM with MINID"),
)
"""What an older reader cannot be told exactly: any words of the same effect are longer, and the offsets of both ends would part."""
"""Commands -> from which Redis and Valkey on they have had words more. No Valkey lacks what Redis 7.2 has."""


def names_beyond(writer: Release, reader: Release) -> frozenset[bytes]:
    """Commands of the writer's that may have words which the reader does not know."""
    return frozenset(
        name
        for name, releases in _LATER_WORDS.items()
        if any(writer.knows(*since) and not reader.knows(*since) for since in releases)
    )


def inexact(writer: Release, reader: Release) -> tuple[str, ...]:
    """What of the writer's commands cannot be said to the reader exactly, in words for people."""
    return tuple(what for since, what in _NOT_EXACT if writer.knows(*since) and not reader.knows(*since))


def shorter(words: Sequence[bytes]) -> tuple[bytes, ...] | None:
    """A command that a reader lacks, said as another of the same effect that every engine has; None where there is none."""
    name, upper = words[0].upper(), [word.upper() for word in words[3:]]
    if name in {b"LMOVE", b"BLMOVE"} and upper[:2] == [b"RIGHT", b"LEFT"]:
        return (b"RPOPLPUSH", words[1], words[2])
    return None


def say(words: Sequence[bytes], reader: Release, now_ms: int) -> Said | Unsayable | None:
    """How that command is said to `reader`; None where it knows all its words. Args: `now_ms`, Unix time."""
    name = words[0].upper()
    if name != b"SET" and reader.knows(*_LATER_WORDS.get(name, (_SINCE_6_2,))[-1]):
        return None
    match name:
        case b"SET":
            return _set(words, reader, now_ms)
        case b"ZADD":
            return _zadd(words)
        case b"LPOP" | b"RPOP":
            return _pop(words)
        case b"XADD" | b"XTRIM":
            return _stream(words)
        case b"XGROUP" | b"XSETID":
            return _group(words, reader)
        case b"FLUSHALL" | b"FLUSHDB":
            return _without(words, (b"SYNC",))
    return None


def _set(words: Sequence[bytes], reader: Release, now_ms: int) -> Said | None:
    """`SET key value [NX|XX|GET] [IFEQ v] [EX|PX|EXAT|PXAT t] [KEEPTTL]`."""
    kept, ends_ms, changed, lost, at = list(words[:3]), -1, False, "", 3
    while at < len(words):
        word = words[at].upper()
        if word in {b"IFEQ", b"IFNE", b"IFDEQ", b"IFDNE"} and not reader.knows(*_IFEQ):
            changed, at = True, at + 2
        elif word in {b"PXAT", b"EXAT"} and not reader.knows(*_SINCE_6_2):
            ends_ms = int(words[at + 1]) * (1000 if word == b"EXAT" else 1)
            changed, at = True, at + 2
        elif word == b"GET" and not reader.knows(*_SINCE_6_2):
            changed, at = True, at + 1
        elif word == b"KEEPTTL" and not reader.knows(*_SINCE_6_0):
            # The value is worth more than the time of its end: the writer's own DEL still ends the key.
            changed, lost, at = True, "SET KEEPTTL: the key's time to live", at + 1
        else:
            kept.append(words[at])
            at += 1
    if not changed:
        return None
    if ends_ms >= 0:
        # The time left instead of the time of the end: it is longer by as much as the reader is late, and the writer's own
        # DEL ends the key all the same.
        return Said((b"PSETEX", words[1], b"%d" % max(1, ends_ms - now_ms), words[2]))
    return Said(tuple(kept), lost)


def _zadd(words: Sequence[bytes]) -> Said | Unsayable | None:
    """GT and LT: the one member named was changed, or nothing would have been written; of several it is not known which."""
    options = 2
    while options < len(words) and words[options].upper() in {b"NX", b"XX", b"GT", b"LT", b"CH", b"INCR"}:
        options += 1
    flags = {word.upper() for word in words[2:options]}
    if not flags & {b"GT", b"LT"}:
        return None
    if len(words) - options != 2 or b"INCR" in flags:
        return Unsayable("ZADD GT or LT of several members")
    kept = [word for word in words[2:options] if word.upper() not in {b"GT", b"LT"}]
    return Said((*words[:2], *kept, *words[options:]))


def _pop(words: Sequence[bytes]) -> Said | Unsayable | None:
    if len(words) < 3:
        return None
    return (
        Said(tuple(words[:2])) if words[2] == b"1" else Unsayable(f"{words[0].decode()} of several elements")
    )


def _stream(words: Sequence[bytes]) -> Said | Unsayable | None:
    upper = [word.upper() for word in words]
    trim = upper.index(b"MINID", 2) if b"MINID" in upper[2:5] else -1
    if trim >= 0 and upper[0] == b"XTRIM":
        return Unsayable("XTRIM MINID")
    kept = list(words)
    if trim >= 0:
        end = trim + (3 if words[trim + 1] in {b"=", b"~"} else 2)
        end += 2 if upper[end] == b"LIMIT" else 0
        del kept[trim:end]
    if b"NOMKSTREAM" in upper[2:3]:
        del kept[2]
    if len(kept) == len(words):
        return None
    return Said(tuple(kept), "XADD MINID: what it trims stays" if trim >= 0 else "")


def _group(words: Sequence[bytes], reader: Release) -> Said | None:
    if len(words) > 1 and words[1].upper() == b"CREATECONSUMER" and not reader.knows(*_SINCE_6_2):
        # An XCLAIM of an entry that nobody owes makes the consumer and nothing else.
        return Said((b"XCLAIM", *words[2:5], b"0", b"0-1"))
    named = 5 if words[0].upper() == b"XGROUP" else 3  # its options stand behind key, group and id
    kept, at = list(words[:named]), named
    while at < len(words):
        if words[at].upper() in {b"ENTRIESREAD", b"ENTRIESADDED", b"MAXDELETEDID"}:
            at += 2
        else:
            kept.append(words[at])
            at += 1
    return Said(tuple(kept)) if len(kept) < len(words) else None


def _without(words: Sequence[bytes], unknown: tuple[bytes, ...]) -> Said | None:
    kept = tuple(word for word in words if word.upper() not in unknown)
    return Said(kept) if len(kept) < len(words) else None
