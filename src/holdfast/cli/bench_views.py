"""What `bench` prints."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from holdfast.load.result import Latency, LoadResult, limit_words
from holdfast.load.workload import Workload


def bench_text(result: LoadResult, workload: Workload) -> Callable[[Console], None]:
    """For people."""

    def text(console: Console) -> None:
        offer = result.offer
        asked = f"{offer.rate_per_s:,.0f}/s offered" if offer.rate_per_s else "as many as were taken"
        together = f", {offer.pipeline} together" if offer.pipeline > 1 else ""
        console.print(
            f"{workload.source}: {result.rate_per_s:,.0f} answers/s ({asked}) for {result.seconds:g} s from "
            f"{offer.clients} clients on {result.connections} connections{together}",
            markup=False,
        )
        console.print(_table(result))
        for line in ledger_lines(result):
            console.print(line, markup=False)
        for line in workload.left_out:
            console.print(f"left out: {line}", markup=False)
        if words := limit_words(result):
            console.print(Text(words[:1].upper() + words[1:] + ".", style="yellow"))

    return text


def ledger_lines(result: LoadResult) -> list[str]:
    """What became of reads and writes."""
    lines = []
    if result.hit_percent is not None:
        lines.append(
            f"{result.hits + result.misses:,} reads, {result.hit_percent:.1f} % hit; {result.fills:,} misses written"
        )
    lines.append(
        f"{result.writes:,} writes acknowledged; {result.verified:,} keys read back: {result.lost:,} lost, "
        f"{result.doubled:,} doubled; {result.stale:,} stale answers"
    )
    if result.errors:
        told = ", ".join(f"{count:,} x {name}" for name, count in sorted(result.errors.items()))
        lines.append(f"{result.error_count:,} commands failed: {told}")
    if result.unsent:
        lines.append(
            f"{result.unsent:,} commands were due and never sent; they count as waiting until the end"
        )
    return lines


def _table(result: LoadResult) -> Table:
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("ms")
    for heading in ("count", "mean", "p50", "p90", "p99", "p99.9", "p99.99", "max"):
        table.add_column(heading, justify="right")
    for each in (*result.latencies, result.overall):
        table.add_row(*_row(each))
    return table


def _row(each: Latency) -> list[str]:
    figures = [each.mean_ms, *each.percentiles_ms.values(), each.max_ms]
    return [each.command, f"{each.count:,}", *(f"{figure:,.3f}" for figure in figures)]
