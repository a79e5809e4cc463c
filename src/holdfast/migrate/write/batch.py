"""Turns a stretch of a source's stream into units for the target's cells. Pure.

Commands that need the target at rest (a flush, a command over several slots) end the stretch: they are given back to be done by
themselves, once all before them is done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from holdfast.codec.crc import key_slot
from holdfast.codec.stream import read_command, walk_to, write_command
from holdfast.migrate.write.checkpoint import PREFIX
from holdfast.migrate.write.databases import Databases
from holdfast.migrate.write.expiry import MAY_HAVE_TIME, held_in_stream
from holdfast.migrate.write.jobs import CLUSTER, Past, SlotJob, read_job
from holdfast.migrate.write.keys import CONDITIONAL, REPEATABLE, has_one_key, is_repeatable, key_places
from holdfast.migrate.write.route import Brought, InParts, Part, Refused, route
from holdfast.migrate.write.units import Unit

_SKIP, _SINGLE_REPEATABLE, _SINGLE_ASK, _SINGLE_ONCE, _MANY, _SELECT, _ALONE, _CLUSTER = range(8)
_ALONE_NAMES = frozenset({b"FLUSHALL", b"FLUSHDB", b"SWAPDB", b"FUNCTION", b"SCRIPT"})
_SKIPPED = frozenset({b"PING", b"REPLCONF", b"MULTI", b"EXEC", b"PUBLISH", b"SPUBLISH"})
_ALWAYS_REPEATABLE = REPEATABLE - CONDITIONAL
_DELETING = frozenset({b"DEL", b"UNLINK"})
_NONE: frozenset[bytes] = frozenset()


@dataclass(frozen=True)
class Alone:
    """A command to be done with everything before it done and nothing after it begun."""

    name: bytes
    words: tuple[bytes, ...]
    database: int
    """The source's, selected there."""
    offset: int
    """Behind it."""
    route: Brought | None = None


@dataclass
class Batch:
    """Units made from a stretch of the stream."""

    units: dict[int, Unit] = field(default_factory=dict)
    commands: int = 0
    end: int = 0
    """Offset behind its last command."""
    database: int = 0
    """The source's, selected at `end`."""
    alone: Alone | None = None
    """What has to follow by itself; `end` lies before it."""
    foreign: int = -1
    """Slot of the command behind `end`, where that is another shard's."""
    job: SlotJob | None = None
    """What the command behind `end` begins, where that is a move of whole slots to the shard."""
    held: list[tuple[int, bytes, int, int]] = field(default_factory=list)
    """Keys whose end was put off: database of the source, key, its own end, the end it is given."""
    lost: list[str] = field(default_factory=list)
    """Why commands were not carried, for each that was not."""


@dataclass
class Batcher:
    """What a stretch is made into units by."""

    databases: Databases
    cluster: bool
    """Whether the target is one."""
    owned: frozenset[int] | None = None
    """The source shard's slots; None outside a cluster."""
    most_commands: int = 8_000
    holds_ttl: bool = False
    """Whether times that are near are put off, for a target that would expire keys by itself."""
    past: Past = field(default_factory=Past)
    """What is not to be written again."""
    _kinds: dict[bytes, tuple[bytes, int]] = field(default_factory=dict)

    def make(
        self, buf: bytes, offset: int, database: int, applied: Mapping[int, int], now_ms: int = 0
    ) -> Batch:
        """Units of the whole commands in `buf`.

        Args: `offset`, of its first byte; `database`, selected there; `applied`, how far each cell has come already,
            where that is further; `now_ms`, Unix time, for TTLs that are put off.
        Raises: StreamCorrupt, DatabaseNotMapped.
        """
        whole, _ = walk_to(buf, 0, len(buf), _NONE)
        batch = Batch(end=offset, database=database)
        units, kinds, cluster, owned = batch.units, self._kinds, self.cluster, self.owned
        unselected = not cluster
        at = 0
        while at < whole and batch.commands < self.most_commands:
            while at < whole and buf[at] == 10:
                at += 1
            if at >= whole:
                break
            words, after = read_command(buf, at)
            name, kind = kinds.get(words[0]) or self._kind(words[0])
            if kind == _SKIP:
                at = after
                continue
            if kind == _SELECT:
                batch.database = int(words[1])
                self.databases.of(batch.database)
                unselected = not cluster
                at = after
                continue
            if kind == _CLUSTER:
                job = read_job(words, offset + after) if owned is not None else None
                if job is not None and job.offset > self.past.jobs_until:
                    batch.job = job
                    break
                at = after
                continue
            if kind == _ALONE:
                batch.alone = Alone(name, tuple(words), batch.database, offset + after)
                break
            key = words[1] if len(words) > 1 else b""
            if key.startswith(PREFIX):
                at = after
                continue
            if kind == _MANY:
                if owned is not None and (foreign := _foreign(name, words, owned)) >= 0:
                    if name in _DELETING and all(key_slot(word) not in owned for word in words[1:]):
                        at = after  # what a shard still clears of a slot that it has given away
                        continue
                    if self.past.has(foreign, offset + after):
                        at = after
                        continue
                    batch.foreign = foreign
                    break
                batch.commands += 1
                if not self._many(batch, name, words, offset + after, applied, unselected):
                    break
                unselected = False
                at = after
                continue
            slot = key_slot(key) if cluster or owned is not None else 0
            if owned is not None and slot not in owned:
                if self.past.has(slot, offset + after):
                    at = after
                    continue
                batch.foreign = slot
                break
            batch.commands += 1
            cell = slot if cluster else 0
            if applied and offset + after <= applied.get(cell, 0):
                at = after
                continue
            unit = units.get(cell)
            if unit is None:
                unit = units[cell] = Unit(cell, marked=not cluster)
            if unselected:
                unit.commands.append(self.databases.select(batch.database))
                unselected = False
            raw = buf[at:after]
            if not cluster and name == b"MOVE":
                raw = write_command(self.databases.rewritten(name, words))
            if self.holds_ttl and name in MAY_HAVE_TIME and (held := held_in_stream(name, words, now_ms)):
                raw = write_command(held.words)
                if held.of_key:
                    batch.held.append((batch.database, key, held.own_ms, held.given_ms))
            unit.commands.append(raw)
            if kind == _SINGLE_ONCE or (kind == _SINGLE_ASK and not is_repeatable(name, words)):
                unit.marked = True
            at = after
        batch.end = offset + at
        return batch

    def _many(
        self,
        batch: Batch,
        name: bytes,
        words: list[bytes],
        end: int,
        applied: Mapping[int, int],
        unselected: bool,
    ) -> bool:
        """A command with several keys; False when it has to be done alone."""
        cell_of: Callable[[bytes], int] = key_slot if self.cluster else _one_cell
        found = route(name, words, cell_of)
        if isinstance(found, Brought):
            batch.commands -= 1
            batch.alone = Alone(name, tuple(words), batch.database, end, found)
            return False
        if isinstance(found, Refused):
            batch.lost.append(found.why)
            return True
        parts = found.parts if isinstance(found, InParts) else (found,) if isinstance(found, Part) else ()
        for part in parts:
            if applied and end <= applied.get(part.cell, 0):
                continue
            unit = batch.units.setdefault(part.cell, Unit(part.cell, marked=not self.cluster))
            if unselected:
                unit.commands.append(self.databases.select(batch.database))
            command = list(part.words)
            if not self.cluster and name == b"COPY":
                command = self.databases.rewritten(name, command)
            unit.commands.append(write_command(command))
            unit.marked = unit.marked or not is_repeatable(part.words[0].upper(), part.words)
        return True

    def _kind(self, word: bytes) -> tuple[bytes, int]:
        name = word.upper()
        if name in _SKIPPED:
            kind = _SKIP
        elif name == b"SELECT":
            kind = _SELECT
        elif name == CLUSTER:
            kind = _CLUSTER
        elif name in _ALONE_NAMES:
            kind = _ALONE
        elif not has_one_key(name):
            kind = _MANY
        elif name in _ALWAYS_REPEATABLE:
            kind = _SINGLE_REPEATABLE
        else:
            kind = _SINGLE_ASK if name in REPEATABLE else _SINGLE_ONCE
        self._kinds[word] = (name, kind)
        return name, kind


def _foreign(name: bytes, words: list[bytes], owned: frozenset[int]) -> int:
    """A slot of the command that is not one of `owned`; -1 when all are."""
    return next((slot for at in key_places(name, words) if (slot := key_slot(words[at])) not in owned), -1)


def _one_cell(_: bytes) -> int:
    return 0
