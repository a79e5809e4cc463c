"""What all candidates of the applications' library share: keys and values, callers, and our own caches, filled and warm."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import cycle, islice
from typing import Any
from urllib.parse import urlsplit

VALUE = "x" * 98
KEYS = [f"bill:inquiry:C{n}:202509" for n in range(1000)]
FAR_KEYS = [key.replace("bill:", "far:", 1) for key in KEYS]
"""The same of a namespace that is not kept in the process's memory."""
CALLERS = 50
NAMESPACES: dict[str, dict[str, Any]] = {
    "near": {"pattern": "bill:inquiry:{customerId}:{month}", "ttl_s": 3600, "tier": "l1+l2"},
    "far": {"pattern": "far:inquiry:{customerId}:{month}", "ttl_s": 3600},
}


def port_of(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port


class Work:
    """A task in the shape that rounds want."""

    def __init__(
        self,
        work: Callable[[int], Any],
        close: Callable[[], Any] = lambda: None,
        begin: Callable[[], Any] = lambda: None,
    ) -> None:
        self.work, self.close = work, close
        self.begin = begin
        """Called before each round, untimed: a loop that stood still while others ran finds its feet again."""


def each_key(call: Callable[[str], Any], keys: Sequence[str] = KEYS) -> Callable[[int], None]:
    def work(operations: int) -> None:
        for key in islice(cycle(keys), operations):  # the loop itself costs next to nothing
            call(key)

    return work


def each_key_async(call: Callable[[str], Awaitable[Any]]) -> Callable[[int], Any]:
    async def work(operations: int) -> None:
        for key in islice(cycle(KEYS), operations):
            await call(key)

    return work


def callers(call: Callable[[str], Awaitable[Any]], keys: Sequence[str] = KEYS) -> Callable[[int], Any]:
    """The operations shared by fifty tasks."""

    async def caller(operations: int, first: int) -> None:
        for at in range(operations):
            await call(keys[(first + at) % 1000])

    async def work(operations: int) -> None:
        await asyncio.gather(*(caller(operations // CALLERS, index * 20) for index in range(CALLERS)))

    return work


def fill(url: str) -> Any:
    """Have the values there, bare JSON, and return a plain client; what is there is not touched (nobody's copy ends)."""
    import redis

    link = redis.Redis(port=port_of(url))
    with link.pipeline() as pipe:
        for key in (*KEYS, *FAR_KEYS):
            pipe.set(key, f'"{VALUE}"', nx=True)
            pipe.execute()
    return link


def ours(url: str) -> Any:
    from holdfast.client import Cache

    fill(url)
    return Cache(url, namespaces=NAMESPACES)


def ours_async(url: str) -> Any:
    from holdfast.client import AsyncCache

    fill(url)
    return AsyncCache(url, namespaces=NAMESPACES)


def warm(cache: Any) -> Any:
    """All keys in the first tier."""
    near = cache.namespace("near")
    end = time.monotonic() + 10
    while time.monotonic() < end:
        fills = cache.shared.l1.fills
        for key in KEYS:
            near.get(key)
        if cache.shared.l1.fills == fills and len(cache.shared.l1.entries) >= 1000:
            break
    return near


async def warm_async(cache: Any) -> Any:
    near = cache.namespace("near")
    end = time.monotonic() + 10
    await asyncio.sleep(0.2)
    while time.monotonic() < end:
        fills = cache.shared.l1.fills
        for key in KEYS:
            await near.get(key)
        if cache.shared.l1.fills == fills and len(cache.shared.l1.entries) >= 1000:
            break
    return near
