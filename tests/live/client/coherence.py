"""The coherence experiment: hot keys, a writer at full rate in another process, readers through the first tier.

After quiescence no reader may see anything but what the servers hold, whatever was done to them meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from holdfast.client import AsyncCache, Cache, Settings

HOT_KEYS = 50
SILENCE_S = 1.0
SETTINGS = Settings(max_silence_s=SILENCE_S)
"""What the tests wait for after a link was cut without a word."""
_WRITER = """\
import itertools, json, sys, time
import redis
from redis.cluster import RedisCluster, ClusterNode
kind, keys, remap, *ports = sys.argv[1:]
remap = json.loads(remap)
def connect():
    if kind == "cluster":
        return RedisCluster(
            startup_nodes=[ClusterNode("127.0.0.1", int(p)) for p in ports],
            address_remap=lambda at: (at[0], remap.get(str(at[1]), at[1])),
        )
    links = [redis.Redis(port=int(port)) for port in ports]
    return next(link for link in links if link.role()[0] == b"master")
link = connect()
for n in itertools.count(1):
    try:
        link.set("bill:inquiry:C%d:1" % (n % int(keys)), "%d" % n, ex=600)
        if n == int(keys):
            print("all written", flush=True)
    except Exception:
        time.sleep(0.01)
        try:
            link = connect()
        except Exception:
            pass
"""


@contextmanager
def writer(kind: str, ports: list[int], remap: dict[int, int]) -> Iterator[None]:
    """Another process that writes the hot keys until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", _WRITER, kind, str(HOT_KEYS), json.dumps(remap), *map(str, ports)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"all written\n"
        yield
    finally:
        process.kill()
        process.communicate(timeout=10)


def hot_keys() -> list[str]:
    return [f"bill:inquiry:C{n}:1" for n in range(HOT_KEYS)]


def run_threads(
    cache: Cache, during: Callable[[], None], threads: int = 8
) -> tuple[int, list[BaseException]]:
    """Readers in threads while `during` runs. Returns: reads, and what was raised beyond the declared errors."""
    from holdfast.client import CacheUnavailable

    bills = cache.namespace("bill.inquiry")
    hot, stop, reads = hot_keys(), threading.Event(), [0] * threads
    wrong: list[BaseException] = []

    def read(index: int) -> None:
        n = index * 7
        while not stop.is_set():
            n += 1
            try:
                value = bills.get(hot[n % HOT_KEYS])
                if value is not None and int(value) % HOT_KEYS != n % HOT_KEYS:
                    wrong.append(AssertionError(f"{hot[n % HOT_KEYS]} holds {value}: another key's value"))
                    return
            except CacheUnavailable:
                time.sleep(0.005)
            except BaseException as failed:
                wrong.append(failed)
                return
            reads[index] += 1
            if n % 200 == 0:
                time.sleep(0.001)

    workers = [threading.Thread(target=read, args=(index,)) for index in range(threads)]
    for worker in workers:
        worker.start()
    try:
        during()
    finally:
        stop.set()
        for worker in workers:
            worker.join(20)
    return sum(reads), wrong


def stale_of(cache: Cache, truth: Callable[[str], bytes | None]) -> list[str]:
    """Keys for which the cache does not say what the servers hold."""
    bills = cache.namespace("bill.inquiry")
    return [key for key in hot_keys() if _text(bills.get(key)) != truth(key)]


def _text(value: Any) -> bytes | None:
    return None if value is None else str(value).encode()


async def run_tasks(
    cache: AsyncCache,
    during: Callable[[], None],
    truth: Callable[[str], bytes | None],
    settle_s: float,
    tasks: int = 8,
) -> tuple[int, list[str], list[BaseException]]:
    """The same from tasks of one loop; `during` runs in a thread. Returns: reads, stale keys, what was wrong."""
    from holdfast.client import CacheUnavailable

    bills = cache.namespace("bill.inquiry")
    hot, reads = hot_keys(), 0
    wrong: list[BaseException] = []
    running = True

    async def read(index: int) -> None:
        nonlocal reads
        n = index * 7
        while running:
            n += 1
            try:
                value = await bills.get(hot[n % HOT_KEYS])
                if value is not None and int(value) % HOT_KEYS != n % HOT_KEYS:
                    wrong.append(AssertionError(f"{hot[n % HOT_KEYS]} holds {value}: another key's value"))
                    return
            except CacheUnavailable:
                await asyncio.sleep(0.005)
            except Exception as failed:
                wrong.append(failed)
                return
            reads += 1
            if n % 50 == 0:
                await asyncio.sleep(0)

    readers = [asyncio.create_task(read(index)) for index in range(tasks)]
    try:
        await asyncio.to_thread(during)
        running = False
        await asyncio.gather(*readers)
        await asyncio.sleep(settle_s)
        stale = [key for key in hot if _text(await bills.get(key)) != await asyncio.to_thread(truth, key)]
    finally:
        running = False
        for reader in readers:
            reader.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*readers, return_exceptions=True)
    return reads, stale, wrong
