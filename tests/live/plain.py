"""Bare servers for tests that need an engine and no cache: no files but their own, each ended by its own pid."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.live.ports import LOOPBACK, free_ports

from holdfast.engine.build import EngineBuild
from holdfast.engine.connection import Endpoint
from holdfast.engine.pipeline import Pipeline, Raw, Word, refusal
from holdfast.errors import HoldfastError

READY_S = 20.0


@dataclass
class Plain:
    """A server that was started, and how it is reached."""

    build: EngineBuild
    port: int
    folder: Path
    settings: tuple[str, ...]
    process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(LOOPBACK, self.port)

    def start(self) -> None:
        command = [
            *self.build.command,
            *("--port", str(self.port), "--bind", LOOPBACK, "--dir", str(self.folder), "--save", ""),
            *("--repl-diskless-sync-delay", "0", "--loglevel", "notice", *self.settings),
        ]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                self.process.kill()
            self.process.wait()
            self.process = None

    @asynccontextmanager
    async def link(self) -> AsyncIterator[Pipeline]:
        async with await Pipeline.connect(self.endpoint) as pipe:
            yield pipe

    async def ask(self, *words: Word) -> Raw:
        async with self.link() as pipe:
            return await pipe.ask(*words)

    async def ready(self) -> None:
        async def pinged() -> bool:
            return bool(await self.ask("PING") == b"PONG")

        await reached(pinged)


@asynccontextmanager
async def plain(build: EngineBuild, *settings: str, count: int = 1) -> AsyncIterator[list[Plain]]:
    """So many servers that know nothing of each other."""
    top = Path(tempfile.mkdtemp(prefix="hfp-"))
    servers: list[Plain] = []
    try:
        for number, port in enumerate(free_ports(count)):
            folder = top / str(number)
            folder.mkdir()
            servers.append(Plain(build, port, folder, settings))
            servers[-1].start()
        for server in servers:
            await server.ready()
        yield servers
    finally:
        for server in servers:
            server.kill()
        shutil.rmtree(top, ignore_errors=True)


@dataclass
class PlainCluster:
    """A cluster: primaries first, then the replicas of the first, and so on."""

    primaries: list[Plain]
    replicas: list[Plain] = field(default_factory=list)

    @property
    def servers(self) -> list[Plain]:
        return [*self.primaries, *self.replicas]

    @property
    def endpoints(self) -> list[Endpoint]:
        return [server.endpoint for server in self.servers]


@asynccontextmanager
async def plain_cluster(
    build: EngineBuild, shards: int = 3, replicas: int = 0, *settings: str
) -> AsyncIterator[PlainCluster]:
    """A settled cluster with even slots."""
    options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "3000", *settings)
    async with plain(build, *options, count=shards * (1 + replicas)) as servers:
        primaries, rest = servers[:shards], servers[shards:]
        for number, server in enumerate(servers):
            await server.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for number, server in enumerate(primaries):
            slots = range(number * 16384 // shards, (number + 1) * 16384 // shards)
            await server.ask("CLUSTER", "ADDSLOTS", *slots)
        for server in servers[1:]:
            await server.ask("CLUSTER", "MEET", LOOPBACK, servers[0].port)
        await reached(lambda: _all_know(servers, len(servers)))
        for number, server in enumerate(rest):
            node_id = await primaries[number // replicas].ask("CLUSTER", "MYID")
            await server.ask("CLUSTER", "REPLICATE", node_id)
        await reached(lambda: _settled(servers, rest))
        yield PlainCluster(primaries, rest)


async def _all_know(servers: Sequence[Plain], count: int) -> bool:
    for server in servers:
        text = (await server.ask("CLUSTER", "NODES")).decode()
        if len(text.splitlines()) != count or "handshake" in text:
            return False
    return True


async def _settled(servers: Sequence[Plain], replicas: Sequence[Plain]) -> bool:
    for server in servers:
        info = (await server.ask("CLUSTER", "INFO")).decode()
        nodes = (await server.ask("CLUSTER", "NODES")).decode()
        if "cluster_state:ok" not in info or nodes.count("slave") != len(replicas):
            return False
    for server in replicas:
        if "master_link_status:up" not in (await server.ask("INFO", "replication")).decode():
            return False
    return True


async def reached(look: object, bound_s: float = READY_S) -> None:
    """Wait until the coroutine function `look` returns true; errors on the way count as not yet."""
    end = time.monotonic() + bound_s
    last: object = None
    while time.monotonic() < end:
        try:
            if await look():  # type: ignore[operator]
                return
        except HoldfastError as failed:
            last = failed
        await asyncio.sleep(0.05)
    raise AssertionError(f"not reached within {bound_s:g} s: {last}")


async def move_slot(cluster: PlainCluster, slot: int, source: Plain, target: Plain) -> None:
    """Move one slot the classic way, key by key."""
    source_id, target_id = await source.ask("CLUSTER", "MYID"), await target.ask("CLUSTER", "MYID")
    await target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
    await source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
    while keys := await source.ask("CLUSTER", "GETKEYSINSLOT", slot, 100):
        await source.ask("MIGRATE", LOOPBACK, target.port, "", 0, 5000, "KEYS", *keys)
    for server in (target, source, *cluster.primaries):
        await server.ask("CLUSTER", "SETSLOT", slot, "NODE", target_id)


async def move_whole(source: Plain, target: Plain, first: int, last: int) -> None:
    """Move slots the way of Valkey 9, and wait until that is over, well or not."""
    target_id = await target.ask("CLUSTER", "MYID")
    await source.ask("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", first, last, "NODE", target_id)

    async def over() -> bool:
        moves = [
            *await source.ask("CLUSTER", "GETSLOTMIGRATIONS"),
            *await target.ask("CLUSTER", "GETSLOTMIGRATIONS"),
        ]
        states = [dict(zip(each[::2], each[1::2], strict=False))[b"state"] for each in moves]
        return all(state in {b"success", b"failed", b"cancelled", b"canceled"} for state in states)

    await reached(over, 60)


async def send(pipe: Pipeline, *commands: Sequence[Word]) -> list[Raw]:
    """Commands that must all succeed; their replies."""
    replies = await pipe.ask_all(commands)
    for words, reply in zip(commands, replies, strict=True):
        assert not refusal(reply), f"{words[:2]}: {reply}"
    return replies
