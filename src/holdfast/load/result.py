"""What all workers measured, together, and who was the limit. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from hdrh.histogram import HdrHistogram

from holdfast.load.job import Offer, WorkerReport
from holdfast.load.measures import BUCKET_S, encoded, histogram_of

PERCENTILES = (50.0, 90.0, 99.0, 99.9, 99.99)
KEPT_UP = 0.99
"""An offer is met when at least this share of it was answered in its time."""
BUSY = 0.9
"""Share of a core from which a worker is taken for saturated: it is one thread."""
MACHINE_BUSY = 0.95


class Limit(StrEnum):
    """What kept the load from being more."""

    NONE = "none"
    """The offer was met."""
    SERVER = "server"
    CLIENT = "client"
    MACHINE = "machine"
    """Load and cache share a machine whose cores were all busy: it cannot be said which of the two was slower."""


@dataclass(frozen=True)
class Latency:
    """One kind of command."""

    command: str
    count: int
    mean_ms: float
    percentiles_ms: Mapping[str, float]
    max_ms: float

    @classmethod
    def of(cls, command: str, histogram: HdrHistogram) -> Latency:
        return cls(
            command=command,
            count=histogram.get_total_count(),
            mean_ms=round(histogram.get_mean_value() / 1000, 4),
            percentiles_ms={
                f"{share:g}": histogram.get_value_at_percentile(share) / 1000 for share in PERCENTILES
            },
            max_ms=histogram.get_max_value() / 1000,
        )


@dataclass(frozen=True)
class LoadResult:
    """One load, measured."""

    source: str
    offer: Offer
    seconds: float
    offered: int
    answered: int
    unsent: int
    rate_per_s: float
    """Answers per second."""
    limit: Limit
    machine_share: float
    """Of all cores, busy while it ran."""
    client_share: float
    """Of its core, that the busiest worker used."""
    client_late_p99_ms: float
    """99th percentile of how late the workers themselves were."""
    latencies: tuple[Latency, ...]
    overall: Latency
    """All commands that the workload asked for; a miss's own write is not among them."""
    histograms: Mapping[str, str]
    """Command -> encoded histogram; `all` is their sum."""
    hits: int
    misses: int
    fills: int
    writes: int
    verified: int
    lost: int
    doubled: int
    stale: int
    errors: Mapping[str, int]
    connections: int
    prefilled: int
    removed: int
    bucket_s: float = BUCKET_S
    acks: Sequence[int] = field(default_factory=tuple)
    failed: Sequence[int] = field(default_factory=tuple)
    worst_us: Sequence[int] = field(default_factory=tuple)

    @property
    def hit_percent(self) -> float | None:
        """Share of reads that found their key; None without reads."""
        reads = self.hits + self.misses
        return 100 * self.hits / reads if reads else None

    @property
    def error_count(self) -> int:
        return sum(self.errors.values())

    def percentile_ms(self, percentile: float) -> float:
        """Latency at any percentile, all commands together."""
        histogram = HdrHistogram.decode(self.histograms["all"].encode())
        return float(histogram.get_value_at_percentile(percentile)) / 1000

    def to_json(self) -> dict[str, Any]:
        """Every figure, the raw histograms among them."""
        from dataclasses import asdict

        return asdict(self) | {"hit_percent": self.hit_percent}


def merged(reports: Sequence[WorkerReport], source: str, offer: Offer, machine_share: float) -> LoadResult:
    """The workers' reports as one result. Args: `machine_share`, of all cores, busy meanwhile."""
    counted_s = max((report.counted_s for report in reports), default=0.0) or offer.seconds
    names = sorted({name for report in reports for name in report.histograms})
    sums = {
        name: _sum(report.histograms[name] for report in reports if name in report.histograms)
        for name in names
    }
    everything = histogram_of({})
    for name, histogram in sums.items():
        if name != "FILL":
            everything.add(histogram)
    late = _sum(report.late for report in reports if report.late)
    answered = sum(report.answered for report in reports)
    offered = sum(report.offered + report.unsent for report in reports)
    client_share = max((report.cpu_share for report in reports), default=0.0)
    errors: dict[str, int] = {}
    for report in reports:
        for name, count in report.errors.items():
            errors[name] = errors.get(name, 0) + count
    return LoadResult(
        source=source,
        offer=offer,
        seconds=counted_s,
        offered=offered,
        answered=answered,
        unsent=sum(report.unsent for report in reports),
        rate_per_s=round(answered / counted_s, 1),
        limit=limit_of(offered, answered, client_share, machine_share, open_loop=offer.rate_per_s > 0),
        machine_share=round(machine_share, 3),
        client_share=round(client_share, 3),
        client_late_p99_ms=late.get_value_at_percentile(99) / 1000 if late.get_total_count() else 0.0,
        latencies=tuple(Latency.of(name, sums[name]) for name in names),
        overall=Latency.of("all", everything),
        histograms={name: encoded(histogram) for name, histogram in sums.items()}
        | {"all": encoded(everything)},
        hits=sum(report.hits for report in reports),
        misses=sum(report.misses for report in reports),
        fills=sum(report.fills for report in reports),
        writes=sum(report.writes for report in reports),
        verified=sum(report.verified for report in reports),
        lost=sum(report.lost for report in reports),
        doubled=sum(report.doubled for report in reports),
        stale=sum(report.stale for report in reports),
        errors=errors,
        connections=sum(report.connections for report in reports),
        prefilled=sum(report.prefilled for report in reports),
        removed=sum(report.removed for report in reports),
        acks=_added([report.bucket_acks for report in reports]),
        failed=_added([report.bucket_errors for report in reports]),
        worst_us=_highest([report.bucket_worst_us for report in reports]),
    )


def limit_of(
    offered: int, answered: int, client_share: float, machine_share: float, *, open_loop: bool
) -> Limit:
    """Who was the limit: nobody where the offer was met; without a rate, somebody always was."""
    if open_loop and answered >= KEPT_UP * offered:
        return Limit.NONE
    if client_share >= BUSY:
        return Limit.CLIENT
    return Limit.MACHINE if machine_share >= MACHINE_BUSY else Limit.SERVER


def limit_words(result: LoadResult) -> str:
    """What the limit means for the figures, for people; empty where they stand as they are."""
    cores = f"the machine's cores were {result.machine_share:.0%} busy, the busiest load process used {result.client_share:.0%} of one"
    match result.limit:
        case Limit.CLIENT:
            return f"the load generator was the limit, not the cache ({cores}): the cache may carry more, and its latencies may be lower"
        case Limit.MACHINE:
            return f"load and cache share a machine without a free core ({cores}): on machines of their own both do better"
        case Limit.SERVER:
            return f"the cache was the limit ({cores})"
        case Limit.NONE:
            if result.client_share >= BUSY:
                return f"the load generator was near its own limit ({cores}): latencies are upper bounds"
            if result.machine_share >= MACHINE_BUSY:
                return f"the machine had no free core ({cores}): latencies include waiting for one"
            return ""


def _sum(encoded_histograms: Iterable[str]) -> HdrHistogram:
    total = histogram_of({})
    for text in encoded_histograms:
        total.add(HdrHistogram.decode(text.encode()))
    return total


def _added(series: Sequence[Sequence[int]]) -> tuple[int, ...]:
    length = max(map(len, series), default=0)
    return tuple(sum(each[place] for each in series if place < len(each)) for place in range(length))


def _highest(series: Sequence[Sequence[int]]) -> tuple[int, ...]:
    length = max(map(len, series), default=0)
    return tuple(
        max((each[place] for each in series if place < len(each)), default=0) for place in range(length)
    )
