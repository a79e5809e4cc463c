"""The keys and values of the reshard measurement: every value can be made again from its key and version. Pure.

Sizes are mixed from 100 B to 10 kB, most of them small, as caches have them. The bytes do not compress, for engines
compress what they move. A value names its key and version, so a lost, stale or mixed-up one shows.
"""

from __future__ import annotations

import random
from zlib import crc32

SIZES = (100,) * 14 + (1_000,) * 5 + (10_000,)
"""In twentieths: 70 % of 100 B, 25 % of 1 kB, 5 % of 10 kB."""
MEAN_BYTES = sum(SIZES) / len(SIZES)
_BLOCK = random.Random(7).randbytes(1 << 16)
_LAST_START = len(_BLOCK) - max(SIZES)
PATTERN = "bench:{id}"


def keys_for(data_bytes: int) -> int:
    """How many keys make that many bytes of values."""
    return round(data_bytes / MEAN_BYTES)


def loaded_key(number: int) -> bytes:
    """A key that is there before clients start."""
    return b"bench:%d" % number


def client_key(client: int, number: int) -> bytes:
    """A key that a client makes; never made twice."""
    return b"bench:c%d.%d" % (client, number)


def size_bytes(key: bytes) -> int:
    """Length of every value of that key."""
    return SIZES[crc32(key) % len(SIZES)]


def value(key: bytes, version: int) -> bytes:
    """The value of that key at that version."""
    head = b"%s#%d|" % (key, version)
    start = crc32(head) % _LAST_START
    return head + _BLOCK[start : start + size_bytes(key) - len(head)]
