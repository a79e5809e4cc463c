"""The steps a plan is made of: values that can be printed, compared and done one after another. Pure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from holdfast.topology.record import Kind
from holdfast.topology.slots import Slots, ranges


@dataclass(frozen=True)
class Step(ABC):
    """One thing to do. Doing it again after it was done, wholly or half, does no harm."""

    name: ClassVar[str] = "step"

    @property
    @abstractmethod
    def title(self) -> str:
        """What it does, for people."""

    def to_json(self) -> dict[str, Any]:
        """The step as JSON types: its name, its title and its fields."""
        values: dict[str, Any] = {"step": self.name, "title": self.title}
        for each in fields(self):
            value = getattr(self, each.name)
            values[each.name] = _shown(value) if isinstance(value, frozenset) else value
        return values


def _shown(slots: Slots) -> str:
    return ",".join(str(span) for span in ranges(slots))


@dataclass(frozen=True)
class AddNode(Step):
    """Give a new node its name, host, zone and free ports, and write its files; it is not started."""

    name: ClassVar[str] = "add"
    node: str
    kind: Kind
    host: str
    zone: str
    first_shard: int = -1
    first_primary: bool = False
    follows: str = ""
    """Outside a cluster: the primary it starts as a replica of, or that it watches as a sentinel."""

    @property
    def title(self) -> str:
        what = "sentinel" if self.kind is Kind.SENTINEL else "node"
        role = (
            f", {'watching' if self.kind is Kind.SENTINEL else 'replica of'} {self.follows}"
            if self.follows
            else ""
        )
        where = "" if self.host == "local" else f" on {self.host}"
        return f"add {what} {self.node} in zone {self.zone}{where}{role}"


@dataclass(frozen=True)
class StartNodes(Step):
    """Start the processes and wait until each answers and has loaded its data."""

    name: ClassVar[str] = "start"
    nodes: tuple[str, ...]
    notes: tuple[str, ...] = ()
    """What comes back with less than it had, one sentence each."""

    @property
    def title(self) -> str:
        return "; ".join([f"start {', '.join(self.nodes)}", *self.notes])


@dataclass(frozen=True)
class AwaitSuccessor(Step):
    """Wait until the engine's own vote has put a replica into a dead primary's place: started before, the primary
    would have it copy less than it holds.
    """

    name: ClassVar[str] = "succeed"
    node: str
    successor: str
    """The replica that holds most; another one may win."""
    holds_data: bool
    """Whether the dead primary's own files hold data, so that it may start in its old role when nobody is elected."""

    @property
    def title(self) -> str:
        return f"wait until {self.successor} or another replica has taken the place of {self.node}, then look again"


@dataclass(frozen=True)
class AwaitOneOwner(Step):
    """Two primaries claim the same slots: right after a failover, the one that was replaced has not heard of it yet."""

    name: ClassVar[str] = "await owner"
    one: str
    other: str
    slots: Slots

    @property
    def title(self) -> str:
        return f"wait until {self.one} or {self.other} alone claims {len(self.slots)} slots, then look again"


@dataclass(frozen=True)
class LookAgain(Step):
    """What comes after can be told only once the steps before are done: observe and plan anew."""

    name: ClassVar[str] = "look"
    why: str

    @property
    def title(self) -> str:
        return f"then look again: {self.why}"


@dataclass(frozen=True)
class JoinCluster(Step):
    """Introduce nodes to the cluster and wait until every node knows every other."""

    name: ClassVar[str] = "join"
    nodes: tuple[str, ...]

    @property
    def title(self) -> str:
        return f"join {', '.join(self.nodes)} to the cluster"


@dataclass(frozen=True)
class AssignSlots(Step):
    """Give slots that nobody owns to a primary."""

    name: ClassVar[str] = "assign"
    node: str
    slots: Slots

    @property
    def title(self) -> str:
        return f"give {len(self.slots)} slots to {self.node} ({_shown(self.slots)})"


@dataclass(frozen=True)
class AttachReplica(Step):
    """Make a node the replica of a primary and wait until it is in sync; what it held is replaced."""

    name: ClassVar[str] = "attach"
    node: str
    primary: str

    @property
    def title(self) -> str:
        return f"make {self.node} a replica of {self.primary}"


@dataclass(frozen=True)
class AwaitSettled(Step):
    """Wait until the cluster says it is ok and every replica is in sync."""

    name: ClassVar[str] = "settle"
    why: str = "every replica in sync"

    @property
    def title(self) -> str:
        return f"wait for {self.why}"


@dataclass(frozen=True)
class MoveSlots(Step):
    """Move slots with their keys from one primary to another while clients work."""

    name: ClassVar[str] = "move"
    source: str
    target: str
    slots: Slots

    @property
    def title(self) -> str:
        return f"move {len(self.slots)} slots from {self.source} to {self.target} ({_shown(self.slots)})"


@dataclass(frozen=True)
class Forget(Step):
    """Make every node forget ids of nodes that are gone: slots that those owned cannot be given away before."""

    name: ClassVar[str] = "forget"
    node_ids: tuple[str, ...]

    @property
    def title(self) -> str:
        return (
            f"have the cluster forget nodes that are gone ({', '.join(each[:8] for each in self.node_ids)})"
        )


@dataclass(frozen=True)
class Unmark(Step):
    """Take back that slots are on their way, where the other end is gone or another node owns them by now."""

    name: ClassVar[str] = "unmark"
    node: str
    slots: Slots

    @property
    def title(self) -> str:
        return f"have {self.node} take back {len(self.slots)} half moves to or from nobody ({_shown(self.slots)})"


@dataclass(frozen=True)
class RemoveNode(Step):
    """Stop a node that owns nothing any more, make the others forget it, and delete its files."""

    name: ClassVar[str] = "remove"
    node: str
    why: str

    @property
    def title(self) -> str:
        return f"remove {self.node}: {self.why}"


@dataclass(frozen=True)
class WatchPrimary(Step):
    """Tell a sentinel which node is the primary, and the spec's settings."""

    name: ClassVar[str] = "watch"
    node: str
    primary: str

    @property
    def title(self) -> str:
        return f"have {self.node} watch {self.primary}"


@dataclass(frozen=True)
class TuneSentinel(Step):
    """Change a running sentinel's settings."""

    name: ClassVar[str] = "tune"
    node: str
    settings: Mapping[str, str]

    @property
    def title(self) -> str:
        return f"set {', '.join(f'{name} {value}' for name, value in self.settings.items())} on {self.node}"


@dataclass(frozen=True)
class RefreshSentinels(Step):
    """Make the sentinels forget nodes and sentinels that are gone, one after the other."""

    name: ClassVar[str] = "refresh"

    @property
    def title(self) -> str:
        return "have the sentinels forget what is gone"


@dataclass(frozen=True)
class SetConfig(Step):
    """Change directives of a running node and in its file; clients notice nothing."""

    name: ClassVar[str] = "set"
    node: str
    changes: Mapping[str, tuple[str, str]]
    """Directive -> (value seen, value wanted); no secrets."""

    @property
    def title(self) -> str:
        told = ", ".join(
            f"{name} {old or '(empty)'} -> {new or '(empty)'}" for name, (old, new) in self.changes.items()
        )
        return f"set on {self.node}: {told}"


@dataclass(frozen=True)
class SetUsers(Step):
    """Bring a node's ACL users to what the spec says; connections of unchanged users stay."""

    name: ClassVar[str] = "users"
    node: str

    @property
    def title(self) -> str:
        return f"set the users of {self.node}"


@dataclass(frozen=True)
class RenewCertificates(Step):
    """Give nodes new certificates for those that have ended or soon will; servers take them up while they run."""

    name: ClassVar[str] = "certify"
    nodes: tuple[str, ...]

    @property
    def title(self) -> str:
        return f"renew the certificates of {', '.join(self.nodes)}"


@dataclass(frozen=True)
class Relabel(Step):
    """Write down another zone for a node; nothing moves."""

    name: ClassVar[str] = "zone"
    node: str
    zone: str

    @property
    def title(self) -> str:
        return f"call the zone of {self.node} {self.zone}"


@dataclass(frozen=True)
class Guard(Step):
    """Bring the firewall of the hosts to `network.allow`, or find out that it cannot be enforced there."""

    name: ClassVar[str] = "guard"

    @property
    def title(self) -> str:
        return "let in only the addresses of network.allow, where the firewall can be set"


@dataclass(frozen=True)
class SaveSpec(Step):
    """Remember that the cache is now what this spec says."""

    name: ClassVar[str] = "save"
    digest: str

    @property
    def title(self) -> str:
        return f"remember the spec as applied ({self.digest[:12]})"
