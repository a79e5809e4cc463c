"""The asyncio edge's connections: one per node, shared by all callers, one write per turn of the loop.

Replies come in the order of the commands, so each waiting caller has a place in a queue. A caller that was cancelled or
whose time is up leaves its place, and the reply that comes for it is thrown away there: replies are never mixed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any

from holdfast.client.errors import CacheError, NodeLost, NodeUnreached
from holdfast.client.wire import INCOMPLETE, Push, pack, reader

TICK_S = 0.02
"""How often deadlines are looked at: one timer per connection, none per call."""
MOST_JOINED = 100
"""Reads that go into one MGET at most."""
STALLED_AFTER_S = 1.0
"""A reply that is later than its caller's deadline by this much: the connection is given up."""


class Waiting:
    """A place in the queue: one caller's, or that of several whose reads were joined."""

    __slots__ = ("count", "future", "joined", "replies", "until")

    def __init__(
        self,
        future: asyncio.Future[Any],
        count: int,
        until: float,
        joined: list[asyncio.Future[Any]] | None = None,
    ) -> None:
        self.future, self.count, self.until, self.joined = future, count, until, joined
        self.replies: list[Any] | None = None if count == 1 else []

    def fail(self, why: Exception) -> None:
        """Tell whoever still waits."""
        for future in self.joined or (self.future,):
            if not future.done():
                future.set_exception(why)


def _hand_out(joined: list[asyncio.Future[Any]], reply: Any) -> None:
    """Give each of joined reads its value; an error is everybody's."""
    values = reply if reply.__class__ is list and len(reply) == len(joined) else [reply] * len(joined)
    for future, value in zip(joined, values, strict=True):
        if not future.done():
            future.set_result(value)


class StreamLink(asyncio.Protocol):
    """One connection. `on_push` gets what the server says unasked, `on_end` is told once of its end."""

    def __init__(
        self,
        address: str,
        on_push: Callable[[Any], None] | None = None,
        on_end: Callable[[], None] | None = None,
    ) -> None:
        self.address = address
        self.open = False
        self.ended = asyncio.Event()
        self.waiting: deque[Waiting] = deque()
        self._loop = asyncio.get_running_loop()
        self._reader = reader()
        self._gets = self._reader.gets
        self._out: list[bytes] = []
        self._gets_to_join: list[tuple[str, asyncio.Future[Any], float]] = []
        self._transport: asyncio.Transport | None = None
        self._paused = False
        self._on_push, self._on_end = on_push, on_end
        self._timer: asyncio.TimerHandle | None = None
        self._room: list[asyncio.Future[None]] = []

    def send(self, payload: bytes, count: int, until: float) -> asyncio.Future[Any]:
        """Queue bytes that bring `count` replies; the future gets the reply, or the list of them.

        It fails with NodeLost when the connection ends or `until` (monotonic) passes first.
        """
        future: asyncio.Future[Any] = self._loop.create_future()
        if not self.open:
            future.set_exception(NodeUnreached(self.address, "the connection has ended"))
            return future
        self.waiting.append(Waiting(future, count, until))
        out = self._out
        if not out:
            self._loop.call_soon(self._flush)
        out.append(payload)
        if self._timer is None:
            self._timer = self._loop.call_later(TICK_S, self._tick)
        return future

    def get_soon(self, key: str, until: float) -> asyncio.Future[Any]:
        """GET, joined with all others of this turn of the loop into one MGET; not for clusters, whose keys have slots."""
        future: asyncio.Future[Any] = self._loop.create_future()
        if not self.open:
            future.set_exception(NodeUnreached(self.address, "the connection has ended"))
            return future
        if not self._gets_to_join:
            self._loop.call_soon(self._join)
        self._gets_to_join.append((key, future, until))
        return future

    def _join(self) -> None:
        """Send the reads of this turn."""
        joined, self._gets_to_join = self._gets_to_join, []
        for at in range(0, len(joined), MOST_JOINED):
            some = joined[at : at + MOST_JOINED]
            if not self.open:
                for _, future, _ in some:
                    if not future.done():
                        future.set_exception(NodeUnreached(self.address, "the connection has ended"))
                continue
            keys = [key for key, _, _ in some]
            futures = [future for _, future, _ in some]
            until = some[0][2]
            if len(some) == 1:
                self.waiting.append(Waiting(futures[0], 1, until))
                self._out.append(pack(("GET", keys[0])))
            else:
                self.waiting.append(Waiting(futures[0], 1, until, futures))
                self._out.append(pack(("MGET", *keys)))
        if self._timer is None and self.open:
            self._timer = self._loop.call_later(TICK_S, self._tick)
        self._flush()

    async def room(self, most: int) -> None:
        """Wait while that many callers wait, or the server takes no more bytes."""
        while self.open and (self._paused or len(self.waiting) >= most):
            future: asyncio.Future[None] = self._loop.create_future()
            self._room.append(future)
            await future

    @property
    def crowded(self) -> bool:
        """Whether the server takes no more bytes at the moment."""
        return self._paused

    @property
    def descriptor(self) -> int:
        """Of its socket; -1 when it has none any more."""
        raw = self._transport.get_extra_info("socket") if self._transport is not None else None
        return raw.fileno() if raw is not None else -1

    def close(self, why: str = "the connection was closed") -> None:
        """End it; whoever waits is told."""
        self._end(NodeLost(self.address, why))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self.open = True

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            gets, waiting = self._gets, self.waiting
            while (reply := gets()) is not INCOMPLETE:
                if reply.__class__ is Push:
                    if self._on_push is not None:
                        self._on_push(reply)
                    continue
                head = waiting[0]
                if head.replies is None:
                    waiting.popleft()
                    joined = head.joined
                    if joined is not None:
                        _hand_out(joined, reply)
                    elif not head.future.done():
                        head.future.set_result(reply)
                    continue
                head.replies.append(reply)
                if len(head.replies) == head.count:
                    waiting.popleft()
                    if not head.future.done():
                        head.future.set_result(head.replies)
        except IndexError:
            self.close("it sent a reply that nobody had asked for")
        except Exception as wrong:  # bytes that are no RESP, whatever the parser calls it
            self.close(f"it does not speak the protocol: {wrong}")
        if self._room and len(self.waiting) * 2 < 10_000 and not self._paused:
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(NodeLost(self.address, f"the connection ended{f': {exc}' if exc else ''}", link_ended=True))

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._wake()

    def _flush(self) -> None:
        out, self._out = self._out, []
        if self._transport is not None and out and self.open:
            self._transport.write(out[0] if len(out) == 1 else b"".join(out))

    def _tick(self) -> None:
        """Look at the deadlines of all who wait; the connection is given up when its first reply is far too late."""
        self._timer = None
        now = monotonic()
        for each in self.waiting:
            if now >= each.until:
                each.fail(NodeLost(self.address, "it did not answer in time"))
        if self.waiting and now >= self.waiting[0].until + STALLED_AFTER_S:
            self.close("it stopped answering")
        elif self.waiting and self.open:
            self._timer = self._loop.call_later(TICK_S, self._tick)

    def _wake(self) -> None:
        room, self._room = self._room, []
        for future in room:
            if not future.done():
                future.set_result(None)

    def _end(self, why: CacheError) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        was_open, self.open = self.open, False
        self.ended.set()
        if self._transport is not None:
            self._transport.abort()
        while self.waiting:
            self.waiting.popleft().fail(why)
        self._out.clear()
        self._wake()
        if was_open and self._on_end is not None:
            self._on_end()
