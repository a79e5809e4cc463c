"""Which charts a run's evidence gives: latency by percentile, and throughput around each failure. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hdrh.histogram import HdrHistogram

from holdfast.prove.evidence import Evidence, Finding
from holdfast.prove.judges.availability import gap_text
from holdfast.prove.report.svg import Axis, Chart, Series, decades, draw, steps, x_scale, y_scale

NINES = ((50.0, "50"), (90.0, "90"), (99.0, "99"), (99.9, "99.9"), (99.99, "99.99"))
BEFORE_S, AFTER_S = 0.8, 1.6
"""Drawn before a failure and after its gap."""
SHORT = 110
"""Points of a line at most: more would hide the gap among the noise."""


@dataclass(frozen=True)
class Figure:
    """One chart with the words around it."""

    id: str
    title: str
    drawing: str
    caption: str


def latency_figure(finding: Finding) -> Figure | None:
    """Latency over percentile, both logarithmic, a line for each command."""
    histograms: Mapping[str, str] = finding.measured.get("histograms", {})
    names = [name for name in ("all", *sorted(histograms)) if name in histograms]
    names = [name for place, name in enumerate(names) if name not in names[:place] and name != "FILL"]
    if not names:
        return None
    lines = [Series(name, _curve(histograms[name])) for name in names]
    values = [y for line in lines for _, y in line.points]
    if not values:
        return None
    ticks = decades(min(values), max(values))
    promise = finding.measured.get("percentile"), finding.verdict.promised
    limit = _limit_ms(promise[1])
    chart = Chart(
        title=f"{finding.title}: latency by percentile",
        x=Axis("percentile of answers", [(100 / (100 - share), words) for share, words in NINES]),
        y=Axis("milliseconds", [(each, f"{each:g}") for each in ticks]),
        x_scale=x_scale(1, 20_000, logarithmic=True),
        y_scale=y_scale(ticks[0], ticks[-1], logarithmic=True),
        series=lines,
        limit=(limit, f"promised: {limit:g} ms") if limit else None,
    )
    rate = finding.measured.get("rate_per_s", 0)
    clients = finding.measured.get("offer", {}).get("clients", 0)
    return Figure(
        finding.id,
        finding.title,
        draw(chart),
        f"{rate:,.0f} answers per second from {clients} clients; time from the moment a command was due, so that a stall "
        "is seen by everything that it held up.",
    )


def _curve(encoded: str) -> list[tuple[float, float]]:
    histogram = HdrHistogram.decode(encoded.encode())
    count = histogram.get_total_count()
    if not count:
        return []
    shares = [1 - 10 ** (-place / 12) for place in range(int(12 * 4.3))]
    shown = [share for share in shares if (1 - share) * count >= 1]
    return [
        (1 / (1 - share), max(histogram.get_value_at_percentile(100 * share), 1) / 1000) for share in shown
    ]


def _limit_ms(promised: str) -> float | None:
    """The promised milliseconds out of `p99 <= 5 ms at ...`."""
    head, mark, rest = promised.partition("<= ")
    number = rest.split(" ", 1)[0]
    return float(number) if mark and head.startswith("p") and number.replace(".", "", 1).isdigit() else None


def failure_figures(finding: Finding) -> list[Figure]:
    """Acknowledged writes over time around one failure, a line for each shard, the gap shaded."""
    runs: list[Mapping[str, Any]] = [finding.measured]
    if "min_replicas" in finding.measured:
        runs.append(finding.measured["min_replicas"])
    return [figure for run in runs if (figure := _failure(finding, run)) is not None]


def _failure(finding: Finding, run: Mapping[str, Any]) -> Figure | None:
    ledger = run.get("ledger")
    if not ledger or not ledger["acks"]:
        return None
    touched = set(run.get("shards", ())) or set(ledger["acks"])
    waits = bool(run.get("judged_by_wait"))
    worst = max(
        (group for group in ledger["groups"] if group["shard"] in touched and bool(group["wait"]) is waits),
        key=lambda group: group["gap_ms"],
        default=None,
    )
    if worst is None:
        return None
    at_s, gap_s = run["at_s"], worst["gap_ms"] / 1000
    end_s = max(at_s, worst["gap_at_s"] + gap_s) + max(AFTER_S, gap_s * 0.4)
    start_s = max(0.0, at_s - max(BEFORE_S, gap_s * 0.2))
    bucket_s = ledger["bucket_s"]
    written_s = bucket_s * max(len(acks) for acks in ledger["acks"].values())
    end_s = max(min(end_s, written_s), worst["gap_at_s"] + gap_s, at_s + bucket_s)
    together = max(1, round((end_s - start_s) / SHORT / bucket_s))
    lines = []
    for shard, acks in sorted(ledger["acks"].items(), key=lambda pair: pair[0] not in touched):
        points = _rates(acks, bucket_s, together, start_s, end_s, at_s)
        lines.append(
            Series(
                f"shard of {shard}"
                + (" (hit)" if shard in touched and len(touched) < len(ledger["acks"]) else ""),
                points,
                area=shard in touched,
                faint=shard not in touched,
            )
        )
    highest = max((y for line in lines for _, y in line.points), default=1.0)
    y_ticks = steps(highest)
    x_ticks = _seconds(start_s - at_s, end_s - at_s)
    left = worst["gap_at_s"] - at_s
    chart = Chart(
        title=f"{run.get('kind', finding.title)}: acknowledged writes per second",
        x=Axis("seconds since it happened", [(each, f"{each:g}") for each in x_ticks]),
        y=Axis("writes per second", [(each, f"{each:,.0f}") for each in y_ticks]),
        x_scale=x_scale(start_s - at_s, end_s - at_s),
        y_scale=y_scale(0, y_ticks[-1], height=220),
        series=lines,
        marks=[(0.0, "")],
        bands=[(left, left + gap_s, f"{gap_text(worst['gap_ms'])} without a write")],
        height=220,
    )
    lost = f"lost: {ledger['lost_without_wait']} of those that did not wait for a replica, {ledger['lost_with_wait']} of those that did"
    kind = str(run.get("kind", finding.title))
    return Figure(
        finding.id,
        kind[:1].upper() + kind[1:],
        draw(chart),
        f"Longest wait of any client {gap_text(worst['gap_ms'])}; {ledger['acknowledged']:,} writes acknowledged, {lost}. "
        f"Whole again after {run['whole_after_s']:.1f} s.",
    )


def _rates(
    acks: Sequence[int], bucket_s: float, together: int, start_s: float, end_s: float, at_s: float
) -> list[tuple[float, float]]:
    first, last = int(start_s / bucket_s), min(len(acks), int(end_s / bucket_s) + 1)
    wide_s = bucket_s * together
    return [
        (place * bucket_s + wide_s / 2 - at_s, sum(acks[place : place + together]) / wide_s)
        for place in range(first, last, together)
    ]


def _seconds(low: float, high: float) -> list[float]:
    span = high - low
    step = next(each for each in (0.2, 0.5, 1, 2, 5, 10, 20, 60) if span / each <= 8 or each == 60)
    first = int(low / step) - (low < 0)
    return [round(place * step, 3) for place in range(first, int(high / step) + 1) if place * step >= low]


def figures_of(evidence: Evidence) -> tuple[list[Figure], list[Figure]]:
    """Latency charts and failure charts of a run."""
    latencies = [
        figure
        for finding in evidence.findings
        if finding.family == "performance" and (figure := latency_figure(finding)) is not None
    ]
    failures = [
        figure
        for finding in evidence.findings
        if finding.family == "availability"
        for figure in failure_figures(finding)
    ]
    return latencies, failures
