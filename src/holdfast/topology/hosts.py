"""What a cache needs of a machine: files written, processes started and stopped, ports and packets minded.

The supervisor's client is this towards a machine; nothing here knows how it is reached. All that belongs to a node
(configuration, users, certificates, data, log) lies on its machine, so that a cache may have many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from holdfast.engine.build import BrokenEngine, EngineBuild
from holdfast.host.firewall import Enforcement
from holdfast.host.nftables import FirewallRequest
from holdfast.topology.record import Kind, Member
from holdfast.topology.seen import SeenProcess


@dataclass(frozen=True)
class NodeFile:
    """A file of a node, by its name in the node's folder; always 0600."""

    name: str
    text: str = field(repr=False)


@dataclass(frozen=True)
class NodeOrder:
    """All that a machine must know to run one node."""

    cache: str
    node: str
    kind: Kind
    engine: str
    """Key of an engine build of that machine."""
    address: str
    port: int
    bus_port: int
    """Cluster bus; 0 where there is none."""
    config: str
    """Name of the file among `files` that the server is started with."""
    probe_user: str = ""
    """Whom the machine's supervisor is when it asks the node whether it is ready."""
    probe_password: str = field(default="", repr=False)
    files: tuple[NodeFile, ...] = ()


@dataclass(frozen=True)
class WatchOrder:
    """All that a machine's supervisor must know to watch over its nodes of one cache, and to have a dead primary
    replaced.
    """

    cache: str
    mode: str
    members: tuple[Member, ...]
    """Of all machines."""
    node_timeout_ms: int
    user: str
    password: str = field(repr=False)
    ca_pem: str = ""
    """Whom the nodes' certificates come from; empty without TLS."""
    machines: Mapping[str, str] = field(default_factory=dict)
    """Machine -> where its supervisor is reached by the others (`https://10.0.0.1:7800`); empty where they are not to
    speak with one another."""
    go_home: bool = True
    """Whether primaries are switched back when a zone has come to hold a majority of them."""
    quiet_until_s: float = 0.0
    """Until when the cache is in maintenance, in seconds since 1970: primaries are not switched back before."""
    unattended_takeover: bool = False
    """The operator's standing word, from the spec, that a replica may take over without a vote."""
    audit: bool = True
    """Whether what the nodes refuse is carried into the machine's audit log."""


@dataclass(frozen=True)
class HostFacts:
    """A machine as its supervisor describes it."""

    name: str
    pid: int
    """Process id of the supervisor."""
    version: str
    state: str
    """Its state folder, absolute."""


class NodeHost(Protocol):
    """One machine. Every call is bounded, and raises HostUnreachable or the machine's own refusal."""

    @property
    def name(self) -> str:
        """The name of the machine in the spec; `local` for place: local."""

    async def facts(self) -> HostFacts:
        """Who and where it is."""

    async def engines(self, path: str | None) -> tuple[Sequence[EngineBuild], Sequence[BrokenEngine]]:
        """The engines it has, with the one at `path` first if that is given."""

    async def free_ports(
        self, addresses: Sequence[str], count: int, first: int | None, cluster: bool
    ) -> tuple[int, ...]:
        """Ports that nobody listens on or was promised, from `first` on if that is given.

        Args: `cluster`, whether each port's bus port (port + 10000) must be free too.
        """

    async def prepare(self, order: NodeOrder) -> None:
        """Write a node's files; a running process notices nothing."""

    async def read(self, cache: str, node: str, file: str) -> str:
        """A file of a node; empty where there is none."""

    async def start(self, cache: str, node: str) -> str:
        """Start a prepared node and wait until it answers; nothing to do where it runs.

        Returns: what it could not load of its data and went on without; empty when nothing.
        Raises: NodeRefusedToStart in the server's own words.
        """

    async def stop(self, cache: str, node: str) -> None:
        """Stop a node by its own shutdown; nothing to do where it does not run."""

    async def remove(self, cache: str, node: str) -> None:
        """Delete a stopped node's files and data."""

    async def processes(self, cache: str) -> Mapping[str, SeenProcess]:
        """The processes of a cache's nodes there, by node."""

    async def ask(self, cache: str, node: str, words: Sequence[str]) -> object:
        """One command to a node through its own Unix socket, whatever its network and certificates are like."""

    async def log(self, cache: str, node: str, lines: int) -> tuple[str, ...]:
        """The last lines of a node's log."""

    async def watch(self, order: WatchOrder) -> None:
        """Watch over the cache's nodes there from now on, and restart and replace what dies."""

    async def unwatch(self, cache: str) -> None:
        """Only keep the processes; what dies stays dead."""

    async def events(self, cache: str, last: int) -> list[dict[str, Any]]:
        """The last events of the cache there, oldest first."""

    async def note(self, cache: str, kind: str, node: str, facts: Mapping[str, object]) -> None:
        """Add an event: what a command did to the cache. Args: `facts`, JSON types, no secrets."""

    async def put_aside(self, cache: str, node: str, label: str) -> str:
        """Move a node's data files into a folder beside them that is never read again by itself; of one that runs only
        the snapshot.

        Args: `label`, a word for the folder's name.
        Returns: the folder; empty when there was nothing to move.
        """

    async def drop_snapshot(self, cache: str, node: str) -> None:
        """Delete the snapshot file of a node that keeps nothing on disk; it may run. Refused for any other node."""

    async def guard(self, request: FirewallRequest) -> Enforcement:
        """Let only the request's addresses reach its ports, where that can be enforced."""

    async def unguard(self, cache: str) -> None:
        """Take the cache's packet filter away."""

    async def guarded(self, request: FirewallRequest) -> Enforcement:
        """Whether the request is in force."""


Hosts = Mapping[str, NodeHost]
"""Machines by name."""
