"""How quickly a compared server answers others is heard on every kind of connection, and only what the reading itself costs slows it."""

from __future__ import annotations

import asyncio
import statistics
from pathlib import Path

from tests.live.conftest import need
from tests.live.engine.servers import cache_spec, make_tls, running
from tests.live.plain import Plain, plain, reached

from holdfast.compare.latency import LatencyProbe
from holdfast.compare.options import Options
from holdfast.compare.pace import PaceLimits
from holdfast.compare.run import Comparison
from holdfast.compare.side import Side
from holdfast.engine.connection import Endpoint
from holdfast.engine.pipeline import pack

KEYS = 60_000
DEBUG = ("--enable-debug-command", "yes")


async def busy(server: Plain) -> None:
    """Blocked for 8 ms after 8 ms, until cancelled."""
    async with server.link() as pipe:
        while True:
            await pipe.ask("DEBUG", "SLEEP", "0.008")


async def heard_by(endpoint: Endpoint) -> tuple[float | None, list[float]]:
    probe = LatencyProbe([endpoint])
    probe.start()
    try:
        alone_ms = await probe.alone_ms()
        await asyncio.sleep(0.5)
        return alone_ms, probe.newest_ms()
    finally:
        probe.stop()


async def both(
    server: Plain, other: Plain, pace: PaceLimits, meanwhile: list[asyncio.Task[None]]
) -> Comparison:
    one, two = await Side.open([server.endpoint]), await Side.open([other.endpoint])
    made = Comparison(one, two, Options(pace=pace))
    try:
        async with asyncio.timeout(60):
            report = await made.run()
        assert (report.keys, report.same, report.different) == (KEYS, KEYS, 0)
        return made
    finally:
        one.close()
        two.close()
        for task in meanwhile:
            task.cancel()
        await asyncio.gather(*meanwhile, return_exceptions=True)


async def fill(*servers: Plain) -> None:
    for server in servers:
        async with server.link() as pipe:
            for first in range(0, KEYS, 10_000):
                keys = range(first, first + 10_000)
                await pipe.send(b"".join(pack("SET", f"k{number}", number) for number in keys), 10_000)


async def test_a_server_that_others_keep_busy_is_not_read_more_slowly_for_that() -> None:
    async with plain(need("valkey-8.1"), *DEBUG, count=2) as (one, other):
        await fill(one, other)
        made = await both(one, other, PaceLimits(added_ms=20.0), [asyncio.create_task(busy(one))])
        assert made.report.slowed == 0
        sides = await Side.open([one.endpoint]), await Side.open([other.endpoint])
        slowing = Comparison(*sides, Options(pace=PaceLimits(added_ms=0.0)))
        task = asyncio.create_task(slowing.run())
        try:
            await reached(lambda: is_slowed(slowing))
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            for side in sides:
                side.close()


async def is_slowed(made: Comparison) -> bool:
    return made.report.slowed > 0


async def test_what_a_busy_server_takes_is_heard() -> None:
    async with plain(need("valkey-8.1"), *DEBUG) as (server,):
        quick, _ = await heard_by(server.endpoint)
        task = asyncio.create_task(busy(server))
        try:
            await asyncio.sleep(0.1)
            alone_ms, newest = await heard_by(server.endpoint)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert quick is not None
        assert alone_ms is not None
        assert alone_ms > max(2.0, quick)
        assert statistics.median(newest) > 2.0
        server.kill()
        assert await heard_by(server.endpoint) == (None, [])


async def test_users_over_tls_and_by_a_socket_in_the_file_system(tmp_path: Path) -> None:
    spec, tls = cache_spec(security={"tls": {"mode": "required"}}), make_tls(tmp_path / "tls")
    async with running(need("valkey-8.0"), tmp_path / "n", spec, tls=tls) as server:
        for endpoint in (server.front("bill"), server.front(), server.door()):
            alone_ms, newest = await heard_by(endpoint)
            assert alone_ms is not None
            assert 0 < alone_ms < 1000
            assert newest
