"""The write pause of a migration's switches, there and back, under load, and whether a write was lost.

Target: p99 under 250 ms over 100 switches, every acknowledged write there once.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.machine import this_machine
from benchmarks.migrate_servers import bare, fill_small
from benchmarks.results import Section
from benchmarks.switching import BACKLOG, QUICK_SWITCHES, SWITCHES, WRITERS, Ends, pauses_table, switched
from benchmarks.workshop import CommandFailed, workshop
from holdfast.engine.build import EngineBuild

NAME = "cutover"
SOURCE, TARGET = "redis-8.0", "valkey-9.1"
KEYS, QUICK_KEYS = 100_000, 2_000


def run(at_hand: dict[str, EngineBuild], wanted: Sequence[str], *, quick: bool) -> Section:
    """All figures."""
    if SOURCE not in at_hand or TARGET not in at_hand:
        raise CommandFailed(f"{SOURCE} and {TARGET} are not both at hand")
    times, keys = (QUICK_SWITCHES, QUICK_KEYS) if quick else (SWITCHES, KEYS)
    with (
        workshop() as shop,
        bare(at_hand[SOURCE], BACKLOG) as source,
        bare(at_hand[TARGET], BACKLOG) as target,
    ):
        fill_small(source, keys)
        done = switched(shop, Ends(source.port, target.port, clustered=False, lists=1), times)
    return Section(
        NAME,
        "The write pause of a migration's switches",
        f"{this_machine()}. `holdfast migrate cutover` and `rollback` in turn, {SOURCE} and {TARGET}; {WRITERS} writers append unique "
        f"ids, one at a time, wherever they are accepted, {done.written / done.took_s:,.0f} a second over all. The pause is what the "
        "command prints: from before the first write is held until after the release.\n\n"
        f"{pauses_table(done.switches)}\n\n{done.ledger}",
    )
