"""Which nodes go when there are too many, and in which order they can go. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

from holdfast.topology.record import number_of


class Replica(Protocol):
    """What must be known of a replica to say whether it is the one to go."""

    @property
    def name(self) -> str: ...

    @property
    def zone(self) -> str: ...

    @property
    def lag_bytes(self) -> int: ...


R = TypeVar("R", bound=Replica)


def surplus(replicas: Sequence[R], count: int, primary_zone: str, half_gone: Collection[str] = ()) -> list[R]:
    """The replicas over `count`: those whose removal was begun go first, then those in a zone that another node of
    the shard is in, then the most lagging.
    """
    used = {primary_zone}
    twice: dict[str, bool] = {}
    freshest_first = sorted(replicas, key=lambda each: (each.lag_bytes, number_of(each.name)))
    for node in freshest_first:
        twice[node.name] = node.zone in used
        used.add(node.zone)
    laggards_first = freshest_first[::-1]
    worst_first = sorted(laggards_first, key=lambda each: (each.name not in half_gone, not twice[each.name]))
    return worst_first[: max(0, len(replicas) - count)]


def followers_first(leaving: Iterable[str], follows: Mapping[str, str]) -> list[str]:
    """The names in an order in which none goes while one of the others still follows it.

    Args: `follows`, replica -> the node it follows.
    """
    left = list(leaving)
    ordered: list[str] = []
    while left:
        followed = {follows.get(name, "") for name in left}
        first = next((name for name in left if name not in followed), left[0])
        left.remove(first)
        ordered.append(first)
    return ordered
