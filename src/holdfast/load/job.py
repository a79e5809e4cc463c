"""What one load worker is told and what it answers: plain values that pass through a pipe as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from holdfast.load.workload import Command, Flow


@dataclass(frozen=True)
class Reach:
    """How the servers of a cache are reached, and which of them is asked for what."""

    nodes: tuple[tuple[str, int], ...]
    """Address and port of every server."""
    primaries: tuple[int, ...]
    """Indexes of the primaries among `nodes`."""
    slots: tuple[tuple[int, int, int], ...] = ()
    """In a cluster: first and last slot and the index of their owner; empty outside one."""
    replicas: Mapping[int, int] = field(default_factory=dict)
    """Primary -> a replica of it, both as indexes; for reads from replicas."""
    user: str = ""
    password: str = field(default="", repr=False)
    ca_file: str = ""
    """The authority to trust; empty: no TLS."""

    @property
    def clustered(self) -> bool:
        return bool(self.slots)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        return cls(
            nodes=tuple((host, port) for host, port in value["nodes"]),
            primaries=tuple(value["primaries"]),
            slots=tuple((first, last, owner) for first, last, owner in value["slots"]),
            replicas={int(primary): replica for primary, replica in value["replicas"].items()},
            user=value["user"],
            password=value["password"],
            ca_file=value["ca_file"],
        )


@dataclass(frozen=True)
class Offer:
    """How much is offered and for how long."""

    rate_per_s: float
    """Commands per second of all workers together; 0: each client sends as soon as it has its answers."""
    seconds: float
    clients: int = 50
    """Each with one connection to every primary, and one pipeline of commands under way at a time."""
    pipeline: int = 1
    """Commands sent together."""
    workers: int = 2
    """Load processes at the most; a rate that fewer can offer gets fewer."""
    warm_up_s: float = 0.5
    """Offered before anything counts."""
    prefill: bool = True
    """Whether all keys are written first."""
    cache_aside: bool = True
    """Whether a client that misses writes the value, as applications do."""
    reads_from_replicas: bool = False
    timeout_s: float = 1.0
    """After this, a command without an answer is an error."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Job:
    """One worker's part."""

    run: str
    """Word that is part of every key written."""
    worker: int
    reach: Reach
    offer: Offer
    flows: tuple[Flow, ...]
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        return cls(
            run=value["run"],
            worker=value["worker"],
            reach=Reach.from_json(value["reach"]),
            offer=Offer(**value["offer"]),
            flows=tuple(_flow(each) for each in value["flows"]),
            seed=value["seed"],
        )


def _flow(value: Mapping[str, Any]) -> Flow:
    commands = {Command(name): rate for name, rate in value["commands"].items()}
    return Flow(**{**value, "commands": commands})


@dataclass
class WorkerReport:
    """What one worker measured."""

    worker: int
    began_s: float = 0.0
    """Wall clock at which counting began."""
    counted_s: float = 0.0
    offered: int = 0
    """Commands that were due within the time."""
    answered: int = 0
    unsent: int = 0
    """Commands that were due and could not be sent before the end; they count in the histogram as still waiting."""
    histograms: dict[str, str] = field(default_factory=dict)
    """Command -> HDR histogram of microseconds since it was due, encoded as HdrHistogram does (V2, base 64)."""
    late: str = ""
    """Histogram of microseconds by which the worker itself was late: due, a client free, and not yet sent."""
    hits: int = 0
    misses: int = 0
    fills: int = 0
    stale: int = 0
    """Reads that answered an older value than one acknowledged before they were sent."""
    writes: int = 0
    """Acknowledged writes."""
    lost: int = 0
    """Keys whose last acknowledged write was not there afterwards."""
    doubled: int = 0
    """Ids that were there more than once (RPUSH)."""
    verified: int = 0
    """Keys that were read back."""
    errors: dict[str, int] = field(default_factory=dict)
    bucket_acks: list[int] = field(default_factory=list)
    """Answers in each 100 ms since counting began."""
    bucket_errors: list[int] = field(default_factory=list)
    bucket_worst_us: list[int] = field(default_factory=list)
    cpu_share: float = 0.0
    """Of one core, that this worker used while it counted."""
    connections: int = 0
    prefilled: int = 0
    """Keys written before the load."""
    keys: int = 0
    """Keys that had an acknowledged SET."""
    removed: int = 0
    """Keys it removed again."""
    failed: str = ""
    """Why it ended early."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        return cls(**value)


def share_out(total: int, parts: int) -> Sequence[int]:
    """`total` dealt to `parts` as evenly as whole numbers allow."""
    return [total // parts + (part < total % parts) for part in range(parts)]
