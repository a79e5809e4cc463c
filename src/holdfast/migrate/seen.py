"""What the ends of a migration look like at one moment. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from holdfast.engine.facts import Address
from holdfast.migrate.ends import Layout
from holdfast.topology.seen import Role


@dataclass(frozen=True)
class SeenServer:
    """One data node by its own word (INFO)."""

    address: Address
    role: Role
    engine: str
    """`redis` or `valkey`."""
    version: tuple[int, int, int]
    run_id: str
    replid: str
    """Id of the history of writes that it is in."""
    replid2: str = ""
    """The history before its last promotion."""
    second_offset: int = -1
    """First offset that is not of `replid2` any more."""
    offset: int = 0
    """Bytes of the history that it has applied (a replica) or written (a primary)."""
    primary: Address | None = None
    """Whom it follows by its own word."""
    link_up: bool = False
    """Whether it gets the stream of whom it follows."""
    syncing: bool = False
    loading: bool = False
    replicas: tuple[Address, ...] = ()
    keys: int = 0
    info: Mapping[str, str] = field(default_factory=dict, repr=False)
    """All lines of INFO."""
    node_id: str = ""
    slots: frozenset[int] = frozenset()
    """In a cluster."""

    @property
    def title(self) -> str:
        """ "Valkey 9.1.2 at 10.0.0.1:6379"."""
        host, port = self.address
        return f"{self.engine.capitalize()} {'.'.join(map(str, self.version))} at {host}:{port}"


@dataclass(frozen=True)
class SeenEnd:
    """The servers of one end that answered."""

    label: str
    layout: Layout
    servers: tuple[SeenServer, ...]
    silent: Mapping[Address, str] = field(default_factory=dict)
    """Servers that did not answer, and why."""
    aliases: frozenset[Address] = frozenset()
    """Every address that was asked: one server may be known by several."""

    def at(self, address: Address) -> SeenServer | None:
        """The server there, if it answered."""
        return next((each for each in self.servers if each.address == address), None)

    @property
    def heads(self) -> tuple[SeenServer, ...]:
        """Servers that follow no other server of this end: its primary, or the one that follows the relay.

        More than one, outside a cluster, means that the end is split; none, that its primary is not seen.
        """
        own = {each.address for each in self.servers} | set(self.silent) | self.aliases
        return tuple(each for each in self.servers if each.role is Role.PRIMARY or each.primary not in own)

    @property
    def head(self) -> SeenServer | None:
        """The one head, where there is exactly one; a primary goes before a server that follows somebody else."""
        heads = self.heads
        if len(heads) == 1:
            return heads[0]
        primaries = [each for each in heads if each.role is Role.PRIMARY]
        return primaries[0] if len(primaries) == 1 else None

    @property
    def primaries(self) -> tuple[SeenServer, ...]:
        """Every server that says it is a primary; in a cluster, those with slots."""
        found = [each for each in self.servers if each.role is Role.PRIMARY]
        if self.layout is Layout.CLUSTER:
            return tuple(each for each in found if each.slots)
        return tuple(found)

    def replicas_of(self, primary: Address) -> tuple[SeenServer, ...]:
        """Servers that follow `primary`."""
        return tuple(each for each in self.servers if each.primary == primary)
