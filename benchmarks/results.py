"""How measurements are written down: spreads, Markdown tables, and one section of RESULTS.md replaced in place. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

OPENING = """\
# Measurements

Written by `make bench` (`python -m benchmarks [NAME ...]`); each benchmark replaces its own section. Times are wall
clock. Median, min and max are over the runs of one table row; what stands beside Holdfast as a peer was measured in
the same run on the same machine.
"""


@dataclass(frozen=True)
class Spread:
    """Several measurements of one thing, in one unit."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def lowest(self) -> float:
        return min(self.values)

    @property
    def highest(self) -> float:
        return max(self.values)

    def cells(self, digits: int) -> tuple[str, str, str]:
        """Median, min and max as table cells."""
        return (
            f"{self.median:.{digits}f}",
            f"{self.lowest:.{digits}f}",
            f"{self.highest:.{digits}f}",
        )


@dataclass(frozen=True)
class Section:
    """One benchmark's part of the results."""

    name: str
    """The benchmark's own: what `python -m benchmarks NAME` runs."""
    title: str
    text: str


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that `percent` of all do not exceed. Raises: ValueError when there is none."""
    if not values:
        raise ValueError("no values, so no percentile")
    ordered = sorted(values)
    at = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(at) - 1)]


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; a bar inside a cell does not end it."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def verdict(median: float, target: float) -> str:
    """The cell that says whether a target was met, by the median."""
    return "met" if median < target else "**not met**"


def with_section(text: str, section: Section) -> str:
    """The results with that section in place of the one of its name, or at the end where there was none."""
    begin, end = f"<!-- {section.name}: begin -->", f"<!-- {section.name}: end -->"
    block = f"{begin}\n## {section.title}\n\n{section.text.strip()}\n{end}"
    before, opened, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if opened and closed:
        return before + block + after
    return f"{(text or OPENING).rstrip()}\n\n{block}\n"


def tables(text: str) -> str:
    """The tables alone of a section, without the words around them."""
    blocks = [block for block in text.split("\n\n") if block.lstrip().startswith("|")]
    return "\n\n".join(block.strip() for block in blocks)


def section_of(text: str, name: str) -> str:
    """What stands between a section's marks; empty where there is none."""
    _, opened, rest = text.partition(f"<!-- {name}: begin -->")
    inside, closed, _ = rest.partition(f"<!-- {name}: end -->")
    return inside.strip() if opened and closed else ""


def with_tables(text: str, section: Section) -> str:
    """A page that shows the section's tables between its marks, with these in their place; as it is where it has none."""
    begin, end = f"<!-- {section.name}: begin -->", f"<!-- {section.name}: end -->"
    before, opened, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not opened or not closed:
        return text
    return f"{before}{begin}\n{tables(section.text)}\n{end}{after}"
