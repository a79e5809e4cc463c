"""The mode `write` as the job sees it: a relay and a writer for each shard of the source."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from holdfast.codec.crc import SLOTS
from holdfast.engine.connection import Endpoint, EngineNode, NodeGone
from holdfast.engine.pipeline import pack
from holdfast.errors import HoldfastError
from holdfast.jobs.folder import JobFolder
from holdfast.migrate.ends import Side
from holdfast.migrate.journal import Stage, Switch
from holdfast.migrate.observe import see_end
from holdfast.migrate.relay.commands import merged
from holdfast.migrate.relay.relay import Relay, Settings
from holdfast.migrate.relay.spool import Spool
from holdfast.migrate.relay.translation import commands_of, dialect_of, rewriting_for
from holdfast.migrate.seen import SeenServer
from holdfast.migrate.settings import Book
from holdfast.migrate.switching import NotReady
from holdfast.migrate.write.checkpoint import PREFIX, Marks
from holdfast.migrate.write.importing import leave
from holdfast.migrate.write.marks import Checkpoints
from holdfast.migrate.write.target import Target
from holdfast.migrate.write.writer import Phase, Writer, WriterSettings
from holdfast.topology.shards import Keyspace, discover
from holdfast.topology.slots import expand

LOOK_EVERY_S = 0.5


@dataclass
class Way:
    """One source shard's way into the target."""

    relay: Relay
    writer: Writer
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def failure(self) -> BaseException | None:
        """What ended it, if anything did."""
        for task in self.tasks:
            if task.done() and not task.cancelled() and (failed := task.exception()) is not None:
                return failed
        return None

    async def rest(self) -> None:
        """Stop, and let go of the files."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.relay.spool.close()


class WriteMode:
    """A `Mover` (see holdfast.migrate.mode) that carries and does not switch."""

    def __init__(self, folder: JobFolder, book: Book) -> None:
        self.folder = folder
        self.book = book
        self.ways: list[Way] = []
        self.trouble = ""
        self._keys_total = 0

    async def keep(self) -> None:
        """Carry until cancelled. Raises: what makes going on useless, as `Relay.run` and `Writer.run`."""
        while True:
            try:
                if not self.ways:
                    await self._begin()
                self.trouble = ""
            except HoldfastError as failed:
                if str(failed) != self.trouble:
                    self.folder.tell(str(failed))
                self.trouble = str(failed)
            for way in self.ways:
                if (failure := way.failure()) is not None:
                    await self.close()
                    raise failure
            self._account()
            await asyncio.sleep(LOOK_EVERY_S)

    async def _begin(self) -> None:
        """Make the ways and have them run. Raises: NodeGone and others of the connections."""
        journal = self.book.journal
        source, target = await self._keyspace(Side.SOURCE), await self._keyspace(Side.TARGET)
        writer, reader = await self._one(Side.SOURCE, source), await self._one(Side.TARGET, target)
        async with await EngineNode.connect(journal.end(Side.TARGET).endpoint(reader.address)) as node:
            commands = await commands_of(node, journal.options.accepted, writer, reader)
        if tuple(journal.more.get("own_keys", ())) != (PREFIX.decode(),):
            self.book.write(more={**journal.more, "own_keys": [PREFIX.decode()]})
        self._keys_total = 0
        for number, shard in enumerate(source.shards):
            spool = Spool(
                self.folder.path / f"spool-{number}", journal.options.spool_bytes // len(source.shards)
            )
            spool.reopen()
            settings = Settings(
                find_source=self._finder(shard.slots[0].first),
                commands=commands,
                rewriting=lambda: rewriting_for(dialect_of(reader), commands.databases),
                accepts_losses="losses" in journal.options.accepted,
                tell=self.folder.tell,
            )
            relay = Relay(spool, settings)
            made = WriterSettings(
                Marks(journal.name, f"s{number}"),
                expand(shard.slots) if source.cluster else None,
                sole=len(source.shards) == 1,
                tell=self.folder.tell,
            )
            way = Way(relay, Writer(relay, Target(target.seeds), made))
            way.tasks = [asyncio.create_task(relay.run()), asyncio.create_task(way.writer.run())]
            self.ways.append(way)
        seen = await see_end(journal.end(Side.SOURCE))
        self._keys_total = sum(each.keys for each in seen.primaries)

    async def _keyspace(self, side: Side) -> Keyspace:
        end = self.book.journal.end(side)
        found = await discover([end.endpoint(address) for address in end.servers])
        known = end.knowing((each.host, each.port) for each in found.seeds)
        if known.servers != end.servers:
            self.book.write(**{side.value: known})
        return found

    async def _one(self, side: Side, keyspace: Keyspace) -> SeenServer:
        """A primary of the end: which engine it is, and of which version. Raises: NodeGone."""
        seen = await see_end(self.book.journal.end(side))
        primary = keyspace.shards[0].primary
        found = seen.at((primary.host, primary.port)) or (seen.primaries or (None,))[0]
        if found is None:
            raise NodeGone(seen.label, "no primary of it answers")
        return found

    def _finder(self, slot: int) -> Callable[[], Awaitable[Endpoint]]:
        """Where the stream of the shard with that slot is to be had: a replica in sync where that was asked for."""

        async def find() -> Endpoint:
            found = await self._keyspace(Side.SOURCE)
            shard = found.shards[found.owners()[slot] if found.cluster and slot < SLOTS else 0]
            if self.book.journal.options.from_replica and shard.replicas:
                return shard.replicas[0]
            return shard.primary

        return find

    async def switch(self, to: Side, bound_ms: int, hook: str) -> Switch:
        """Not offered by this mode. Raises: NotReady, always."""
        self.book.write(switch=None)
        raise NotReady(
            "mode write keeps the target in step and compares it, and does not move the applications itself: stop their writes, "
            "wait until holdfast migrate status shows no lag, run holdfast migrate verify, point them to the target, then run "
            "holdfast migrate stop"
        )

    async def let_go(self) -> tuple[str, ...]:
        """Take the checkpoints out of the target, and end its import-mode; what could not be."""
        journal = self.book.journal
        end = journal.end(Side.TARGET)
        seeds = tuple(end.endpoint(address) for address in end.servers)
        sources = max(1, len(self.ways))
        await self.close()
        said: list[str] = []
        target = Target(seeds, patience_s=10.0)
        try:
            sources = max(sources, len((await self._keyspace(Side.SOURCE)).shards))
        except HoldfastError:
            self.folder.tell("the source does not answer: as many shards of it are taken as were seen last")
        try:
            await target.reconnect()
            for number in range(sources):
                marks = Marks(journal.name, f"s{number}")
                checkpoints = Checkpoints(target, marks, tuple(target.cells))
                await checkpoints.remove()
                begun = [(cell, pack("DEL", marks.begun(checkpoints.tag(cell)))) for cell in target.cells]
                await target.ask_each(begun)
        except HoldfastError as failed:
            said.append(f"keys that begin with {PREFIX.decode()} were left in the target: {failed}")
        finally:
            target.close()
        return (*said, *await leave(seeds))

    async def finish(self) -> tuple[str, ...]:
        """As `let_go`: this mode has no cutover of its own."""
        return await self.let_go()

    async def close(self, *, forget: bool = False) -> None:
        """Carry no more. Args: `forget`, delete what is spooled."""
        ways, self.ways = self.ways, []
        for way in ways:
            await way.rest()
            if forget:
                way.relay.spool.clear()

    def _account(self) -> None:
        """Write down what must not be forgotten."""
        journal = self.book.journal
        reasons = [reason for way in self.ways for reason in way.relay.counts.reasons]
        if reasons:
            self.book.write(full_syncs=(*journal.full_syncs, *reasons))
            for way in self.ways:
                way.relay.counts.reasons = []
        losses = self._losses()
        new = {what: count for what, count in losses.items() if count > journal.losses.get(what, 0)}
        if new:
            self.book.write(losses={**self.book.journal.losses, **new})

    def _losses(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for way in self.ways:
            counts, written = way.relay.counts, way.writer.written
            for each in (
                counts.rdb_losses,
                counts.stream_losses,
                written.lost,
                written.refused,
                way.writer.loaded.lost,
            ):
                found = merged(found, each)
        return found

    def glance(self) -> dict[str, Any]:
        """How far it is, for progress.json."""
        if not self.ways:
            return {"phase": "connecting", "trouble": self.trouble}
        writers, relays = [way.writer for way in self.ways], [way.relay for way in self.ways]
        order = [Phase.CONNECTING, Phase.STOPPED, Phase.WAITING, Phase.REMOVING, Phase.LOADING, Phase.TAIL]
        phase = min((writer.phase for writer in writers), key=order.index)
        lag = sum(
            max(0, way.relay.spool.end - max(way.writer.position, way.relay.spool.base)) for way in self.ways
        )
        rate = sum(relay.meter.per_s for relay in relays)
        return {
            "phase": "paused" if self.book.journal.stage is Stage.PAUSED else phase.value,
            "trouble": self.trouble or next((relay.trouble for relay in relays if relay.trouble), ""),
            "keys": sum(writer.loaded.keys for writer in writers),
            "keys_total": self._keys_total,
            "keys_per_s": round(sum(relay.key_meter.per_s for relay in relays)),
            "bytes": sum(writer.loaded.read_bytes for writer in writers),
            "bytes_per_s": round(rate),
            "offset": sum(relay.spool.end for relay in relays),
            "applied": sum(writer.position for writer in writers),
            "lag_bytes": lag,
            "lag_ms": round(1000 * lag / rate) if rate > 0 and lag else 0,
            "spool_bytes": sum(relay.spool.held_bytes for relay in relays),
            "losses": self._losses(),
            "full_syncs": len(self.book.journal.full_syncs),
            "continued": sum(relay.counts.continued for relay in relays),
        }
