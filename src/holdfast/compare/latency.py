"""Listens to how quickly the compared servers answer others: a PING now and then, on connections and a thread of its own.

What counts is when the answer reached this machine, as its kernel noted it, not when the thread had its turn to read it: the
comparison keeps the interpreter and the processors busy, and would measure itself. Where the kernel notes nothing (a socket in the
file system, another system than Linux) the thread's own clock has to do.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import statistics
import struct
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future

from holdfast.engine.connection import Endpoint, tls_context
from holdfast.engine.pipeline import pack

EVERY_S = 0.05
ALONE_LOOKS = 7
ALONE_EVERY_S = 0.002
ANSWER_S = 10.0
AWAY_S = 0.5
TURN_S = 0.0003
"""How soon the interpreter gives the thread its turn. By itself it lets a busy loop go on for 5 ms, and where the kernel notes
nothing all of that would count as the server's."""
_PING = pack("PING")
_STAMPS = 35
"""SO_TIMESTAMPNS, which the standard library does not name. Source: include/uapi/asm-generic/socket.h of Linux."""
_STAMP = struct.Struct("@ll")


class _Line:
    """A connection that is only asked for PINGs."""

    def __init__(self, endpoint: Endpoint) -> None:
        if endpoint.socket:
            plain = socket.socket(socket.AF_UNIX)
            plain.settimeout(ANSWER_S)
            plain.connect(endpoint.socket)
        else:
            plain = socket.create_connection((endpoint.host, endpoint.port), ANSWER_S)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._stamped = sys.platform == "linux" and not endpoint.socket
        if self._stamped:
            plain.setsockopt(socket.SOL_SOCKET, _STAMPS, 1)
        self._arrived = socket.socket(fileno=os.dup(plain.fileno()))
        self._arrived.settimeout(ANSWER_S)
        try:
            tls = tls_context(endpoint.tls) if endpoint.tls is not None else None
            self._line = tls.wrap_socket(plain, server_hostname=endpoint.host) if tls else plain
        except BaseException:
            plain.close()
            self._arrived.close()
            raise
        who = endpoint.credentials
        if who is not None:  # what is wrong with it, the comparison's own connections say
            words = (who.password,) if who.user in {"", "default"} else (who.user, who.password)
            self._ask(pack("AUTH", *words))
        self._ask(pack("CLIENT", "SETNAME", "holdfast-latency"))

    def ping_ms(self) -> float:
        """How long the server took, way there and back counted. Raises: OSError."""
        began_ns = time.time_ns()
        ended_ns = self._ask(_PING)
        return max(0, ended_ns - began_ns) / 1e6

    def _ask(self, packed: bytes) -> int:
        """Send a command; when the first byte of its answer came. Raises: OSError."""
        self._line.sendall(packed)
        _, notes, _, _ = self._arrived.recvmsg(1, 128, socket.MSG_PEEK)
        came_ns = time.time_ns()
        for level, kind, data in notes:
            if self._stamped and (level, kind) == (socket.SOL_SOCKET, _STAMPS):
                seconds, ns = _STAMP.unpack_from(data)
                came_ns = seconds * 1_000_000_000 + ns
        answer = b""
        while not answer.endswith(b"\n"):
            piece = self._line.recv(4096)
            if not piece:
                raise OSError("it closed the connection")
            answer += piece
        return came_ns

    def close(self) -> None:
        self._arrived.close()
        self._line.close()


class LatencyProbe:
    """The slowest answer of several servers, looked at every 50 ms."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._endpoints = tuple(endpoints)
        self._heard: list[float] = []
        self._alone: Future[float | None] | None = None
        self._wake = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="holdfast-latency", daemon=True)
        self._turn_before_s = sys.getswitchinterval()

    def start(self) -> None:
        """Begin to listen."""
        sys.setswitchinterval(TURN_S)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._ended = True
        self._wake.set()
        self._thread.join(timeout=5)
        sys.setswitchinterval(self._turn_before_s)

    def newest_ms(self) -> list[float]:
        """What was heard since the last call."""
        heard, self._heard = self._heard, []
        return heard

    async def alone_ms(self) -> float | None:
        """The median of some answers in quick succession, to be asked for while nothing else is asked of the servers by us; None
        when they cannot be heard.
        """
        asked: Future[float | None] = Future()
        self._alone = asked
        self._wake.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_S):
                return await asyncio.wrap_future(asked)
        return None

    def _run(self) -> None:
        while not self._ended:
            lines: list[_Line] = []
            try:
                for endpoint in self._endpoints:
                    lines.append(_Line(endpoint))  # noqa: PERF401 - those made before one fails are closed too
                self._listen(lines)
            except OSError:  # a server is away; the comparison itself says so if that lasts
                self._answer(None)
                if not self._ended:
                    time.sleep(AWAY_S)
            finally:
                for line in lines:
                    line.close()

    def _listen(self, lines: list[_Line]) -> None:
        while not self._ended:
            if self._alone is not None:
                looks = []
                for _ in range(ALONE_LOOKS):
                    looks.append(max(line.ping_ms() for line in lines))
                    time.sleep(ALONE_EVERY_S)
                self._answer(statistics.median(looks))
            else:
                self._heard.append(max(line.ping_ms() for line in lines))
            self._wake.wait(EVERY_S)
            self._wake.clear()

    def _answer(self, alone_ms: float | None) -> None:
        asked, self._alone = self._alone, None
        if asked is not None and asked.set_running_or_notify_cancel():
            asked.set_result(alone_ms)
