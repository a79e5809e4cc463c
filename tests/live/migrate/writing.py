"""The writing way put together for a test: a relay and a writer for each shard of a source, as a migration does it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.engine.connection import Endpoint
from holdfast.engine.pipeline import Pipeline
from holdfast.migrate.relay.commands import TargetCommands
from holdfast.migrate.relay.relay import Relay, Settings
from holdfast.migrate.relay.spool import Spool
from holdfast.migrate.write.checkpoint import Marks
from holdfast.migrate.write.history import Phase, WriterSettings
from holdfast.migrate.write.target import Target
from holdfast.migrate.write.writer import Writer
from holdfast.topology.shards import Shard, discover
from holdfast.topology.slots import expand


class AsItIs:
    """Source and target write the same dialect."""

    keys = 0
    stream_db = 0

    def __init__(self) -> None:
        self.losses: dict[str, int] = {}
        self.grave: dict[str, int] = {}

    def feed(self, data: bytes) -> bytes:
        return data

    def finish(self) -> bytes:
        return b""


@dataclass
class Way:
    """One shard's way into the target."""

    relay: Relay
    writer: Writer
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def start(self) -> None:
        self.tasks = [asyncio.create_task(self.relay.run()), asyncio.create_task(self.writer.run())]

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.relay.spool.close()

    def failed(self) -> None:
        """Raise what ended a task."""
        for task in self.tasks:
            if task.done() and not task.cancelled():
                task.result()


@dataclass
class Writing:
    """All ways of one migration."""

    source: tuple[Endpoint, ...]
    target: tuple[Endpoint, ...]
    folder: Path
    databases: dict[int, int] | None = None
    patience_s: float = 30.0
    ways: list[Way] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    async def start(self) -> None:
        keyspace = await discover(self.source)
        primary = (await discover(self.target)).shards[0].primary
        async with await Pipeline.connect(primary) as pipe:
            names = frozenset(each[0].upper() for each in await pipe.ask("COMMAND"))
        for number, shard in enumerate(keyspace.shards):
            spool = Spool(self.folder / str(number))
            spool.reopen()
            settings = Settings(
                find_source=self._finder(number),
                commands=TargetCommands(names),
                rewriting=AsItIs,
                tell=self.told.append,
            )
            relay = Relay(spool, settings)
            target = Target(self.target, patience_s=self.patience_s)
            owned = expand(shard.slots) if keyspace.cluster else None
            writer = Writer(
                relay,
                target,
                WriterSettings(
                    Marks("test", f"s{number}"),
                    owned,
                    self.databases,
                    sole=len(keyspace.shards) == 1,
                    tell=self.told.append,
                ),
            )
            self.ways.append(Way(relay, writer))
            self.ways[-1].start()

    def _finder(self, number: int) -> Callable[[], Awaitable[Endpoint]]:
        async def find() -> Endpoint:
            shards: Sequence[Shard] = (await discover(self.source)).shards
            return shards[number].primary

        return find

    async def caught_up(self, bound_s: float = 60.0) -> None:
        """Until every way follows its source's stream and has written all that the source has done."""
        keyspace = await discover(self.source)
        wanted = []
        for shard in keyspace.shards:
            async with await Pipeline.connect(shard.primary) as pipe:
                info = (await pipe.ask("INFO", "replication")).decode()
                wanted.append(int(info.split("master_repl_offset:")[1].split()[0]))
        async with asyncio.timeout(bound_s):
            for way, offset in zip(self.ways, wanted, strict=True):
                while way.writer.phase is not Phase.TAIL or way.writer.position < offset:
                    way.failed()
                    await asyncio.sleep(0.01)
                await way.writer.settle()

    async def stop(self) -> None:
        for way in self.ways:
            await way.stop()
        self.ways = []


@asynccontextmanager
async def writing(
    source: Sequence[Endpoint], target: Sequence[Endpoint], folder: Path, **more: dict[int, int] | None
) -> AsyncIterator[Writing]:
    made = Writing(tuple(source), tuple(target), folder, **more)  # type: ignore[arg-type]
    await made.start()
    try:
        yield made
    finally:
        with contextlib.suppress(Exception):
            await made.stop()
