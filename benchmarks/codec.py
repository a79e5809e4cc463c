"""How fast the RDB codec walks, translates and checksums, by small and by large values; and beside it each of its parts.

Targets: 300 MB/s on large values and 3 million small keys a second, both walked (summary, events) and rewritten (walked,
translated, checksummed on both sides). CPU time of one process, the best of several runs, from memory to memory.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.machine import this_machine
from benchmarks.results import Section, table
from holdfast.codec import crc
from holdfast.codec.rdb import types
from holdfast.codec.rdb.dialect import DIALECTS
from holdfast.codec.rdb.listpack import write_listpack
from holdfast.codec.rdb.parser import Parser
from holdfast.codec.rdb.rewrite import Rewriter, Target
from holdfast.codec.rdb.summary import summarize
from holdfast.codec.rdb.writer import Writer, write_length, write_string
from holdfast.engine.build import EngineBuild

NAME = "codec"
PIECE_BYTES = 1 << 20
KEYS, QUICK_KEYS = 1_000_000, 50_000
LARGE_KEYS, QUICK_LARGE_KEYS = 60_000, 4_000
RUNS = 5
TARGET_KEYS_S = 3_000_000.0
TARGET_MB_S = 300.0
EXPIRE_MS = 1_924_992_000_000
_SEED = 20261121


@dataclass(frozen=True)
class Row:
    """One way through one data set."""

    what: str
    data: str
    mb_s: float
    keys_s: float


def small_keys(count: int, *, field_ttls: bool) -> bytes:
    """Mixed small keys as Redis 8.0 writes them, about 73 bytes each: half of them strings, one in five expiring, one hash in
    forty keys with field TTLs.
    """
    draw = random.Random(_SEED)
    writer = Writer(DIALECTS["redis-8.0"])
    writer.aux(b"redis-ver", b"8.0.6")
    writer.select(0, count, count // 5)
    parts = []
    for number in range(count):
        name = b"bench:%012d" % number
        kind, body = _small_value(number, draw, field_ttls)
        writer.key(name, kind, body, EXPIRE_MS + number if number % 5 == 0 else None)
        if number % 50_000 == 0:
            parts.append(writer.take())
    writer.end()
    return b"".join((*parts, writer.take()))


def _small_value(number: int, draw: random.Random, field_ttls: bool) -> tuple[int, bytes]:
    kind = number % 10
    if kind < 5:
        return types.STRING, write_string(draw.randbytes(48))
    if kind == 5:
        entries = [b"name", b"user%d" % number, b"plan", b"5g-premium", b"region", b"south"]
        return types.HASH_LISTPACK, write_string(write_listpack(entries))
    if kind == 6:
        return types.SET_LISTPACK, write_string(write_listpack([b"tag%d" % at for at in range(6)]))
    if kind == 7:
        return types.ZSET_LISTPACK, write_string(write_listpack([b"a", b"1", b"b", b"2.5", b"c", b"3"]))
    if kind == 8:
        node = write_string(write_listpack([b"item:%d" % at for at in range(5)]))
        return types.LIST_QUICKLIST_2, write_length(1) + write_length(2) + node
    if field_ttls and number % 40 == 9:
        return types.HASH_LISTPACK_TTL, _hash_with_ttl(draw)
    pairs = b"".join(write_string(b"f%d" % at) + write_string(b"v%d" % number) for at in range(3))
    return types.HASH, write_length(3) + pairs


def _hash_with_ttl(draw: random.Random) -> bytes:
    entries = [b"token", draw.randbytes(16).hex().encode(), b"%d" % EXPIRE_MS, b"name", b"v", b"0"]
    return EXPIRE_MS.to_bytes(8, "little") + write_string(write_listpack(entries))


def hashes(count: int) -> bytes:
    """Small hashes of which each has a field with a TTL, so that every value is rewritten."""
    draw = random.Random(_SEED)
    writer = Writer(DIALECTS["redis-8.0"])
    writer.select(0, count)
    parts = []
    for number in range(count):
        writer.key(b"bench:%012d" % number, types.HASH_LISTPACK_TTL, _hash_with_ttl(draw))
        if number % 50_000 == 0:
            parts.append(writer.take())
    writer.end()
    return b"".join((*parts, writer.take()))


def large_values(count: int) -> bytes:
    """Strings of 1 to 4 KB that do not compress."""
    draw = random.Random(_SEED)
    writer = Writer(DIALECTS["redis-8.0"])
    writer.select(0, count)
    parts = []
    for number in range(count):
        writer.key(b"large:%d" % number, types.STRING, write_string(draw.randbytes(draw.randint(1000, 4000))))
        if number % 2000 == 0:
            parts.append(writer.take())
    writer.end()
    return b"".join((*parts, writer.take()))


def run(at_hand: Mapping[str, EngineBuild], wanted: Sequence[str], *, quick: bool) -> Section:
    """Measure all; needs no engine."""
    machine = this_machine()
    count, large = (QUICK_KEYS, QUICK_LARGE_KEYS) if quick else (KEYS, LARGE_KEYS)
    sets = {
        "small keys": (small_keys(count, field_ttls=False), count),
        "small keys, field TTLs on 1 in 40": (small_keys(count, field_ttls=True), count),
        "hashes with field TTLs only": (hashes(count // 4), count // 4),
        "1 to 4 KB": (large_values(large), large),
    }
    rows = []
    for name, (data, keys) in sets.items():
        for what, work in _ways().items():
            spent_s = min(_cpu_s(work, data) for _ in range(2 if quick else RUNS))
            rows.append(Row(what, name, len(data) / spent_s / 1e6, keys / spent_s))
    shown = [(row.data, row.what, f"{row.mb_s:.0f}", f"{row.keys_s / 1e6:.2f}") for row in rows]
    heads = ("Data", "What", "MB/s", "M keys/s")
    built = "compiled" if crc.is_compiled() else "as written (no compiler was at hand)"
    text = "\n\n".join(
        (
            f"{machine}; the codec is {built}; CPU time of one process, best of {2 if quick else RUNS} runs.",
            table(heads, shown),
            *(_judged(rows, what) for what in ("rewrite", "summary", "events")),
            "Hashes with field TTLs only are the worst case, in which every value is rewritten; they have no target.",
        )
    )
    return Section(NAME, "RDB codec", text)


def _ways() -> dict[str, Callable[[bytes], None]]:
    return {
        "rewrite for valkey-8.1": lambda data: _rewrite(data, "valkey-8.1"),
        "rewrite for valkey-9.1": lambda data: _rewrite(data, "valkey-9.1"),
        "events, one object a key": _events,
        "summary": lambda data: _ignored(summarize(_pieces(data), len(data))),
        "CRC-64 alone": lambda data: _ignored(crc.crc64(data)),
    }


def _judged(rows: Sequence[Row], what: str) -> str:
    of = [row for row in rows if row.what.startswith(what)]
    small = min(row.keys_s for row in of if row.data.startswith("small"))
    big = min(row.mb_s for row in of if row.data.startswith("1 to"))
    return (
        f"{what.capitalize()}, {TARGET_KEYS_S / 1e6:g} M small keys/s: {small / 1e6:.2f} M, "
        f"{_met(small, TARGET_KEYS_S)}. {TARGET_MB_S:g} MB/s of large values: {big:.0f}, {_met(big, TARGET_MB_S)}."
    )


def _met(value: float, target: float) -> str:
    return "met" if value >= target else f"missed, {value / target:.2f} of it"


def _ignored(result: object) -> None:
    """What is measured is how it came about."""


def _pieces(data: bytes) -> Iterator[bytes]:
    for at in range(0, len(data), PIECE_BYTES):
        yield data[at : at + PIECE_BYTES]


def _rewrite(data: bytes, target: str) -> None:
    rewriter = Rewriter(Target(DIALECTS[target]))
    for piece in _pieces(data):
        rewriter.feed(piece)
    rewriter.finish()


def _events(data: bytes) -> None:
    parser = Parser()
    for piece in _pieces(data):
        parser.feed(piece)
        for _ in parser:
            pass
    parser.finish()


def _cpu_s(work: Callable[[bytes], None], data: bytes) -> float:
    began = time.process_time()
    work(data)
    return time.process_time() - began
