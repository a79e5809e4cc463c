"""The figures of a cache for Prometheus and OpenTelemetry; off until one of these is called. Needs holdfast[metrics]."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from holdfast.client.async_cache import AsyncCache
from holdfast.client.cache import Cache
from holdfast.client.figures import BOUNDS_S
from holdfast.client.health import Health

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric

COUNTERS = {
    "hits_l1": "Reads served from this process's own memory",
    "hits_l2": "Reads served from the servers",
    "misses": "Reads that found nothing",
    "negative_hits": "Reads that found a remembered absence",
    "loads": "Calls of loaders",
    "load_failures": "Loaders that raised",
    "shared_loads": "Callers that waited for another's load",
    "early_refreshes": "Values loaded anew before they ended",
    "stale_serves": "Values served past their end",
    "lease_waits": "Callers that waited for another process's load",
    "stores_refused": "Loaded values not kept because the key had changed",
    "store_failures": "Loaded values that could not be kept",
    "unreadable": "Values that could not be read and counted as missing",
    "replica_fallbacks": "Reads that went on to the primary",
    "retries": "Calls tried again",
    "retries_refused": "Calls not tried again for want of a budget",
    "redirects": "Calls that a node sent elsewhere",
    "unavailable": "Calls that no node answered in time",
    "links_lost": "Watchers' connections that ended",
    "breakers_opened": "Times that a node was given up for a while",
    "l1_fills": "Values put into this process's memory",
    "l1_dropped_fills": "Values not put there because they were invalidated on their way",
    "l1_evictions": "Values put out for want of room",
    "l1_invalidations": "Keys that were invalidated",
    "l1_flushes": "Times that all of it was dropped",
}
BREAKER_STATES = ("closed", "half-open", "open")


def to_prometheus(cache: Cache | AsyncCache, registry: CollectorRegistry | None = None) -> Callable[[], None]:
    """Offer the figures to a registry (the default one without it). Returns: a function that takes them back."""
    from prometheus_client import REGISTRY

    collector = _Collector(cache)
    chosen = registry if registry is not None else REGISTRY
    chosen.register(collector)
    return lambda: chosen.unregister(collector)


class _Collector:
    """Reads the figures when they are asked for."""

    def __init__(self, cache: Cache | AsyncCache) -> None:
        self._cache = cache

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.metrics_core import (
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
        )

        health = self._cache.health()
        for name, text in COUNTERS.items():
            counter = CounterMetricFamily(f"holdfast_client_{name}", text, labels=["cache"])
            counter.add_metric([health.cache], health.figures[name])
            yield counter
        for name, text, each in _gauges(health):
            labels = ["cache", *(["node"] if each and each[0][0] else [])]
            gauge = GaugeMetricFamily(f"holdfast_client_{name}", text, labels=labels)
            for node, value in each:
                gauge.add_metric([health.cache, *([node] if node else [])], value)
            yield gauge
        lag = self._cache.shared.figures.invalidation_lag
        histogram = HistogramMetricFamily(
            "holdfast_client_invalidation_lag_seconds",
            "From this process's own writes to the invalidations that follow them",
            labels=["cache"],
        )
        total, buckets = 0, []
        for bound, count in zip((*BOUNDS_S, "+Inf"), lag.counts, strict=True):
            total += count
            buckets.append((str(bound), float(total)))
        histogram.add_metric([health.cache], buckets, lag.total_s)
        yield histogram


def _gauges(health: Health) -> list[tuple[str, str, list[tuple[str, float]]]]:
    """Name, description, and for each node (or none) the value."""
    nodes = health.nodes
    return [
        ("l1_entries", "Values in this process's memory", [("", health.l1_entries)]),
        ("l1_bytes", "About what they take", [("", health.l1_bytes)]),
        ("coherent", "1 while the link vouches for what was read", [(n.address, n.coherent) for n in nodes]),
        (
            "proof_age_seconds",
            "Since the link was last proven to work",
            [(n.address, n.proof_age_s) for n in nodes if n.proof_age_s is not None],
        ),
        (
            "replica_lag_bound_seconds",
            "A replica is at most this far behind",
            [(n.address, n.lag_bound_s) for n in nodes if n.lag_bound_s is not None],
        ),
        (
            "breaker_state",
            "0 closed, 1 half-open, 2 open",
            [(n.address, BREAKER_STATES.index(n.breaker)) for n in nodes],
        ),
        ("connections_in_use", "Connections that callers have", [(n.address, n.connections) for n in nodes]),
        (
            "round_trip_seconds",
            "Of the watcher's last keepalive",
            [(n.address, n.round_trip_s) for n in nodes],
        ),
    ]


def to_opentelemetry(cache: Cache | AsyncCache, meter: Meter | None = None) -> None:
    """Offer the figures to a meter (the global provider's without it)."""
    from opentelemetry import metrics
    from opentelemetry.metrics import CallbackOptions, Observation

    chosen = meter if meter is not None else metrics.get_meter("holdfast.client")

    def counter(name: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_: CallbackOptions) -> Iterable[Observation]:
            health = cache.health()
            yield Observation(health.figures[name], {"cache": health.cache})

        return observe

    def gauge(index: int) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_: CallbackOptions) -> Iterable[Observation]:
            health = cache.health()
            for node, value in _gauges(health)[index][2]:
                labels: dict[str, Any] = {"cache": health.cache} | ({"node": node} if node else {})
                yield Observation(float(value), labels)

        return observe

    for name, text in COUNTERS.items():
        chosen.create_observable_counter(f"holdfast.client.{name}", [counter(name)], description=text)
    for index, (name, text, _) in enumerate(_gauges(cache.health())):
        chosen.create_observable_gauge(f"holdfast.client.{name}", [gauge(index)], description=text)
