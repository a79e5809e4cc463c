"""A cache as it was observed at one moment: immutable, with roles as the servers themselves tell them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from holdfast.engine.datafiles import DataFiles
from holdfast.topology.record import Kind
from holdfast.topology.slots import Slots


class Reach(StrEnum):
    """How far the observer got with a node."""

    UP = "up"
    LOADING = "loading"
    """It listens and reads its data set from disk."""
    SILENT = "silent"
    """It took the connection or the command and did not answer in time: stopped, overloaded or cut off."""
    DOWN = "down"
    """Nobody listens there."""
    DENIED = "denied"
    """It does not let Holdfast's own user in."""


class Role(StrEnum):
    """What a server says it is."""

    PRIMARY = "primary"
    REPLICA = "replica"
    SENTINEL = "sentinel"
    UNKNOWN = "unknown"


class ProcessState(StrEnum):
    """What the machine's supervisor says of a node's process."""

    RUNNING = "running"
    EXITED = "exited"
    """It ended without being asked to."""
    STOPPED = "stopped"
    """It was stopped on request."""
    ABSENT = "absent"
    """The supervisor has no such node."""
    UNKNOWN = "unknown"
    """The supervisor was not asked or did not answer."""


@dataclass(frozen=True)
class SeenProcess:
    """A node's process as its supervisor sees it."""

    state: ProcessState = ProcessState.UNKNOWN
    pid: int = 0
    why: str = ""
    """One sentence on why it is not running, in the server's own words where it had some."""
    files: DataFiles | None = None
    """What it would come back with; None while it runs, and before its first start."""


@dataclass(frozen=True)
class MovingSlot:
    """A slot that a node says is on its way: `target` or `source` is a node id, the other empty."""

    slot: int
    target: str = ""
    source: str = ""


@dataclass(frozen=True)
class SeenNode:
    """One node. Fields after `words` mean something only when `reach` is UP (`process` always)."""

    name: str
    kind: Kind
    host: str
    zone: str
    address: str
    port: int
    process: SeenProcess = SeenProcess()
    reach: Reach = Reach.DOWN
    words: str = ""
    """Why it was not reached."""
    role: Role = Role.UNKNOWN
    primary: str = ""
    """Name of the node it replicates; empty for a primary or one outside the cache."""
    link_up: bool = False
    syncing: bool = False
    offset: int = 0
    """Replication offset in bytes: a primary's own, a replica's processed."""
    lag_bytes: int = 0
    """How far a replica is behind its primary's offset, as both were sampled; 0 for a primary."""
    replicas_online: int = 0
    engine: str = ""
    """"valkey" or "redis"."""
    version: str = ""
    run_id: str = ""
    uptime_s: int = 0
    keys: int = 0
    used_bytes: int = 0
    maxmemory_bytes: int = 0
    clients: int = 0
    ops_per_s: int = 0
    persistence_error: str = ""
    """Why the last snapshot or append-only file write failed, in the engine's terms; empty when all is well."""
    unwritten: tuple[str, ...] = ()
    """Commands that would write anew what it last failed to write: BGSAVE, BGREWRITEAOF."""
    node_id: str = ""
    """In a cluster, the id it has given itself."""
    cluster_ok: bool = False
    slots_known: int = 0
    """In a cluster, slots whose owner this node knows, of 16384."""
    slots: Slots = frozenset()
    moving: tuple[MovingSlot, ...] = ()
    known: frozenset[str] = frozenset()
    """Node ids it knows in the cluster, its own among them, those in handshake not."""
    failed: frozenset[str] = frozenset()
    """Node ids it holds for failed."""
    monitored: str = ""
    """Sentinel only: name of the node it takes for the primary."""
    sentinels_known: int = 0
    """Sentinel only: other sentinels it knows."""
    sentinel_settings: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, str] | None = None
    """CONFIG GET *, when it was asked for."""
    acl: str = ""
    """Digest of ACL LIST, when it was asked for."""

    @property
    def is_up(self) -> bool:
        return self.reach is Reach.UP


@dataclass(frozen=True)
class SeenShard:
    """One primary and the replicas that say they follow it."""

    primary: SeenNode
    replicas: tuple[SeenNode, ...]


@dataclass(frozen=True)
class SeenCache:
    """All nodes of one cache, observed together."""

    name: str
    nodes: tuple[SeenNode, ...] = ()
    strangers: Mapping[str, str] = field(default_factory=dict)
    """Node ids that members know in the cluster and no member has: id -> address."""
    at: str = ""
    """UTC time of the observation, ISO 8601."""
    took_ms: float = 0.0

    def node(self, name: str) -> SeenNode:
        """The node of that name. Raises: KeyError."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)

    @property
    def servers(self) -> tuple[SeenNode, ...]:
        return tuple(node for node in self.nodes if node.kind is Kind.SERVER)

    @property
    def sentinels(self) -> tuple[SeenNode, ...]:
        return tuple(node for node in self.nodes if node.kind is Kind.SENTINEL)

    @property
    def primaries(self) -> tuple[SeenNode, ...]:
        return tuple(node for node in self.servers if node.role is Role.PRIMARY)

    @property
    def shards(self) -> tuple[SeenShard, ...]:
        """Shards by what the nodes themselves say, ordered by their first slot, then by name.

        In a cluster a primary without slots and without replicas is no shard: it is a node without a place yet.
        """
        found = [
            SeenShard(node, tuple(each for each in self.servers if each.primary == node.name))
            for node in self.primaries
        ]
        clustered = any(node.node_id for node in self.servers)
        placed = [shard for shard in found if shard.primary.slots or shard.replicas or not clustered]
        return tuple(
            sorted(placed, key=lambda shard: (min(shard.primary.slots, default=1 << 20), shard.primary.name))
        )
