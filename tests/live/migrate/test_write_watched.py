"""A target that Sentinels watch loses its primary while it is written to: it fails over, or the primary comes back empty before."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import redis
from tests.live.compare.test_compare import kinds
from tests.live.conftest import need
from tests.live.migrate.ledger import Writers, account
from tests.live.migrate.plain import Plain
from tests.live.migrate.shapes import an_end
from tests.live.migrate.test_write import compared
from tests.live.migrate.writing import writing
from tests.live.plain import plain, reached
from tests.live.ports import LOOPBACK

from holdfast.engine.connection import Endpoint


def role(server: Plain) -> str:
    """By its own word; empty while a Sentinel tells it another one, for that ends its clients' connections."""
    try:
        return str(server.info()["role"])
    except redis.exceptions.ConnectionError:
        return ""


@pytest.mark.long
@pytest.mark.timeout(150)
@pytest.mark.parametrize("engine", ["valkey-9.1", "redis-7.0"])
@pytest.mark.parametrize("back", ["after-the-failover", "at-once-and-empty"])
async def test_a_watched_target_whose_primary_dies(tmp_path: Path, engine: str, back: str) -> None:
    async with plain(need(engine)) as (source,):
        with an_end("sentinel", need(engine)) as target:
            old, new = target.primary, target.replica
            assert new is not None
            seeds = [Endpoint(LOOPBACK, old.port), Endpoint(LOOPBACK, new.port)]
            writers = Writers([source.endpoint], tasks=2, pause_s=0.001)
            await writers.start()
            try:
                async with writing([source.endpoint], seeds, tmp_path) as ways:
                    await ways.caught_up()
                    await asyncio.sleep(1)
                    old.kill()
                    if back == "after-the-failover":

                        async def promoted() -> bool:
                            return role(new) == "master"

                        await reached(promoted, 40)
                    await asyncio.to_thread(old.start)

                    async def one_primary() -> bool:
                        return sorted((role(old), role(new))) == ["master", "slave"]

                    await reached(one_primary, 40)
                    await asyncio.sleep(1)
                    await writers.stop()
                    await ways.caught_up()
                    report = await compared([source.endpoint], seeds)
                    assert kinds(report) == {}
                    assert await account(writers.ledger, seeds) == []
                    assert writers.ledger.acknowledged > 500
                    loads = ways.ways[0].writer.written.loads
                    assert loads == (1 if back == "after-the-failover" else 2), ways.told
            finally:
                await writers.stop()
