"""The link to a source, whose replica we are: log-in, handshake, the RDB, and the stream behind it.

Source: syncWithPrimary, readSyncBulkPayload and replconfCommand in src/replication.c of Redis 6.2 to 8.0 and Valkey 8.0 to 9.1.
The two-connection forms (rdb-channel-repl, dual-channel) are not asked for, so every engine uses the one that all know.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Self

from holdfast.codec.stream import write_command
from holdfast.engine.connection import (
    CommandRefused,
    Endpoint,
    NodeDenied,
    NodeGone,
    NodeLoading,
    NodeSilent,
    tls_context,
)

CONNECT_S = 5.0
ANSWER_S = 15.0
SNAPSHOT_S = 900.0
"""For the first byte of an RDB: a source that saves to disk first sends newlines until then."""
QUIET_S = 60.0
"""A source sends a PING every 10 s by default, and newlines every second while it saves."""
READ_BYTES = 1 << 20
MARK_BYTES = 40
LINE_MAX_BYTES = 64 * 1024
NO_SUCH_PORT = 65_536
"""Said to a source that Sentinels watch as the port that we listen on: they list every replica that a primary names, for ever
after, but leave out one at a port that cannot be. Others are told nothing, and show port 0: some applications look for
replicas in INFO by themselves. Source: createSentinelAddr in src/sentinel.c; seen on Redis 6.2 to 8.0 and Valkey 8.0 to 9.1.
"""
SPOKEN_VERSION = "9.1.0"
"""What we say we are: Valkey 9 hands field TTLs and functions only to replicas of 9.0 and up."""


@dataclass(frozen=True)
class FullResync:
    """The source starts over: an RDB comes, and then the stream from `offset` on."""

    replid: str
    offset: int


@dataclass(frozen=True)
class Continued:
    """The source goes on where we are. `replid` is what it calls the history now."""

    replid: str


@dataclass(frozen=True)
class NotNow:
    """The source cannot at the moment: it loads, or has no link to its own primary."""

    words: str


class SourceLink:
    """One connection to a source, as its replica."""

    def __init__(
        self, endpoint: Endpoint, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.endpoint = endpoint
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, endpoint: Endpoint, port: int | None = None) -> Self:
        """Connect, log in and say what we can read. Args: `port`, what to say that we listen on, if anything.

        Raises: NodeGone, NodeSilent, NodeDenied, NodeLoading.
        """
        address = str(endpoint)
        try:
            async with asyncio.timeout(CONNECT_S):
                if endpoint.socket:
                    reader, writer = await asyncio.open_unix_connection(endpoint.socket, limit=READ_BYTES)
                else:
                    context = tls_context(endpoint.tls) if endpoint.tls else None
                    reader, writer = await asyncio.open_connection(
                        endpoint.host, endpoint.port, ssl=context, limit=READ_BYTES
                    )
        except TimeoutError as late:
            raise NodeSilent(address, "the connection", CONNECT_S) from late
        except OSError as failed:
            raise NodeGone(address, str(failed)) from failed
        link = cls(endpoint, reader, writer)
        try:
            await link._introduce(port)
        except BaseException:
            await link.close()
            raise
        return link

    async def _introduce(self, port: int | None) -> None:
        who = self.endpoint.credentials
        if who is not None:
            # One word is what engines before 6.0 know, and all later ones still take for `default`.
            words = (who.password,) if who.user == "default" else (who.user, who.password)
            await self._must("AUTH", *words)
        await self._must("PING")
        said: list[tuple[str, ...]] = [("capa", "eof", "capa", "psync2"), ("version", SPOKEN_VERSION)]
        if port is not None:
            said.append(("listening-port", str(port)))
        for options in said:
            await self._ask("REPLCONF", *options)  # any answer will do: older sources know fewer

    async def _must(self, *words: str) -> None:
        answer = await self._ask(*words)
        if not answer.startswith("-"):
            return
        address, said = str(self.endpoint), answer[1:]
        if said.startswith("LOADING"):
            raise NodeLoading(address)
        if said.startswith(("NOAUTH", "WRONGPASS", "NOPERM", "ERR invalid password", "ERR AUTH")):
            user = self.endpoint.credentials.user if self.endpoint.credentials else "default"
            raise NodeDenied(address, user, words[0], said)
        raise CommandRefused(address, words[0], said)

    async def _ask(self, *words: str) -> str:
        await self.send(*words)
        return await self._line(words[0], ANSWER_S)

    async def send(self, *words: str) -> None:
        """Send one command and wait for nothing. Raises: NodeGone."""
        try:
            self._writer.write(write_command([word.encode() for word in words]))
            await self._writer.drain()
        except OSError as failed:
            raise NodeGone(str(self.endpoint), str(failed)) from failed

    async def _line(self, command: str, bound_s: float) -> str:
        """The next line that is not empty; newlines keep a link alive while a source is busy."""
        address = str(self.endpoint)
        while True:
            try:
                async with asyncio.timeout(bound_s):
                    line = await self._reader.readline()
            except TimeoutError as late:
                raise NodeSilent(address, command, bound_s) from late
            except (OSError, ValueError) as failed:
                raise NodeGone(address, str(failed)) from failed
            if not line.endswith(b"\n"):
                raise NodeGone(address, f"it closed the connection in answer to {command}")
            if text := line.strip().decode("utf-8", "backslashreplace"):
                return text

    async def psync(self, replid: str, offset: int) -> FullResync | Continued | NotNow:
        """Ask for everything behind `offset` of the history `replid`, or, with an empty `replid`, for all of it.

        Raises: NodeDenied when we may not replicate, CommandRefused, NodeGone, NodeSilent.
        """
        wanted = (replid, str(offset + 1)) if replid else ("?", "-1")
        await self.send("PSYNC", *wanted)
        answer = await self._line("PSYNC", SNAPSHOT_S)
        word, _, rest = answer.partition(" ")
        if word == "+FULLRESYNC":
            name, _, at = rest.partition(" ")
            return FullResync(name, int(at))
        if word == "+CONTINUE":
            return Continued(rest.strip() or replid)
        address, said = str(self.endpoint), answer[1:]
        if said.startswith(("NOMASTERLINK", "LOADING")):
            return NotNow(said)
        if said.startswith(("NOPERM", "NOAUTH")):
            user = self.endpoint.credentials.user if self.endpoint.credentials else "default"
            raise NodeDenied(address, user, "PSYNC", said)
        raise CommandRefused(address, "PSYNC", said)

    async def begin_backlog(self) -> None:
        """Ask for a synchronisation that will not be waited for: from here on the source counts its offsets and keeps a backlog.

        It is asked for without its data, where the source knows how (7.0 and later).
        """
        await self._ask("REPLCONF", "rdb-filter-only", "")
        await self.send("PSYNC", "?", "-1")

    async def snapshot(self) -> AsyncIterator[bytes]:
        """The RDB, in pieces as they come; it ends where the RDB does. Raises: NodeGone, NodeSilent."""
        head = await self._line("PSYNC", SNAPSHOT_S)
        if head.startswith("$EOF:") and len(head) == 5 + MARK_BYTES:
            async for piece in self._up_to(head[5:].encode()):
                yield piece
            return
        if not head.startswith("$") or not head[1:].isdigit():
            raise NodeGone(str(self.endpoint), f"it sent {head[:60]!r} where an RDB was to begin")
        left = int(head[1:])
        while left:
            piece = await self.read(min(left, READ_BYTES))
            left -= len(piece)
            yield piece

    async def _up_to(self, mark: bytes) -> AsyncIterator[bytes]:
        """What stands before the mark; nothing comes behind it until we have acknowledged."""
        held = b""
        while True:
            held += await self.read()
            if held.endswith(mark):
                yield held[:-MARK_BYTES]
                return
            if len(held) > MARK_BYTES:
                yield held[:-MARK_BYTES]
                held = held[-MARK_BYTES:]

    async def read(self, length: int = READ_BYTES) -> bytes:
        """Whatever has come, at least a byte. Raises: NodeGone, NodeSilent."""
        try:
            async with asyncio.timeout(QUIET_S):
                data = await self._reader.read(length)
        except TimeoutError as late:
            raise NodeSilent(str(self.endpoint), "the stream", QUIET_S) from late
        except OSError as failed:
            raise NodeGone(str(self.endpoint), str(failed)) from failed
        if not data:
            raise NodeGone(str(self.endpoint), "it closed the replication link")
        return data

    async def gather(self, seconds: float) -> None:
        """Let what the source sends come together for a moment, instead of taking every packet by itself."""
        transport = self._writer.transport
        assert isinstance(transport, asyncio.ReadTransport)
        transport.pause_reading()
        try:
            await asyncio.sleep(seconds)
        finally:
            transport.resume_reading()

    async def acknowledge(self, offset: int) -> None:
        """Say how far the target is. Raises: NodeGone."""
        await self.send("REPLCONF", "ACK", str(offset))

    async def close(self) -> None:
        """Close the connection; always safe."""
        self._writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(1.0):
                await self._writer.wait_closed()
