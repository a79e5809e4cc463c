"""Writes a snapshot that lies in a spool into the target: RESTORE in deep pipelines, long values in pieces."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Protocol

from holdfast.codec.crc import key_slot
from holdfast.codec.rdb.events import Aux, Function, Header, Key, ValueChunk, ValueEnd
from holdfast.codec.rdb.parser import Parser
from holdfast.codec.restore import RestorePacker
from holdfast.engine.pipeline import pack, refusal
from holdfast.migrate.write.checkpoint import PREFIX
from holdfast.migrate.write.databases import Databases
from holdfast.migrate.write.errors import SlotMovedAtSource
from holdfast.migrate.write.expiry import HELD_AT_MOST, held_in_load
from holdfast.migrate.write.long_values import LongValue
from holdfast.migrate.write.target import Target
from holdfast.migrate.write.units import Mark, Unit

PIECE_BYTES = 1 << 20
BATCH_BYTES = 1 << 20
BATCH_KEYS = 1_000
IN_FLIGHT = 6
WHOLE_BYTES = 8 << 20
"""Values up to this size are restored whole."""


class Snapshot(Protocol):
    """The RDB as a spool has it."""

    @property
    def rdb_bytes(self) -> int: ...

    @property
    def rdb_whole(self) -> bool: ...

    def read_rdb(self, at: int, length: int) -> bytes: ...


@dataclass
class Loaded:
    """What has been written of a snapshot."""

    keys: int = 0
    read_bytes: int = 0
    functions: int = 0
    database: int = 0
    """Selected where the stream begins."""
    lost: dict[str, int] = field(default_factory=dict)
    held: list[tuple[int, bytes, int, int]] = field(default_factory=list)
    """Keys whose end was put off: database of the source, key, true time, time they were given."""


@dataclass
class Loader:
    """One snapshot on its way into the target."""

    target: Target
    databases: Databases
    owned: frozenset[int] | None
    grown: Callable[[], object]
    """Awaited when the snapshot has not come further yet."""
    now_ms: int = 0
    """Unix time, where near TTLs have to be put off; 0 where the target expires nothing by itself."""
    done: Loaded = field(default_factory=Loaded)
    _units: dict[int, Unit] = field(default_factory=dict)
    _bytes: int = 0
    _keys: int = 0
    _flying: set[asyncio.Task[None]] = field(default_factory=set)
    _plain: list[tuple[int, bytes]] = field(default_factory=list)
    """For a cluster: the slot and RESTORE of keys that are written whole; each comes once, so that they need no order."""
    _cluster: bool = False
    _database: int = -1
    """Known to have a place in the target's cluster."""
    _footer: bytes = b""
    _packer: RestorePacker = field(default_factory=lambda: RestorePacker(0))

    async def load(self, snapshot: Snapshot, still: Callable[[], bool]) -> None:
        """Write all of it. Args: `still`, whether the spool holds the same snapshot as before.

        Raises: TargetBroke, TargetStuck, SnapshotGone, DatabaseNotMapped, errors of the RDB's form.
        """
        parser = Parser(WHOLE_BYTES)
        self._cluster = self.target.cluster
        long_value: LongValue | None = None
        try:
            async for piece in self._pieces(snapshot, still):
                parser.feed(piece)
                for event in parser:
                    kind = type(event)
                    if kind is Key:
                        assert isinstance(event, Key)
                        if event.value is None:
                            long_value = self._begin_long(event)
                        else:
                            self._restore(event)
                            if self._bytes >= BATCH_BYTES or self._keys >= BATCH_KEYS:
                                await self._send()
                    elif kind is ValueChunk:
                        assert isinstance(event, ValueChunk)
                        await self._long_piece(long_value, event.data)
                    elif kind is ValueEnd:
                        await self._end_long(long_value)
                        long_value = None
                    elif kind is Function:
                        assert isinstance(event, Function)
                        await self._function(event.source)
                    elif kind is Aux:
                        assert isinstance(event, Aux)
                        if event.field == b"repl-stream-db" and event.value.isdigit():
                            self.done.database = int(event.value)
                    elif kind is Header:
                        assert isinstance(event, Header)
                        self._footer = event.dialect.version.to_bytes(2, "little")
                        self._packer = RestorePacker(event.dialect.version)
            await self._send()
            await self._landed(0)
        finally:
            for task in self._flying:
                task.cancel()
            await asyncio.gather(*self._flying, return_exceptions=True)

    async def _pieces(self, snapshot: Snapshot, still: Callable[[], bool]) -> AsyncIterator[bytes]:
        at = 0
        while True:
            if not still():
                raise SnapshotGone
            whole = snapshot.rdb_whole
            piece = snapshot.read_rdb(at, PIECE_BYTES) if at < snapshot.rdb_bytes else b""
            if piece:
                at += len(piece)
                self.done.read_bytes = at
                yield piece
            elif whole:
                return
            else:
                await self.grown()  # type: ignore[misc]

    def _cell(self, key: bytes) -> int:
        if self.owned is None:
            return key_slot(key) if self._cluster else 0
        slot = key_slot(key)
        if slot not in self.owned:  # on its way from another shard, whose snapshot may have it as well
            raise SlotMovedAtSource(slot, "a shard of the source")
        return slot if self._cluster else 0

    def _unit(self, cell: int, database: int) -> Unit:
        place = cell if self.target.cluster else database
        unit = self._units.get(place)
        if unit is None:
            unit = self._units[place] = Unit(cell)
            if not self.target.cluster:
                unit.commands.append(self.databases.select(database))
        elif self.target.cluster:
            self.databases.of(database)
        return unit

    def _restore(self, event: Key) -> None:
        key, value = event.key, event.value
        assert value is not None
        if key.startswith(PREFIX):
            return  # another migration's, or the other direction's
        command = self._packer.pack(
            key,
            event.type,
            value,
            self._ends_ms(event),
            -1 if event.freq is None else event.freq,
            -1 if event.idle_s is None else event.idle_s,
        )
        cell = self._cell(key)
        if self._cluster:
            if event.db != self._database:
                self.databases.of(event.db)
                self._database = event.db
            self._plain.append((cell, command))
        else:
            self._unit(cell, event.db).commands.append(command)
        self._bytes += len(command)
        self._keys += 1

    def _ends_ms(self, event: Key) -> int:
        """The time to restore the key with; 0 for none."""
        ends_ms = event.expire_ms or 0
        if not self.now_ms or not ends_ms:
            return ends_ms
        held_ms = held_in_load(ends_ms, self.now_ms)
        if held_ms != ends_ms and len(self.done.held) < HELD_AT_MOST:
            self.done.held.append((event.db, event.key, ends_ms, held_ms))
        return held_ms

    async def _send(self) -> None:
        """What is gathered goes out, while earlier batches are still on their way."""
        await self._landed(IN_FLIGHT - 1)
        if not self._units and not self._plain:
            return
        plain, units, keys = self._plain, list(self._units.values()), self._keys
        self._plain, self._units, self._bytes, self._keys = [], {}, 0, 0
        self._flying.add(asyncio.create_task(self._write(plain, units, keys)))

    async def _write(self, plain: list[tuple[int, bytes]], units: list[Unit], keys: int) -> None:
        if plain:
            await self.target.write_plain(plain)
        if units:
            await self.target.write(units, _no_mark, {})
        self.done.keys += keys

    async def _landed(self, at_most: int) -> None:
        """Wait until no more than that many batches are on their way."""
        while len(self._flying) > at_most:
            done, self._flying = await asyncio.wait(self._flying, return_when=asyncio.FIRST_COMPLETED)
            failed = [error for task in done if (error := task.exception()) is not None]
            if failed:
                raise failed[0]  # the others say the same of the same connection

    def _begin_long(self, event: Key) -> LongValue:
        self._keys += 1
        return LongValue(event.key, event.type, event.expire_ms, event.db, self._footer)

    async def _long_piece(self, value: LongValue | None, data: bytes) -> None:
        assert value is not None
        unit = self._unit(self._cell(value.key), value.database)
        for command in value.feed(data):
            unit.commands.append(command)
            self._bytes += len(command)
        if self._bytes >= BATCH_BYTES:
            await self._send()
            await self._landed(0)  # its pieces have an order

    async def _end_long(self, value: LongValue | None) -> None:
        assert value is not None
        unit = self._unit(self._cell(value.key), value.database)
        unit.commands.extend(value.end())
        await self._send()
        await self._landed(0)

    async def _function(self, source: bytes) -> None:
        self.done.functions += 1
        for pipe in self.target.pipes:
            (reply,) = await pipe.send(pack("FUNCTION", "LOAD", "REPLACE", source), 1)
            if said := refusal(reply):
                what = f"a function library: {said}"
                self.done.lost[what] = self.done.lost.get(what, 0) + 1


class SnapshotGone(Exception):
    """The spool holds another snapshot than the one that was being written."""


def _no_mark(cell: int) -> Mark:
    raise AssertionError("a snapshot's units carry no marks")
