"""What a relay says of itself: how far it is, and what of it the journal has to remember."""

from __future__ import annotations

import time
from typing import Any

from holdfast.migrate.journal import Journal, Stage
from holdfast.migrate.relay.commands import merged
from holdfast.migrate.relay.leg import Leg
from holdfast.migrate.relay.terms import Phase
from holdfast.migrate.settings import Book

HEARD_EVERY_MS = 1500
"""A target tells its offset every second; one that has not for longer is behind by what it has been silent."""


def account(book: Book, leg: Leg | None) -> None:
    """Write down what must not be forgotten: full synchronisations and losses."""
    if leg is None:
        return
    journal, counts = book.journal, leg.relay.counts
    if counts.reasons:
        book.write(full_syncs=(*journal.full_syncs, *counts.reasons), losses={})
        counts.reasons = []
    losses = merged(counts.rdb_losses, counts.stream_losses)
    new = {what: count for what, count in losses.items() if count > journal.losses.get(what, 0)}
    if new:
        book.write(losses={**journal.losses, **new})


def glance(journal: Journal, leg: Leg | None, trouble: str) -> dict[str, Any]:
    """How far it is, for progress.json. Args: `trouble`, what is wrong with the end that follows."""
    if leg is None:
        return {"phase": "connecting", "trouble": trouble}
    relay, now = leg.relay, time.monotonic()
    silent_ms = (now - relay.heard_at_s) * 1000 if relay.lag_bytes else 0.0
    lag_ms = max(relay.lag.ms, silent_ms - HEARD_EVERY_MS) if relay.acknowledged >= 0 else 0.0
    loaded = relay.acknowledged >= 0
    phase = relay.phase.value
    if relay.phase is Phase.TAIL and not loaded:
        phase = "loading"
    if journal.stage is Stage.PAUSED:
        phase = "paused"
    return {
        "phase": phase,
        "trouble": trouble or relay.trouble,
        "keys": relay.counts.keys,
        "keys_total": leg.keys_total,
        "keys_per_s": round(relay.key_meter.per_s),
        "bytes": relay.counts.rdb_bytes if relay.phase is Phase.SNAPSHOT else relay.counts.stream_bytes,
        "bytes_per_s": round(relay.meter.per_s),
        "offset": leg.spool.end,
        "applied": relay.acknowledged,
        "lag_bytes": relay.lag.bytes if relay.acknowledged >= 0 else relay.lag_bytes,
        "lag_ms": round(lag_ms),
        "spool_bytes": leg.spool.held_bytes,
        "losses": dict(merged(relay.counts.rdb_losses, relay.counts.stream_losses)),
        "full_syncs": len(journal.full_syncs) + len(relay.counts.reasons),
        "continued": relay.counts.continued + leg.server.continued,
    }
