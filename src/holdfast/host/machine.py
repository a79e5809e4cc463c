"""What was seen of one machine, and what a cache asks of one machine, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from holdfast.spec.cache import Spec
from holdfast.spec.place import PlaceKind
from holdfast.spec.topology import Mode

UNLIMITED = 2**63 - 1
"""A limit that is not there, so that limits compare as numbers."""

RESERVED_FILES = 32
"""Descriptors an engine keeps for itself beside its clients' (CONFIG_MIN_RESERVED_FDS in src/server.h)."""


@dataclass(frozen=True)
class Clock:
    """How far this machine's wall clock can be trusted; None where it could not be found out."""

    synchronised: bool | None
    """What a time service on this machine says of itself."""
    source: str
    """Who said so: `timesyncd`, `chrony`, `timedatectl`, or empty."""
    correction_ppm: float | None
    """How much faster than the bare oscillator the clock ran while it was watched: far from 0 only where it is steered."""
    jump_s: float
    """Seconds the wall clock moved beyond the monotonic one while the two were watched."""
    watched_s: float


@dataclass(frozen=True)
class Folder:
    """The disk under the state folder."""

    path: str
    mount: str
    filesystem: str
    free_bytes: int
    noexec: bool
    read_only: bool


@dataclass(frozen=True)
class Machine:
    """One machine's facts; None means that the fact could not be read, and `unread` says why."""

    platform: str
    kernel: str = ""
    root: bool = False
    user: str = ""
    cpus: int = 1
    cpu_quota: float | None = None
    """Cores that a control group lets this process use; None without a limit."""
    overcommit_memory: int | None = None
    commit_free_bytes: int | None = None
    """What strict accounting (overcommit_memory 2) would still grant."""
    transparent_hugepages: str | None = None
    somaxconn: int | None = None
    open_files_soft: int | None = None
    open_files_hard: int | None = None
    open_files_system: int | None = None
    """`fs.file-max`: files that the whole machine may hold open."""
    open_files_ceiling: int | None = None
    """`fs.nr_open`: the highest limit that root can give one process."""
    may_raise_limits: bool = False
    memory_total_bytes: int | None = None
    memory_available_bytes: int | None = None
    memory_limit_bytes: int | None = None
    """The tightest control group's limit; None without one."""
    memory_limit_used_bytes: int | None = None
    swap_total_bytes: int | None = None
    swap_used_bytes: int | None = None
    swappiness: int | None = None
    clock: Clock | None = None
    folder: Folder | None = None
    ipv4_loopback: bool | None = None
    ipv6_loopback: bool | None = None
    systemd: bool = False
    linger: bool | None = None
    nftables: bool = False
    may_filter: bool = False
    """Whether this process has the right to change packet filters (CAP_NET_ADMIN)."""
    python_headers: bool = False
    compiler: str = ""
    compiled_codec: bool = False
    unread: Mapping[str, str] = field(default_factory=dict)
    """Field -> why it could not be read."""

    @property
    def usable_memory_bytes(self) -> int | None:
        """The most that all processes here can ever hold: the machine's memory or the control group's share."""
        if self.memory_total_bytes is None:
            return self.memory_limit_bytes
        return min(self.memory_total_bytes, self.memory_limit_bytes or UNLIMITED)

    @property
    def free_memory_bytes(self) -> int | None:
        """What is left now, of the machine and of the control group."""
        if self.memory_available_bytes is None:
            return None
        if self.memory_limit_bytes is None:
            return self.memory_available_bytes
        left_bytes = self.memory_limit_bytes - (self.memory_limit_used_bytes or 0)
        return min(self.memory_available_bytes, max(0, left_bytes))


@dataclass(frozen=True)
class Demand:
    """What one cache asks of one machine."""

    cache: str
    nodes: int
    sentinels: int
    maxmemory_bytes: int
    """Of each node."""
    maxclients: int
    backlog: int
    rdb: bool
    aof: bool
    bind: tuple[str, ...]
    allow: tuple[str, ...]

    @property
    def data_bytes(self) -> int:
        """The data of all nodes together when every one is full."""
        return self.nodes * self.maxmemory_bytes

    @property
    def disk_bytes(self) -> int:
        """Room for what the nodes write at their fullest: a snapshot beside the one that it replaces; with an
        append-only file, that file at twice its rewritten size beside its own rewrite."""
        return self.data_bytes * (3 if self.aof else 2 if self.rdb else 0)

    @property
    def open_files(self) -> int:
        """Descriptors that each node must be able to open."""
        return self.maxclients + RESERVED_FILES


def demand_of(spec: Spec) -> Demand:
    """What `spec` asks of one machine: all nodes on `place: local`, an even share of them on several hosts, and none
    where somebody else's machines carry the cache."""
    machines = {PlaceKind.LOCAL: 1, PlaceKind.HOSTS: len(spec.place.hosts)}.get(spec.place.kind, 0)
    nodes = spec.topology.shards * (1 + spec.topology.replicas)
    sentinels = spec.topology.sentinels if spec.topology.mode is Mode.SENTINEL else 0
    return Demand(
        cache=spec.cache.name,
        nodes=_share(nodes, machines),
        sentinels=_share(sentinels, machines),
        maxmemory_bytes=spec.memory.maxmemory_bytes,
        maxclients=spec.network.maxclients,
        backlog=spec.network.backlog,
        rdb=spec.persistence.rdb.enabled,
        aof=spec.persistence.aof.enabled,
        bind=spec.network.bind,
        allow=tuple(address.text for rule in spec.network.allow.values() for address in rule.addresses),
    )


def _share(count: int, machines: int) -> int:
    """The most of `count` that one of `machines` carries when they are spread evenly."""
    return -(-count // machines) if machines else 0
