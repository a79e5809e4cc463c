"""Runs candidates in turn, round by round, and keeps what each took."""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.results import percentile

ROUND_BOUND_S = 60.0


@dataclass(frozen=True)
class Candidate:
    """One way to do a task.

    `prepare` gets the server's URL and returns an object with `work(operations)`, blocking or a coroutine function, and
    `close()`. `work` may return seconds of its own for each operation; else the whole is timed.
    """

    name: str
    prepare: Callable[[str], Any]
    asyncio: bool = False


@dataclass
class Measured:
    """What came of a candidate."""

    value: float = 0.0
    high: float | None = None
    failed: str = ""
    rounds: list[float] = field(default_factory=list)
    singles: list[float] = field(default_factory=list)


def in_rounds(
    candidates: Sequence[Candidate], url: str, operations: int, rounds: int, unit: str
) -> dict[str, Measured]:
    """All candidates once in each round. `unit` is ns, us, /s, or one with p50 and p99 of single operations."""
    measured = {each.name: Measured() for each in candidates}
    loop = asyncio.new_event_loop()
    prepared: dict[str, Any] = {}
    try:
        for each in candidates:
            try:
                prepared[each.name] = loop.run_until_complete(_prepare(each, url))
            except Exception as failed:
                measured[each.name].failed = f"{type(failed).__name__}: {failed}"
        for turn in range(rounds + 1):
            for each in candidates:
                own = measured[each.name]
                if own.failed:
                    continue
                try:
                    begun = prepared[each.name].begin()
                    if asyncio.iscoroutine(begun):
                        loop.run_until_complete(asyncio.wait_for(begun, ROUND_BOUND_S))
                    began = time.perf_counter()
                    work = prepared[each.name].work(operations if turn else max(20, operations // 10))
                    singles = (
                        loop.run_until_complete(asyncio.wait_for(work, ROUND_BOUND_S))
                        if asyncio.iscoroutine(work)
                        else work
                    )
                    took_s = time.perf_counter() - began
                except Exception as failed:
                    own.failed = f"{type(failed).__name__}: {failed}"
                    continue
                if turn:  # the first is to get warm
                    own.rounds.append(took_s / operations)
                    own.singles += singles or []
        for made in prepared.values():
            loop.run_until_complete(_close(made))
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=5))
        loop.close()
    for own in measured.values():
        _sum_up(own, unit)
    return measured


async def _prepare(candidate: Candidate, url: str) -> Any:
    made = candidate.prepare(url)
    return await made if asyncio.iscoroutine(made) else made


async def _close(made: Any) -> None:
    """What a candidate does when it is closed is not what is measured."""
    try:
        ended = made.close()
        if asyncio.iscoroutine(ended):
            await ended
    except Exception as failed:
        print(f"  on closing: {type(failed).__name__}: {failed}", file=sys.stderr)


def _sum_up(own: Measured, unit: str) -> None:
    if own.failed or not own.rounds:
        return
    each_s = statistics.median(own.rounds)
    if "p99" in unit:
        own.value, own.high = percentile(own.singles, 50) * 1e6, percentile(own.singles, 99) * 1e6
    else:
        own.value = {"ns": each_s * 1e9, "us": each_s * 1e6, "/s": 1 / each_s}[unit]
