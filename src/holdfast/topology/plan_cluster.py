"""Steps of a cluster: forming it, growing and shrinking it, replicas and zones. Pure.

Order: new nodes join and get their replicas before slots move to them; a shard that goes gives its slots away
before its nodes leave. So no slot is ever without an owner, and no shard with keys without the replicas it had.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations

from holdfast.topology.layout import Spread, first_zone, zone_labels
from holdfast.topology.record import Kind, Member, number_of
from holdfast.topology.removal import followers_first, surplus
from holdfast.topology.seen import Role, SeenCache, SeenNode
from holdfast.topology.slots import ALL_SLOTS, Slots, balancing_moves, share
from holdfast.topology.steps import (
    AddNode,
    AssignSlots,
    AttachReplica,
    AwaitOneOwner,
    AwaitSettled,
    Forget,
    JoinCluster,
    LookAgain,
    MoveSlots,
    Relabel,
    RemoveNode,
    StartNodes,
    Step,
    Unmark,
)
from holdfast.topology.wanted import Wanted


@dataclass
class _Node:
    name: str
    zone: str
    host: str
    lag_bytes: int = 0
    is_primary: bool = False


@dataclass
class _Shard:
    """A shard as it will be once the steps so far are done."""

    primary: _Node
    slots: Slots
    replicas: list[_Node] = field(default_factory=list)

    @property
    def nodes(self) -> list[_Node]:
        return [self.primary, *self.replicas]


def cluster_steps(wanted: Wanted, seen: SeenCache) -> Iterator[Step]:
    """Steps from the nodes seen, all of which are up, to the cluster wanted."""
    if contested := list(_contested(seen)):
        yield from contested
        yield LookAgain("whose the slots are decides what is to be done")
        return
    owned = frozenset().union(*(node.slots for node in seen.servers))
    if owned == ALL_SLOTS:
        yield from _reshaping_steps(wanted, seen)
    elif owned and wanted.record.spec_digest:
        yield from _reclaiming_steps(seen, ALL_SLOTS - owned)
    else:
        yield from _forming_steps(wanted, seen)


def _contested(seen: SeenCache) -> Iterator[AwaitOneOwner]:
    """Two that claim the same slots would be taken for one shard too many, whose slots are to go to the others."""
    for one, other in combinations((node for node in seen.primaries if node.slots), 2):
        if slots := one.slots & other.slots:
            yield AwaitOneOwner(one.name, other.name, slots)


def _reclaiming_steps(seen: SeenCache, lacking: Slots) -> Iterator[Step]:
    """A cluster that was whole and of which some slots have no owner any more: those primaries that have the fewest
    get them. Their keys went with their owner; what it has left elsewhere comes back by `backup restore`.
    """
    owned = {shard.primary.name: shard.primary.slots for shard in seen.shards}
    yield from _ghosts(seen)
    nobody = ""
    for move in balancing_moves({nobody: lacking} | owned, list(owned)):
        if move.source == nobody:
            yield AssignSlots(move.target, move.slots)
    yield LookAgain("every slot has an owner again")


def _forming_steps(wanted: Wanted, seen: SeenCache) -> Iterator[Step]:
    """A cluster that has never been whole: nodes are empty, and the places they were made for decide."""
    asked = wanted.topology
    spread = _spread(wanted, seen)
    there = list(wanted.record.servers)
    places = {(member.first_shard, member.first_primary) for member in there if member.first_primary}
    added: list[AddNode] = []
    for shard in range(asked.shards):
        for place in range(asked.replicas + 1):
            if place == 0 and (shard, True) in places:
                continue
            if place > 0 and sum(m.first_shard == shard and not m.first_primary for m in there) >= place:
                continue
            zone, host = spread.pick(
                avoid=_avoided(there, added, shard),
                prefer=first_zone(asked.zones, shard, place),
                apart=_home(there, added, shard) if place else "",
            )
            name = wanted.record.next_name("n", (step.node for step in added))
            added.append(AddNode(name, Kind.SERVER, host, zone, shard, place == 0))
    yield from added
    if added:
        yield StartNodes(tuple(step.node for step in added))
    everyone = sorted([member.name for member in there] + [step.node for step in added], key=number_of)
    if added or _outsiders(seen):
        yield JoinCluster(tuple(everyone))
    firsts = sorted(
        [(m.first_shard, *number_of(m.name)) for m in there if m.first_primary]
        + [(step.first_shard, *number_of(step.node)) for step in added if step.first_primary]
    )
    following = {node.name: node.primary for node in seen.servers}
    owned = frozenset().union(*(node.slots for node in seen.servers))
    for place, (_, _, name) in enumerate(firsts):
        if lacking := share(place, len(firsts)) - owned:
            yield AssignSlots(following.get(name) or name, lacking)
    primary_of = {shard: name for shard, _, name in firsts}
    for shard, _, name in sorted(
        [(m.first_shard, *number_of(m.name)) for m in there if not m.first_primary]
        + [(step.first_shard, *number_of(step.node)) for step in added if not step.first_primary]
    ):
        if not following.get(name) and shard in primary_of:
            yield AttachReplica(name, primary_of[shard])
    yield AwaitSettled()


def _reshaping_steps(wanted: Wanted, seen: SeenCache) -> Iterator[Step]:
    asked = wanted.topology
    spread = _spread(wanted, seen)
    half_moved = list(_half_moved(seen))
    shards = [
        _Shard(_node(shard.primary), shard.primary.slots, [_node(each) for each in shard.replicas])
        for shard in seen.shards
    ]
    placed = {node.name for shard in shards for node in shard.nodes}
    # A primary that is to get its first slot is a shard already: the slot's keys may be on it.
    receiving = {move.target for move in half_moved} - placed
    shards += [_Shard(_node(seen.node(name)), frozenset()) for name in sorted(receiving, key=number_of)]
    placed |= receiving
    loose = [_node(node) for node in seen.servers if node.name not in placed]
    outsiders = _outsiders(seen)

    # 1. Nodes that are lacking, all added and introduced together.
    added: list[AddNode] = []

    def new_node(avoid: list[str], apart: str) -> _Node:
        zone, host = spread.pick(avoid=avoid, apart=apart)
        name = wanted.record.next_name("n", (step.node for step in added))
        added.append(AddNode(name, Kind.SERVER, host, zone, first_primary=not apart))
        return _Node(name, zone, host)

    keep, gone = _kept(shards, asked.shards)
    while len(keep) < asked.shards:
        crowded = [shard.primary.zone for shard in keep]
        able = [node for node in loose if node.is_primary]
        primary = min(able, key=lambda node: (crowded.count(node.zone), number_of(node.name)), default=None)
        if primary is not None:
            loose.remove(primary)
        keep.append(_Shard(primary or new_node(crowded, apart=""), frozenset()))
    attached: list[AttachReplica] = []
    for shard in keep:
        while len(shard.replicas) < asked.replicas:
            used = [node.zone for node in shard.nodes]
            replica = _fitting(wanted, loose, used)
            if replica is not None:
                loose.remove(replica)
            else:
                replica = _fitting(wanted, _too_many(keep, asked.replicas, outsiders), used)
                for other in keep:  # the shard that has more than its share gives one away
                    other.replicas = [node for node in other.replicas if node is not replica]
            replica = replica or new_node(used, apart=shard.primary.zone)
            attached.append(AttachReplica(replica.name, shard.primary.name))
            shard.replicas.append(replica)

    # What is not needed any more goes last, but it is known now, and what goes need not be introduced first.
    leaving = {node.name: "its shard is given up" for shard in gone for node in shard.nodes}
    for shard in keep:
        for node in surplus(shard.replicas, asked.replicas, shard.primary.zone, outsiders):
            leaving[node.name] = "a replica too many"
            shard.replicas.remove(node)
    leaving |= dict.fromkeys((node.name for node in loose), "it has no place")

    yield from added
    if added:
        yield StartNodes(tuple(step.node for step in added))
    strangers = [name for name in outsiders if added or name not in leaving]
    if newcomers := [*strangers, *(step.node for step in added)]:
        yield JoinCluster(tuple(sorted(newcomers, key=number_of)))
    yield from attached
    yield from _ghosts(seen)

    # 2. Slots: those left half way first, then the fewest moves to an even share.
    owned = {shard.primary.name: shard.slots for shard in [*keep, *gone]}
    for move in half_moved:
        owned[move.source] -= move.slots
        owned[move.target] |= move.slots
    even = balancing_moves(owned, [shard.primary.name for shard in keep])
    moves = [*half_moved, *(MoveSlots(move.source, move.target, move.slots) for move in even)]
    yield from moves
    yield from _left_over(seen, half_moved)

    # 3. Nodes that go, and the zones of those that stay.
    follows = {node.name: node.primary for node in seen.servers} | {
        step.node: step.primary for step in attached
    }
    for name in followers_first(leaving, follows):
        yield RemoveNode(name, leaving[name])
    yield from _zone_steps(wanted, keep)
    if added or moves or leaving or attached or strangers:
        yield AwaitSettled()
    elif not all(node.cluster_ok for node in seen.servers) or any(
        not replica.link_up for shard in seen.shards for replica in shard.replicas
    ):
        yield AwaitSettled("the cluster to say it is ok and every replica to be in sync")


def _too_many(shards: list[_Shard], count: int, outsiders: list[str]) -> list[_Node]:
    """Replicas over `count` that are wholly in the cluster, and so can follow another primary."""
    return [
        node
        for shard in shards
        for node in surplus(shard.replicas, count, shard.primary.zone)
        if node.name not in outsiders
    ]


def _kept(shards: list[_Shard], count: int) -> tuple[list[_Shard], list[_Shard]]:
    """Shards that stay and shards that go: those with the fewest slots go first, then the youngest."""
    by_worth = sorted(shards, key=lambda shard: (-len(shard.slots), number_of(shard.primary.name)))
    keep = by_worth[:count]
    gone = by_worth[count:]
    return [shard for shard in shards if shard in keep], gone


def _fitting(wanted: Wanted, loose: list[_Node], used: list[str]) -> _Node | None:
    """A node without a place that can become a replica of a shard whose nodes are in the zones `used`, the primary's
    first: one in another zone, or one that can be said to be there.
    """
    zones_of = {host.name: host.zones for host in wanted.hosts}
    others = set(wanted.topology.zones) - {used[0]}

    def fits(node: _Node) -> bool:
        within = others & {node.zone, *zones_of.get(node.host, ())}
        return not others or bool(within - set(used)) or (others <= set(used) and bool(within))

    able = [node for node in loose if fits(node)]
    return min(able, key=lambda node: (used.count(node.zone), number_of(node.name)), default=None)


def _half_moved(seen: SeenCache) -> Iterator[MoveSlots]:
    """Slots that a node says are on their way: an interrupted move, to be finished in the same direction.

    A primary at one of its ends may have been replaced by its replica meanwhile: then that one's move it is.
    """
    heads = {node.node_id: node.name if node.role is Role.PRIMARY else node.primary for node in seen.servers}
    primaries = {node.name for node in seen.primaries}
    owner = {slot: node.name for node in seen.servers for slot in node.slots}
    ways: dict[int, tuple[str, str]] = {}
    for node in seen.servers:
        for moving in node.moving:
            here, other = heads[node.node_id], heads.get(moving.target or moving.source, "")
            source, target = (here, other) if moving.target else (other, here)
            # A target that already owns the slot has only its mark left over: the move's last half-step is redone.
            owned = owner.get(moving.slot) in {source, target}
            # Where two nodes say different things of a slot, its owner is right.
            told = moving.slot not in ways or owner.get(moving.slot) == node.name
            if source != target and {source, target} <= primaries and owned and told:
                ways[moving.slot] = (source, target)
    for source, target in sorted(set(ways.values())):
        slots = frozenset(slot for slot, way in ways.items() if way == (source, target))
        yield MoveSlots(source, target, slots)


def _left_over(seen: SeenCache, half_moved: list[MoveSlots]) -> Iterator[Unmark]:
    """Marks of moves that nobody can finish: clients that ask for a missing key there are sent astray."""
    for node in seen.primaries:
        # A move takes away the marks at its own ends only: a slot that was then sent elsewhere leaves one at the first target.
        finished = [move.slots for move in half_moved if node.name in (move.source, move.target)]
        if slots := frozenset(each.slot for each in node.moving).difference(*finished):
            yield Unmark(node.name, slots)


def _zone_steps(wanted: Wanted, keep: list[_Shard]) -> Iterator[Step]:
    nodes = [node for shard in keep for node in shard.nodes]
    labels = zone_labels(
        {node.name: node.zone for node in nodes},
        [[node.name for node in shard.nodes] for shard in keep],
        {node.name: wanted.zones_of(node.host) for node in nodes},
    )
    for name in sorted(labels, key=number_of):
        yield Relabel(name, labels[name])


def _spread(wanted: Wanted, seen: SeenCache) -> Spread:
    spread = Spread(wanted.topology.zones, wanted.hosts)
    for node in seen.nodes:
        spread.count(node.zone, node.host)
    return spread


def _avoided(there: list[Member], added: list[AddNode], shard: int) -> list[str]:
    return [m.zone for m in there if m.first_shard == shard] + [
        s.zone for s in added if s.first_shard == shard
    ]


def _home(there: list[Member], added: list[AddNode], shard: int) -> str:
    """The zone of the node that was made to be the shard's primary."""
    firsts: list[Member | AddNode] = [*there, *added]
    return next(each.zone for each in firsts if each.first_shard == shard and each.first_primary)


def _outsiders(seen: SeenCache) -> list[str]:
    """Nodes that are not in the cluster, or not wholly: they do not know all of those that are in it, or the other
    way round. In it are those that own slots or follow another.
    """
    inside = [node for node in seen.servers if node.slots or node.primary] or list(seen.servers)
    return [
        node.name
        for node in seen.servers
        if any(node.node_id not in each.known or each.node_id not in node.known for each in inside)
    ]


def _ghosts(seen: SeenCache) -> Iterator[Forget]:
    """Ids that nodes had before they lost their disks: every node that knows them holds them for failed."""
    members = {node.node_id for node in seen.servers}
    known = frozenset().union(*(node.known for node in seen.servers)) - members - seen.strangers.keys()
    gone = [
        each for each in known if all(each in node.failed or each not in node.known for node in seen.servers)
    ]
    if gone:
        yield Forget(tuple(sorted(gone)))


def _node(node: SeenNode) -> _Node:
    return _Node(node.name, node.zone, node.host, node.lag_bytes, node.role is Role.PRIMARY)
