"""The blocking edge's connections: a pool per node, each connection used by one caller at a time.

A connection whose reply did not come whole is closed and never used again.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import struct
import threading
import time
from collections import deque
from typing import Any

from holdfast.client.errors import CacheError, NodeLost, NodeUnreached, ServerUnfit
from holdfast.client.layout import Address
from holdfast.client.login import READONLY, Login
from holdfast.client.wire import INCOMPLETE, Push, ReplyError, reader

_READ_BYTES = 64 * 1024
_TIMEVAL = struct.Struct("@ll")
_IDLE_CHECK_S = 0.02
"""A connection that was idle longer is looked at before it is used."""
_SILENT = (BlockingIOError, TimeoutError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class BlockingLink:
    """One connection, introduced. Raises: NodeUnreached, CacheDenied, ServerUnfit, PasswordUnreadable."""

    __slots__ = ("_armed_s", "_reader", "_socket", "address", "idle_since")

    def __init__(self, login: Login, address: Address, *, readonly: bool, within_s: float) -> None:
        self.address = str(address)
        self._reader = reader()
        self._armed_s = 0.0
        self.idle_since = 0.0
        within_s = max(0.001, min(within_s, login.connect_s))
        until = time.monotonic() + within_s
        hello = login.hello()
        try:
            raw = socket.create_connection((address.host, address.port), within_s)
        except OSError as failed:
            raise NodeUnreached(self.address, str(failed)) from failed
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            self._socket = login.tls.wrap_socket(raw, server_hostname=address.host) if login.tls else raw
            # Timeouts are the kernel's from here on (SO_RCVTIMEO): one system call less for each reply.
            self._socket.settimeout(None)
            login.judge(self.exchange(hello, 1, until), self.address)
            if readonly and isinstance(reply := self.exchange(READONLY, 1, until), ReplyError):
                raise ServerUnfit(self.address, str(reply))
        except OSError as failed:
            raw.close()
            raise NodeUnreached(self.address, str(failed)) from failed
        except NodeLost as failed:
            raw.close()
            if "protocol" in failed.why:
                raise ServerUnfit(self.address, failed.why) from failed
            raise NodeUnreached(self.address, failed.why) from failed
        except BaseException:
            raw.close()
            raise

    def exchange(self, payload: bytes, count: int, until: float) -> Any:
        """Send, and wait for the replies. Raises: NodeUnreached when nothing was sent, else NodeLost."""
        self.write(payload, until)
        return self.read(count, until)

    def write(self, payload: bytes, until: float) -> None:
        """The first half. Raises: as `exchange`."""
        left_s = until - time.monotonic()
        if left_s <= 0:
            raise NodeUnreached(self.address, "the time was up before it was asked")
        if not 0.8 * self._armed_s <= left_s <= 1.05 * self._armed_s:
            self._arm(left_s)
        sent = 0
        try:
            sent = self._socket.send(payload)
            if sent < len(payload):
                self._socket.sendall(memoryview(payload)[sent:])
        except OSError as failed:
            if sent == 0 and not isinstance(failed, _SILENT):
                raise NodeUnreached(self.address, str(failed)) from failed
            raise NodeLost(self.address, "it took the command too slowly") from failed

    def read(self, count: int, until: float) -> Any:
        """The second half. Raises: NodeLost."""
        gets = self._reader.gets
        replies: list[Any] = []
        while True:
            try:
                while (reply := gets()) is not INCOMPLETE:
                    if reply.__class__ is Push:
                        continue
                    if count == 1:
                        return reply
                    replies.append(reply)
                    if len(replies) == count:
                        return replies
                data = self._socket.recv(_READ_BYTES)
            except _SILENT as late:
                raise NodeLost(self.address, "it did not answer in time") from late
            except OSError as failed:
                raise NodeLost(self.address, str(failed), link_ended=True) from failed
            except Exception as wrong:  # bytes that are no RESP, whatever the parser calls it
                raise NodeLost(self.address, f"it does not speak the protocol: {wrong}") from wrong
            if not data:
                raise NodeLost(self.address, "the connection ended", link_ended=True)
            self._reader.feed(data)
            if time.monotonic() >= until and not self._reader.has_data():
                raise NodeLost(self.address, "it did not answer in time")

    def usable(self, now: float) -> bool:
        """Whether nothing came while it was idle: an end, or a reply that nobody asked for."""
        if now - self.idle_since < _IDLE_CHECK_S:
            return True
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return not poll.poll(0)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.close()

    def forget(self) -> None:
        """In a forked child: let go of the descriptor without a word to the server."""
        with contextlib.suppress(OSError):
            os.close(self._socket.detach())

    def _arm(self, seconds: float) -> None:
        self._armed_s = seconds
        whole = int(seconds)
        value = _TIMEVAL.pack(whole, max(1, int((seconds - whole) * 1_000_000)))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, value)


class Pool:
    """The blocking edge's way to one node: at most `max_total` connections, the one used last first."""

    def __init__(
        self, login: Login, address: Address, max_total: int, max_idle: int, max_wait_s: float
    ) -> None:
        self._login, self._address = login, address
        self._max_total, self._max_idle, self._max_wait_s = max_total, max_idle, max_wait_s
        self.closed = False
        self._reset()

    def _reset(self) -> None:
        self._idle: dict[bool, list[BlockingLink]] = {False: [], True: []}
        self.in_use = 0
        self._lock = threading.Lock()
        self._waiting: deque[threading.Lock] = deque()

    def send(self, payload: bytes, count: int, readonly: bool, until: float) -> Any:
        """Raises: NodeUnreached, NodeLost and what connecting raises."""
        link = self.take(readonly, until)
        try:
            reply = link.exchange(payload, count, until)
        except BaseException:
            self.give_up(link)
            raise
        self.give_back(link, readonly)
        return reply

    def take(self, readonly: bool, until: float) -> BlockingLink:
        """A connection for one caller, who gives it back or up."""
        idle = self._idle[readonly]
        now = time.monotonic()
        with self._lock:
            placed = self.in_use < self._max_total and not self.closed
            self.in_use += placed
            link = idle.pop() if placed and idle else None
        if not placed:
            self._wait_for_place(min(until, now + self._max_wait_s))
            now = time.monotonic()
        while True:
            if link is None:
                with self._lock:
                    link = idle.pop() if idle else None
                if link is None:
                    break
            if link.usable(now):
                return link
            link.close()
            link = None
        try:
            return BlockingLink(self._login, self._address, readonly=readonly, within_s=until - now)
        except BaseException:
            self._free_place()
            raise

    def give_back(self, link: BlockingLink, readonly: bool) -> None:
        link.idle_since = time.monotonic()
        with self._lock:
            keep = not self.closed and len(self._idle[readonly]) < self._max_idle
            if keep:
                self._idle[readonly].append(link)
            self._pass_on()
        if not keep:
            link.close()

    def give_up(self, link: BlockingLink) -> None:
        link.close()
        self._free_place()

    def close(self) -> None:
        with self._lock:
            self.closed = True
            for link in (*self._idle[False], *self._idle[True]):
                link.close()
            self._idle[False].clear()
            self._idle[True].clear()
            waiting, self._waiting = self._waiting, deque()
            self.in_use += len(waiting)
        for turn in waiting:
            turn.release()

    def after_fork(self) -> None:
        """In the child: the connections are the parent's."""
        for link in (*self._idle[False], *self._idle[True]):
            link.forget()
        self._reset()

    @property
    def idle(self) -> int:
        return len(self._idle[False]) + len(self._idle[True])

    def _wait_for_place(self, wait_until: float) -> None:
        """Be one of `max_total` all the same. Whoever waits longest is next: no caller can be overtaken for ever."""
        with self._lock:
            if self.closed:
                raise NodeUnreached(str(self._address), "the cache was closed", busy=True)
            if self.in_use < self._max_total:
                self.in_use += 1
                return
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        if not turn.acquire(timeout=max(0.0, wait_until - time.monotonic())):
            with self._lock:
                if turn in self._waiting:
                    self._waiting.remove(turn)
                    raise NodeUnreached(
                        str(self._address),
                        f"all {self._max_total} connections are in use (pool.max_total)",
                        busy=True,
                    )
        if self.closed:
            self._free_place()
            raise NodeUnreached(str(self._address), "the cache was closed", busy=True)

    def _free_place(self) -> None:
        with self._lock:
            self._pass_on()

    def _pass_on(self) -> None:
        """With the lock: hand the place to whoever waits longest."""
        if self._waiting:
            self._waiting.popleft().release()
        else:
            self.in_use -= 1


def exchange_each(sends: list[tuple[Pool, bytes, int, bool, float]]) -> list[Any]:
    """Several at once: all are written before the first reply is read. Result: for each what came or was raised."""
    begun: list[tuple[Pool, BlockingLink] | CacheError] = []
    results: list[Any] = []
    try:
        for pool, payload, _, readonly, until in sends:
            begun.append(_begin(pool, payload, readonly, until))
        for index, (pool, _, count, readonly, until) in enumerate(sends):
            step = begun[index]
            if isinstance(step, CacheError):
                results.append(step)
                continue
            link = step[1]
            try:
                results.append(link.read(count, until))
            except CacheError as failed:
                pool.give_up(link)
                results.append(failed)
            else:
                pool.give_back(link, readonly)
    except BaseException:
        for step in begun[len(results) :]:
            if not isinstance(step, CacheError):
                step[0].give_up(step[1])
        raise
    return results


def _begin(
    pool: Pool, payload: bytes, readonly: bool, until: float
) -> tuple[Pool, BlockingLink] | CacheError:
    try:
        link = pool.take(readonly, until)
    except (NodeUnreached, NodeLost) as failed:
        return failed
    try:
        link.write(payload, until)
    except (NodeUnreached, NodeLost) as failed:
        pool.give_up(link)
        return failed
    except BaseException:
        pool.give_up(link)
        raise
    return pool, link
