"""What traffic is offered: flows of commands over families of keys, from a spec's own `traffic` or a file. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, ValidationError

from holdfast.errors import HoldfastError
from holdfast.spec.cache import Spec
from holdfast.spec.document import read_document
from holdfast.spec.model import Model
from holdfast.spec.names import NamespaceName
from holdfast.spec.pattern import PatternText, parse_pattern
from holdfast.spec.units import FROM_FILE, Bytes, Seconds

MARK = "hfprove"
"""Every key that load or a proof writes holds this word in a field of its pattern; no other key is ever touched."""
GROUP_KEYS = 8
"""Keys that MGET asks for at once; they share a hash tag, for in a cluster they must share a slot."""
DEFAULT_VALUE_BYTES = 256


class Command(StrEnum):
    """What a flow can consist of."""

    GET = "GET"
    SET = "SET"
    MGET = "MGET"
    HSET = "HSET"
    HGETALL = "HGETALL"
    INCR = "INCR"
    RPUSH = "RPUSH"


@dataclass(eq=False)
class WorkloadInvalid(HoldfastError):
    """A workload cannot be offered."""

    source: str
    faults: tuple[str, ...]

    def __str__(self) -> str:
        shown = "; ".join(self.faults[:10])
        return f"{self.source} is no workload ({shown}); nothing was sent. docs/prove.md has an example"


@dataclass(frozen=True)
class Flow:
    """Traffic on one family of keys."""

    name: str
    pattern: str
    keys: int
    """Keys alive at the same time, at least 1."""
    value_bytes: int
    ttl_s: int
    """How long its keys live; always given, so that nothing stays for ever if everything else fails."""
    skew: float
    """Exponent of the Zipf distribution of its keys; 0 uses them evenly."""
    commands: Mapping[Command, float] = field(default_factory=dict)
    """Commands per second of each kind; only their shares count where a total rate is given."""
    churn_per_s: float = 0.0
    """Keys per second that are used no more and replaced by new ones."""

    @property
    def rate_per_s(self) -> float:
        return sum(self.commands.values())


@dataclass(frozen=True)
class Workload:
    """All flows together."""

    source: str
    """Where it comes from: the spec, or a file."""
    flows: tuple[Flow, ...]
    left_out: tuple[str, ...] = ()
    """Namespaces that have traffic and are not offered, with the reason."""

    @property
    def rate_per_s(self) -> float:
        """Commands per second, all flows."""
        return sum(flow.rate_per_s for flow in self.flows)

    @property
    def data_bytes(self) -> int:
        """What all its values hold together, without what an engine adds to a key."""
        return sum(flow.keys * flow.value_bytes for flow in self.flows)

    def scaled(self, share: float) -> Workload:
        """The same with that share of the keys, at least one in each flow."""
        flows = tuple(replace(flow, keys=max(1, round(flow.keys * share))) for flow in self.flows)
        return replace(self, flows=flows)


DEFAULT_TTL_S = 3600


def from_spec(spec: Spec) -> Workload:
    """The traffic that the spec's own namespaces declare: reads are GET, writes SET, counters INCR.

    Raises: WorkloadInvalid when no namespace declares any.
    """
    flows: list[Flow] = []
    left_out: list[str] = []
    for name, namespace in spec.keyspace.namespaces.items():
        traffic = namespace.traffic
        if traffic.reads_per_s + traffic.writes_per_s <= 0:
            continue
        if not namespace.fields:
            left_out.append(
                f"{name}: its pattern has no field, so its only key belongs to the application and is not touched"
            )
            continue
        flows.append(
            Flow(
                name=name,
                pattern=namespace.pattern,
                keys=max(1, traffic.keys),
                value_bytes=traffic.value_bytes or DEFAULT_VALUE_BYTES,
                ttl_s=namespace.ttl_s or DEFAULT_TTL_S,
                skew=traffic.skew,
                commands={Command.GET: traffic.reads_per_s, Command.SET: traffic.writes_per_s},
            )
        )
    if not flows:
        raise WorkloadInvalid(
            spec.cache.name, ("no namespace with a field declares traffic (reads_per_s, writes_per_s)",)
        )
    return Workload(f"the traffic of {spec.cache.name}", tuple(flows), tuple(left_out))


class FlowSpec(Model):
    """Traffic on one family of keys, as a workload file says it."""

    pattern: PatternText
    """What its keys look like, with at least one field: `cart:{userId}`."""
    keys: int = Field(default=1000, ge=1, le=50_000_000)
    """Keys alive at the same time."""
    value_bytes: Bytes = Field(default=DEFAULT_VALUE_BYTES, alias="value", ge=1, le=64 << 20)
    """Size of a value."""
    ttl_s: Seconds = Field(default=DEFAULT_TTL_S, alias="ttl", ge=1)
    """How long a value lives."""
    skew: float = Field(default=0, ge=0, le=3)
    """Exponent of the Zipf distribution of its keys."""
    churn_per_s: float = Field(default=0, ge=0)
    """Keys per second that give way to new ones."""
    commands: Mapping[Command, Annotated[float, Field(gt=0)]] = Field(min_length=1)
    """Commands per second of each kind: GET, SET, MGET, HSET, HGETALL, INCR, RPUSH."""


class WorkloadSpec(Model):
    """A workload file."""

    flows: Mapping[NamespaceName, FlowSpec] = Field(min_length=1, max_length=200)
    """Families of keys, by name."""


def from_file(source: str, text: bytes) -> Workload:
    """A workload as a YAML file says it. Raises: WorkloadInvalid with all faults."""
    document = read_document(source, text)
    if document.faults:
        raise WorkloadInvalid(source, tuple(fault.message for fault in document.faults))
    try:
        read = WorkloadSpec.model_validate(
            document.data, by_alias=True, by_name=False, context={FROM_FILE: True}
        )
    except ValidationError as wrong:
        raise WorkloadInvalid(source, tuple(_said(error) for error in wrong.errors())) from None
    fixed = [name for name, flow in read.flows.items() if not parse_pattern(flow.pattern).fields]
    if fixed:
        raise WorkloadInvalid(
            source, tuple(f"the pattern of {name} has no field: there is nothing to vary" for name in fixed)
        )
    flows = tuple(
        Flow(
            name=name,
            pattern=flow.pattern,
            keys=flow.keys,
            value_bytes=flow.value_bytes,
            ttl_s=flow.ttl_s,
            skew=flow.skew,
            commands=dict(flow.commands),
            churn_per_s=flow.churn_per_s,
        )
        for name, flow in read.flows.items()
    )
    return Workload(source, flows)


def _said(error: Mapping[str, Any]) -> str:
    at = ".".join(str(part) for part in error["loc"])
    return f"{at}: {error['msg']}" if at else str(error["msg"])
