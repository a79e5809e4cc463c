"""How far the ways of a migration are, put together."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from holdfast.jobs.meter import Meter
from holdfast.migrate.journal import Journal, Stage
from holdfast.migrate.relay.commands import merged
from holdfast.migrate.write.history import Phase
from holdfast.migrate.write.way import Way

_ORDER = [Phase.CONNECTING, Phase.STOPPED, Phase.WAITING, Phase.REMOVING, Phase.LOADING, Phase.TAIL]


def losses_of(ways: Sequence[Way]) -> dict[str, int]:
    """What could not be carried, by what it was."""
    found: dict[str, int] = {}
    for way in ways:
        counts, written = way.relay.counts, way.writer.written
        lost = way.writer.loaded.lost
        for each in (counts.rdb_losses, counts.stream_losses, written.lost, written.refused, lost):
            found = merged(found, each)
    return found


@dataclass
class Pace:
    """How fast snapshots are written, which is not how fast they are read: they wait on disk in between."""

    keys: Meter = field(default_factory=Meter)
    read_bytes: Meter = field(default_factory=Meter)


def glance_of(
    ways: Sequence[Way], journal: Journal, trouble: str, keys_total: int, pace: Pace
) -> dict[str, Any]:
    """For progress.json; to be asked again and again with the same `pace`."""
    writers, relays = [way.writer for way in ways], [way.relay for way in ways]
    phase = min((writer.phase for writer in writers), key=_ORDER.index)
    now = time.monotonic()
    keys = sum(writer.loaded.keys for writer in writers)
    read_bytes = sum(writer.loaded.read_bytes for writer in writers)
    pace.keys.sample(now, keys)
    pace.read_bytes.sample(now, read_bytes)
    streamed_per_s = sum(relay.meter.per_s for relay in relays)
    return {
        "phase": "paused" if journal.stage is Stage.PAUSED else phase.value,
        "trouble": trouble or next((relay.trouble for relay in relays if relay.trouble), ""),
        "keys": keys,
        "keys_total": keys_total,
        "keys_per_s": round(pace.keys.per_s),
        "bytes": read_bytes,
        "bytes_per_s": round(pace.read_bytes.per_s if phase is Phase.LOADING else streamed_per_s),
        "offset": sum(relay.spool.end for relay in relays),
        "applied": sum(writer.position for writer in writers),
        "lag_bytes": sum(way.lag_bytes for way in ways),
        "lag_ms": round(1000 * max(way.lag_s(now) for way in ways)),
        "spool_bytes": sum(relay.spool.held_bytes for relay in relays),
        "losses": losses_of(ways),
        "full_syncs": len(journal.full_syncs) + sum(len(relay.counts.reasons) for relay in relays),
        "continued": sum(relay.counts.continued for relay in relays),
    }
