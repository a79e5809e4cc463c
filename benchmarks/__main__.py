"""`python -m benchmarks [NAME ...] [--quick] [--engine ENGINE ...] [--kills N]`: measure, and write it into RESULTS.md.

Each section is written as soon as it is measured, so one that fails later costs nothing that was there. `--quick` runs
small, to see that everything works: its figures mean nothing and go to build/bench instead.
"""

from __future__ import annotations

import argparse
import functools
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import (
    bring_up,
    client,
    codec,
    compare,
    cutover,
    cutover_write,
    failover,
    load,
    migrate,
    quiet,
    reshard,
    status,
)
from benchmarks.results import Section, with_section, with_tables
from benchmarks.workshop import ROOT, TEST_STATE, engines_at_hand, fetch_engines
from holdfast.engine.build import EngineBuild

Benchmark = Callable[..., Section]
BENCHMARKS: dict[str, Benchmark] = {
    bring_up.NAME: bring_up.run,
    **{f"{client.NAME}-{part}": functools.partial(client.run, part=part) for part in client.GROUPS},
    codec.NAME: codec.run,
    load.NAME: load.run,
    reshard.NAME: reshard.run,
    status.NAME: status.run,
    **{
        f"failover-{mode}-{engine}": functools.partial(failover.run, mode=mode, engine=engine)
        for mode in failover.MODES
        for engine in failover.ENGINES
    },
    **{f"{quiet.NAME}-{engine}": functools.partial(quiet.run, engine=engine) for engine in failover.ENGINES},
    **{f"{migrate.NAME}-{part}": functools.partial(migrate.run, part=part) for part in migrate.PARTS},
    cutover.NAME: cutover.run,
    cutover_write.NAME: cutover_write.run,
    compare.NAME: compare.run,
}
RESULTS = ROOT / "benchmarks" / "RESULTS.md"
PAGES = (ROOT / "docs" / "failover.md",)
"""They show tables of the results."""
QUICK_RESULTS = ROOT / "build" / "bench" / "RESULTS.quick.md"
NEEDED = frozenset((*bring_up.ENGINES, *reshard.ENGINES, *failover.ENGINES))


def main() -> int:
    """Run what was asked for; 1 when one of them failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure Holdfast.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(BENCHMARKS)}; all without one")
    parser.add_argument("--quick", action="store_true", help="small sizes, results to build/bench")
    parser.add_argument("--engine", action="append", default=[], help="only this engine; may be repeated")
    parser.add_argument(
        "--kills", type=int, metavar="N", help=f"of each failover row; {failover.KILLS} without it"
    )
    given = parser.parse_args()
    unknown = [name for name in given.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    if given.kills is not None and given.kills < 1:
        parser.error("--kills must be 1 or more")
    benchmarks = {
        name: functools.partial(each, kills=given.kills) if name.startswith("failover-") else each
        for name, each in BENCHMARKS.items()
    }
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that all is taken down
    at_hand = engines_at_hand() if TEST_STATE.exists() else {}
    if not at_hand.keys() >= NEEDED:
        fetch_engines()
        at_hand = engines_at_hand()
    results = QUICK_RESULTS if given.quick else RESULTS
    failed = [
        name
        for name in given.names or BENCHMARKS
        if not _measured(name, benchmarks[name], at_hand, given.engine, results, quick=given.quick)
    ]
    print(f"Results: {results.relative_to(ROOT)}")
    return 1 if failed else 0


def _measured(
    name: str,
    benchmark: Benchmark,
    at_hand: dict[str, EngineBuild],
    engines: Sequence[str],
    results: Path,
    *,
    quick: bool,
) -> bool:
    print(f"{name}:", flush=True)
    try:
        section = benchmark(at_hand, engines, quick=quick)
    except failover.NotAtHand as absent:
        print(f"{name}: {absent} is not at hand; its section of the results is as it was")
        return True
    except Exception:
        traceback.print_exc()
        print(f"{name} failed; its section of the results is as it was", file=sys.stderr)
        return False
    results.parent.mkdir(parents=True, exist_ok=True)
    before = results.read_text() if results.exists() else ""
    results.write_text(with_section(before, section))
    for page in PAGES if results == RESULTS else ():
        page.write_text(with_tables(page.read_text(), section))
    print(section.text, flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
