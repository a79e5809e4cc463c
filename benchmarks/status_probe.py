"""`holdfast status` taken apart, in a process of its own: `python -m benchmarks.status_probe CACHE LOOKS STARTED`.

STARTED is the monotonic clock's reading just before this process was made. The parts are the command's own, in its own
order; only what is between them is ours. Prints JSON.
"""

from __future__ import annotations

import time

ENTERED = time.monotonic()


def main() -> int:
    import asyncio
    import contextlib
    import io
    import json
    import sys

    from holdfast.cli.main import register

    register("status")  # as main does before any command
    from holdfast.cli.console import show
    from holdfast.cli.look import Report, look
    from holdfast.cli.opening import named
    from holdfast.cli.views import status_facts, status_text

    imported = time.monotonic()
    cache, looks, started = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    given = named(cache)
    opened = time.monotonic()

    async def work() -> list[tuple[float, Report]]:
        taken = []
        for _ in range(looks):
            began = time.monotonic()
            report = await look(given)
            taken.append((time.monotonic() - began, report))
        return taken

    taken = asyncio.run(work())
    looked = time.monotonic()
    report = taken[-1][1]
    with contextlib.redirect_stdout(io.StringIO()):
        show(status_facts(report), status_text(report), as_json=True)
    shown = time.monotonic()
    parts = {
        "interpreter_ms": (ENTERED - started) * 1000,
        "imports_ms": (imported - ENTERED) * 1000,
        "spec_ms": (opened - imported) * 1000,
        "looks_ms": [took_s * 1000 for took_s, _ in taken],
        "observed_ms": [each.seen.took_ms for _, each in taken],
        "show_ms": (shown - looked) * 1000,
        "nodes": len(report.seen.nodes),
        "problems": [problem.what for each in taken for problem in each[1].problems],
    }
    print(json.dumps(parts))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
