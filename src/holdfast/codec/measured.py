"""What two servers said of keys before any value is asked for, and how each value is best asked for then. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from holdfast.codec.replies import Replies

NO_NUMBER = -(1 << 63)
"""Where a server did not answer with a number: no key, or an error."""
NO_KEY = -2
_NO_NUMBER = NO_NUMBER
_NO_KEY = NO_KEY
_FAR_MS = 1 << 60
"""One of two keys ends and the other does not."""


@dataclass(frozen=True)
class Bounds:
    """What decides how values are asked for."""

    group_bytes: int
    """Of values that are asked for at once from one server."""
    text_bytes: int
    """Strings from this size on are read as they are."""
    big_bytes: int
    """Values beyond this are never asked for whole."""
    near_ms: int
    """How far apart two ends may be that count as one."""


class Group(NamedTuple):
    """Places of keys whose values together take no more than a group may."""

    small: list[int]
    """Both servers have the key, it ends at the same time, and its DUMP tells the rest."""
    large: list[int]
    """The same, but if it is a string it is better read as it is."""
    rest: list[int]
    """Something is missing, differs, or is too big: to be looked at one by one."""


class Measured:
    """When each key ends on one server, and what its value takes there.

    Args: `ends`, Unix times in ms, what is left of them with the time of asking as its base; `sizes`, in bytes as the engine
        reckons, or None and then each counts `unknown_bytes`; `margin_ms`, how far the times may be off.
    """

    def __init__(self, ends: Replies, sizes: Replies | None, margin_ms: int, unknown_bytes: int) -> None:
        self.ends = ends
        self.sizes = sizes
        self.margin_ms = margin_ms
        self.unknown_bytes = unknown_bytes

    def end_ms(self, place: int) -> int:
        """Unix time at which the key ends; -1 when it does not, NO_KEY, or NO_NUMBER."""
        return self.ends.number(place)

    def size(self, place: int) -> int:
        """Bytes that the value takes, or NO_NUMBER."""
        return self.unknown_bytes if self.sizes is None else self.sizes.number(place)


def in_groups(one: Measured, other: Measured, bounds: Bounds) -> list[Group]:
    """Every place once, in groups."""
    big, text, room_of_all = bounds.big_bytes, bounds.text_bytes, bounds.group_bytes
    near_ms = bounds.near_ms
    groups: list[Group] = []
    small: list[int] = []
    large: list[int] = []
    rest: list[int] = []
    room = room_of_all
    for place in range(one.ends.count):
        size, twin_size = one.size(place), other.size(place)
        weight = size if 0 < size <= big else 0
        if weight < twin_size <= big:
            weight = twin_size
        if weight > room:
            groups.append(Group(small, large, rest))
            small, large, rest = [], [], []
            room = room_of_all
        room -= weight
        end, twin_end = one.end_ms(place), other.end_ms(place)
        apart = 0
        if end != twin_end:
            apart = _FAR_MS
            if end >= 0 and twin_end >= 0:
                apart = end - twin_end if end > twin_end else twin_end - end
        if (
            size == _NO_NUMBER
            or twin_size == _NO_NUMBER
            or size > big
            or twin_size > big
            or end <= _NO_KEY
            or twin_end <= _NO_KEY
            or apart > near_ms
        ):
            rest.append(place)
        elif size >= text and twin_size >= text:
            large.append(place)
        else:
            small.append(place)
    groups.append(Group(small, large, rest))
    return groups


def is_compiled() -> bool:
    """Whether the compiled twin of this module is in charge."""
    return not __file__.endswith(".py")
