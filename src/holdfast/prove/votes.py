"""When the engine votes again: asked twice within two node timeouts to replace the same primary, its voters refuse. Pure.

(Redis 7.0 and Valkey 8.0, clusterSendFailoverAuthIfNeeded in src/cluster.c and cluster_legacy.c: `voted_time`.) Experiments
come faster upon each other than failures do, so they wait for it: else they would measure their own haste.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

ALLOWANCE_S = 1.0


def voted_at(events: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Primary -> when it was last replaced or switched away from, in seconds since 1970, as supervisors wrote it down."""
    found: dict[str, float] = {}
    for event in events:
        kind = event.get("kind")
        if kind in {"failover", "lost"}:
            name = str(event.get("node", ""))
        elif kind == "switched home":
            name = str(event.get("from", ""))
        else:
            continue
        try:
            at_s = datetime.fromisoformat(str(event.get("at"))).timestamp()
        except ValueError:
            continue
        found[name] = max(at_s, found.get(name, 0.0))
    return found


def wait_s(
    primaries: Iterable[str], voted: Mapping[str, float], now_s: float, node_timeout_s: float
) -> float:
    """How long until all of these may be replaced by a vote; never longer than a vote's own pause, whatever the clock did."""
    pause_s = 2 * node_timeout_s + ALLOWANCE_S
    due_s = [voted[name] + pause_s - now_s for name in primaries if name in voted]
    return min(max(0.0, *due_s), pause_s) if due_s else 0.0
