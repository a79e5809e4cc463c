"""The steps of a change that restarts nodes one after the other. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from holdfast.topology.record import Kind
from holdfast.topology.steps import Step


@dataclass(frozen=True)
class ChangeEngine(Step):
    """Write down which engine the nodes are moved to, and which one they ran before; no node is touched yet."""

    name: ClassVar[str] = "engine"
    old: str
    """For people: "Redis 7.0.15"."""
    new: str
    key: str
    """The build's."""

    @property
    def title(self) -> str:
        return f"move to {self.new} (nodes run {self.old}), one node after the other"


@dataclass(frozen=True)
class RestartNode(Step):
    """Restart one node with its new files, and wait until it is as good as before: in sync, offsets, no error.

    When it is not, the node is put back as it was.
    """

    name: ClassVar[str] = "restart"
    node: str
    kind: Kind
    role: str
    """What it is at that moment, for people: "replica of n1"."""
    why: tuple[str, ...]
    """"Redis 7.0.15 -> Valkey 9.1.2", "tcp-backlog 511 -> 1024"."""
    pause_s: float = 0.0
    """For a primary without a replica: about how long its clients wait; 0 for others, whose clients do not."""

    @property
    def alone(self) -> bool:
        """Whether it is a primary that nobody can stand in for."""
        return self.pause_s > 0

    @property
    def title(self) -> str:
        waits = f"; its clients wait about {self.pause_s:.1f} s" if self.alone else ""
        return f"restart {self.node}, {self.role} ({', '.join(self.why)}){waits}"


@dataclass(frozen=True)
class SwitchPrimary(Step):
    """Hand a primary's role to a replica by the engine's own planned switch, so that the primary can be restarted."""

    name: ClassVar[str] = "switch"
    old: str
    new: str

    @property
    def title(self) -> str:
        return f"hand the role of {self.old} over to {self.new}"


@dataclass(frozen=True)
class WriteAnew(Step):
    """Have a server write to disk again what it last failed to write."""

    name: ClassVar[str] = "write"
    node: str
    command: str
    """BGSAVE or BGREWRITEAOF."""

    @property
    def title(self) -> str:
        what = "its snapshot" if self.command == "BGSAVE" else "its append-only file"
        return f"have {self.node} write {what} anew, for the last time failed"
