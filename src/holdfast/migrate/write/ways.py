"""Makes the ways of one direction: for each shard that is read, from where its spool, or the checkpoints, or the last switch have left it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from holdfast.engine.connection import Endpoint, EngineNode, NodeGone
from holdfast.errors import HoldfastError
from holdfast.migrate.ends import Layout, Side
from holdfast.migrate.observe import see_end, see_server
from holdfast.migrate.relay.commands import TargetCommands
from holdfast.migrate.relay.relay import Relay, Settings
from holdfast.migrate.relay.source import NO_SUCH_PORT
from holdfast.migrate.relay.spool import Spool
from holdfast.migrate.relay.terms import Full
from holdfast.migrate.relay.translation import commands_of, dialect_of, rewriting_for
from holdfast.migrate.seen import SeenEnd, SeenServer
from holdfast.migrate.write.checkpoint import Marks, Place
from holdfast.migrate.write.errors import CheckpointLost
from holdfast.migrate.write.history import Claims, WriterSettings
from holdfast.migrate.write.kept import Kept
from holdfast.migrate.write.notes import ReadShard
from holdfast.migrate.write.target import Target
from holdfast.migrate.write.way import Way, checkpoints_of
from holdfast.migrate.write.writer import Writer
from holdfast.topology.shards import Keyspace, Shard, discover
from holdfast.topology.slots import expand

DATABASES_MAX = 1 << 16
HELD_FILE = "held"


def marks_of(kept: Kept, to: Side, number: int) -> Marks:
    """The names of one way's checkpoints."""
    return Marks(kept.book.journal.name, f"{'s' if to is Side.TARGET else 'b'}{number}")


@dataclass
class Ways:
    """Makes the ways of one direction."""

    kept: Kept
    to: Side
    claims: Callable[[int], Claims] | None = None
    """For the way of that number: who gives it slots that it has met in its stream."""

    @property
    def _read(self) -> Side:
        return self.to.other

    def numbers(self, *, cluster: bool) -> list[int]:
        """Those of the shards that are read and have slots."""
        shards = self.kept.notes.read.get(self._read, ())
        return [number for number, shard in enumerate(shards) if shard.slots or not cluster]

    def not_read(self, keyspace: Keyspace) -> str:
        """A shard of the end that no way reads, for it came later; empty when all are."""
        known = {address for shard in self.kept.notes.read.get(self._read, ()) for address in shard.members}
        strange = (shard for shard in keyspace.shards if not known & set(_members(shard)))
        return next((str(shard.primary) for shard in strange if keyspace.cluster), "")

    def as_read(self, keyspace: Keyspace) -> bool:
        """Whether each shard has the slots that are written from its stream."""
        if not keyspace.cluster:
            return True
        return not self.not_read(keyspace) and all(
            self.kept.notes.read[self._read][number].slots == self.same(number, keyspace).slots
            for number in self.numbers(cluster=True)
        )

    async def make(self, *, from_disk: bool = True) -> list[Way]:
        """One for each shard, from where its spool, or the checkpoints, or the last switch, have left it; not started.

        Args: `from_disk`, false where the spools will be told where to begin. Raises: NodeGone and others of the connections.
        """
        reading, writing = await self.keyspace(self._read), await self.keyspace(self.to)
        shards = self._shards(reading)
        target = await self._commands(reading, writing)
        seeds = self._seeds(writing)
        made = [
            self._way(number, shard, len(shards), target, seeds, reading.cluster)
            for number, shard in enumerate(shards)
        ]
        try:
            for way, shard in zip(made, shards, strict=True):
                if from_disk and not way.relay.spool.reopen():
                    await self._taken_up(way, shard, seeds)
        except BaseException:
            for way in made:
                await way.rest()
            raise
        return made

    def _shards(self, reading: Keyspace) -> tuple[ReadShard, ...]:
        """Those that were read before; the first time, those that are seen."""
        notes = self.kept.notes
        known = notes.read.get(self._read, ())
        if known:
            return known
        found = tuple(
            ReadShard(_members(shard), shard.slots if reading.cluster else ()) for shard in reading.shards
        )
        self.kept.note(notes.with_read(self._read, found))
        return found

    def _seeds(self, writing: Keyspace) -> tuple[Endpoint, ...]:
        who = self.kept.writable(self.to).credentials
        return tuple(replace(each, credentials=who) for each in writing.seeds)

    async def _commands(self, reading: Keyspace, writing: Keyspace) -> tuple[TargetCommands, SeenServer, int]:
        """What the end that is written understands; a primary of it; and how many databases it has."""
        journal = self.kept.book.journal
        writer, reader = await self._one(self._read, reading), await self._one(self.to, writing)
        async with await EngineNode.connect(journal.end(self.to).endpoint(reader.address)) as node:
            known = await commands_of(node, journal.options.accepted, writer, reader)
        count = 1 if writing.cluster else known.databases
        # Which database goes where is the writer's affair, and it stops at one that has no place.
        return replace(known, databases=DATABASES_MAX, dropped_databases=frozenset()), reader, count

    def _way(
        self,
        number: int,
        shard: ReadShard,
        count: int,
        target: tuple[TargetCommands, SeenServer, int],
        seeds: tuple[Endpoint, ...],
        cluster: bool,
    ) -> Way:
        journal, tell = self.kept.book.journal, self.kept.folder.tell
        commands, reader, databases = target
        name = f"spool-{number}" if self.to is Side.TARGET else f"spool-back-{number}"
        spool = Spool(self.kept.folder.path / name, journal.options.spool_bytes // count)
        settings = Settings(
            find_source=self._finder(number),
            commands=commands,
            rewriting=lambda: rewriting_for(dialect_of(reader), commands.databases),
            # Never on the way back: what the old source holds would have to go first.
            full=Full.ALLOWED if self.to is Side.TARGET else Full.NEVER,
            accepts_losses="losses" in journal.options.accepted,
            tell=tell,
            port=NO_SUCH_PORT if journal.end(self._read).sentinels else None,
        )
        relay = Relay(spool, settings)
        made = WriterSettings(
            marks_of(self.kept, self.to, number),
            expand(shard.slots) if cluster else None,
            databases=journal.mapping(self.to, databases),
            sole=count == 1,
            past=shard.past,
            held_file=spool.folder / HELD_FILE,
            tell=tell,
        )
        if self.claims is not None:
            made = replace(made, claims=self.claims(number))
        return Way(relay, Writer(relay, Target(seeds), made))

    async def _taken_up(self, way: Way, shard: ReadShard, seeds: tuple[Endpoint, ...]) -> None:
        """Nothing is spooled (at the beginning, and after a restart of this machine): the checkpoints say where to go on."""
        if self.kept.notes.unmarked is self.to:
            way.relay.spool.begin_at(shard.replid, shard.offset)
            return
        place = await self._place(way, seeds)
        if place is not None:
            way.relay.spool.begin_at(place.replid, place.offset, place.database)

    async def _place(self, way: Way, seeds: tuple[Endpoint, ...]) -> Place | None:
        """The oldest checkpoint, where there are all and they are of one history."""
        target = Target(seeds)
        try:
            await target.connect()
            places = await checkpoints_of(way, target).read()
        except CheckpointLost:
            return None
        finally:
            target.close()
        known = [place for place in places.values() if place is not None]
        if len(known) < len(places) or len({place.replid for place in known}) != 1:
            return None
        return min(known, key=lambda place: place.offset)

    async def mark(self, ways: Sequence[Way]) -> None:
        """Write the first checkpoints behind a switch: from there on each way's own writes count.

        Raises: TargetBroke, CheckpointLost, and the connection's errors.
        """
        for way, shard in zip(ways, self.kept.notes.read[self._read], strict=True):
            target = Target(way.writer.target.seeds)
            try:
                await target.connect()
                await checkpoints_of(way, target).set_all(Place(shard.replid, shard.offset), fresh=True)
            finally:
                target.close()
        self.kept.note(replace(self.kept.notes, unmarked=None))

    async def keyspace(self, side: Side) -> Keyspace:
        """The end as it is now; servers seen for the first time are remembered."""
        end = self.kept.book.journal.end(side)
        found = await discover([end.endpoint(address) for address in end.servers])
        known = end.knowing((each.host, each.port) for each in found.seeds)
        if known.servers != end.servers:
            self.kept.book.write(**{side.value: known})
        return found

    async def _one(self, side: Side, keyspace: Keyspace) -> SeenServer:
        """A primary of the end: which engine it is, and of which version. Raises: NodeGone."""
        seen = await self._whole(side)
        primary = keyspace.shards[0].primary
        found = seen.at((primary.host, primary.port)) or (seen.primaries or (None,))[0]
        if found is None:
            raise NodeGone(seen.label, "no primary of it answers")
        return found

    async def _whole(self, side: Side) -> SeenEnd:
        """The end, outside a cluster with no more than one primary. Raises: NodeGone.

        A primary that died and was restarted before anybody told it of its successor holds what is of the past, or nothing: from
        it no snapshot may be taken, and nothing is safe in it.
        """
        seen = await see_end(self.kept.book.journal.end(side))
        if seen.layout is not Layout.CLUSTER and len(seen.primaries) > 1:
            told = " and ".join(each.title for each in seen.primaries)
            raise NodeGone(seen.label, f"{told} both say that they are its primary; waiting until one is")
        return seen

    def _finder(self, number: int) -> Callable[[], Awaitable[Endpoint]]:
        """Where the stream of that shard is to be had: a replica in sync where that was asked for."""

        async def find() -> Endpoint:
            await self._whole(self._read)
            keyspace = await self.keyspace(self._read)
            shard = self.same(number, keyspace)
            journal = self.kept.book.journal
            if journal.options.from_replica and self.to is Side.TARGET and journal.switch is None:
                return await self._in_sync(shard) or shard.primary
            return shard.primary

        return find

    async def _in_sync(self, shard: Shard) -> Endpoint | None:
        """A replica of the shard that gets its primary's stream."""
        end = self.kept.book.journal.end(self._read)
        for replica in shard.replicas:
            try:
                seen = await see_server(end, (replica.host, replica.port))
            except HoldfastError:
                continue
            if seen.link_up and not seen.syncing and not seen.loading:
                return replica
        return None

    def same(self, number: int, keyspace: Keyspace) -> Shard:
        """The shard that was read under that number, known by its servers: slots may move, and primaries be replaced.

        Raises: NodeGone.
        """
        if not keyspace.cluster:
            return keyspace.shards[0]
        notes = self.kept.notes
        shards = notes.read[self._read]
        known = set(shards[number].members)
        found = max(keyspace.shards, key=lambda each: len(known & set(_members(each))))
        members = _members(found)
        if not known & set(members):
            raise NodeGone(str(keyspace.seeds[0]), f"no server of its shard {number} is seen")
        if not set(members) <= known:
            grown = replace(shards[number], members=tuple(dict.fromkeys((*shards[number].members, *members))))
            changed = (*shards[:number], grown, *shards[number + 1 :])
            self.kept.note(notes.with_read(self._read, changed))
        return found


def _members(shard: Shard) -> tuple[tuple[str, int], ...]:
    return tuple((each.host, each.port) for each in (shard.primary, *shard.replicas))
