"""What a check is: an experiment that measures, and a judge that knows nothing but figures and promises."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from holdfast.prove.verdict import Verdict
from holdfast.spec.cache import Spec

if TYPE_CHECKING:
    from holdfast.prove.stage import Stage

Measured = Mapping[str, Any]
"""What an experiment measured: JSON types only, for it becomes evidence as it is."""


class Disturbs(StrEnum):
    """What a check does to a cache that people use."""

    HARMLESS = "harmless"
    """A few commands."""
    LOAD = "load"
    """Much traffic on keys of its own; others may wait longer meanwhile."""
    DISRUPTIVE = "disruptive"
    """Nodes are killed, halted or switched; what was there is put back."""


class Need(StrEnum):
    """What a check cannot do without."""

    RECORD = "a cache that Holdfast started"
    HERE = "its nodes on this machine"
    """Their processes can be seen and killed only from where they run."""
    SUPERVISOR = "its supervisor running"
    REPLICAS = "a replica for each primary"
    CLUSTER = "mode cluster"
    ZONES = "more than one zone"
    TRAFFIC = "namespaces that declare traffic"
    SERVICES = "a declared service"
    TLS = "nodes that speak TLS"


@dataclass(frozen=True)
class Check:
    """One experiment."""

    id: str
    """`family.name`."""
    title: str
    promise: str
    """The spec field that it answers to."""
    seed: tuple[str, ...]
    """The lines of the operator's checklist that it answers (`holdfast.prove.lines`)."""
    disturbs: Disturbs
    takes_s: float
    """About how long, on a quiet machine."""
    needs: frozenset[Need]
    run: Callable[[Stage], Awaitable[Measured]]
    judge: Callable[[Measured, Spec], Verdict]

    @property
    def family(self) -> str:
        return self.id.partition(".")[0]
