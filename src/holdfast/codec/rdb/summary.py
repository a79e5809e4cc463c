"""What an RDB holds, counted as it is walked: keys by type and database, those that expire, the biggest."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from holdfast.codec.rdb import stops, types
from holdfast.codec.rdb.cursor import Cursor
from holdfast.codec.rdb.dialect import Dialect
from holdfast.codec.rdb.modules import module_name
from holdfast.codec.rdb.scan import Scanner

_WRITER_FIELDS = {b"redis-ver": "redis", b"valkey-ver": "valkey"}
_FIELD_TTL_TYPES = frozenset({*range(types.HASH_TTL_RC, types.HASH_LISTPACK_TTL + 1)})
_ID_BYTES = 9
_KEY = stops.KEY
_VALUE_END = stops.VALUE_END
_NEED = stops.NEED


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


def summarize(pieces: Iterable[bytes], total: int = -1, biggest: int = 10) -> Summary:
    """Walk an RDB to its end. Args: `total`, its bytes where they are known; `biggest`, how many keys to name.

    Raises: the errors of `Scanner.step`; TruncatedRdb when `pieces` end before the RDB does.
    """
    scan = Scanner(total)
    summary = Summary()
    heap: list[BigKey] = []
    key = b""
    kind = ""
    place = (0, "")
    least = -1
    for piece in pieces:
        scan.feed(piece)
        while (stop := scan.step()) != _NEED:
            if stop == _KEY:
                key = scan.key_name() or b""
                kind = types.KIND_OF[scan.type]
                place = (scan.db, kind)
                _count_key(summary, scan, place)
            elif stop == _VALUE_END:
                if not kind:
                    continue
                size = scan.base + scan.at - scan.value_offset
                summary.value_bytes[place] += size
                if size <= least:
                    continue
                if len(heap) < biggest:
                    heapq.heappush(heap, BigKey(size, scan.db, key, kind))
                elif heap:
                    heapq.heapreplace(heap, BigKey(size, scan.db, key, kind))
                    least = heap[0].value_bytes
            elif stop == stops.END:
                break
            else:
                kind = ""
                _count_other(summary, scan, stop)
        if stop == stops.END:
            break
    scan.finish()
    summary.dialect = scan.dialect
    summary.biggest = sorted(heap, reverse=True)
    summary.total_bytes = scan.base + scan.at
    summary.has_checksum = scan.stored_crc != 0
    return summary


def _count_key(summary: Summary, scan: Scanner, place: tuple[int, str]) -> None:
    summary.keys[place] += 1
    if scan.expire_ms != -1:
        summary.expiring[scan.db] += 1
    if scan.type in _FIELD_TTL_TYPES:
        summary.hashes_with_field_ttls += 1
    if scan.type == types.MODULE and scan.end - scan.value_at >= _ID_BYTES:
        summary.modules[module_name(Cursor(scan.buf, scan.value_at).length())] += 1


def _count_other(summary: Summary, scan: Scanner, stop: int) -> None:
    if stop == stops.AUX:
        cursor = Cursor(scan.buf, scan.body_at, scan.end)
        name, value = cursor.string(), cursor.string().decode(errors="backslashreplace")
        summary.notes[name.decode(errors="backslashreplace")] = value
        if name in _WRITER_FIELDS:
            summary.engine = f"{_WRITER_FIELDS[name]} {value}"
    elif stop == stops.FUNCTION:
        summary.functions += 1
    elif stop == stops.MODULE_AUX and scan.end - scan.value_at >= _ID_BYTES:
        summary.module_data.append(module_name(Cursor(scan.buf, scan.value_at).length()))
