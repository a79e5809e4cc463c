"""Commands that are done with the target at rest: flushes, swaps, function libraries, and commands over several slots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from holdfast.codec.stream import write_command
from holdfast.engine.pipeline import pack, refusal
from holdfast.migrate.write.batch import Alone
from holdfast.migrate.write.checkpoint import Place
from holdfast.migrate.write.clean import remove_keys
from holdfast.migrate.write.databases import Databases
from holdfast.migrate.write.errors import TargetStuck
from holdfast.migrate.write.marks import Checkpoints
from holdfast.migrate.write.route import Brought
from holdfast.migrate.write.target import Target
from holdfast.migrate.write.units import Mark, Unit

_HOME = pack("SELECT", 0)


@dataclass
class AloneRunner:
    """Runs one such command so that it may be interrupted and run again."""

    target: Target
    databases: Databases
    checkpoints: Checkpoints
    owned: frozenset[int] | None
    sole: bool

    async def run(self, command: Alone, applied: Mapping[int, int], replid: str) -> None:
        """Do it in every cell that has not come past it. Raises: TargetBroke, TargetStuck, CheckpointLost."""
        place = Place(replid, command.offset, command.database)
        if command.route is not None:
            await self._brought(command.route, applied, place)
        elif command.name in {b"FLUSHALL", b"FLUSHDB"}:
            await self._flush(command, applied, place)
        elif command.name == b"SWAPDB":
            await self._swap(command, place)
        elif command.name == b"FUNCTION":
            await self._everywhere(command)

    async def _flush(self, command: Alone, applied: Mapping[int, int], place: Place) -> None:
        """Only the source's own slots are flushed, and only cells that have not gone past it already."""
        all_of_them = command.name == b"FLUSHALL"
        chosen = self.databases.all() if all_of_them else (self.databases.of(command.database),)
        if not self.target.cluster and self.sole:
            flushes = [part for each in chosen for part in (pack("SELECT", each), pack("FLUSHDB"))]
            self.checkpoints.expected.pop(
                0, None
            )  # the flush takes the checkpoint too; the transaction writes it anew
            await self._marked(Unit(0, [*flushes, _HOME], marked=True), place)
            return
        slots = self.owned
        if self.target.cluster and applied:
            behind = frozenset(self.checkpoints.cells) - frozenset(
                cell for cell, offset in applied.items() if offset >= place.offset
            )
            slots = behind
        for database in chosen:
            await remove_keys(self.target, database, slots)

    async def _swap(self, command: Alone, place: Place) -> None:
        words = self.databases.rewritten(b"SWAPDB", command.words)
        commands = [write_command(words)]
        numbers = {int(word) for word in words[1:3]}
        if 0 in numbers and len(numbers) == 2:  # the checkpoint was swapped away with the keys beside it
            commands += [pack("SELECT", max(numbers)), pack("DEL", self.checkpoints.key(0))]
            self.checkpoints.expected.pop(0, None)
        await self._marked(Unit(0, [*commands, _HOME], marked=True), place)

    async def _everywhere(self, command: Alone) -> None:
        """Function libraries belong to no slot: every primary has them all. To load one again changes nothing."""
        words = list(command.words)
        if words[1].upper() == b"LOAD" and words[2].upper() != b"REPLACE":
            words.insert(2, b"REPLACE")
        if words[1].upper() == b"RESTORE" and len(words) == 3:
            words.append(b"REPLACE")
        for pipe in self.target.pipes:
            (reply,) = await pipe.send(write_command(words), 1)
            said = refusal(reply)
            if said and not said.startswith(
                "ERR Library not found"
            ):  # deleted already, by this command's first run
                self.target.refused(write_command(words[:2]), said)

    async def _brought(self, route: Brought, applied: Mapping[int, int], place: Place) -> None:
        """The destination's part first, acknowledged; then what it did to the keys it took from.

        Raises: TargetStuck when the replicas do not acknowledge: until they do, the values it was made of must not change.
        """
        if applied.get(route.cell, 0) < place.offset:
            await self._at_destination(route, place)
            for _ in range(int(self.target.patience_s)):
                if await self.target.replicated():
                    break
            else:
                raise TargetStuck(
                    str(self.target.seeds[0]), self.target.patience_s, "its replicas do not acknowledge"
                )
        for part in route.afterwards:
            if applied.get(part.cell, 0) < place.offset:
                await self._marked(Unit(part.cell, [write_command(list(part.words))], marked=True), place)

    async def _at_destination(self, route: Brought, place: Place) -> None:
        words = list(route.words)
        tag = self.checkpoints.tag(route.cell)
        before: list[bytes] = []
        after: list[bytes] = []
        for number, at in enumerate(route.places):
            source = words[at]
            cell = self.target.cell_of(source)
            ends, dump = await self.target.ask_each(
                [(cell, pack("PTTL", source)), (cell, pack("DUMP", source))]
            )
            words[at] = self.checkpoints.marks.brought(tag, number)
            before.append(pack("DEL", words[at]))
            if isinstance(dump, bytes) and not refusal(ends):
                before.append(pack("RESTORE", words[at], max(0, ends), dump, "REPLACE"))
            after.append(pack("DEL", words[at]))
        await self._marked(Unit(route.cell, [*before, write_command(words), *after], marked=True), place)

    async def _marked(self, unit: Unit, place: Place) -> None:
        """One transaction with its checkpoint."""
        value = place.to_bytes()
        await self.target.write(
            [unit], lambda cell: Mark(self.checkpoints.key(cell), value), self.checkpoints.expected
        )
        self.checkpoints.expected[unit.cell] = value
