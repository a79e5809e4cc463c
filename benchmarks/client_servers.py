"""Candidates for reads from the server: one blocking caller, fifty asyncio callers, a hundred keys at once."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.client_rounds import Candidate
from benchmarks.client_work import (
    CALLERS,
    FAR_KEYS,
    KEYS,
    Work,
    callers,
    each_key,
    fill,
    ours,
    ours_async,
    port_of,
    warm,
)
from holdfast.client.wire import pack


def get_ours(url: str) -> Work:
    cache = ours(url)
    get = cache.namespace("far").get
    return Work(each_key(get, FAR_KEYS), cache.close)


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
    work = callers(get, FAR_KEYS)
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
    work = callers(get, FAR_KEYS)

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


BATCH = 100


def each_batch(get_many: Callable[[Sequence[str]], Any], keys: Sequence[str]) -> Callable[[int], None]:
    """A hundred keys at a time; what came is dropped before the next are asked for, as by a caller who has used it."""
    some = list(keys[:BATCH])

    def work(operations: int) -> None:
        for _ in range(operations):
            get_many(some)

    return work


def batch_ours(url: str) -> Work:
    cache = ours(url)
    return Work(each_batch(cache.namespace("far", bytes).get_many, FAR_KEYS), cache.close)


def batch_ours_json(url: str) -> Work:
    cache = ours(url)
    return Work(each_batch(cache.namespace("far").get_many, FAR_KEYS), cache.close)


def batch_ours_near(url: str) -> Work:
    cache = ours(url)
    return Work(each_batch(warm(cache).get_many, KEYS), cache.close, lambda: warm(cache) and None)


def raw_mget(url: str) -> tuple[Callable[[Sequence[str]], list[bytes]], Callable[[], None]]:
    """A socket and a parser: the floor of any client in Python. Returns: MGET, and the socket's end."""
    import hiredis

    fill(url)
    link = socket.create_connection(("127.0.0.1", port_of(url)))
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    parser = hiredis.Reader()

    def mget(keys: Sequence[str]) -> list[bytes]:
        link.sendall(pack(("MGET", *keys)))
        while (values := parser.gets()) is False:
            parser.feed(link.recv(65536))
        return values  # type: ignore[no-any-return]

    return mget, link.close


def batch_raw(url: str) -> Work:
    mget, close = raw_mget(url)
    return Work(each_batch(mget, FAR_KEYS), close)


def batch_raw_by_key(url: str) -> Work:
    """The same, with what `get_many` hands out made of it."""
    mget, close = raw_mget(url)

    def get_many(keys: Sequence[str]) -> dict[str, bytes]:
        return {key: value for key, value in zip(keys, mget(keys), strict=True) if value is not None}

    return Work(each_batch(get_many, FAR_KEYS), close)


def batch_raw_json(url: str) -> Work:
    """The same, each value decoded."""
    import orjson

    mget, close = raw_mget(url)

    def get_many(keys: Sequence[str]) -> dict[str, Any]:
        replies = zip(keys, mget(keys), strict=True)
        return {key: orjson.loads(value) for key, value in replies if value is not None}

    return Work(each_batch(get_many, FAR_KEYS), close)


def batch_redis(url: str) -> Work:
    link = fill(url)
    return Work(each_batch(link.mget, FAR_KEYS), link.close)


def batch_valkey(url: str) -> Work:
    import valkey

    link: Any = valkey.Valkey(port=port_of(url))
    return Work(each_batch(link.mget, FAR_KEYS), link.close)


BATCH_OURS, BATCH_OURS_JSON = "holdfast, bytes", "holdfast, JSON values"
BATCH_RAW = "raw socket and hiredis (floor)"
BATCH_RAW_JSON = "raw socket and hiredis, JSON decoded, values by key (floor of JSON)"
MANY = (
    Candidate(BATCH_OURS, batch_ours),
    Candidate(BATCH_RAW, batch_raw),
    Candidate("raw socket and hiredis, values by key (floor of the same result)", batch_raw_by_key),
    Candidate(BATCH_OURS_JSON, batch_ours_json),
    Candidate(BATCH_RAW_JSON, batch_raw_json),
    Candidate("redis-py", batch_redis),
    Candidate("valkey-py", batch_valkey),
    Candidate("holdfast, all in the process's own memory", batch_ours_near),
)
