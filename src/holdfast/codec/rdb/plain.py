"""Keys and values as JSON types: text where bytes are UTF-8, Base64 where they are not."""

from __future__ import annotations

import base64
import math
from typing import Any

from holdfast.codec.rdb.events import Key
from holdfast.codec.rdb.streams import Stream
from holdfast.codec.rdb.types import KIND_OF
from holdfast.codec.rdb.values import Array, Hash, List, Module, Set, SortedSet, String, Value


def plain_bytes(data: bytes) -> Any:
    """Text, or `{"base64": ...}`."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def plain_key(key: Key, value: Value | None) -> dict[str, Any]:
    """One key. Args: `value`, decoded; None when it was too long for that: `value` is then null."""
    facts: dict[str, Any] = {"db": key.db, "key": plain_bytes(key.key), "type": KIND_OF[key.type]}
    if key.expire_ms is not None:
        facts["expire_at_ms"] = key.expire_ms
    if key.idle_s is not None:
        facts["idle_s"] = key.idle_s
    if key.freq is not None:
        facts["freq"] = key.freq
    facts["value"] = None if value is None else plain_value(value)
    if isinstance(value, Hash) and any(ms is not None for _, _, ms in value.fields):
        facts["field_expire_at_ms"] = [
            [plain_bytes(name), ms] for name, _, ms in value.fields if ms is not None
        ]
    return facts


def plain_value(value: Value) -> Any:
    """The value alone: a string, a list, or for a hash and a sorted set a list of pairs, since names may be bytes."""
    if isinstance(value, String):
        return plain_bytes(value.data)
    if isinstance(value, List):
        return [plain_bytes(item) for item in value.items]
    if isinstance(value, Set):
        return [plain_bytes(member) for member in value.members]
    if isinstance(value, SortedSet):
        return [[plain_bytes(member), _plain_number(score)] for member, score in value.members]
    if isinstance(value, Hash):
        return [[plain_bytes(name), plain_bytes(data)] for name, data, _ in value.fields]
    if isinstance(value, Stream):
        return _plain_stream(value)
    if isinstance(value, Array):
        return [[index, _plain_part(item)] for index, item in value.items]
    assert isinstance(value, Module)
    return {
        "module": value.name,
        "version": value.version,
        "parts": [_plain_part(part) for part in value.parts],
    }


def _plain_part(part: bytes | int | float) -> Any:
    return plain_bytes(part) if isinstance(part, bytes) else _plain_number(part)


def _plain_number(number: float) -> Any:
    """JSON has no infinity and no NaN: they become text, as an engine writes them."""
    return (
        number if math.isfinite(number) else "nan" if math.isnan(number) else "inf" if number > 0 else "-inf"
    )


def _id(number: tuple[int, int] | None) -> str | None:
    return None if number is None else f"{number[0]}-{number[1]}"


def _plain_stream(stream: Stream) -> dict[str, Any]:
    return {
        "length": stream.length,
        "last_id": _id(stream.last_id),
        "first_id": _id(stream.first_id),
        "max_deleted_id": _id(stream.max_deleted_id),
        "entries_added": stream.entries_added,
        "entries": [
            [_id(entry.id), [[plain_bytes(name), plain_bytes(data)] for name, data in entry.fields]]
            for entry in stream.entries
        ],
        "groups": [
            {
                "name": plain_bytes(group.name),
                "last_id": _id(group.last_id),
                "entries_read": group.entries_read,
                "consumers": [
                    {"name": plain_bytes(each.name), "seen_ms": each.seen_ms, "active_ms": each.active_ms}
                    for each in group.consumers
                ],
                "pending": [
                    {
                        "id": _id(each.id),
                        "consumer": None if each.consumer is None else plain_bytes(each.consumer),
                        "delivered_ms": each.delivered_ms,
                        "deliveries": each.deliveries,
                    }
                    for each in group.pending
                ],
            }
            for group in stream.groups
        ],
        "producers": [
            {
                "name": plain_bytes(each.name),
                "added": [[plain_bytes(own), _id(number)] for own, number in each.added],
            }
            for each in stream.producers
        ],
    }
