"""A source that says what a test wants: real engines send no damaged RDB, and targets have to outlive those that come."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.live.migrate.plain import Plain
from tests.live.ports import LOOPBACK

from holdfast.codec.crc import crc64
from holdfast.engine.connection import Endpoint, EngineNode
from holdfast.migrate.observe import ask_server
from holdfast.migrate.relay.peer import read_words
from holdfast.migrate.relay.relay import Relay, Settings
from holdfast.migrate.relay.serve import Door, TargetServer
from holdfast.migrate.relay.spool import DEFAULT_BOUND_BYTES, Spool
from holdfast.migrate.relay.translation import commands_of, dialect_of, rewriting_for
from holdfast.migrate.seen import SeenServer
from holdfast.topology.seen import Role

REPLID = "5" * 40
OFFSET = 1000
WRITER = SeenServer((LOOPBACK, 0), Role.PRIMARY, "redis", (8, 0, 0), "", REPLID)


def rdb(body: bytes, magic: bytes = b"REDIS0011", *, checksum: int | None = None) -> bytes:
    """An RDB around `body`. Args: `checksum`, another than its own."""
    whole = magic + body + b"\xff"
    return whole + (crc64(whole) if checksum is None else checksum).to_bytes(8, "little")


def string(key: bytes, value: bytes) -> bytes:
    """A key as an RDB has it."""
    return b"\x00" + bytes([len(key)]) + key + bytes([len(value)]) + value


@dataclass
class Scripted:
    """A primary that answers each replica with the next of its RDBs, the last one again and again."""

    rdbs: Sequence[bytes]
    stream: bytes = b""
    cut_at: Sequence[int] = ()
    """For each of the first connections, after how many bytes of the RDB it breaks."""
    hold_at: int = 0
    """Where it waits for `go_on` in the middle of the RDB; 0 for nowhere."""
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    asked: int = 0
    port: int = 0
    _writers: list[asyncio.StreamWriter] = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[Scripted]:
        server = await asyncio.start_server(self._serve, LOOPBACK, 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for writer in self._writers:
                writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        with contextlib.suppress(EOFError, OSError):
            while True:
                words = await read_words(reader)
                if words[:1] == [b"PSYNC"]:
                    await self._synchronise(writer)
                elif words[1:2] != [b"ACK"]:
                    writer.write(b"+OK\r\n")

    async def _synchronise(self, writer: asyncio.StreamWriter) -> None:
        number = self.asked
        self.asked += 1
        data = self.rdbs[min(number, len(self.rdbs) - 1)]
        writer.write(b"+FULLRESYNC %b %d\r\n$%d\r\n" % (REPLID.encode(), OFFSET, len(data)))
        if number < len(self.cut_at):
            writer.write(data[: self.cut_at[number]])
            await writer.drain()
            await asyncio.sleep(0.2)
            writer.close()
            return
        if self.hold_at:
            writer.write(data[: self.hold_at])
            await writer.drain()
            await self.go_on.wait()
        writer.write(data[self.hold_at :] + self.stream)
        await writer.drain()


@dataclass
class Relaying:
    """A relay between a source and a target, as a migration makes one."""

    relay: Relay
    server: TargetServer
    target: Plain
    taking: asyncio.Task[None]

    async def failed(self, bound_s: float = 10.0) -> BaseException | None:
        """Why the relay gave up; None when it did not within the bound."""
        await asyncio.wait({self.taking}, timeout=bound_s)
        return self.taking.exception() if self.taking.done() else None

    async def in_step(self, bound_s: float = 20.0) -> None:
        """Wait until the target has applied all that the source sent."""
        async with asyncio.timeout(bound_s):
            while not self.taking.done():
                if self.relay.acknowledged >= 0 and self.relay.acknowledged == self.relay.spool.end:
                    return
                await asyncio.sleep(0.02)
        raise AssertionError(f"the relay gave up: {self.taking.exception()!r}")


@contextlib.asynccontextmanager
async def relaying(
    source: Endpoint,
    target: Plain,
    folder: Path,
    *,
    accepts_losses: bool = True,
    writer: SeenServer = WRITER,
    spool_bytes: int = DEFAULT_BOUND_BYTES,
) -> AsyncIterator[Relaying]:
    """The relay at work; at the end the target is a primary again."""
    async with await EngineNode.connect(Endpoint(LOOPBACK, target.port)) as node:
        reader = await ask_server(node, (LOOPBACK, target.port))
        commands = await commands_of(node, (), writer, reader)

    async def find() -> Endpoint:
        return source

    settings = Settings(
        find,
        commands,
        lambda: rewriting_for(dialect_of(reader), commands.databases),
        accepts_losses=accepts_losses,
        hold_until_whole=reader.keys > 0,
    )
    relay = Relay(Spool(folder / "spool", spool_bytes), settings)
    server = TargetServer(Door(LOOPBACK, 0), relay)
    relay.on_new_history = server.drop_fed
    port = await server.start()
    taking = asyncio.create_task(relay.run())
    try:
        await asyncio.to_thread(target.client.execute_command, "REPLICAOF", LOOPBACK, port)
        yield Relaying(relay, server, target, taking)
    finally:
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)
        await server.stop()
        relay.spool.clear()
        relay.spool.close()
        await asyncio.to_thread(target.client.execute_command, "REPLICAOF", "NO", "ONE")
