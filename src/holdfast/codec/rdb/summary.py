"""What an RDB holds, counted as it is walked: keys by type and database, those that expire, the biggest."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from holdfast.codec.rdb import stops, types
from holdfast.codec.rdb.cursor import Cursor
from holdfast.codec.rdb.dialect import Dialect
from holdfast.codec.rdb.errors import TruncatedRdb
from holdfast.codec.rdb.modules import module_name
from holdfast.codec.rdb.scan import Scanner

_WRITER_FIELDS = {b"redis-ver": "redis", b"valkey-ver": "valkey"}
_FIELD_TTL_TYPES = frozenset({*range(types.HASH_TTL_RC, types.HASH_LISTPACK_TTL + 1)})
_KEY = stops.KEY
_VALUE_END = stops.VALUE_END
_NEED = stops.NEED
_MODULE = types.MODULE


@dataclass(frozen=True, slots=True, order=True)
class BigKey:
    """A key by the bytes that its value takes in the RDB (compressed, where it is)."""

    value_bytes: int
    db: int
    key: bytes
    kind: str


@dataclass
class Summary:
    """Everything `holdfast rdb FILE` tells."""

    dialect: Dialect | None = None
    engine: str = ""
    """Who wrote it, like "redis 8.0.6"; empty where it does not say."""
    notes: dict[str, str] = field(default_factory=dict)
    """Its AUX fields."""
    keys: Counter[tuple[int, str]] = field(default_factory=Counter)
    """(database, kind) -> keys."""
    value_bytes: Counter[tuple[int, str]] = field(default_factory=Counter)
    """(database, kind) -> bytes of their values in the RDB."""
    expiring: Counter[int] = field(default_factory=Counter)
    """Database -> keys with an expiry."""
    hashes_with_field_ttls: int = 0
    """By their stored form: one that had field TTLs once may be counted too."""
    modules: Counter[str] = field(default_factory=Counter)
    """Name of a module type -> its keys."""
    module_data: list[str] = field(default_factory=list)
    """Names of module types that have data of their own in the RDB."""
    functions: int = 0
    biggest: list[BigKey] = field(default_factory=list)
    """The biggest first."""
    total_bytes: int = 0
    has_checksum: bool = False

    @property
    def total_keys(self) -> int:
        return sum(self.keys.values())

    @property
    def total_expiring(self) -> int:
        return sum(self.expiring.values())


class Tally:
    """The keys of the database at hand, counted by type."""

    def __init__(self) -> None:
        self.db = 0
        self.keys = [0] * 256
        self.value_bytes = [0] * 256
        self.expiring = 0

    def settle(self, summary: Summary, db: int) -> None:
        """Add what was counted to `summary`, and begin anew with the keys of `db`."""
        for number, kind in types.KIND_OF.items():
            if self.keys[number]:
                summary.keys[self.db, kind] += self.keys[number]
                summary.value_bytes[self.db, kind] += self.value_bytes[number]
                if number in _FIELD_TTL_TYPES:
                    summary.hashes_with_field_ttls += self.keys[number]
            self.keys[number] = 0
            self.value_bytes[number] = 0
        if self.expiring:
            summary.expiring[self.db] += self.expiring
        self.expiring = 0
        self.db = db


def summarize(pieces: Iterable[bytes], total: int = -1, biggest: int = 10) -> Summary:
    """Walk an RDB to its end. Args: `total`, its bytes where they are known; `biggest`, how many keys to name.

    Raises: the errors of `Scanner.step`; TruncatedRdb when `pieces` end before the RDB does.
    """
    scan = Scanner(total)
    summary = Summary()
    tally = Tally()
    heap: list[BigKey] = []
    is_key = False
    unnamed = 0
    least = -1 if biggest > 0 else 1 << 62
    for piece in pieces:
        scan.feed(piece)
        if unnamed:
            unnamed = _name_module(summary, scan, unnamed)
        while (stop := scan.step()) != _NEED:
            if stop == _KEY:
                is_key = True
                tally.keys[scan.type] += 1
                if scan.expire_ms != -1:
                    tally.expiring += 1
                if scan.type == _MODULE:
                    unnamed = _name_module(summary, scan, stop)
            elif stop == _VALUE_END:
                if not is_key:
                    continue
                size = scan.base + scan.at - scan.value_offset
                tally.value_bytes[scan.type] += size
                if size > least:
                    kind = types.KIND_OF[scan.type]
                    least = _keep_big(heap, biggest, BigKey(size, scan.db, scan.key_name() or b"", kind))
            elif stop == stops.END:
                break
            else:
                is_key = False
                if stop == stops.SELECT:
                    tally.settle(summary, scan.db)
                elif stop == stops.MODULE_AUX:
                    unnamed = _name_module(summary, scan, stop)
                else:
                    _count_other(summary, scan, stop)
        if stop == stops.END:
            break
    scan.finish()
    tally.settle(summary, 0)
    summary.dialect = scan.dialect
    summary.biggest = sorted(heap, reverse=True)
    summary.total_bytes = scan.base + scan.at
    summary.has_checksum = scan.stored_crc != 0
    return summary


def _keep_big(heap: list[BigKey], most: int, one: BigKey) -> int:
    """Keep `one` among the `most` biggest; returns the size that a further key must exceed."""
    if len(heap) < most:
        heapq.heappush(heap, one)
    else:
        heapq.heapreplace(heap, one)
    return heap[0].value_bytes if len(heap) == most else -1


def _name_module(summary: Summary, scan: Scanner, stop: int) -> int:
    """Count a module's key or data by the module's name, which begins the value: 0, or `stop` when it has not come."""
    try:
        name = module_name(Cursor(scan.buf, scan.at, scan.end).length())
    except TruncatedRdb:
        return stop
    if stop == _KEY:
        summary.modules[name] += 1
    else:
        summary.module_data.append(name)
    return 0


def _count_other(summary: Summary, scan: Scanner, stop: int) -> None:
    if stop == stops.AUX:
        cursor = Cursor(scan.buf, scan.body_at, scan.end)
        name, value = cursor.string(), cursor.string().decode(errors="backslashreplace")
        summary.notes[name.decode(errors="backslashreplace")] = value
        if name in _WRITER_FIELDS:
            summary.engine = f"{_WRITER_FIELDS[name]} {value}"
    elif stop == stops.FUNCTION:
        summary.functions += 1
