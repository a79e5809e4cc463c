"""The candidates of each task: ours, what it stands on, and the peers as their documentation says to use them."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from benchmarks.client_rounds import Candidate
from holdfast.client.wire import pack

VALUE = "x" * 98
KEYS = [f"bill:inquiry:C{n}:202509" for n in range(1000)]
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


def each_key(call: Callable[[str], Any]) -> Callable[[int], None]:
    def work(operations: int) -> None:
        for at in range(operations):
            call(KEYS[at % 1000])

    return work


def each_key_async(call: Callable[[str], Awaitable[Any]]) -> Callable[[int], Any]:
    async def work(operations: int) -> None:
        for at in range(operations):
            await call(KEYS[at % 1000])

    return work


def callers(call: Callable[[str], Awaitable[Any]]) -> Callable[[int], Any]:
    """The operations shared by fifty tasks."""

    async def caller(operations: int, first: int) -> None:
        for at in range(operations):
            await call(KEYS[(first + at) % 1000])

    async def work(operations: int) -> None:
        await asyncio.gather(*(caller(operations // CALLERS, index * 20) for index in range(CALLERS)))

    return work


def fill(url: str) -> Any:
    """Have the values there, bare JSON, and return a plain client; what is there is not touched (nobody's copy ends)."""
    import redis

    link = redis.Redis(port=port_of(url))
    with link.pipeline() as pipe:
        for key in KEYS:
            pipe.set(key, f'"{VALUE}"', nx=True)
            pipe.set(far(key), f'"{VALUE}"', nx=True)
        pipe.execute()
    return link


def far(key: str) -> str:
    return key.replace("bill:", "far:", 1)


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
    Candidate("dict.get (floor)", hit_dict),
    Candidate("cachebox VTTLCache", hit_cachebox),
    Candidate("cachetools TTLCache", hit_cachetools),
    Candidate("dogpile.cache memory", hit_dogpile),
    Candidate("aiocache memory", hit_aiocache, asyncio=True),
    Candidate("cashews memory", hit_cashews, asyncio=True),
    Candidate("coredis server-assisted", hit_coredis, asyncio=True),
)


def get_ours(url: str) -> Work:
    cache = ours(url)
    get = cache.namespace("far").get
    return Work(each_key(lambda key: get(far(key))), cache.close)


def get_redis(url: str) -> Work:
    link = fill(url)
    return Work(each_key(link.get), link.close)


def get_valkey(url: str) -> Work:
    import valkey

    link: Any = valkey.Valkey(port=port_of(url))
    return Work(each_key(link.get), link.close)


def get_raw(url: str) -> Work:
    """A socket and a parser: the floor of any client in Python."""
    import hiredis

    link = socket.create_connection(("127.0.0.1", port_of(url)))
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    parser = hiredis.Reader()

    def get(key: str) -> Any:
        link.sendall(pack(("GET", key)))
        while (reply := parser.gets()) is False:
            parser.feed(link.recv(65536))
        return reply

    return Work(each_key(get), link.close)


SYNC_L2 = (
    Candidate("holdfast", get_ours),
    Candidate("raw socket and hiredis (floor)", get_raw),
    Candidate("redis-py", get_redis),
    Candidate("valkey-py", get_valkey),
)


async def many_callers_ours(url: str) -> Work:
    cache = ours_async(url)
    get = cache.namespace("far").get
    work = callers(lambda key: get(far(key)))
    return Work(work, cache.close, lambda: work(100))


async def many_callers_redis(url: str) -> Work:
    import redis.asyncio

    fill(url)
    link: Any = redis.asyncio.Redis(port=port_of(url), max_connections=CALLERS)
    return Work(callers(link.get), link.aclose)


async def many_callers_valkey(url: str) -> Work:
    import valkey.asyncio

    link: Any = valkey.asyncio.Valkey(port=port_of(url), max_connections=CALLERS)
    return Work(callers(link.get), link.aclose)


async def many_callers_glide(url: str) -> Work:
    from glide import GlideClient, GlideClientConfiguration, NodeAddress

    link: Any = await GlideClient.create(GlideClientConfiguration([NodeAddress("127.0.0.1", port_of(url))]))
    return Work(callers(link.get), link.close)


async def many_callers_coredis(url: str) -> Work:
    import coredis

    link: Any = coredis.Redis(port=port_of(url))
    await link.__aenter__()
    return Work(callers(link.get), lambda: link.__aexit__(None, None, None))


def many_callers_uvloop(url: str) -> Work:
    """A loop of another kind, so in a run of its own."""
    import uvloop

    loop = uvloop.new_event_loop()
    cache = ours_async(url)
    get = cache.namespace("far").get
    work = callers(lambda key: get(far(key)))

    def close() -> None:
        loop.run_until_complete(cache.close())
        loop.close()

    def in_own_thread(operations: int) -> None:
        """The candidates' own loop runs in this thread."""
        failed: list[BaseException] = []

        def target() -> None:
            try:
                loop.run_until_complete(work(operations))
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=target)
        thread.start()
        thread.join()
        if failed:
            raise failed[0]

    def close_in_thread() -> None:
        thread = threading.Thread(target=close)
        thread.start()
        thread.join()

    return Work(in_own_thread, close_in_thread)


ASYNC_L2 = (
    Candidate("holdfast", many_callers_ours, asyncio=True),
    Candidate("holdfast, uvloop", many_callers_uvloop),
    Candidate("redis-py, pool of 50", many_callers_redis, asyncio=True),
    Candidate("valkey-py, pool of 50", many_callers_valkey, asyncio=True),
    Candidate("valkey-glide", many_callers_glide, asyncio=True),
    Candidate("coredis", many_callers_coredis, asyncio=True),
)


def batch_ours(url: str) -> Work:
    cache = ours(url)
    values = cache.namespace("far", bytes)
    some = [far(key) for key in KEYS[:100]]
    return Work(lambda n: [values.get_many(some) for _ in range(n)] and None, cache.close)


def batch_raw(url: str) -> Work:
    import hiredis

    fill(url)
    link = socket.create_connection(("127.0.0.1", port_of(url)))
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    parser = hiredis.Reader()

    def work(operations: int) -> None:
        for _ in range(operations):
            link.sendall(pack(("MGET", *KEYS[:100])))
            while parser.gets() is False:
                parser.feed(link.recv(65536))

    return Work(work, link.close)


def batch_redis(url: str) -> Work:
    link = fill(url)
    return Work(lambda n: [link.mget(KEYS[:100]) for _ in range(n)] and None, link.close)


def batch_valkey(url: str) -> Work:
    import valkey

    link: Any = valkey.Valkey(port=port_of(url))
    return Work(lambda n: [link.mget(KEYS[:100]) for _ in range(n)] and None, link.close)


MANY = (
    Candidate("holdfast", batch_ours),
    Candidate("raw socket and hiredis (floor)", batch_raw),
    Candidate("redis-py", batch_redis),
    Candidate("valkey-py", batch_valkey),
)


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
