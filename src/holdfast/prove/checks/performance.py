"""Load on the live cache: at the promised rate, at the most it gives, in pipelines, cold and warm; and what memory it takes."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

from holdfast.engine.connection import EngineNode
from holdfast.errors import HoldfastError
from holdfast.load.job import Offer, Reach
from holdfast.load.result import LoadResult, limit_words
from holdfast.load.run import offer_load, reach_of
from holdfast.load.workload import Workload, from_spec
from holdfast.prove.check import Measured
from holdfast.prove.judges.performance import predicted_bytes
from holdfast.prove.stage import Stage
from holdfast.topology.observe import read_info

CLIENTS = 50
ROOM = 0.5
"""Share of the free maxmemory that a load may fill, so that it evicts nobody else's keys."""
MOST_KEYS = 40_000
"""Written at once before a load that measures latency; the skew decides what is asked for, not their number."""
KEY_BYTES = 48
"""About the length of a key that load writes."""


def _predicted(workload: Workload) -> int:
    return sum(flow.keys * predicted_bytes(KEY_BYTES, flow.value_bytes) for flow in workload.flows)


async def _reach(stage: Stage) -> Reach:
    return reach_of(stage.record, await stage.look(), stage.access)


async def _memory(stage: Stage) -> dict[str, dict[str, str]]:
    """INFO of each primary."""
    told = {}
    for shard in (await stage.look()).shards:
        async with stage.at(shard.primary.name) as node:
            told[shard.primary.name] = read_info(str(await node.ask("INFO")))
    return told


async def _fitting(stage: Stage, workload: Workload) -> tuple[Workload, float]:
    """The workload with as many keys as there is room for. Returns: it, and the share of its keys."""
    free = 0
    for info in (await _memory(stage)).values():
        most = int(info.get("maxmemory", "0")) or 1 << 34
        free += max(0, most - int(info.get("used_memory", "0")))
    keys = sum(flow.keys for flow in workload.flows)
    needed = _predicted(workload)
    share = min(1.0, ROOM * free / max(needed, 1), MOST_KEYS / max(keys, 1))
    return workload.scaled(share), share


def told_of(result: LoadResult) -> dict[str, Any]:
    """A load as evidence."""
    return result.to_json() | {"limit_words": limit_words(result)}


async def latency(stage: Stage) -> Measured:
    """The declared mix at the promised rate."""
    workload, share = await _fitting(stage, from_spec(stage.spec))
    rate = stage.spec.promises.throughput_ops or workload.rate_per_s
    offer = Offer(rate_per_s=rate, seconds=stage.load_s, clients=CLIENTS, warm_up_s=1.0)
    result = await offer_load(
        stage.record.name, await _reach(stage), workload, offer, run=stage.run, tell=stage.tell
    )
    percentile = stage.spec.promises.percentile
    return told_of(result) | {
        "keys_share": round(share, 4),
        "percentile": percentile,
        "at_percentile_ms": result.percentile_ms(percentile),
    }


async def most(stage: Stage) -> Measured:
    """As much as it takes: every client sends as soon as it has its answer."""
    workload, share = await _fitting(stage, from_spec(stage.spec))
    offer = Offer(rate_per_s=0, seconds=stage.load_s, clients=CLIENTS, warm_up_s=0.5)
    result = await offer_load(
        stage.record.name, await _reach(stage), workload, offer, run=stage.run, tell=stage.tell
    )
    return told_of(result) | {"keys_share": round(share, 4)}


async def pipelining(stage: Stage) -> Measured:
    """The same load one by one and in pipelines of the size that the services' pools declare."""
    workload, _ = await _fitting(stage, from_spec(stage.spec))
    sizes = [each.pool.batch_size for each in stage.spec.services.values() if each.pool.pipelining]
    size = max(sizes, default=16)
    told: dict[str, Any] = {"size": size}
    for name, together in (("one_by_one", 1), ("together", size)):
        offer = Offer(
            rate_per_s=0,
            seconds=max(1.0, stage.load_s / 2),
            clients=8,
            pipeline=together,
            warm_up_s=0.3,
            timeout_s=5,
        )
        result = await offer_load(
            stage.record.name, await _reach(stage), workload, offer, run=stage.run, tell=stage.tell
        )
        told[name] = {
            "rate_per_s": result.rate_per_s,
            "p99_ms": result.overall.percentiles_ms["99"],
            "errors": dict(result.errors),
        }
    return told


async def hit_rate(stage: Stage) -> Measured:
    """The declared traffic with all its keys, cold and then warm; a client that misses writes the value."""
    workload = from_spec(stage.spec)
    told: dict[str, Any] = {
        "keys": sum(flow.keys for flow in workload.flows),
        "data_bytes": workload.data_bytes,
    }
    before = await _counted(stage)
    for name, prefill in (("cold", False), ("warm", True)):
        offer = Offer(
            rate_per_s=min(workload.rate_per_s, stage.spec.promises.throughput_ops or workload.rate_per_s),
            seconds=stage.load_s,
            clients=CLIENTS,
            prefill=prefill,
            warm_up_s=0.0,
        )
        result = await offer_load(
            stage.record.name, await _reach(stage), workload, offer, run=stage.run, tell=stage.tell
        )
        told[name] = {
            "hit_percent": result.hit_percent,
            "hits": result.hits,
            "misses": result.misses,
            "fills": result.fills,
            "errors": dict(result.errors),
        }
    after = await _counted(stage)
    return told | {"evicted": after - before}


async def _counted(stage: Stage) -> int:
    return sum(int(info.get("evicted_keys", "0")) for info in (await _memory(stage)).values())


async def memory(stage: Stage) -> Measured:
    """Bytes a key takes against what is predicted, fragmentation, and what a snapshot copies while clients write."""
    declared = from_spec(stage.spec)
    workload, share = await _fitting(stage, declared)
    keys = sum(flow.keys for flow in workload.flows)
    before = await _memory(stage)
    reach = await _reach(stage)
    offer = Offer(
        rate_per_s=max(500.0, workload.rate_per_s / 4),
        seconds=max(4.0, stage.load_s),
        clients=20,
        warm_up_s=0.0,
    )
    writes = replace(
        workload,
        flows=tuple(replace(flow, commands=dict.fromkeys(flow.commands, 1.0)) for flow in workload.flows),
    )
    load = asyncio.create_task(
        offer_load(stage.record.name, reach, writes, offer, run=stage.run, tell=stage.tell)
    )
    try:
        filled = await _filled(stage, before, keys, load)
        copied = await _copied(stage, load)
        await load
    finally:
        if not load.done():
            load.cancel()
            await asyncio.gather(load, return_exceptions=True)
    used = sum(_data_bytes(info) for info in filled.values()) - sum(
        _data_bytes(info) for info in before.values()
    )
    values = workload.data_bytes
    fragmentation = {
        name: {
            "ratio": float(info.get("mem_fragmentation_ratio", "0")),
            "bytes": int(info.get("mem_fragmentation_bytes", "0")),
        }
        for name, info in filled.items()
    }
    return {
        "keys": keys,
        "keys_share": round(share, 4),
        "used_bytes": used,
        "bytes_per_key": round(used / max(keys, 1), 1),
        "value_bytes_per_key": round(values / max(keys, 1), 1),
        "predicted_bytes": _predicted(workload),
        "declared_bytes": _predicted(declared),
        "maxmemory_bytes": sum(int(info.get("maxmemory", "0")) for info in before.values()),
        "limit_bytes_per_node": stage.spec.memory.limit_bytes,
        "fragmentation": fragmentation,
        "snapshot": copied,
    }


def _data_bytes(info: dict[str, str]) -> int:
    """What a node holds for its keys: all that it uses, without what it keeps for replicas, clients and its file."""
    beside = max(
        int(info.get("mem_replication_backlog", "0")), int(info.get("mem_total_replication_buffers", "0"))
    )
    for name in ("mem_clients_normal", "mem_clients_slaves", "mem_aof_buffer"):
        beside += int(info.get(name, "0"))
    return int(info["used_memory"]) - beside


async def _filled(
    stage: Stage, before: dict[str, dict[str, str]], keys: int, load: asyncio.Task[LoadResult]
) -> dict[str, dict[str, str]]:
    """INFO once the keys are there."""
    had = await _dbsize(stage)
    end_s = time.monotonic() + 60
    while time.monotonic() < end_s and not load.done():
        if await _dbsize(stage) >= had + keys * 0.99:
            break
        await asyncio.sleep(0.05)
    return await _memory(stage)


async def _dbsize(stage: Stage) -> int:
    return sum(shard.primary.keys for shard in (await stage.look()).shards)


async def _copied(stage: Stage, load: asyncio.Task[LoadResult]) -> dict[str, Any]:
    """BGSAVE on the first primary while clients write: the most that was copied, and how long it took."""
    shard = (await stage.look()).shards[0]
    async with stage.at(shard.primary.name) as node:
        began_s = time.monotonic()
        refused = await _save(node)
        if refused:
            return {"node": shard.primary.name, "refused": refused}
        peak = copied = 0
        while time.monotonic() - began_s < 30:
            info = await _info(node)
            peak = max(peak, int(info.get("used_memory_rss", "0")))
            copied = max(copied, int(info.get("current_cow_peak", "0")))
            if info.get("rdb_bgsave_in_progress") == "0":
                break
            await asyncio.sleep(0.01)
        info = await _info(node)
        return {
            "node": shard.primary.name,
            "took_ms": round((time.monotonic() - began_s) * 1000, 1),
            "fork_us": int(info.get("latest_fork_usec", "0")),
            "copied_bytes": max(copied, int(info.get("rdb_last_cow_size", "0"))),
            "rss_peak_bytes": peak,
            "status": info.get("rdb_last_bgsave_status", ""),
            "under_load": not load.done(),
        }


async def _save(node: EngineNode) -> str:
    """Begin a snapshot; one that is under way by the node's own rules is waited for. Returns: why it was refused."""
    end_s = time.monotonic() + 20
    while True:
        try:
            await node.ask("BGSAVE")
            return ""
        except HoldfastError as refused:
            if "in progress" not in str(refused) or time.monotonic() > end_s:
                return str(refused)
        await asyncio.sleep(0.1)


async def _info(node: EngineNode) -> dict[str, str]:
    memory_text, persistence_text, stats_text = await node.ask_all(
        [("INFO", "memory"), ("INFO", "persistence"), ("INFO", "stats")]
    )
    return read_info(str(memory_text)) | read_info(str(persistence_text)) | read_info(str(stats_text))
