"""Which words of a command in a replication stream are keys, and what replaying it twice would do. Pure.

Only commands that engines send to their replicas matter: blocking, random and relative forms have become plain, definite
ones by then. Sources: COMMAND of Redis 6.2 to 8.0 and Valkey 8.0 to 9.1, and their streams.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

Words = Sequence[bytes]
Places = tuple[int, ...]


def _all_after_name(words: Words) -> Places:
    return tuple(range(1, len(words)))


def _pairs(words: Words) -> Places:
    return tuple(range(1, len(words), 2))


def _two(words: Words) -> Places:
    return (1, 2) if len(words) > 2 else (1,)


def _second(words: Words) -> Places:
    return (2,) if len(words) > 2 else ()


def _from_second(words: Words) -> Places:
    return tuple(range(2, len(words)))


def _stored(words: Words) -> Places:
    """`NAME destination numkeys key ...`."""
    return (1, *range(3, 3 + _count(words, 2)))


def _scripted(words: Words) -> Places:
    """`NAME script numkeys key ...`."""
    return tuple(range(3, 3 + _count(words, 2)))


def _counted_pairs(words: Words) -> Places:
    """`MSETEX numkeys key value ...`."""
    return tuple(range(2, 2 + 2 * _count(words, 1), 2))


def _with_store(words: Words) -> Places:
    """SORT and GEORADIUS: the destination stands behind STORE or STOREDIST."""
    places = [1]
    for at, word in enumerate(words[2:-1], start=2):
        if word.upper() in {b"STORE", b"STOREDIST"}:
            places.append(at + 1)
    return tuple(places)


def _count(words: Words, at: int) -> int:
    number = int(words[at]) if len(words) > at and words[at].isdigit() else 0
    return min(number, len(words) - at - 1)


_MANY: dict[bytes, Callable[[Words], Places]] = {
    **dict.fromkeys((b"DEL", b"UNLINK", b"PFMERGE", b"TOUCH"), _all_after_name),
    **dict.fromkeys((b"SUNIONSTORE", b"SINTERSTORE", b"SDIFFSTORE"), _all_after_name),
    **dict.fromkeys((b"MSET", b"MSETNX"), _pairs),
    **dict.fromkeys((b"RENAME", b"RENAMENX", b"COPY", b"SMOVE", b"RPOPLPUSH", b"LMOVE"), _two),
    **dict.fromkeys((b"BRPOPLPUSH", b"BLMOVE", b"GEOSEARCHSTORE", b"ZRANGESTORE"), _two),
    **dict.fromkeys((b"ZUNIONSTORE", b"ZINTERSTORE", b"ZDIFFSTORE"), _stored),
    **dict.fromkeys((b"SORT", b"GEORADIUS", b"GEORADIUSBYMEMBER"), _with_store),
    **dict.fromkeys((b"EVAL", b"EVALSHA", b"FCALL"), _scripted),
    b"BITOP": _from_second,
    b"XGROUP": _second,
    b"PFDEBUG": _second,
    b"MSETEX": _counted_pairs,
}

KEYLESS = frozenset(
    {
        b"FLUSHALL",
        b"FLUSHDB",
        b"SWAPDB",
        b"FUNCTION",
        b"SCRIPT",
        b"PUBLISH",
        b"SPUBLISH",
        b"PING",
        b"REPLCONF",
        b"CLUSTER",
    }
    | {b"SELECT", b"MULTI", b"EXEC"}
)
"""Commands of a stream that have no keys."""


def key_places(name: bytes, words: Words) -> Places:
    """Indexes of the keys among `words`. Args: `name`, the first word in upper case."""
    many = _MANY.get(name)
    if many is not None:
        return many(words)
    return () if name in KEYLESS or len(words) < 2 else (1,)


def has_one_key(name: bytes) -> bool:
    """Whether the command of that name has exactly one key, its first word after the name."""
    return name not in _MANY and name not in KEYLESS


REPEATABLE = frozenset(
    {
        b"SET",
        b"SETEX",
        b"PSETEX",
        b"MSET",
        b"DEL",
        b"UNLINK",
        b"HSET",
        b"HMSET",
        b"HDEL",
        b"SADD",
        b"SREM",
        b"ZREM",
    }
    | {b"PEXPIREAT", b"EXPIREAT", b"PERSIST", b"RESTORE", b"RESTORE-ASKING", b"SETBIT", b"SETRANGE", b"PFADD"}
    | {b"HPEXPIREAT", b"HEXPIREAT", b"HPERSIST", b"XACK", b"XDEL", b"TOUCH", b"ZADD"}
)
"""Commands whose repetition, with all that came after them on the same keys, ends where the first run ended.

Each sets, for good, what it names, whatever was there before. So a run of them may be replayed from any point before its end,
onto any state in between, and needs no mark of its own. A command that is not listed (INCR, RPUSH, XADD, RENAME, and
those with conditions) must not run twice, and carries a checkpoint.
"""


def is_repeatable(name: bytes, words: Words) -> bool:
    """Whether the command may run twice (see `REPEATABLE`)."""
    if name not in REPEATABLE:
        return False
    if name in CONDITIONAL:
        return not any(word.upper() in _CONDITIONS for word in (words[2:7] if name == b"ZADD" else words[3:]))
    return True


CONDITIONAL = frozenset({b"SET", b"PEXPIREAT", b"EXPIREAT", b"HPEXPIREAT", b"HEXPIREAT", b"ZADD"})
"""Of these, forms that depend on what is there, or add to it, must not run twice."""
_CONDITIONS = frozenset(
    {b"NX", b"XX", b"GT", b"LT", b"GET", b"IFEQ", b"IFNE", b"IFDEQ", b"IFDNE", b"CH", b"INCR", b"KEEPTTL"}
)
