"""The side towards a target, whose primary we are: it is let in, synchronised, fed, and its acknowledgements are heard.

Source: syncCommand and replconfCommand in src/replication.c. An ACK is never answered: a replica takes any reply on the
stream for a command, and drops the link.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from holdfast.engine.connection import Credentials
from holdfast.migrate.relay.peer import LINE_MAX_BYTES, Peer, PeerConfused, let_in, read_words
from holdfast.migrate.relay.spool import Spool

PIECE_BYTES = 1 << 18
"""About what a socket takes at once: what it does not take is moved about in the transport's buffer until it does."""
LOGIN_S = 30.0
QUIET_S = 90.0
"""A replica acknowledges every second, or sends newlines while it loads."""
SEND_S = 60.0
STOP_S = 5.0
PEERS_MAX = 32


class Way(StrEnum):
    """How a target that asks for the stream is served."""

    CONTINUE = "continue"
    FULL = "full"
    WAIT = "wait"
    REFUSE = "refuse"


@dataclass(frozen=True)
class Door:
    """Where targets come in, and what they must show."""

    host: str
    port: int
    credentials: Credentials | None = None
    tls: ssl.SSLContext | None = None


class History(Protocol):
    """What the server needs of the relay."""

    spool: Spool

    def way(self, replid: str, offset: int) -> Way:
        """How a target that has `offset` of the history `replid` is to be served now."""

    def heard(self, offset: int) -> None:
        """A target has applied everything before `offset`."""

    async def grown(self) -> None:
        """Wait until there is more to send, or something changed; at most a second."""


Answer = Callable[[list[bytes]], Awaitable[bytes]]
"""Answers a command that is not of replication, in RESP."""


class TargetServer:
    """Listens for targets and feeds each that asks."""

    def __init__(self, door: Door, history: History, answer: Answer | None = None) -> None:
        self.door = door
        self._history = history
        self._answer = answer
        self._server: asyncio.Server | None = None
        self._peers: dict[Peer, asyncio.StreamWriter] = {}
        self._serving: set[asyncio.Task[None]] = set()
        self.full_syncs = 0
        self.continued = 0

    async def start(self) -> int:
        """Begin to listen; the port. Raises: OSError."""
        self._server = await asyncio.start_server(
            self._serve,
            self.door.host,
            self.door.port,
            ssl=self.door.tls,
            limit=LINE_MAX_BYTES * 2,
            ssl_handshake_timeout=LOGIN_S if self.door.tls else None,
        )
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def streaming(self) -> tuple[Peer, ...]:
        """Targets that are synchronised or being so."""
        return tuple(peer for peer in self._peers if peer.streaming)

    def drop_all(self) -> None:
        """Close every link; targets come back and are judged anew."""
        for writer in self._peers.values():
            writer.close()

    def drop_fed(self) -> None:
        """Close the links that get a history's data; those that still wait for one stay."""
        for peer, writer in self._peers.items():
            if peer.fed:
                writer.close()

    async def stop(self) -> None:
        """Listen no more and close every link."""
        if self._server is not None:
            self._server.close()
        self.drop_all()
        if self._serving:
            await asyncio.wait(self._serving, timeout=STOP_S)
        self._server = None

    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve_one(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(str(writer.get_extra_info("peername")), self.door.credentials is None)
        if len(self._peers) >= PEERS_MAX:
            writer.close()
            return
        self._peers[peer] = writer
        if self.door.tls is None:  # whose own buffer would count as full while it is empty
            writer.transport.set_write_buffer_limits(high=0)  # `drain` waits until the socket has taken all
        sender: asyncio.Task[None] | None = None
        try:
            while True:
                async with asyncio.timeout(
                    QUIET_S if peer.streaming else LOGIN_S if not peer.authenticated else None
                ):
                    words = await read_words(reader)
                if not words:
                    continue
                name = words[0].upper()
                if peer.streaming:
                    self._heard(peer, words)
                elif peer.authenticated and name in {b"PSYNC", b"SYNC"}:
                    peer.streaming = True
                    sender = asyncio.create_task(self._feed(peer, writer, words))
                    sender.add_done_callback(lambda _: writer.close())
                else:
                    writer.write(await self._reply(peer, words))
                    await writer.drain()
        except (EOFError, OSError, TimeoutError, PeerConfused):
            pass
        finally:
            if sender is not None:
                sender.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await sender
            del self._peers[peer]
            writer.close()

    def _heard(self, peer: Peer, words: list[bytes]) -> None:
        if (
            len(words) >= 3
            and words[0].upper() == b"REPLCONF"
            and words[1].upper() == b"ACK"
            and words[2].isdigit()
        ):
            peer.acknowledged = int(words[2])
            self._history.heard(peer.acknowledged)

    async def _reply(self, peer: Peer, words: list[bytes]) -> bytes:
        name = words[0].upper()
        if name == b"AUTH":
            if self.door.credentials is None:
                return b"-ERR AUTH called without any password configured\r\n"
            peer.authenticated = let_in(words, self.door.credentials)
            return b"+OK\r\n" if peer.authenticated else b"-WRONGPASS invalid username-password pair\r\n"
        if name == b"HELLO" and not peer.authenticated:
            return b"-NOAUTH HELLO must be called with the client already authenticated\r\n"
        if not peer.authenticated:
            return b"-NOAUTH Authentication required.\r\n"
        if name == b"PING":
            return b"+PONG\r\n"
        if name == b"REPLCONF":
            options = [word.lower() for word in words[1:]]
            peer.eof = peer.eof or b"eof" in options
            peer.psync2 = peer.psync2 or b"psync2" in options
            return b"+OK\r\n"
        if self._answer is not None:
            return await self._answer(words)
        return b"-ERR this is a relay: it speaks replication only\r\n"

    async def _feed(self, peer: Peer, writer: asyncio.StreamWriter, words: list[bytes]) -> None:
        """Bring one target to the end of the stream and keep it there."""
        replid = words[1].decode("ascii", "replace") if len(words) > 2 else "?"
        asked = int(words[2]) - 1 if len(words) > 2 and words[2].isdigit() else -1
        spool = self._history.spool
        way = self._history.way(replid, asked)
        while way is Way.WAIT or (way is Way.FULL and not peer.eof and not spool.rdb_whole):
            await self._send(writer, b"\n")
            await self._history.grown()
            way = self._history.way(replid, asked)
        if way is Way.REFUSE:
            await self._send(writer, b"-NOMASTERLINK Can't SYNC while not connected with my master\r\n")
            return
        peer.fed = True
        if way is Way.CONTINUE:
            self.continued += 1
            named = f" {spool.replid}" if peer.psync2 else ""
            await self._send(writer, f"+CONTINUE{named}\r\n".encode())
            at = asked
        else:
            self.full_syncs += 1
            at = spool.base
            await self._full(peer, writer)
        history = spool.replid
        while spool.replid == history:
            if data := spool.read(at, PIECE_BYTES):
                await self._send(writer, data)
                at += len(data)
            else:
                await self._history.grown()

    async def _full(self, peer: Peer, writer: asyncio.StreamWriter) -> None:
        spool = self._history.spool
        history, sent = (spool.replid, spool.base), 0
        await self._send(writer, f"+FULLRESYNC {spool.replid} {spool.base}\r\n".encode())
        mark = b""
        if spool.rdb_whole:
            await self._send(writer, b"$%d\r\n" % spool.rdb_bytes)
        else:
            mark = secrets.token_hex(20).encode()
            await self._send(writer, b"$EOF:" + mark + b"\r\n")
        while (spool.replid, spool.base) == history:
            if data := spool.read_rdb(sent, PIECE_BYTES):
                await self._send(writer, data)
                sent += len(data)
            elif spool.rdb_whole:
                break
            else:
                await self._history.grown()
        else:
            raise OSError("the RDB that was being sent is no more")
        await self._send(writer, mark)
        while peer.acknowledged < 0:
            # It looks for the mark at the end of what it reads; and while it loads it reads nothing.
            await self._history.grown()

    async def _send(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        writer.write(data)
        if writer.transport.get_write_buffer_size():
            async with asyncio.timeout(SEND_S):
                await writer.drain()
        elif writer.is_closing():
            raise OSError("the target is gone")
