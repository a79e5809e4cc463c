"""Holds the reading back to what the server that is read stands: keys are paid for at the pace that its answers to others allow."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from holdfast.compare.latency import LatencyProbe
from holdfast.compare.pace import Pace, PaceLimits, heard, judged, opening

PAY_EVERY_S = 0.05
"""The pace may have changed by then: nobody waits longer at one that is no longer true."""
IDLE_BOUND_S = 0.5
IDLE_EVERY_S = 0.002
RUNNING_OVER_S = 1.0


class Throttle:
    """Who reads asks for a `turn` before and is `busy` meanwhile."""

    def __init__(self, limits: PaceLimits, probe: LatencyProbe) -> None:
        self.pace: Pace = opening(limits, 0.0)
        self._limits = limits
        self._probe = probe
        self._owed = 0.0
        """Keys that were asked for and that the pace has not allowed yet."""
        self._paid_s = 0.0
        self._busy = 0
        self._may_go = asyncio.Event()
        self._done: deque[tuple[float, int]] = deque()

    async def open(self) -> None:
        """See how quickly the server answers while nothing is read."""
        self.pace = opening(self._limits, await self._probe.alone_ms() or 0.0)
        self._paid_s = time.monotonic()
        self._may_go.set()

    async def turn(self, keys: int) -> None:
        """Wait until so many keys may be asked for."""
        while True:
            await self._may_go.wait()
            now = time.monotonic()
            self._owed = max(0.0, self._owed - (now - self._paid_s) * self.pace.keys_per_s)
            self._paid_s = now
            if not self._owed:
                break
            await asyncio.sleep(min(PAY_EVERY_S, self._owed / self.pace.keys_per_s))
        self._owed += keys

    @contextmanager
    def busy(self) -> Iterator[None]:
        """While something is asked of the servers."""
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1

    async def listen(self, keys: int) -> None:
        """Take in what the server answered since the last time. Args: `keys`, how many were read so far."""
        now = time.monotonic()
        self._done.append((now, keys))
        while now - self._done[0][0] > RUNNING_OVER_S:
            self._done.popleft()
        for answer_ms in self._probe.newest_ms():
            self.pace = heard(self.pace, answer_ms)
            if self.pace.is_too_slow:
                await self._judge()
                return

    async def _judge(self) -> None:
        """Pause, hear how the server answers then, and decide whether it was slow because of us."""
        (began, before), (ended, after) = self._done[0], self._done[-1]
        running = (after - before) / max(ended - began, 1e-3) if ended > began else self.pace.keys_per_s
        self._may_go.clear()
        try:
            end = time.monotonic() + IDLE_BOUND_S
            while self._busy and time.monotonic() < end:  # noqa: ASYNC110 - nobody tells when the last is done
                await asyncio.sleep(IDLE_EVERY_S)
            alone_ms = await self._probe.alone_ms()
            if alone_ms is not None:
                self.pace = judged(self.pace, alone_ms, running)
            self._probe.newest_ms()
        finally:
            self._paid_s = max(self._paid_s, time.monotonic())
            self._may_go.set()
            self._done.clear()
