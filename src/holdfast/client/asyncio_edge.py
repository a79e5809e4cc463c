"""Runs policies in the caller's event loop: one shared connection per node, the watcher as tasks beside."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import os
import weakref
from time import monotonic
from typing import Any

from holdfast.client.errors import CacheClosed, CacheError
from holdfast.client.login import Login
from holdfast.client.opening import Source
from holdfast.client.operations import (
    Await,
    FlightGivenUp,
    Later,
    Load,
    Node,
    Operation,
    Pause,
    Policy,
    Relook,
    Send,
    SendEach,
)
from holdfast.client.shared import Settings, Shared
from holdfast.client.stream_door import StreamDoor
from holdfast.client.watch import Watch

_EDGES: weakref.WeakSet[AsyncioEdge] = weakref.WeakSet()


class TaskFlight:
    """A load that others wait for."""

    __slots__ = ("_future", "owner")

    def __init__(self) -> None:
        self._future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.owner = asyncio.current_task()

    def land(self, value: Any) -> None:
        if not self._future.done():
            self._future.set_result(value)

    def fail(self, error: BaseException) -> None:
        if not self._future.done():
            self._future.set_exception(error)
            self._future.exception()  # nobody may be waiting

    def give_up(self) -> None:
        self.fail(FlightGivenUp())

    @property
    def is_callers(self) -> bool:
        """Whether the caller itself is the one that loads: it would wait for ever."""
        return self.owner is not None and self.owner is asyncio.current_task()

    async def wait(self, timeout_s: float | None) -> Any:
        async with asyncio.timeout(timeout_s):
            return await asyncio.shield(self._future)


class AsyncioEdge:
    """One cache's asyncio edge; it belongs to the loop that it is first used in."""

    def __init__(self, source: Source, settings: Settings) -> None:
        self._source = source
        self._login = Login.of(source.profile, source.credentials)
        self.shared = Shared(
            source.profile, settings, lambda at: StreamDoor(self._login, at, settings.max_in_flight)
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watch: Watch | None = None
        self._changed: list[asyncio.Future[None]] = []
        self._background: set[asyncio.Task[Any]] = set()
        self._forked = False
        _EDGES.add(self)

    async def run(self, policy: Policy) -> Any:
        """Drive a policy to its end."""
        if self._loop is not asyncio.get_running_loop():
            self.start()
        try:
            operation: Operation = policy.send(None)
            while True:
                try:
                    if operation.__class__ is Send:
                        send: Send = operation
                        door: StreamDoor = send.node.door
                        future = None
                        if not send.readonly:
                            future = door.begin(send.payload, send.replies, send.until)
                        if future is not None:
                            result = await future
                        else:
                            result = await door.send(send.payload, send.replies, send.readonly, send.until)
                    else:
                        result = await self._do(operation)
                except BaseException as failed:
                    operation = policy.throw(failed)
                else:
                    operation = policy.send(result)
        except StopIteration as done:
            return done.value

    def get_soon(self, node: Node, key: str) -> asyncio.Future[Any] | None:
        """A plain read, joined with those of others in this turn of the loop; None where that cannot be now."""
        if self._loop is not asyncio.get_running_loop():
            return None
        door: StreamDoor = node.door
        return door.get_soon(key, monotonic() + self.shared.command_s)

    async def _do(self, operation: Operation) -> Any:
        match operation:
            case Load(loader, fields):
                if inspect.iscoroutinefunction(loader):
                    return await loader(**fields)
                result = await asyncio.to_thread(loader, **fields)  # a plain function may block
                return await result if inspect.isawaitable(result) else result
            case SendEach(sends):
                return await asyncio.gather(*(self._send(each) for each in sends))
            case Relook(version, until):
                await self._relook(version, until)
            case Pause(seconds):
                await asyncio.sleep(seconds)
            case Await(flight, until):
                return await flight.wait(None if until == float("inf") else max(0.0, until - monotonic()))
            case Later(policy):
                task = asyncio.get_running_loop().create_task(self._quietly(policy))
                self._background.add(task)
                task.add_done_callback(self._background.discard)
        return None

    async def _send(self, send: Send) -> Any:
        try:
            return await send.node.door.send(send.payload, send.replies, send.readonly, send.until)
        except CacheError as failed:
            return failed

    async def _relook(self, version: int, until: float) -> None:
        self.shared.look_again()
        loop = asyncio.get_running_loop()
        while self.shared.version == version and (left_s := until - monotonic()) > 0:
            told: asyncio.Future[None] = loop.create_future()
            self._changed.append(told)
            timer = loop.call_later(left_s, _done, told)
            try:
                await told
            finally:
                timer.cancel()

    async def _quietly(self, policy: Policy) -> None:
        try:
            await self.run(policy)
        except Exception:
            logging.getLogger("holdfast.client").debug("in the background", exc_info=True)

    def start(self) -> None:
        """Start watching, once, in this loop. Raises: CacheClosed."""
        loop = asyncio.get_running_loop()
        if self.shared.closed:
            raise CacheClosed(self.shared.profile.cache)
        if self._forked:
            raise CacheClosed(
                self.shared.profile.cache, "it was opened before this process was forked; open one here"
            )
        if self._loop is not None:
            raise CacheClosed(
                self.shared.profile.cache, "it belongs to another event loop; open one for this loop"
            )
        self._loop = loop
        self._watch = Watch(
            self.shared, self._login, functools.partial(self._source.follow, self.shared, self._login)
        )
        self._watch.on_layout = self._tell
        self._watch.start()

    def _tell(self) -> None:
        changed, self._changed = self._changed, []
        for future in changed:
            _done(future)

    async def close(self) -> None:
        """End all connections and tasks; what is called afterwards raises CacheClosed."""
        if self.shared.closed:
            return
        self.shared.closed = True
        if self._loop is not None and self._loop is not asyncio.get_running_loop():
            return  # its loop has ended, and with it all that ran there
        for task in self._background:
            task.cancel()
        if self._watch is not None:
            await self._watch.stop()
        for node in list(self.shared.nodes.values()):
            node.door.close()
        self.shared.l1.flush()
        self._tell()

    def after_fork(self) -> None:
        """In the child: loops do not outlive a fork, and what this process keeps is nobody's to vouch for."""
        self._forked, self._loop = True, None
        self.shared.l1.after_fork()
        if self._watch is not None:
            self._watch.disown()


def _done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _after_fork() -> None:
    for edge in list(_EDGES):
        edge.after_fork()


os.register_at_fork(after_in_child=_after_fork)
