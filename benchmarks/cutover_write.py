"""The write pause of switches between one server and a cluster (`--mode write`), there and back, under load; what each step takes
of it, and whether a write was lost.

Target: p99 under 250 ms over 100 switches, every acknowledged write there once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.compare import cluster
from benchmarks.machine import this_machine
from benchmarks.migrate_servers import bare, fill_small
from benchmarks.results import Section, percentile, table
from benchmarks.switching import BACKLOG, QUICK_SWITCHES, SWITCHES, WRITERS, Ends, pauses_table, switched
from benchmarks.workshop import CommandFailed, workshop
from holdfast.engine.build import EngineBuild
from holdfast.migrate.journal import Step

NAME = "cutover-write"
SOURCE, TARGET = "redis-8.0", "valkey-8.1"
KEYS, QUICK_KEYS = 200_000, 2_000
LISTS = 50
STEPS = (Step.HOLD, Step.SETTLE, Step.FENCE, Step.PROVE, Step.CHECK, Step.PROMOTE, Step.RELEASE)


def run(at_hand: dict[str, EngineBuild], wanted: Sequence[str], *, quick: bool) -> Section:
    """All figures."""
    if SOURCE not in at_hand or TARGET not in at_hand:
        raise CommandFailed(f"{SOURCE} and {TARGET} are not both at hand")
    times, keys = (QUICK_SWITCHES, QUICK_KEYS) if quick else (SWITCHES, KEYS)
    with workshop() as shop, bare(at_hand[SOURCE], BACKLOG) as source, cluster(at_hand[TARGET]) as target:
        fill_small(source, keys)
        ends = Ends(source.port, target[0].port, clustered=True, lists=LISTS)
        done = switched(shop, ends, times, "--mode", "write")
    return Section(
        NAME,
        "The write pause of switches between one server and a cluster",
        f"{this_machine()}. `holdfast migrate cutover` and `rollback` in turn, `--mode write`, {SOURCE} with {keys:,} keys and three "
        f"shards of {TARGET}; {WRITERS} writers append unique ids to {LISTS} lists each, wherever they are accepted, "
        f"{done.written / done.took_s:,.0f} a second over all. The pause is what the command prints: from before the first write is held "
        f"until after the release. The first switch took {done.switches[0]['write_pause_ms']:.0f} ms.\n\n"
        f"{pauses_table(done.switches)}\n\n{_steps(done.switches)}\n\n{done.ledger}",
    )


def _steps(switches: list[dict[str, Any]]) -> str:
    """What each step within the pause takes."""
    rows = []
    for step in STEPS:
        times = [float(each["took_ms"][step.value]) for each in switches]
        rows.append([step.value, *(f"{percentile(times, share):.1f}" for share in (50, 90, 99, 100))])
    return table(["step", "p50 ms", "p90 ms", "p99 ms", "max ms"], rows)
