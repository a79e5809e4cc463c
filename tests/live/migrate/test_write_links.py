"""Links to the target that break at the worst word: while a connection is made, and while lost checkpoints are taken away."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.live.compare.test_compare import kinds
from tests.live.conftest import need
from tests.live.migrate.test_write import compared
from tests.live.migrate.writing import writing
from tests.live.plain import Plain, plain, send
from tests.live.ports import LOOPBACK

from holdfast.engine.connection import Endpoint

TIMES = 3


@dataclass
class Wire:
    """A way to a server that breaks when a word is said on it, so many times."""

    server: Plain
    word: bytes = b""
    left: int = 0
    port: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(LOOPBACK, self.port)

    def break_at(self, word: bytes) -> None:
        self.word, self.left = word, TIMES

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, onwards = await asyncio.open_connection(LOOPBACK, self.server.port)

        async def copy(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while data := await source.read(1 << 16):
                    if self.left and self.word in data and to is onwards:
                        self.left -= 1
                        break
                    to.write(data)
                    await to.drain()
            for each in (writer, onwards):
                each.close()

        for pair in ((reader, onwards), (there, writer)):
            task = asyncio.create_task(copy(*pair))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


@asynccontextmanager
async def wired(server: Plain) -> AsyncIterator[Wire]:
    wire = Wire(server)
    listening = await asyncio.start_server(wire.carry, LOOPBACK, 0)
    wire.port = listening.sockets[0].getsockname()[1]
    try:
        yield wire
    finally:
        listening.close()


LATER = [pytest.param(word, marks=pytest.mark.long) for word in (b"FUNCTION", b"RESTORE", b"\r\nSET\r\n")]


@pytest.mark.parametrize("word", [b"import-mode", *LATER], ids=lambda word: word.decode().strip())
async def test_a_link_that_breaks_again_and_again_ends_nothing(tmp_path: Path, word: bytes) -> None:
    """While it is being connected, in the copy, and where the first checkpoints are written."""
    async with plain(need("valkey-8.1")) as (source,), plain(need("valkey-8.1")) as (target,):
        async with source.link() as pipe:
            load = "#!lua name=lib\nredis.register_function('f', function() return 1 end)"
            await send(pipe, ("FUNCTION", "LOAD", load), *(("SET", f"k{n}", n) for n in range(500)))
        async with wired(target) as wire:
            wire.break_at(word)
            async with writing([source.endpoint], [wire.endpoint], tmp_path) as ways:
                await ways.caught_up(20)
                assert wire.left == 0
                async with source.link() as pipe:
                    await send(pipe, *(("INCR", "counter") for _ in range(50)))
                await ways.caught_up(20)
                report = await compared([source.endpoint], [target.endpoint])
                assert (kinds(report), report.keys) == ({}, 501)


async def test_a_link_that_breaks_while_lost_checkpoints_are_taken_away(tmp_path: Path) -> None:
    async with plain(need("valkey-8.1")) as (source,), plain(need("valkey-8.1")) as (target,):
        async with source.link() as pipe:
            await send(pipe, *(("INCR", f"k{number}") for number in range(100)))
        async with wired(target) as wire, writing([source.endpoint], [wire.endpoint], tmp_path) as ways:
            await ways.caught_up(20)
            wire.break_at(b"\r\nDEL\r\n")
            await target.ask("FLUSHALL")
            async with source.link() as pipe:
                await send(pipe, ("INCR", "k1"))
            await ways.caught_up(20)
            assert wire.left == 0
            report = await compared([source.endpoint], [target.endpoint])
            assert (kinds(report), report.keys) == ({}, 100)
            assert any("its checkpoints are read again" in each for each in ways.told)
