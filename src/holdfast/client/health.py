"""What one process knows of its cache at this moment, for health endpoints and for people."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.client.shared import Shared


@dataclass(frozen=True)
class NodeHealth:
    """One node as this process sees it."""

    address: str
    role: str
    breaker: str
    coherent: bool
    """Whether its link vouches for what the first tier has from it."""
    proof_age_s: float | None
    """How long ago that was last proven."""
    lag_bound_s: float | None
    """Of a replica: it is at most this far behind its primary."""
    round_trip_s: float
    connections: int


@dataclass(frozen=True)
class Health:
    """One cache as this process sees it."""

    cache: str
    known: bool
    """Whether it is known where the keys are."""
    nodes: tuple[NodeHealth, ...]
    l1_entries: int
    l1_bytes: int
    figures: dict[str, int]


def health_of(shared: Shared) -> Health:
    """Look; nobody is asked."""
    now, layout = shared.clock.now(), shared.layout
    primaries = layout.primaries if layout is not None else frozenset()
    nodes = []
    for node in list(shared.nodes.values()):
        trust = node.trust
        vouched = trust is not None and now < trust.until
        nodes.append(
            NodeHealth(
                str(node.address),
                "primary" if node.address in primaries else "replica",
                node.breaker.state(now).value,
                vouched,
                None
                if trust is None or not vouched
                else round(now - (trust.until - shared.max_silence_s), 6),
                None
                if node.address in primaries or node.fresh_as_of == float("-inf")
                else round(now - node.fresh_as_of, 6),
                node.round_trip_s,
                node.door.in_use,
            )
        )
    l1 = shared.l1
    figures = shared.figures.as_dict() | {
        "hits_l1": l1.hits,
        "l1_fills": l1.fills,
        "l1_dropped_fills": l1.dropped_fills,
        "l1_evictions": l1.evictions,
        "l1_invalidations": l1.invalidations,
        "l1_flushes": l1.flushes,
        "retries_refused": shared.budget.refused,
        "breakers_opened": sum(node.breaker.opened for node in list(shared.nodes.values())),
    }
    return Health(shared.profile.cache, layout is not None, tuple(nodes), len(l1.entries), l1.bytes, figures)
