"""Kills one primary of a cache that was made a moment ago, under load, and says what a client saw of it.

Done only on a cache that this very command has made and that is still empty. Every write carries an id of its own and
is compared with what is there afterwards: a lost one is counted, not guessed. What was written is removed again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from dataclasses import dataclass, field

from holdfast.codec.crc import key_slot
from holdfast.engine.connection import EngineNode
from holdfast.errors import HoldfastError
from holdfast.topology.live import LiveCache
from holdfast.topology.seen import SeenCache, SeenShard

WRITERS = 4
WARM_UP_S = 1.0
AFTER_S = 1.0
BOUND_S = 30.0
KEY = "holdfast:demonstration"


@dataclass(frozen=True)
class Demonstration:
    """What was measured."""

    killed: str
    pid: int
    heir: str
    gap_ms: float
    """Longest time between two acknowledged writes of any client around the kill."""
    acknowledged: int
    lost: int
    errors: int
    """Attempts that failed meanwhile, each tried again at once on the shard's other node."""


@dataclass
class _Writer:
    """A client of one shard: a failed write is tried again at once on the shard's next node."""

    key: str
    nodes: tuple[str, ...]
    acknowledged: list[str] = field(default_factory=list)
    longest_gap_s: float = 0.0
    errors: int = 0


def can_demonstrate(seen: SeenCache) -> bool:
    """Whether it may be done: no key anywhere, and a shard whose primary runs on this machine and has a replica."""
    empty = all(node.keys == 0 for node in seen.servers)
    return empty and any(shard.replicas and shard.primary.process.pid for shard in seen.shards)


async def demonstrate(cache: LiveCache) -> Demonstration:
    """Kill the primary of the first shard that has a replica, while clients write to it.

    Raises: HoldfastError when no write is taken again within BOUND_S.
    """
    seen = await cache.look()
    shard = next(each for each in seen.shards if each.replicas and each.primary.process.pid)
    pid = shard.primary.process.pid
    keys = _keys_of(shard, WRITERS)
    nodes = (shard.primary.name, *(node.name for node in shard.replicas))
    writers = [_Writer(key, nodes) for key in keys]
    stop = asyncio.Event()
    tasks = [asyncio.create_task(_write(cache, writer, stop)) for writer in writers]
    try:
        await asyncio.sleep(WARM_UP_S)
        os.kill(pid, signal.SIGKILL)
        heir = await _heir(cache, shard.primary.name)
        await asyncio.sleep(AFTER_S)
    finally:
        stop.set()
        await asyncio.gather(*tasks, return_exceptions=True)
    lost = await _lost(cache, writers, heir)
    return Demonstration(
        killed=shard.primary.name,
        pid=pid,
        heir=heir,
        gap_ms=round(max(writer.longest_gap_s for writer in writers) * 1000, 1),
        acknowledged=sum(len(writer.acknowledged) for writer in writers),
        lost=lost,
        errors=sum(writer.errors for writer in writers),
    )


def _keys_of(shard: SeenShard, count: int) -> list[str]:
    """Keys that lie in the shard."""
    found: list[str] = []
    number = 0
    while len(found) < count:
        key = f"{KEY}:{number}"
        if not shard.primary.slots or key_slot(key.encode()) in shard.primary.slots:
            found.append(key)
        number += 1
    return found


async def _write(cache: LiveCache, writer: _Writer, stop: asyncio.Event) -> None:
    at = 0
    number = 0
    node: EngineNode | None = None
    last_s = time.perf_counter()
    try:
        while not stop.is_set():
            number += 1
            try:
                if node is None:
                    node = await cache.connect(writer.nodes[at % len(writer.nodes)], timeout_s=0.5)
                await node.ask("RPUSH", writer.key, number)
            except HoldfastError:
                writer.errors += 1
                at += 1
                if node is not None:
                    await node.close()
                node = None
                await asyncio.sleep(0.001)
                continue
            now_s = time.perf_counter()
            writer.longest_gap_s = max(writer.longest_gap_s, now_s - last_s)
            last_s = now_s
            writer.acknowledged.append(str(number))
            await asyncio.sleep(0.001)
    finally:
        if node is not None:
            await node.close()


async def _heir(cache: LiveCache, killed: str) -> str:
    end_s = time.monotonic() + BOUND_S
    before: SeenCache = await cache.look()
    while time.monotonic() < end_s:
        for shard in before.shards:
            if shard.primary.name != killed and (shard.primary.slots or not shard.primary.node_id):
                members = {shard.primary.name, *(node.name for node in shard.replicas)}
                if killed in members:
                    return shard.primary.name
        await asyncio.sleep(0.05)
        before = await cache.look()
    raise HoldfastError(f"no node took the place of {killed} within {BOUND_S:.0f} s: see holdfast events")


async def _lost(cache: LiveCache, writers: list[_Writer], heir: str) -> int:
    lost = 0
    async with await cache.connect(heir) as node:
        for writer in writers:
            kept = {str(each) for each in await node.ask("LRANGE", writer.key, 0, -1)}
            lost += len(set(writer.acknowledged) - kept)
            with contextlib.suppress(HoldfastError):
                await node.ask("DEL", writer.key)
    return lost
