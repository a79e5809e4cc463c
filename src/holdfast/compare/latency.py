"""Listens to how quickly the compared servers answer others: a PING now and then, on connections and a thread of its own.

A thread, because the comparison's own loop is busy with replies and would measure itself.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Sequence

from holdfast.engine.connection import Endpoint
from holdfast.engine.pipeline import Pipeline, pack
from holdfast.errors import HoldfastError

EVERY_S = 0.05
FIRST_LOOKS = 7
TURN_S = 0.0003
"""How soon the interpreter gives the thread its turn. By itself it lets a busy loop go on for 5 ms, and all of that would count
as the server's."""
_PING = pack("PING")


class LatencyProbe:
    """The slowest answer of several servers, looked at every 50 ms."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._endpoints = tuple(endpoints)
        self._heard: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="holdfast-latency", daemon=True)
        self._turn_before_s = sys.getswitchinterval()

    def start(self) -> None:
        """Begin to listen."""
        sys.setswitchinterval(TURN_S)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join(timeout=5)
        sys.setswitchinterval(self._turn_before_s)

    def newest_ms(self) -> list[float]:
        """What was heard since the last call."""
        heard, self._heard = self._heard, []
        return heard

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                asyncio.run(self._listen())
            except HoldfastError:  # a server is away; the comparison itself says so if that lasts
                self._stop.wait(0.5)

    async def _listen(self) -> None:
        pipes: list[Pipeline] = []
        try:
            for endpoint in self._endpoints:
                pipes.append(await Pipeline.connect(endpoint, timeout_s=10.0, name="holdfast-latency"))  # noqa: PERF401
            while not self._stop.is_set():
                self._heard.append(max([await _ping_ms(pipe) for pipe in pipes]))
                await asyncio.sleep(EVERY_S)
        finally:
            for pipe in pipes:
                pipe.close()


async def undisturbed_ms(endpoints: Sequence[Endpoint]) -> float:
    """The median answer of the slowest of the servers, while nothing is asked of them by us."""
    worst = 0.0
    for endpoint in endpoints:
        async with await Pipeline.connect(endpoint, timeout_s=10.0) as pipe:
            looks = sorted([await _ping_ms(pipe) for _ in range(FIRST_LOOKS)])
            worst = max(worst, looks[FIRST_LOOKS // 2])
    return worst


async def _ping_ms(pipe: Pipeline) -> float:
    began = time.perf_counter()
    await pipe.send(_PING, 1)
    return (time.perf_counter() - began) * 1000
