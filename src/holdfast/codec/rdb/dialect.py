"""The dialects of the RDB format: which engine writes which header, and which types and opcodes it can load."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from holdfast.codec.rdb import types
from holdfast.codec.rdb.errors import UnknownRdbVersion
from holdfast.errors import WrongUsage


class Family(enum.StrEnum):
    """Whose numbers count: types and opcodes from 22 to 243 mean different things to the two."""

    REDIS = "redis"
    VALKEY = "valkey"


VALKEY_VERSION = 80
OLDEST_CHECKSUMMED = 5

_COMMON = frozenset(
    {
        types.STRING,
        types.LIST,
        types.SET,
        types.ZSET,
        types.HASH,
        types.HASH_ZIPMAP,
        types.LIST_ZIPLIST,
        types.SET_INTSET,
        types.ZSET_ZIPLIST,
        types.HASH_ZIPLIST,
    }
)
_SINCE = {
    7: {types.LIST_QUICKLIST},
    8: {types.ZSET_2, types.MODULE},
    9: {types.STREAM},
    10: {types.HASH_LISTPACK, types.ZSET_LISTPACK, types.LIST_QUICKLIST_2, types.STREAM_2},
    11: {types.SET_LISTPACK, types.STREAM_3},
    12: {types.HASH_TTL_RC, types.HASH_LISTPACK_TTL_RC, types.HASH_TTL, types.HASH_LISTPACK_TTL},
    13: {types.STREAM_4},
    14: {types.STREAM_5, types.ARRAY},
}
"""RDB version of Redis -> the types that came with it. Versions up to 11 are Valkey's too."""


@dataclass(frozen=True)
class Dialect:
    """One way of writing an RDB: `family` and `version` say all that matters, `name` is an engine that writes it."""

    name: str
    family: Family
    version: int

    @property
    def header(self) -> bytes:
        """The nine bytes that open a file."""
        return (
            f"VALKEY{self.version:03}".encode()
            if self.version >= VALKEY_VERSION
            else f"REDIS{self.version:04}".encode()
        )

    @property
    def loads(self) -> frozenset[int]:
        """The types that an engine of this dialect can load. Source: rdbLoadObject in each engine's src/rdb.c."""
        until = min(self.version, 11) if self.family is Family.VALKEY else self.version
        found = _COMMON.union(*(added for since, added in _SINCE.items() if since <= until))
        return found | {types.VALKEY_HASH_TTL} if self.has_valkey_numbers else found

    @property
    def has_valkey_numbers(self) -> bool:
        """Whether 22 and 243 are to be read as Valkey 9 means them."""
        return self.version >= VALKEY_VERSION

    @property
    def has_functions(self) -> bool:
        """Whether function libraries can be loaded (Redis 7.0 and later)."""
        return self.version >= 10

    @property
    def has_slot_info(self) -> bool:
        """Whether opcode 244 is known (Redis 7.4 and later); Valkey says the same in an AUX field."""
        return self.family is Family.REDIS and self.version >= 12

    @property
    def has_key_meta(self) -> bool:
        """Whether opcode 243 before a key means a module's notes on it (Redis 8.6 and later)."""
        return self.family is Family.REDIS and self.version >= 13

    @property
    def has_field_ttl(self) -> bool:
        """Whether fields of a hash can expire (Redis 7.4 and later, Valkey 9)."""
        return self.has_valkey_numbers or self.version >= 12

    def __str__(self) -> str:
        return self.name


_NAMED = {
    "redis": {
        "2.6": 6, "2.8": 6, "3.0": 6, "3.2": 7, "4.0": 8, "5.0": 9, "6.0": 9, "6.2": 9, "7.0": 10, "7.2": 11,
        "7.4": 12, "8.0": 12, "8.2": 12, "8.4": 12, "8.6": 13, "8.8": 14,
    },
    "valkey": {"7.2": 11, "8.0": 11, "8.1": 11, "9.0": 80, "9.1": 80},
}  # fmt: skip

DIALECTS: dict[str, Dialect] = {
    f"{family}-{release}": Dialect(f"{family}-{release}", Family(family), version)
    for family, releases in _NAMED.items()
    for release, version in releases.items()
}
"""Name ("valkey-8.1") -> dialect, for every engine release whose RDB is known."""

_WRITERS = {1: "redis-2.0", 2: "redis-2.4", 3: "redis-2.4", 4: "redis-2.4", 5: "redis-2.6", 6: "redis-3.0", 7: "redis-3.2",
            8: "redis-4.0", 9: "redis-6.2", 10: "redis-7.0", 11: "redis-7.2", 12: "redis-8.0", 13: "redis-8.6",
            14: "redis-8.8"}  # fmt: skip
"""Version under the REDIS magic -> an engine that writes it (Valkey up to 8.1 writes 11 too: the same bytes)."""


def dialect_named(name: str) -> Dialect:
    """The dialect of an engine release. Args: `name`, like "valkey-8.1". Raises: WrongUsage, naming the known ones."""
    found = DIALECTS.get(name)
    if found is None:
        raise WrongUsage(
            f"{name!r} is no engine release whose RDB is known", f"use one of {', '.join(DIALECTS)}"
        )
    return found


def dialect_of_engine(family: str, major: int, minor: int) -> Dialect:
    """The dialect that a running engine writes and loads, also for releases between the named ones.
    Raises: WrongUsage when `family` is neither "redis" nor "valkey", or the release is older than all that are known.
    """
    releases = _NAMED.get(family, {})
    known = {
        tuple(int(part) for part in release.split(".")): version for release, version in releases.items()
    }
    older = [release for release in known if release <= (major, minor)]
    if not older:
        raise WrongUsage(
            f"the RDB of {family} {major}.{minor} is not known", f"known are {', '.join(DIALECTS)}"
        )
    return Dialect(f"{family}-{major}.{minor}", Family(family), known[max(older)])


def dialect_of_header(header: bytes) -> Dialect:
    """The dialect of a file. Args: `header`, its first nine bytes. Raises: UnknownRdbVersion.

    Source: the magic's rules in rdbLoadRioWithLoadingCtx, Valkey 9.1: VALKEY only from 80, REDIS only below.
    """
    if header[:6] == b"VALKEY" and header[6:] == b"080":
        return Dialect("valkey-9.0", Family.VALKEY, VALKEY_VERSION)
    number = header[5:9]
    if header[:5] == b"REDIS" and len(number) == 4 and number.isdigit():
        version = int(number)
        if version in _WRITERS:
            return Dialect(_WRITERS[version], Family.REDIS, version)
    raise UnknownRdbVersion(bytes(header))
