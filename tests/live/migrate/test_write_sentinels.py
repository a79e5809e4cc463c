"""Mode `write` between ends that Sentinels watch: they take what reads their primary for no replica of it."""

from __future__ import annotations

import time

import pytest
from tests.live.conftest import need, until
from tests.live.migrate.journey import benched, in_step
from tests.live.migrate.shapes import an_end
from tests.live.migrate.test_journey import fill

LOOKS_EVERY_S = 10.0
"""A Sentinel asks a primary for its replicas this often. Source: SENTINEL_INFO_PERIOD in src/sentinel.c."""


@pytest.mark.long
@pytest.mark.timeout(240)
@pytest.mark.parametrize("pair", [("redis-7.0", "valkey-9.1"), ("valkey-8.1", "redis-8.0")], ids="-to-".join)
def test_sentinels_list_no_reader_as_a_replica(pair: tuple[str, str]) -> None:
    with (
        benched() as bench,
        an_end("sentinel", need(pair[0])) as source,
        an_end("sentinel", need(pair[1])) as target,
    ):
        fill(source.primary, 200, field_ttls=False)
        ends = ("--from", source.url, "--to", target.url, "--mode", "write")
        bench.run("migrate", "start", "m", *ends, check=True)
        in_step(bench)
        for turn, (verb, primary, follower) in enumerate(
            (("", source, target), ("cutover", target, source), ("rollback", source, target))
        ):
            if verb:
                bench.run("migrate", verb, "m", check=True)
                in_step(bench)
            primary.primary.client.set("turn", turn)
            until(lambda: follower.primary.client.get("turn") == str(turn).encode(), 20)  # noqa: B023
            assert primary.primary.info()["connected_slaves"] == 2  # its own, and ours
            time.sleep(LOOKS_EVERY_S * 1.2)
            source.settled(1)
            target.settled(1)
        bench.run("migrate", "cutover", "m", check=True)
        bench.run("migrate", "finish", "m", "--yes", check=True)
        time.sleep(LOOKS_EVERY_S * 1.2)
        source.settled(1)
        target.settled(1)
