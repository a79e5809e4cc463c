"""Candidates for reads from the server: one blocking caller, fifty asyncio callers, a hundred keys at once."""

from __future__ import annotations

import socket
import threading
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


def batch_ours(url: str) -> Work:
    cache = ours(url)
    values = cache.namespace("far", bytes)
    some = FAR_KEYS[:100]
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


def batch_raw_by_key(url: str) -> Work:
    """The same, with what `get_many` hands out made of it."""
    import hiredis

    fill(url)
    link = socket.create_connection(("127.0.0.1", port_of(url)))
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    parser, keys = hiredis.Reader(), FAR_KEYS[:100]

    def get_many() -> dict[str, bytes]:
        link.sendall(pack(("MGET", *keys)))
        while (values := parser.gets()) is False:
            parser.feed(link.recv(65536))
        return {key: value for key, value in zip(keys, values, strict=True) if value is not None}

    return Work(lambda n: [get_many() for _ in range(n)] and None, link.close)


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
    Candidate("raw socket and hiredis, values by key (floor of the same result)", batch_raw_by_key),
    Candidate("redis-py", batch_redis),
    Candidate("valkey-py", batch_valkey),
)
