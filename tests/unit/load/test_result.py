"""Merging what workers measured, and naming the limit."""

from __future__ import annotations

import pytest

from holdfast.load.job import Offer, WorkerReport, share_out
from holdfast.load.measures import Counts, Measures
from holdfast.load.result import Limit, limit_of, limit_words, merged


def report(worker: int, values_us: list[int]) -> WorkerReport:
    made = WorkerReport(worker, counted_s=1.0, offered=len(values_us), cpu_share=0.4)
    measures = Measures(["GET", "FILL"])
    measures.begin(100.0)
    for value_us in values_us:
        measures.values[0].add(value_us)
    measures.took(len(values_us), max(values_us), 100.05)
    measures.fill(made)
    return made


def test_percentiles_are_those_of_all_workers_together() -> None:
    result = merged(
        [report(0, [1000] * 98), report(1, [1000, 50_000])], "x", Offer(100.0, 1.0, workers=2), 0.5
    )
    assert result.answered == 100
    assert result.overall.percentiles_ms["50"] == pytest.approx(1.0, rel=0.01)
    assert result.percentile_ms(99.5) == pytest.approx(50.0, rel=0.01)
    assert result.overall.max_ms == pytest.approx(50.0, rel=0.01)
    assert result.limit is Limit.NONE
    assert result.acks == (100,)


def test_commands_that_were_never_sent_count_as_waiting() -> None:
    """Else a generator that falls behind would look fast."""
    made = WorkerReport(0, counted_s=1.0, offered=100)
    measures = Measures(["GET"])
    measures.begin(0.0)
    for _ in range(100):
        measures.values[0].add(1000)
    measures.took(100, 1000, 0.5)
    measures.never_sent(0.0, 0.01, 1.0, 100, 1)
    measures.fill(made)
    made.unsent = 100
    result = merged([made], "x", Offer(200.0, 1.0), 0.5)
    assert result.overall.count == 200
    assert result.percentile_ms(75) > 400
    assert result.limit is Limit.SERVER


@pytest.mark.parametrize(
    ("offered", "answered", "client", "machine", "open_loop", "limit"),
    [
        (1000, 995, 0.5, 0.5, True, Limit.NONE),
        (1000, 900, 0.95, 0.99, True, Limit.CLIENT),
        (1000, 900, 0.5, 0.99, True, Limit.MACHINE),
        (1000, 900, 0.5, 0.6, True, Limit.SERVER),
        (1000, 1000, 0.5, 0.6, False, Limit.SERVER),
        (1000, 1000, 0.95, 0.6, False, Limit.CLIENT),
    ],
)
def test_the_limit_is_named(
    offered: int, answered: int, client: float, machine: float, open_loop: bool, limit: Limit
) -> None:
    assert limit_of(offered, answered, client, machine, open_loop=open_loop) is limit


def test_a_client_near_its_own_limit_says_so_though_the_offer_was_met() -> None:
    busy = report(0, [1000] * 100)
    busy.cpu_share = 0.97
    result = merged([busy], "x", Offer(100.0, 1.0), 0.5)
    assert result.limit is Limit.NONE
    assert "upper bounds" in limit_words(result)


def test_clients_are_dealt_evenly() -> None:
    assert share_out(50, 3) == [17, 17, 16]


def test_every_length_of_waiting_is_counted_where_it_belongs() -> None:
    """Below and above what is counted in a list, and none twice."""
    counts = Counts()
    for value_us in (0, 1, 1, 65_535, 65_536, 65_536, 90_000_000):
        counts.add(value_us)
    counts.update({1: 10, 7_000_000: 2})
    assert counts.all() == {0: 1, 1: 12, 65_535: 1, 65_536: 2, 7_000_000: 2, 90_000_000: 1}
