"""The figures in docs/failover.md are those of benchmarks/RESULTS.md."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks import failover
from benchmarks.results import Section, section_of, tables, with_section, with_tables

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("engine", failover.ENGINES)
@pytest.mark.parametrize("mode", failover.MODES)
def test_the_page_shows_the_tables_of_the_results(mode: str, engine: str) -> None:
    name = f"failover-{mode}-{engine}"
    page = section_of((ROOT / "docs" / "failover.md").read_text(), name)
    measured = tables(section_of((ROOT / "benchmarks" / "RESULTS.md").read_text(), name))
    assert page == (measured or f"*{engine}: not measured yet.*")


def test_a_new_measurement_replaces_the_tables_and_nothing_else() -> None:
    section = Section(
        "failover-x", "Failover, x", "How it was done.\n\n| a |\n| --- |\n| 1 |\n\n*a*: what it says."
    )
    page = "Before.\n\n<!-- failover-x: begin -->\n| old |\n<!-- failover-x: end -->\n\nAfter.\n"
    shown = with_tables(page, section)
    assert shown == (
        "Before.\n\n<!-- failover-x: begin -->\n| a |\n| --- |\n| 1 |\n<!-- failover-x: end -->\n\nAfter.\n"
    )
    assert with_tables(shown, section) == shown
    assert with_tables("A page without marks.\n", section) == "A page without marks.\n"
    results = with_section("", section)
    assert tables(section_of(results, "failover-x")) == section_of(shown, "failover-x")
