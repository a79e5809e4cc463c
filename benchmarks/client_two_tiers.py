"""Candidates for get-or-load in two tiers, and the time that an invalidation takes."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.client_rounds import Candidate
from benchmarks.client_work import KEYS, VALUE, Work, fill, ours, port_of, warm


def gol_keys(at: int, prefix: str = "bill") -> str:
    """One in a hundred is new. Args: `prefix`, of each candidate's own: they write what others cannot read."""
    if at % 100 == 99:
        return f"{prefix}:inquiry:new{time.perf_counter_ns()}:1"
    return f"{prefix}:inquiry:C{at % 1000}:202509"


def gol_ours(url: str) -> Work:
    cache = ours(url)
    near = warm(cache)

    def load(customerId: str, month: str) -> str:
        return VALUE

    def work(operations: int) -> None:
        for at in range(operations):
            near.get_or_load(load, gol_keys(at))

    return Work(work, cache.close, lambda: warm(cache) and None)


def gol_dogpile(url: str) -> Work:
    from dogpile.cache import make_region

    region = make_region().configure(
        "dogpile.cache.redis", arguments={"port": port_of(url)}, expiration_time=3600
    )

    def work(operations: int) -> None:
        for at in range(operations):
            region.get_or_create(gol_keys(at, "dogpile"), lambda: VALUE)

    work(1000)
    return Work(work)


async def gol_cashews(url: str) -> Work:
    from cashews import Cache

    kept: Any = Cache()
    kept.setup(f"redis://127.0.0.1:{port_of(url)}", client_side=True, protocol=2)

    async def work(operations: int) -> None:
        for at in range(operations):
            key = gol_keys(at, "cashews")
            if await kept.get(key) is None:
                await kept.set(key, VALUE, expire=3600)

    return Work(work, kept.close)


async def gol_aiocache(url: str) -> Work:
    from aiocache.backends.redis import RedisCache

    kept: Any = RedisCache(endpoint="127.0.0.1", port=port_of(url))

    async def work(operations: int) -> None:
        for at in range(operations):
            key = gol_keys(at, "aiocache")
            if await kept.get(key) is None:
                await kept.set(key, VALUE, 3600)

    return Work(work, kept.close)


GET_OR_LOAD = (
    Candidate("holdfast, two tiers, coherent", gol_ours),
    Candidate("dogpile.cache on redis", gol_dogpile),
    Candidate("cashews client-side", gol_cashews, asyncio=True),
    Candidate("aiocache redis", gol_aiocache, asyncio=True),
)


def lag_ours(url: str) -> Work:
    """The instant before another client's SET, to the entry being gone from the first tier."""
    cache = ours(url)
    near, other = warm(cache), fill(url)
    entries = cache.shared.l1.entries

    def work(operations: int) -> list[float]:
        took = []
        for at in range(operations):
            key = KEYS[at % 1000]
            end = time.monotonic() + 5
            while key not in entries and time.monotonic() < end:
                near.get(key)
            began = time.perf_counter()
            other.set(key, f'"{VALUE}"')
            while key in entries and time.perf_counter() - began < 5:
                time.sleep(0)
            took.append(time.perf_counter() - began)
        return took

    return Work(work, cache.close)


LAG = (Candidate("holdfast", lag_ours),)
