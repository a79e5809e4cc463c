"""How many load processes an offer gets."""

from __future__ import annotations

import pytest

from holdfast.load.job import Offer
from holdfast.load.run import workers_for


@pytest.mark.parametrize(
    ("offer", "tls", "workers"),
    [
        (Offer(0, 1.0), False, 2),
        (Offer(0, 1.0, clients=1), False, 1),
        (Offer(1, 1.0), False, 1),
        (Offer(30_000, 1.0), False, 1),
        (Offer(30_001, 1.0), False, 2),
        (Offer(100_000, 1.0, pipeline=16), False, 2),
        (Offer(60_000, 1.0, pipeline=16), False, 1),
        (Offer(10_000, 1.0), True, 1),
        (Offer(13_000, 1.0), True, 2),
        (Offer(1e9, 1.0), True, 2),
        (Offer(1e9, 1.0, workers=8), True, 4),
    ],
)
def test_no_more_processes_than_the_rate_needs(offer: Offer, tls: bool, workers: int) -> None:
    assert workers_for(offer, tls=tls, cores=4).workers == workers
