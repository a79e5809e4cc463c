"""Where new nodes go: zones and hosts, so that no zone holds a shard's primary and its replica. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class HostPlace:
    """A machine that nodes can be put on."""

    name: str
    zones: tuple[str, ...]
    """Zones it stands for: one on real hosts; all of them for place: local, where zones are labels."""


class Spread:
    """Counts nodes per zone and host and picks the next place; deterministic."""

    def __init__(self, zones: Sequence[str], hosts: Sequence[HostPlace]) -> None:
        self._zones = tuple(zones)
        self._hosts = tuple(hosts)
        self._in_zone: Counter[str] = Counter()
        self._on_host: Counter[str] = Counter()

    def count(self, zone: str, host: str) -> None:
        """A node stands there."""
        self._in_zone[zone] += 1
        self._on_host[host] += 1

    def pick(self, avoid: Iterable[str] = (), prefer: str = "", apart: str = "") -> tuple[str, str]:
        """Zone and host of a new node, which is counted.

        Args: `avoid`, zones that hold nodes of the same shard, used only when there is no other; `prefer`, a zone
            to take if it is not avoided; `apart`, the zone of the shard's primary, used only when it is the only one.
        """
        shunned = Counter(avoid)
        served = [zone for zone in self._zones if any(zone in host.zones for host in self._hosts)]
        zone = min(
            served,
            key=lambda each: (
                each == apart,
                shunned[each],
                each != prefer,
                self._in_zone[each],
                self._zones.index(each),
            ),
        )
        host = min(
            (host for host in self._hosts if zone in host.zones),
            key=lambda each: (self._on_host[each.name], each.name),
        )
        self.count(zone, host.name)
        return zone, host.name


def first_zone(zones: Sequence[str], shard: int, place: int) -> str:
    """Zone of a new cluster's node: primaries (place 0) go round the zones, replicas one zone further each, and
    never into their primary's while there is another.
    """
    further = 0 if place == 0 or len(zones) == 1 else 1 + (place - 1) % (len(zones) - 1)
    return zones[(shard + further) % len(zones)]


def zone_labels(
    current: Mapping[str, str], shards: Sequence[Sequence[str]], allowed: Mapping[str, Sequence[str]]
) -> dict[str, str]:
    """Labels to change so that no replica is in its primary's zone and no shard has a zone twice while there are
    enough.

    Args: `current`, node -> zone; `shards`, each the names of its nodes, primary first; `allowed`, node -> the
        zones it may be said to be in; a node without any keeps what it has.
    Returns: node -> new zone, only for nodes whose zone changes.
    """
    load = Counter(current.values())
    heads = Counter(current[shard[0]] for shard in shards)
    labels: dict[str, str] = {}

    def label(node: str, options: Sequence[str], crowd: Counter[str]) -> str:
        chosen = min(options, key=lambda each: (crowd[each], load[each], options.index(each)))
        if chosen != current[node]:
            labels[node] = chosen
            load[chosen] += 1
            load[current[node]] -= 1
        return chosen

    for primary, *replicas in shards:
        home = current[primary]
        if allowed[primary] and home not in allowed[primary]:
            home = label(primary, allowed[primary], heads)
            heads[home] += 1
        used = Counter([home])
        astray: list[str] = []
        for node in replicas:
            zone = current[node]
            if not allowed[node] or (zone in allowed[node] and not used[zone]):
                used[zone] += 1
            else:
                astray.append(node)
        for node in astray:
            options = [zone for zone in allowed[node] if zone != home] or list(allowed[node])
            stays = current[node] in options and all(used[zone] for zone in options)
            used[current[node] if stays else label(node, options, used)] += 1
    return labels


def even_labels(current: Mapping[str, str], allowed: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Labels to change so that nodes that are all alike, such as sentinels, are spread evenly.

    Args and returns as for `zone_labels`.
    """
    zones = sorted({zone for options in allowed.values() for zone in options})
    share = -(-len(current) // max(1, len(zones)))
    used: Counter[str] = Counter()
    astray: list[str] = []
    for node, zone in current.items():
        if not allowed[node] or (zone in allowed[node] and used[zone] < share):
            used[zone] += 1
        else:
            astray.append(node)
    labels: dict[str, str] = {}
    for node in astray:
        chosen = min(allowed[node], key=lambda zone: (used[zone], zone != current[node], zone))
        used[chosen] += 1
        if chosen != current[node]:
            labels[node] = chosen
    return labels
