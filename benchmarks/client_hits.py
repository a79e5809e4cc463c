"""Candidates for a hit in the process's own memory, as the peers' documentation says to use them."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.client_rounds import Candidate
from benchmarks.client_work import (
    KEYS,
    VALUE,
    Work,
    each_key,
    each_key_async,
    ours,
    ours_async,
    port_of,
    warm,
    warm_async,
)


def hit_ours(url: str) -> Work:
    cache = ours(url)
    return Work(each_key(warm(cache).get), cache.close, lambda: warm(cache) and None)


def hit_ours_built(url: str) -> Work:
    cache = ours(url)
    get = warm(cache).get

    def work(operations: int) -> None:
        for _ in range(operations):
            get(customerId="C77", month="202509")

    return Work(work, cache.close, lambda: warm(cache) and None)


async def hit_ours_async(url: str) -> Work:
    cache = ours_async(url)
    near = await warm_async(cache)
    return Work(each_key_async(near.get), cache.close, lambda: warm_async(cache))


def hit_dict(url: str) -> Work:
    return Work(each_key(dict.fromkeys(KEYS, VALUE).get))


def hit_by_hand(url: str) -> Work:
    """What a method in Python cannot do without: a value looked up, and its end held against the clock."""
    kept = {key: (time.monotonic() + 3600, VALUE) for key in KEYS}

    def get(key: str) -> str | None:
        until, value = kept[key]
        return value if time.monotonic() < until else None

    return Work(each_key(get))


async def hit_nothing(url: str) -> Work:
    async def get(key: str) -> None:
        return None

    return Work(each_key_async(get))


def hit_cachebox(url: str) -> Work:
    import cachebox

    kept: Any = cachebox.VTTLCache(2000)
    for key in KEYS:
        kept.insert(key, VALUE, 3600)
    return Work(each_key(kept.get))


def hit_cachetools(url: str) -> Work:
    import cachetools

    kept: Any = cachetools.TTLCache(2000, 3600)
    kept.update(dict.fromkeys(KEYS, VALUE))
    return Work(each_key(kept.get))


def hit_dogpile(url: str) -> Work:
    from dogpile.cache import make_region

    region = make_region().configure("dogpile.cache.memory", expiration_time=3600)
    for key in KEYS:
        region.set(key, VALUE)
    return Work(each_key(region.get))


async def hit_aiocache(url: str) -> Work:
    from aiocache import SimpleMemoryCache

    kept: Any = SimpleMemoryCache()
    for key in KEYS:
        await kept.set(key, VALUE, 3600)
    return Work(each_key_async(kept.get))


async def hit_cashews(url: str) -> Work:
    from cashews import Cache

    kept: Any = Cache()
    kept.setup("mem://", size=2000)
    for key in KEYS:
        await kept.set(key, VALUE, expire=3600)
    return Work(each_key_async(kept.get))


async def hit_coredis(url: str) -> Work:
    import coredis
    from coredis.patterns.cache import LRUCache

    client: Any = coredis.Redis(port=port_of(url), cache=LRUCache(max_keys=2000))
    await client.__aenter__()
    for key in KEYS:
        await client.get(key)
    return Work(each_key_async(client.get), lambda: client.__aexit__(None, None, None))


HITS = (
    Candidate("holdfast, ready key", hit_ours),
    Candidate("holdfast, key built from its fields", hit_ours_built),
    Candidate("holdfast asyncio, ready key", hit_ours_async, asyncio=True),
    Candidate("dict.get", hit_dict),
    Candidate("a dictionary and a look at the clock (floor of any method in Python)", hit_by_hand),
    Candidate("await of an empty coroutine (added floor of asyncio)", hit_nothing, asyncio=True),
    Candidate("cachebox VTTLCache", hit_cachebox),
    Candidate("cachetools TTLCache", hit_cachetools),
    Candidate("dogpile.cache memory", hit_dogpile),
    Candidate("aiocache memory", hit_aiocache, asyncio=True),
    Candidate("cashews memory", hit_cashews, asyncio=True),
    Candidate("coredis server-assisted", hit_coredis, asyncio=True),
)
