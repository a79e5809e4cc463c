"""Steps of a cache with one primary: standalone, replicated, and replicated under sentinels. Pure.

The three are one path: `standalone -> replicated` adds replicas, `-> sentinel` adds the sentinels that watch, and
back. The primary and its data stay where they are.
"""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.engine.sentinel_config import failover_timeout_ms
from holdfast.spec.topology import Mode
from holdfast.topology.layout import Spread, even_labels, first_zone, zone_labels
from holdfast.topology.record import Kind, number_of
from holdfast.topology.removal import followers_first, surplus
from holdfast.topology.rules import NoPrimary, TwoPrimaries
from holdfast.topology.seen import Role, SeenCache, SeenNode
from holdfast.topology.steps import (
    AddNode,
    AttachReplica,
    AwaitSettled,
    LookAgain,
    RefreshSentinels,
    Relabel,
    RemoveNode,
    StartNodes,
    Step,
    TuneSentinel,
    WatchPrimary,
)
from holdfast.topology.wanted import Wanted

SENTINEL_PREFIX = "sentinel-"


def replication_steps(wanted: Wanted, seen: SeenCache) -> Iterator[Step]:
    """Steps from the nodes seen, all of which are up, to the primary, replicas and sentinels wanted."""
    asked = wanted.topology
    spread = Spread(asked.zones, wanted.hosts)
    for node in seen.nodes:
        spread.count(node.zone, node.host)
    added: list[AddNode] = []

    def add(kind: Kind, prefix: str, avoid: list[str], prefer: str, follows: str, apart: str = "") -> AddNode:
        zone, host = spread.pick(avoid=avoid, prefer=prefer, apart=apart)
        name = wanted.record.next_name(prefix, (step.node for step in added))
        step = AddNode(name, kind, host, zone, first_shard=0, first_primary=not follows, follows=follows)
        added.append(step)
        return step

    primary = _primary(seen)
    replicas: list[SeenNode] = []
    if primary is None:
        if seen.servers:
            if asked.mode is not Mode.SENTINEL:
                raise NoPrimary(
                    seen.name,
                    tuple((node.name, node.primary, node.keys, node.offset) for node in seen.servers),
                )
            yield AwaitSettled("the sentinels to agree on a primary")
            yield LookAgain("no node says that it is the primary")
            return
        first = add(Kind.SERVER, "n", [], first_zone(asked.zones, 0, 0), "")
        primary_name, primary_zone = first.node, first.zone
    else:
        primary_name, primary_zone = primary.name, primary.zone
        replicas = [node for node in seen.servers if node.name != primary.name]
    leaving = surplus(replicas, asked.replicas, primary_zone)
    # A replica that goes is not made to copy everything first, but an empty primary must be a replica to be removed.
    moved = [
        AttachReplica(node.name, primary_name)
        for node in replicas
        if node.primary != primary_name and (node not in leaving or node.role is Role.PRIMARY)
    ]
    zones = [primary_zone, *(node.zone for node in replicas)]
    for place in range(len(replicas), asked.replicas):
        preferred = first_zone(asked.zones, 0, place + 1)
        zones.append(add(Kind.SERVER, "n", zones, preferred, primary_name, primary_zone).zone)
    servers_added = tuple(step.node for step in added)
    sentinels = sorted(seen.sentinels, key=lambda node: number_of(node.name))
    wanted_sentinels = asked.sentinels if asked.mode is Mode.SENTINEL else 0
    sentinel_zones = [node.zone for node in sentinels]
    for _ in range(len(sentinels), wanted_sentinels):
        sentinel_zones.append(add(Kind.SENTINEL, SENTINEL_PREFIX, sentinel_zones, "", primary_name).zone)
    sentinels_added = tuple(step.node for step in added if step.kind is Kind.SENTINEL)

    # Sentinels that go are stopped before anything they watch changes; new ones start when what they watch stands.
    leaving_sentinels = sentinels[wanted_sentinels:]
    for node in leaving_sentinels:
        yield RemoveNode(
            node.name, "a sentinel too many" if wanted_sentinels else "sentinels are not asked for"
        )
    yield from (step for step in added if step.kind is Kind.SERVER)
    if servers_added:
        yield StartNodes(servers_added)
    yield from moved
    follows = {node.name: node.primary for node in replicas} | {step.node: step.primary for step in moved}
    for name in followers_first((node.name for node in leaving), follows):
        yield RemoveNode(name, "a replica too many")
    behind = any(not node.link_up for node in replicas if node not in leaving)
    if servers_added or moved or behind:
        yield AwaitSettled()
    yield from (step for step in added if step.kind is Kind.SENTINEL)
    if sentinels_added:
        yield StartNodes(sentinels_added)
    staying = sentinels[:wanted_sentinels]
    yield from _sentinel_steps(wanted, staying, primary_name)
    if staying and (leaving or leaving_sentinels or _stale(seen)):
        yield RefreshSentinels()
    if sentinels_added:
        yield AwaitSettled("every sentinel to know the others and the primary")
    if primary is not None:
        yield from _zone_steps(wanted, primary, [node for node in replicas if node not in leaving], staying)


def sentinel_settings(wanted: Wanted) -> dict[str, str]:
    """Settings that a sentinel has for the primary it watches, as SENTINEL SET takes them."""
    asked = wanted.topology
    return {
        "quorum": str(asked.quorum),
        "down-after-milliseconds": str(asked.node_timeout_ms),
        "parallel-syncs": str(asked.parallel_syncs),
        "failover-timeout": str(failover_timeout_ms(wanted.spec)),
    }


def _primary(seen: SeenCache) -> SeenNode | None:
    """The one primary; one that holds no key, nor any of its replicas, does not count beside one that does.

    Raises: TwoPrimaries when two nodes could both hold what clients wrote.
    """
    primaries = [node for node in seen.servers if node.role is Role.PRIMARY]
    followers: dict[str, list[SeenNode]] = {node.name: [] for node in seen.servers}
    for node in seen.servers:
        followers.get(node.primary, []).append(node)
    serious = [node for node in primaries if node.keys or any(each.keys for each in followers[node.name])]
    if len(serious) > 1:
        raise TwoPrimaries(
            seen.name,
            tuple(
                (node.name, node.keys, node.offset)
                for node in sorted(serious, key=lambda n: number_of(n.name))
            ),
        )
    watched = [node.monitored for node in seen.sentinels]

    def likely(node: SeenNode) -> tuple[int, int, int, int]:
        return watched.count(node.name), len(followers[node.name]), node.offset, -number_of(node.name)[0]

    return max(serious or primaries, key=likely, default=None)


def _stale(seen: SeenCache) -> bool:
    """Whether a sentinel still counts nodes that are gone: it would wait for their votes."""
    return any(
        node.sentinels_known > len(seen.sentinels) - 1 or node.replicas_online > len(seen.servers) - 1
        for node in seen.sentinels
    )


def _sentinel_steps(wanted: Wanted, staying: list[SeenNode], primary: str) -> Iterator[Step]:
    settings = sentinel_settings(wanted)
    for node in staying:
        if node.monitored != primary:
            yield WatchPrimary(node.name, primary)
            continue
        changed = {
            name: value for name, value in settings.items() if node.sentinel_settings.get(name) != value
        }
        if changed:
            yield TuneSentinel(node.name, changed)


def _zone_steps(
    wanted: Wanted, primary: SeenNode, replicas: list[SeenNode], sentinels: list[SeenNode]
) -> Iterator[Step]:
    shard = [primary, *replicas]
    allowed = {node.name: wanted.zones_of(node.host) for node in [*shard, *sentinels]}
    labels = zone_labels({node.name: node.zone for node in shard}, [[node.name for node in shard]], allowed)
    labels |= even_labels(
        {node.name: node.zone for node in sentinels}, {node.name: allowed[node.name] for node in sentinels}
    )
    for name in sorted(labels, key=number_of):
        yield Relabel(name, labels[name])
