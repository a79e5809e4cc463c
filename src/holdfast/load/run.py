"""Starts the load workers, lets them begin at the same moment, and gathers what they measured."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import psutil

from holdfast.codec.crc import SLOTS
from holdfast.errors import HoldfastError
from holdfast.load.job import Job, Offer, Reach, WorkerReport
from holdfast.load.result import LoadResult, merged
from holdfast.load.workload import Workload
from holdfast.topology.observe import Access
from holdfast.topology.record import CacheRecord
from holdfast.topology.seen import SeenCache
from holdfast.topology.slots import ranges

READY_BOUND_S = 120.0
"""For connecting and writing all keys once."""
END_BOUND_S = 120.0
"""For reading back and removing, after the load itself."""
HEAD_START_S = 0.15
LONGEST_LINE = 64 << 20

Tell = Callable[[str], None]


@dataclass(eq=False)
class LoadFailed(HoldfastError):
    """A load could not be offered, or a worker of it ended early."""

    cache: str
    words: str

    def __str__(self) -> str:
        return (
            f"the load on {self.cache} was not measured: {self.words}; see holdfast status, and try a smaller --rate "
            "or fewer --clients where connections were refused"
        )


def reach_of(record: CacheRecord, seen: SeenCache, access: Access) -> Reach:
    """How workers reach the servers of a cache as it is seen now. Raises: LoadFailed where no primary answers."""
    members = record.servers
    place = {member.name: index for index, member in enumerate(members)}
    shards = [shard for shard in seen.shards if shard.primary.is_up]
    if not shards:
        raise LoadFailed(record.name, "no primary answers")
    served = sum(len(shard.primary.slots) for shard in shards)
    if record.mode == "cluster" and served < SLOTS:
        raise LoadFailed(record.name, f"{SLOTS - served} slots are served by nobody")
    return Reach(
        nodes=tuple((member.address, member.port) for member in members),
        primaries=tuple(place[shard.primary.name] for shard in shards),
        slots=tuple(
            (span.first, span.last, place[shard.primary.name])
            for shard in shards
            for span in ranges(shard.primary.slots)
        )
        if record.mode == "cluster"
        else (),
        replicas={
            place[shard.primary.name]: place[shard.replicas[0].name] for shard in shards if shard.replicas
        },
        user=access.credentials.user,
        password=access.credentials.password,
        ca_file=access.tls.ca_file if access.tls else "",
    )


ONE_WORKER_OPS, ONE_WORKER_TLS_OPS = 30_000, 12_000
"""What one load process offers on about half a core; measured (benchmarks/RESULTS.md, Load generator)."""
LONG_PIPELINE, LONG_PIPELINE_GAIN = 8, 2
"""From so many commands together on, one process offers so much more."""


def workers_for(offer: Offer, *, tls: bool = False, cores: int = os.cpu_count() or 1) -> Offer:
    """The offer with no more workers than clients or cores, and than its rate needs: one that is not needed only takes
    the cores that answer.
    """
    most = max(1, min(offer.workers, offer.clients, max(2, cores)))
    if not offer.rate_per_s:
        return replace(offer, workers=most)
    one_ops = ONE_WORKER_TLS_OPS if tls else ONE_WORKER_OPS
    if offer.pipeline >= LONG_PIPELINE:
        one_ops *= LONG_PIPELINE_GAIN
    return replace(offer, workers=min(most, ceil(offer.rate_per_s / one_ops)))


async def offer_load(
    cache: str, reach: Reach, workload: Workload, offer: Offer, *, run: str = "", tell: Tell = lambda _: None
) -> LoadResult:
    """Offer the workload and say what came of it; all keys that it wrote are removed again.

    Args: `run`, the word that marks its keys; one is made where none is given.
    Raises: LoadFailed. Cancelled, it ends its workers, which remove what they wrote first.
    """
    offer = workers_for(offer, tls=bool(reach.ca_file))
    run = run or secrets.token_hex(3)
    seed = secrets.randbelow(1 << 30)
    jobs = [Job(run, worker, reach, offer, workload.flows, seed) for worker in range(offer.workers)]
    processes = [await _start(job) for job in jobs]
    try:
        tell("connects and writes its keys" if offer.prefill else "connects")
        await asyncio.gather(*(_ready(cache, process) for process in processes))
        rate = f"{offer.rate_per_s:,.0f}/s" if offer.rate_per_s else "as much as it takes"
        tell(f"offers {rate} with {offer.clients} clients for {offer.seconds:g} s")
        start_s = time.monotonic() + HEAD_START_S
        for process in processes:
            await _say(process, f"go {start_s!r}")
        await asyncio.sleep(HEAD_START_S + offer.warm_up_s)
        psutil.cpu_percent(None)
        await asyncio.sleep(max(0.0, offer.seconds - 0.02))
        machine_share = psutil.cpu_percent(None) / 100
        tell("reads back and removes what it wrote")
        reports = await asyncio.gather(*(_report(cache, process) for process in processes))
    finally:
        await asyncio.shield(_end(processes))
    broken = [report.failed for report in reports if report.failed]
    if broken:
        raise LoadFailed(cache, broken[0])
    return merged(reports, workload.source, offer, machine_share)


async def _start(job: Job) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "holdfast.load.process",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=LONGEST_LINE,
        start_new_session=True,  # Ctrl-C is for whoever asked, who ends it in order
    )
    await _say(process, json.dumps(job.to_json()))  # by the pipe: there is a password in it
    return process


async def _say(process: asyncio.subprocess.Process, line: str) -> None:
    if process.stdin is not None:
        with contextlib.suppress(ConnectionError):
            process.stdin.write(line.encode() + b"\n")
            await process.stdin.drain()


async def _hear(cache: str, process: asyncio.subprocess.Process, bound_s: float) -> dict[str, Any]:
    if process.stdout is None:
        raise LoadFailed(cache, "a load process has no output")
    try:
        line = await asyncio.wait_for(process.stdout.readline(), bound_s)
    except TimeoutError:
        raise LoadFailed(cache, f"a load process said nothing for {bound_s:g} s") from None
    if not line:
        said = (await process.stderr.read()).decode(errors="replace").strip() if process.stderr else ""
        raise LoadFailed(
            cache, f"a load process ended: {said.splitlines()[-1] if said else 'without a word'}"
        )
    return dict(json.loads(line))


async def _ready(cache: str, process: asyncio.subprocess.Process) -> None:
    told = await _hear(cache, process, READY_BOUND_S)
    if "report" in told:
        raise LoadFailed(cache, str(told["report"]["failed"]))


async def _report(cache: str, process: asyncio.subprocess.Process) -> WorkerReport:
    return WorkerReport.from_json((await _hear(cache, process, END_BOUND_S))["report"])


async def _end(processes: Sequence[asyncio.subprocess.Process]) -> None:
    """Let each end: without a word on its input it removes what it wrote and goes; killed where it does not."""
    for process in processes:
        if process.stdin is not None:
            process.stdin.close()
    for process in processes:
        try:
            await asyncio.wait_for(process.wait(), 15)
        except TimeoutError:
            process.kill()
            await process.wait()
