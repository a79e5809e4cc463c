"""Compares two DUMPs whose bytes differ by what they hold. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from holdfast.codec.rdb.containers import CorruptContainer
from holdfast.codec.rdb.dump import read_dump
from holdfast.codec.rdb.errors import RdbError
from holdfast.codec.rdb.streams import Group, Stream
from holdfast.codec.rdb.values import Hash, List, Set, SortedSet, String, Value, decode
from holdfast.compare.judge import Difference, Kind, Tolerance
from holdfast.errors import WrongUsage


@dataclass(frozen=True)
class Decided:
    """What decoding told."""

    known: bool
    """False where one of them cannot be decoded: only the engines' own commands can tell then."""
    difference: Difference | None = None


UNKNOWN = Decided(known=False)
SAME = Decided(known=True)


def decoded_difference(first: bytes, second: bytes, tolerance: Tolerance) -> Decided:
    """Whether two values in DUMP form hold the same, whatever form and dialect each is in."""
    try:
        one, other = _decoded(first), _decoded(second)
    except (RdbError, CorruptContainer, WrongUsage):
        return UNKNOWN
    if type(one) is not type(other):
        names = (type(each).__name__.lower() for each in (one, other))
        return Decided(known=True, difference=Difference(Kind.TYPE, f"it is a {' and a '.join(names)}"))
    return _decided(one, other, tolerance)


def _decoded(payload: bytes) -> Value:
    held = read_dump(payload)
    return decode(held.type, held.body, held.dialect)


def _decided(one: Value, other: Value, tolerance: Tolerance) -> Decided:
    if isinstance(one, String) and isinstance(other, String):
        return _apart(Kind.VALUE, "its bytes differ", one.data == other.data)
    if isinstance(one, List) and isinstance(other, List):
        return _apart(Kind.VALUE, "its elements differ", one.items == other.items)
    if isinstance(one, Set) and isinstance(other, Set):
        return _apart(Kind.VALUE, "its members differ", set(one.members) == set(other.members))
    if isinstance(one, SortedSet) and isinstance(other, SortedSet):
        return _apart(
            Kind.VALUE, "its members or their scores differ", dict(one.members) == dict(other.members)
        )
    if isinstance(one, Hash) and isinstance(other, Hash):
        return _hashes(one, other, tolerance)
    if isinstance(one, Stream) and isinstance(other, Stream):
        return _streams(one, other, tolerance)
    return UNKNOWN  # a module's, or an array: equal values may have unequal parts


def _apart(kind: Kind, detail: str, same: bool) -> Decided:
    return SAME if same else Decided(known=True, difference=Difference(kind, detail))


def _hashes(one: Hash, other: Hash, tolerance: Tolerance) -> Decided:
    left = {name: (data, ends) for name, data, ends in one.fields}
    right = {name: (data, ends) for name, data, ends in other.fields}
    if left.keys() != right.keys() or any(data != right[name][0] for name, (data, _) in left.items()):
        return _apart(Kind.VALUE, "its fields or their values differ", same=False)
    if tolerance.any_field_ttl:
        return SAME
    apart = sum(not _near(ends, right[name][1], tolerance.ttl_ms) for name, (_, ends) in left.items())
    return _apart(Kind.FIELD_TTL, f"{apart} of its fields expire at another time or never", not apart)


def _near(one: int | None, other: int | None, tolerance_ms: int) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) <= tolerance_ms


def _streams(one: Stream, other: Stream, tolerance: Tolerance) -> Decided:
    if one.entries != other.entries or one.last_id != other.last_id:
        return _apart(Kind.VALUE, "its entries or its last id differ", same=False)
    for name in ("max_deleted_id", "entries_added"):
        left, right = getattr(one, name), getattr(other, name)
        if left is not None and right is not None and left != right:
            return _apart(Kind.VALUE, f"its {name.replace('_', '-')} differs", same=False)
    groups = {group.name: group for group in one.groups}
    others = {group.name: group for group in other.groups}
    if groups.keys() != others.keys():
        return _apart(Kind.GROUPS, "it has other consumer groups", same=False)
    for group in one.groups:
        if detail := _group_difference(group, others[group.name], tolerance):
            return _apart(Kind.GROUPS, detail, same=False)
    return SAME


def _group_difference(one: Group, other: Group, tolerance: Tolerance) -> str:
    """What differs between two groups of one name. When consumers were last seen is not compared: no stream of commands says it."""
    if one.last_id != other.last_id:
        return "last-delivered-id of a consumer group differs"
    if None not in (one.entries_read, other.entries_read) and one.entries_read != other.entries_read:
        return "entries-read of a consumer group differs"
    if {each.name for each in one.consumers} != {each.name for each in other.consumers}:
        return "a consumer group has other consumers"
    left = {each.id: each for each in one.pending}
    right = {each.id: each for each in other.pending}
    owed = Counter((each.id, each.consumer, each.deliveries) for each in one.pending)
    if owed != Counter((each.id, each.consumer, each.deliveries) for each in other.pending):
        return "pending entries of a consumer group differ"
    if any(
        abs(each.delivered_ms - right[name].delivered_ms) > tolerance.delivery_ms
        for name, each in left.items()
    ):
        return "pending entries of a consumer group were delivered at another time"
    return ""
