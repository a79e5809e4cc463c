"""Verdicts as people see them: beside each other on a terminal of any width, a line each in a pipe."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from holdfast.cli.prove_views import block_of, line_of, promises_table
from holdfast.prove.evidence import Evidence, Finding
from holdfast.prove.verdict import Verdict, kept, not_kept, not_provable

WHY = "p99 is 8.89 ms; the machine had no free core"


def finding(verdict: Verdict) -> Finding:
    return Finding("performance.latency", "Answers", "performance", "promises.latency", (), "load", verdict)


def printed(what: object, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(what)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [50, 80, 200])
def test_on_a_terminal_no_word_is_cut_off(width: int) -> None:
    text = printed(block_of(finding(not_kept("p99 <= 5 ms at 10,000/s", "p99 8.89 ms", WHY))), width)
    assert max(map(len, text.splitlines())) <= width
    told = " ".join(text.split())
    for words in (
        "not kept",
        "performance.latency",
        "promised: p99 <= 5 ms at 10,000/s",
        "measured: p99 8.89 ms",
        WHY,
    ):
        assert words in told


def test_in_a_pipe_promise_and_figure_are_on_the_line_of_their_verdict() -> None:
    lines = printed(line_of(finding(not_kept("p99 <= 5 ms", "p99 8.89 ms", WHY))), 2000).splitlines()
    assert len(lines) == 2
    assert all(
        words in lines[0] for words in ("not kept", "performance.latency", "p99 <= 5 ms", "p99 8.89 ms")
    )
    assert WHY in lines[1]
    assert len(printed(line_of(finding(kept("p", "m", "a note"))), 2000).splitlines()) == 1


def test_the_short_table_holds_what_could_be_judged() -> None:
    verdicts = [kept("p1", "m1"), not_kept("p2", "m2", "w2"), not_provable("p3", "why", "instead", "m3")]
    evidence = Evidence(
        "shop",
        "2026-11-21T10:00:00+00:00",
        1.0,
        "0.1.0",
        "ab",
        "valkey-9.1",
        {},
        {},
        tuple(map(finding, verdicts)),
    )
    text = printed(promises_table(evidence), 200)
    assert "NO: w2" in text
    assert "m1" in text
    assert "m3" not in text
