"""Charts as SVG text: axes, lines, areas. Pure; every number that reaches the text is formatted here, every word escaped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH, HEIGHT = 720, 300
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 16, 44
COLOURS = ("var(--c1)", "var(--c2)", "var(--c3)", "var(--c4)", "var(--c5)", "var(--c6)")

Point = tuple[float, float]


@dataclass(frozen=True)
class Scale:
    """From a value to a place along an axis."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def at(self, value: float) -> float:
        """The place; values outside are drawn at the edge."""
        low, high = (
            (math.log10(self.low), math.log10(self.high)) if self.logarithmic else (self.low, self.high)
        )
        there = math.log10(max(value, 1e-12)) if self.logarithmic else value
        share = (there - low) / (high - low) if high > low else 0.0
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)


@dataclass(frozen=True)
class Axis:
    """What is written along one side."""

    title: str
    ticks: Sequence[tuple[float, str]]


@dataclass(frozen=True)
class Series:
    """One line."""

    name: str
    points: Sequence[Point]
    area: bool = False
    faint: bool = False


@dataclass(frozen=True)
class Chart:
    """All that is drawn."""

    title: str
    """Read out by screen readers; not drawn."""
    x: Axis
    y: Axis
    x_scale: Scale
    y_scale: Scale
    series: Sequence[Series]
    marks: Sequence[tuple[float, str]] = ()
    """Vertical lines at x, with a word."""
    bands: Sequence[tuple[float, float, str]] = ()
    """Shaded from x to x, with a word."""
    limit: tuple[float, str] | None = None
    """Horizontal line at y."""
    height: int = HEIGHT
    legend: bool = True
    classes: tuple[str, ...] = field(default=())


def x_scale(low: float, high: float, *, logarithmic: bool = False) -> Scale:
    """Across a chart."""
    return Scale(low, high, LEFT, WIDTH - RIGHT, logarithmic)


def y_scale(low: float, high: float, *, logarithmic: bool = False, height: int = HEIGHT) -> Scale:
    """Up a chart."""
    return Scale(low, high, height - BOTTOM, TOP, logarithmic)


def draw(chart: Chart) -> str:
    """The chart as an `svg` element that scales with its place."""
    height = chart.height
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(chart.title, quote=True)}" '
        'preserveAspectRatio="xMidYMid meet">'
    ]
    for start, end, words in chart.bands:
        left, right = chart.x_scale.at(start), chart.x_scale.at(end)
        wide = max(right - left, 1.5)
        parts.append(
            f'<rect class="band" x="{left:.1f}" y="{TOP}" width="{wide:.1f}" height="{height - BOTTOM - TOP}"/>'
        )
        anchor, place = ("start", right + 5)
        if wide > WIDTH * 0.3:
            anchor, place = ("middle", left + wide / 2)
        elif left > WIDTH * 0.5:
            anchor, place = ("end", left - 5)
        parts.append(
            f'<text class="band-word" x="{place:.1f}" y="{TOP + 12}" text-anchor="{anchor}">{escape(words)}</text>'
        )
    for value, words in chart.y.ticks:
        at = chart.y_scale.at(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(
            f'<text class="tick" x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{escape(words)}</text>'
        )
    for value, words in chart.x.ticks:
        at = chart.x_scale.at(value)
        parts.append(
            f'<text class="tick" x="{at:.1f}" y="{height - BOTTOM + 18}" text-anchor="middle">{escape(words)}</text>'
        )
    parts.append(
        f'<text class="axis" x="{(LEFT + WIDTH - RIGHT) / 2:.1f}" y="{height - 6}" text-anchor="middle">{escape(chart.x.title)}</text>'
    )
    parts.append(
        f'<text class="axis" transform="translate(14 {(TOP + height - BOTTOM) / 2:.1f}) rotate(-90)" text-anchor="middle">{escape(chart.y.title)}</text>'
    )
    for place, series in enumerate(chart.series):
        parts += _line(chart, series, COLOURS[place % len(COLOURS)])
    for value, words in chart.marks:
        at = chart.x_scale.at(value)
        parts.append(f'<line class="mark" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{height - BOTTOM}"/>')
        parts.append(
            f'<text class="mark-word" x="{at - 5:.1f}" y="{height - BOTTOM - 6}" text-anchor="end">{escape(words)}</text>'
        )
    if chart.limit is not None:
        value, words = chart.limit
        at = chart.y_scale.at(value)
        parts.append(f'<line class="limit" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text class="limit-word" x="{LEFT + 6}" y="{at - 5:.1f}">{escape(words)}</text>')
    parts.append("</svg>")
    drawn = "".join(parts)
    return drawn + _legend(chart.series) if chart.legend and len(chart.series) > 1 else drawn


def _line(chart: Chart, series: Series, colour: str) -> list[str]:
    if not series.points:
        return []
    places = [(chart.x_scale.at(x), chart.y_scale.at(y)) for x, y in series.points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    faint = ' opacity="0.45"' if series.faint else ""
    drawn = []
    if series.area:
        floor = chart.height - BOTTOM
        drawn.append(
            f'<polygon points="{places[0][0]:.1f},{floor} {path} {places[-1][0]:.1f},{floor}" fill="{colour}" opacity="0.16"/>'
        )
    drawn.append(
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2" stroke-linejoin="round"{faint}/>'
    )
    return drawn


def _legend(series: Sequence[Series]) -> str:
    items = "".join(
        f'<span><i style="background:{COLOURS[place % len(COLOURS)]}"></i>{escape(each.name)}</span>'
        for place, each in enumerate(series)
    )
    return f'<div class="legend">{items}</div>'


def steps(high: float, count: int = 4) -> list[float]:
    """Round numbers from 0 up to about `high`."""
    if high <= 0:
        return [0.0, 1.0]
    raw = high / count
    size = 10 ** math.floor(math.log10(raw))
    step = next(each * size for each in (1, 2, 5, 10) if each * size >= raw)
    return [place * step for place in range(int(high / step + 0.999) + 1)]


def decades(low: float, high: float) -> list[float]:
    """Powers of ten that enclose both."""
    first, last = math.floor(math.log10(max(low, 1e-6))), math.ceil(math.log10(max(high, low * 1.01, 1e-6)))
    return [10.0**place for place in range(first, max(last, first + 1) + 1)]
