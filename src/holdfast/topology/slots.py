"""Slots as numbers and ranges: how they are written, shared out evenly, and moved with the fewest moves. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from holdfast.codec.crc import SLOTS

Slots = frozenset[int]
ALL_SLOTS: Slots = frozenset(range(SLOTS))


@dataclass(frozen=True, order=True)
class SlotRange:
    """Slots `first` to `last`, both included."""

    first: int
    last: int

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"

    def __len__(self) -> int:
        return self.last - self.first + 1


def ranges(slots: Iterable[int]) -> tuple[SlotRange, ...]:
    """The slots as the fewest ranges, ascending."""
    ascending = sorted(slots)
    ends = [at for at in range(1, len(ascending)) if ascending[at] != ascending[at - 1] + 1]
    return tuple(
        SlotRange(ascending[first], ascending[after - 1])
        for first, after in zip([0, *ends], [*ends, len(ascending)], strict=True)
        if first < after
    )


def parse_range(text: str) -> SlotRange:
    """`"0-5460"` or `"7"` as CLUSTER NODES writes it."""
    first, dash, last = text.partition("-")
    return SlotRange(int(first), int(last) if dash else int(first))


def expand(found: Iterable[SlotRange]) -> Slots:
    """All the slots of the ranges."""
    return frozenset(slot for span in found for slot in range(span.first, span.last + 1))


def share(index: int, shards: int) -> Slots:
    """The slots that shard `index` of `shards` gets when a cluster is made: even, contiguous, all covered."""
    return frozenset(range(index * SLOTS // shards, (index + 1) * SLOTS // shards))


@dataclass(frozen=True)
class Move:
    """Slots that go from one primary to another."""

    source: str
    target: str
    slots: Slots


def balancing_moves(owned: Mapping[str, Slots], keep: Sequence[str]) -> tuple[Move, ...]:
    """The fewest moves after which the primaries `keep` share all owned slots evenly (sizes differ by 1 at most)
    and every other primary owns none.

    Deterministic; a plan made anew after some of the moves is the rest of the same plan or an equally short one.
    """
    total = sum(len(slots) for slots in owned.values())
    floor, extra = divmod(total, len(keep))
    # The larger shares go to those that hold most already, so that a balanced cluster needs no move.
    by_size = sorted(keep, key=lambda name: (-len(owned.get(name, frozenset())), name))
    wanted = {name: floor + (1 if place < extra else 0) for place, name in enumerate(by_size)}
    surplus: list[tuple[str, list[int]]] = []
    for name in sorted(owned, key=lambda name: (name in wanted, name)):
        over = len(owned[name]) - wanted.get(name, 0)
        if over > 0:
            surplus.append((name, sorted(owned[name])[-over:]))
    moves: list[Move] = []
    for name in sorted(keep):
        lacking = wanted[name] - len(owned.get(name, frozenset()))
        while lacking > 0:
            source, slots = surplus[0]
            taken, rest = slots[:lacking], slots[lacking:]
            moves.append(Move(source, name, frozenset(taken)))
            lacking -= len(taken)
            if rest:
                surplus[0] = (source, rest)
            else:
                surplus.pop(0)
    return tuple(moves)
