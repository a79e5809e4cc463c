"""What one may not do to a cache, told before anything is touched, with the way that is possible. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.engine.build import parse_version
from holdfast.engine.dialects import EngineVersion, why_no_upgrade
from holdfast.errors import HoldfastError, Refused
from holdfast.spec.topology import Mode
from holdfast.topology.seen import ProcessState, SeenCache
from holdfast.topology.slots import ALL_SLOTS
from holdfast.topology.wanted import Wanted

FILL = 0.9
"""Share of maxmemory that the data of a shrunk cluster may take: buffers and uneven slots need the rest."""


@dataclass(eq=False)
class TwoPrimaries(HoldfastError):
    """Two nodes of a cache with one primary both take writes: which data counts is not Holdfast's to guess."""

    cache: str
    primaries: tuple[tuple[str, int, int], ...]
    """Name, keys and replication offset of each."""

    def __str__(self) -> str:
        each = "; ".join(f"{name} has {keys} keys, offset {offset}" for name, keys, offset in self.primaries)
        return (
            f"{self.cache} has {len(self.primaries)} primaries ({each}), so writes may have gone to both. Nothing was "
            f"changed. holdfast repair {self.cache} shows what each has, saves the one you give up aside, and makes it a "
            "replica"
        )


@dataclass(eq=False)
class NoPrimary(HoldfastError):
    """Every node of a cache with one primary follows another one: which data counts is not Holdfast's to guess."""

    cache: str
    nodes: tuple[tuple[str, str, int, int], ...]
    """Name, whom it follows, keys and replication offset of each."""

    def __str__(self) -> str:
        each = "; ".join(
            f"{name} follows {primary or 'a node outside the cache'}, {keys} keys, offset {offset}"
            for name, primary, keys, offset in self.nodes
        )
        best = max(self.nodes, key=lambda node: (node[3], node[2]))[0]
        return (
            f"{self.cache} has no primary, so it takes no writes ({each}). Nothing was changed. Make the node whose data "
            f"counts the primary: holdfast repair {self.cache} --keep {best}"
        )


def refuse_impossible(wanted: Wanted, seen: SeenCache) -> None:
    """Raise Refused when the wish cannot be followed from what is seen."""
    if not seen.nodes:
        return
    _mode(wanted)
    _hosts(wanted, seen)
    _memory_only(wanted, seen)
    _slots_elsewhere(wanted, seen)
    _engine(wanted, seen)
    _tls(wanted)
    _memory(wanted, seen)
    _shards(wanted, seen)


def _mode(wanted: Wanted) -> None:
    made, asked = wanted.record.mode, wanted.topology.mode
    if (made == Mode.CLUSTER) != (asked is Mode.CLUSTER):
        raise Refused(
            f"changing {wanted.record.name} from {made} to {asked}",
            "keys of one server cannot be split over shards, or joined, in place",
            "Make a second cache with another name in the new mode and move the data there (a migration)",
        )


def _hosts(wanted: Wanted, seen: SeenCache) -> None:
    known = {host.name for host in wanted.hosts}
    for host in sorted({node.host for node in seen.nodes} - known):
        there = ", ".join(node.name for node in seen.nodes if node.host == host)
        raise Refused(
            f"leaving host {host} out of {wanted.record.name}",
            f"{there} still run there, with their data",
            f"Put {host} back into place.hosts, or make a second cache on the other hosts and move the data there",
        )


def _memory_only(wanted: Wanted, seen: SeenCache) -> None:
    """A primary that wrote nothing to disk comes back empty, and its replicas would then copy that.

    Where what lies on its disk was seen, `restarts` decides, and knows more.
    """
    kept = wanted.spec.persistence
    owned = frozenset().union(*(node.slots for node in seen.primaries if node.is_up))
    replaced = (
        owned == ALL_SLOTS if wanted.topology.mode is Mode.CLUSTER else any(p.keys for p in seen.primaries)
    )
    if kept.rdb.enabled or kept.aof.enabled or replaced:
        return
    for node in seen.servers:
        if node.is_up or node.process.state is ProcessState.RUNNING or node.process.files is not None:
            continue
        for replica in seen.servers:
            if replica.is_up and replica.primary == node.name and replica.keys:
                elected = (
                    f"Make {replica.name} the primary (`holdfast call {wanted.record.name} --node {replica.name} REPLICAOF "
                    "NO ONE`)"
                    if wanted.topology.mode is Mode.REPLICATED
                    else f"Wait until {replica.name} is elected in its place (`holdfast status {wanted.record.name}`)"
                )
                raise Refused(
                    f"starting {node.name} again",
                    f"it wrote nothing to disk and would come back empty, and {replica.name}, which still holds "
                    f"{replica.keys} keys of it, would copy that",
                    f"{elected}, then run the same command again: {node.name} then starts as its replica",
                )


def _slots_elsewhere(wanted: Wanted, seen: SeenCache) -> None:
    owned = frozenset().union(*(node.slots for node in seen.servers))
    if not seen.strangers or not owned or owned == ALL_SLOTS or not all(node.is_up for node in seen.servers):
        return
    told = ", ".join(f"{node_id[:8]} at {address}" for node_id, address in sorted(seen.strangers.items()))
    raise Refused(
        f"bringing {wanted.record.name} up",
        f"{len(ALL_SLOTS - owned)} slots are owned by none of its nodes, and its cluster knows nodes that are not "
        f"Holdfast's ({told}), which may own them",
        "Move their slots back to nodes of the cache, or have every node forget them (CLUSTER FORGET) if their data is "
        "given up",
    )


def _engine(wanted: Wanted, seen: SeenCache) -> None:
    """Whether every node can be moved to the wanted engine, by what it runs or, while it is down, was made for."""
    if wanted.manner.going_back:
        return  # what can be taken back is seen node by node (plan_rolling)
    new = EngineVersion.of(wanted.build)
    for node in seen.servers:
        if not node.is_up or not node.version:
            continue
        old = EngineVersion(node.engine, parse_version(node.version))
        if old != new and (why := why_no_upgrade(old, new)):
            raise Refused(
                f"moving {wanted.record.name} from {old} to {new}",
                why,
                "Put the engine back in the spec; or make a second cache on the new engine and move the data there "
                "while clients work: holdfast migrate",
            )


def _tls(wanted: Wanted) -> None:
    mode = wanted.spec.security.tls.mode
    if (mode == "required" and not wanted.record.tls) or (mode == "off" and wanted.record.tls):
        now, then = ("on", "off") if wanted.record.tls else ("off", "on")
        raise Refused(
            f"turning TLS {then} for {wanted.record.name}, which runs with TLS {now}",
            "clients of the other kind would be cut off at once, and nodes could not talk to one another half way",
            "Make a second cache with the new setting and move the data there",
        )


def _memory(wanted: Wanted, seen: SeenCache) -> None:
    limit = wanted.spec.memory.maxmemory_bytes
    if not limit:
        return
    for node in seen.servers:
        if node.is_up and node.used_bytes > limit and node.maxmemory_bytes != limit:
            raise Refused(
                f"maxmemory {_mb(limit)}",
                f"{node.name} already uses {_mb(node.used_bytes)}, so the engine would drop keys or refuse writes at once",
                f"Ask for more than {_mb(max(each.used_bytes for each in seen.servers))}, or delete data first",
            )


def _shards(wanted: Wanted, seen: SeenCache) -> None:
    shards = seen.shards
    asked = wanted.topology.shards
    limit = wanted.spec.memory.maxmemory_bytes
    if wanted.topology.mode is not Mode.CLUSTER or asked >= len(shards) or not limit:
        return
    used = sum(shard.primary.used_bytes for shard in shards)
    if used > asked * limit * FILL:
        fewest = min(-(-used // int(limit * FILL)), len(shards))
        raise Refused(
            f"shrinking {wanted.record.name} from {len(shards)} to {asked} shards",
            f"its data takes {_mb(used)}, and {asked} shards of {_mb(limit)} hold {_mb(int(asked * limit * FILL))} "
            f"({FILL:.0%} of maxmemory)",
            f"Ask for at least {fewest} shards, or for a larger maxmemory",
        )


def _mb(count: int) -> str:
    return f"{count / (1 << 20):.0f} MB" if count < 10 << 30 else f"{count / (1 << 30):.1f} GB"
