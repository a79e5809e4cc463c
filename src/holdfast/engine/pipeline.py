"""Many commands in flight on one connection: packed bytes go out, whole batches of raw replies come back in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import hiredis

from holdfast.engine.connection import (
    CommandRefused,
    Endpoint,
    NodeDenied,
    NodeGone,
    NodeSilent,
    system_words,
    tls_context,
)
from holdfast.errors import HoldfastError

Word = bytes | str | int
Raw = Any
"""A reply of RESP2 as bytes, int, list or None; an error of one command is a `hiredis.ReplyError` in its place."""
_NOTHING = object()
_READ_BYTES = 1 << 18
_PARSED_BYTES = 1 << 14
"""Handed to the parser at once. It moves all that it still holds to the front behind every kilobyte or more that it has parsed, so
that the whole of a large read costs four times as much as this. Source: redisReaderGetReply in read.c of hiredis.
"""


def pack(*words: Word) -> bytes:
    """One command as the bytes that go over the wire."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        data = word if isinstance(word, bytes) else str(word).encode(errors="surrogateescape")
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


def refusal(reply: Raw) -> str:
    """The words of an error reply; empty when `reply` is none."""
    return str(reply) if isinstance(reply, hiredis.ReplyError) else ""


@dataclass
class _Wait:
    count: int
    future: asyncio.Future[list[Raw]]
    replies: list[Raw] = field(default_factory=list)


class Pipeline(asyncio.BufferedProtocol):
    """A connected server that takes several batches at once; each `send` gets exactly its own replies.

    Speaks RESP2, so that replies look alike from every engine since 5.0. A connection whose replies can no longer be told
    apart (a bound passed, a cancelled wait) is closed and never used again.
    """

    def __init__(self, endpoint: Endpoint, timeout_s: float) -> None:
        self.endpoint = endpoint
        self.timeout_s = timeout_s
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        self._waits: deque[_Wait] = deque()
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray(_READ_BYTES)
        self._view = memoryview(self._buffer)
        self._gone: HoldfastError | None = None

    @classmethod
    async def connect(cls, endpoint: Endpoint, *, timeout_s: float = 30.0, name: str = "holdfast") -> Self:
        """Connect and log in. Args: `timeout_s`, bound of the log-in and of every batch.

        Raises: NodeGone, NodeSilent, NodeDenied.
        """
        node = cls(endpoint, timeout_s)
        loop = asyncio.get_running_loop()
        tls = tls_context(endpoint.tls) if endpoint.tls is not None else None
        try:
            async with asyncio.timeout(timeout_s):
                if endpoint.socket:
                    await loop.create_unix_connection(lambda: node, endpoint.socket)
                else:
                    await loop.create_connection(lambda: node, endpoint.host, endpoint.port, ssl=tls)
            await node._log_in(name)
        except TimeoutError as late:
            node.close()
            raise NodeSilent(str(endpoint), "the log-in", timeout_s) from late
        except OSError as broken:
            node.close()
            why = system_words(broken) or str(broken) or type(broken).__name__
            raise NodeGone(str(endpoint), why) from broken
        except BaseException:
            node.close()
            raise
        return node

    async def _log_in(self, name: str) -> None:
        who = self.endpoint.credentials
        if who is not None:
            # Engines before 6 know one password and no users.
            words = (who.password,) if who.user in {"", "default"} else (who.user, who.password)
            (reply,) = await self.send(pack("AUTH", *words), 1)
            if said := refusal(reply):
                raise NodeDenied(str(self.endpoint), who.user, "AUTH", said)
        (reply,) = await self.send(pack("CLIENT", "SETNAME", name), 1)
        if refusal(reply).startswith("NOAUTH"):
            raise NodeDenied(str(self.endpoint), "default", "the log-in", refusal(reply))

    @property
    def usable(self) -> bool:
        """Whether a batch can still be sent."""
        return self._gone is None and self._transport is not None

    async def send(
        self, packed: bytes | Iterable[bytes], count: int, timeout_s: float | None = None
    ) -> list[Raw]:
        """Send commands and wait for their replies.

        Args: `packed`, the commands as bytes; `count`, how many replies they get.
        Raises: NodeGone, NodeSilent (the commands may or may not have run).
        """
        return await self.begin(packed, count, timeout_s)

    def begin(
        self, packed: bytes | Iterable[bytes], count: int, timeout_s: float | None = None
    ) -> asyncio.Future[list[Raw]]:
        """The same without waiting: the commands are on their way when this returns."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[Raw]] = loop.create_future()
        if self._gone is not None or self._transport is None:
            future.set_exception(self._gone or NodeGone(str(self.endpoint), "the connection is closed"))
            return future
        if count == 0:
            future.set_result([])
            return future
        self._waits.append(_Wait(count, future))
        if isinstance(packed, bytes):
            self._transport.write(packed)
        else:
            self._transport.writelines(list(packed))
        bound_s = self.timeout_s if timeout_s is None else timeout_s
        late = loop.call_later(bound_s, self._late, future, bound_s)
        future.add_done_callback(lambda done: self._ended(done, late))
        return future

    async def ask(self, *words: Word, timeout_s: float | None = None) -> Raw:
        """One command and its reply. Raises: CommandRefused, NodeDenied, NodeGone, NodeSilent."""
        (reply,) = await self.send(pack(*words), 1, timeout_s)
        if said := refusal(reply):
            command = str(words[0] if not isinstance(words[0], bytes) else words[0].decode(errors="replace"))
            if said.startswith(("NOPERM", "NOAUTH")):
                who = self.endpoint.credentials
                raise NodeDenied(str(self.endpoint), who.user if who else "default", command, said)
            raise CommandRefused(str(self.endpoint), command, said)
        return reply

    async def ask_all(self, commands: Sequence[Sequence[Word]], timeout_s: float | None = None) -> list[Raw]:
        """Several commands and their replies, refusals among them as values."""
        return await self.send(b"".join(pack(*words) for words in commands), len(commands), timeout_s)

    def close(self) -> None:
        """Close the connection; always safe. Waits that are open end with NodeGone."""
        self._end(NodeGone(str(self.endpoint), "the connection is closed"))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *failure: object) -> None:
        self.close()

    def _late(self, future: asyncio.Future[list[Raw]], bound_s: float) -> None:
        if not future.done():
            self._end(NodeSilent(str(self.endpoint), "a batch of commands", bound_s))

    def _ended(self, done: asyncio.Future[list[Raw]], late: asyncio.TimerHandle) -> None:
        late.cancel()
        if done.cancelled():  # its replies would be taken for the next batch's
            self.close()

    def _end(self, why: HoldfastError) -> None:
        if self._gone is None:
            self._gone = why
        if self._transport is not None:
            self._transport.abort()
            self._transport = None
        while self._waits:
            future = self._waits.popleft().future
            if not future.done():
                future.set_exception(self._gone)

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(high=1 << 22)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(NodeGone(str(self.endpoint), str(exc) if exc else "it closed the connection"))

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        for at in range(0, nbytes, _PARSED_BYTES):
            if self._gone is not None:
                return
            size = min(_PARSED_BYTES, nbytes - at)
            self._reader.feed(self._buffer, at, size)  # type: ignore[arg-type]  # any buffer will do
            self._take_replies()

    def _take_replies(self) -> None:
        gets = self._reader.gets
        try:
            while self._waits:
                wait = self._waits[0]
                replies, count = wait.replies, wait.count
                while len(replies) < count:
                    reply = gets()
                    if reply is _NOTHING:
                        return
                    replies.append(reply)
                self._waits.popleft()
                if not wait.future.done():
                    wait.future.set_result(replies)
        except hiredis.ProtocolError as broken:
            self._end(NodeGone(str(self.endpoint), f"its replies make no sense ({broken})"))
