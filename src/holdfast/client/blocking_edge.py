"""Runs policies by blocking calls. The watcher has a thread with an event loop of its own; nothing else is asyncio."""

from __future__ import annotations

import asyncio
import functools
import os
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from holdfast.client.blocking import Pool, exchange_each
from holdfast.client.errors import CacheClosed
from holdfast.client.login import Login
from holdfast.client.opening import Source
from holdfast.client.operations import (
    Await,
    FlightGivenUp,
    Later,
    Load,
    Operation,
    Pause,
    Policy,
    Relook,
    Send,
    SendEach,
)
from holdfast.client.shared import Settings, Shared
from holdfast.client.watch import Watch

BACKGROUND_THREADS = 4
STOP_BOUND_S = 5.0
_EDGES: weakref.WeakSet[BlockingEdge] = weakref.WeakSet()
_PARENTS: list[Any] = []
"""In a forked child: what belongs to the parent's loop, kept so that nothing of it is ever closed or warned about."""


class ThreadFlight:
    """A load that others wait for."""

    __slots__ = ("_error", "_landed", "_value", "owner")

    def __init__(self) -> None:
        self.owner = threading.get_ident()
        self._landed = threading.Event()
        self._value: Any = None
        self._error: BaseException | None = None

    def land(self, value: Any) -> None:
        self._value = value
        self._landed.set()

    def fail(self, error: BaseException) -> None:
        self._error = error
        self._landed.set()

    def give_up(self) -> None:
        self.fail(FlightGivenUp())

    @property
    def is_callers(self) -> bool:
        """Whether the caller itself is the one that loads: it would wait for ever."""
        return self.owner == threading.get_ident()

    def wait(self, timeout_s: float | None) -> Any:
        if not self._landed.wait(timeout_s):
            raise TimeoutError
        if self._error is not None:
            raise self._error
        return self._value


class BlockingEdge:
    """One cache's blocking edge; safe to be used from several threads, and anew in a forked child."""

    def __init__(self, source: Source, settings: Settings) -> None:
        self._source = source
        profile = source.profile
        self._login = Login.of(profile, source.credentials)
        pool = profile.pool
        self.shared = Shared(
            profile,
            settings,
            lambda at: Pool(self._login, at, pool.max_total, pool.max_idle, pool.max_wait_ms / 1000),
        )
        self._reset()
        _EDGES.add(self)

    def _reset(self) -> None:
        self._changed = threading.Condition()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watch: Watch | None = None
        self._workers: ThreadPoolExecutor | None = None

    def run(self, policy: Policy) -> Any:
        """Drive a policy to its end."""
        if self._thread is None:
            self.start()
        try:
            operation: Operation = policy.send(None)
            while True:
                try:
                    if operation.__class__ is Send:
                        send: Send = operation
                        result = send.node.door.send(send.payload, send.replies, send.readonly, send.until)
                    else:
                        result = self._do(operation)
                except BaseException as failed:
                    operation = policy.throw(failed)
                else:
                    operation = policy.send(result)
        except StopIteration as done:
            return done.value

    def _do(self, operation: Operation) -> Any:
        match operation:
            case Load(loader, fields):
                return loader(**fields)
            case SendEach(sends):
                return exchange_each(
                    [
                        (each.node.door, each.payload, each.replies, each.readonly, each.until)
                        for each in sends
                    ]
                )
            case Relook(version, until):
                self.shared.look_again()
                with self._changed:
                    self._changed.wait_for(
                        lambda: self.shared.version != version, max(0.0, until - time.monotonic())
                    )
                return None
            case Pause(seconds):
                time.sleep(seconds)
                return None
            case Await(flight, until):
                return flight.wait(None if until == float("inf") else max(0.0, until - time.monotonic()))
            case Later(policy):
                if self._workers is None:
                    self._workers = ThreadPoolExecutor(BACKGROUND_THREADS, "holdfast-refresh")
                self._workers.submit(self._quietly, policy)
                return None
        raise AssertionError(operation)

    def _quietly(self, policy: Policy) -> None:
        import logging

        try:
            self.run(policy)
        except Exception:
            logging.getLogger("holdfast.client").debug("in the background", exc_info=True)

    def start(self) -> None:
        """Start watching, once. Raises: CacheClosed."""
        with self._starting:
            if self._thread is not None:
                return
            if self.shared.closed:
                raise CacheClosed(self.shared.profile.cache)
            ready = threading.Event()
            thread = threading.Thread(
                target=self._watching, args=(ready,), name="holdfast-watch", daemon=True
            )
            thread.start()
            ready.wait(STOP_BOUND_S)
            self._thread = thread

    def _watching(self, ready: threading.Event) -> None:
        async def work() -> None:
            self._loop = asyncio.get_running_loop()
            self._stop = asyncio.Event()
            watch = self._watch = Watch(
                self.shared, self._login, functools.partial(self._source.follow, self.shared, self._login)
            )
            watch.on_layout = self._tell
            watch.start()
            ready.set()
            await self._stop.wait()
            await watch.stop()

        asyncio.run(work())

    def _tell(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """End all connections and the watcher's thread; what is called afterwards raises CacheClosed."""
        if self.shared.closed:
            return
        self.shared.closed = True
        if self._workers is not None:
            self._workers.shutdown(wait=False, cancel_futures=True)
        thread, loop = self._thread, self._loop
        if thread is not None and loop is not None and thread is not threading.current_thread():
            loop.call_soon_threadsafe(self._stop.set)
            thread.join(STOP_BOUND_S)
        for node in list(self.shared.nodes.values()):
            node.door.close()
        self.shared.l1.flush()
        self._tell()

    def after_fork(self) -> None:
        """In the child: nothing of the parent's connections or threads is used; all begins anew with the first call."""
        _PARENTS.extend((self._watch, self._loop, self._thread, self._workers))
        if self._watch is not None:
            self._watch.disown()
        self.shared.after_fork()
        self._reset()


def _after_fork() -> None:
    for edge in list(_EDGES):
        edge.after_fork()


os.register_at_fork(after_in_child=_after_fork)
