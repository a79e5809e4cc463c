"""Keys that were given a later end than their own (see `expiry`), until the stream has said what became of them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.codec.stream import read_command, write_command
from holdfast.engine.pipeline import pack
from holdfast.migrate.write.databases import Databases
from holdfast.migrate.write.expiry import HELD_AT_MOST
from holdfast.migrate.write.target import Target
from holdfast.state import write_private

WITHIN_MS = 10_000
"""A key that ends within this time of the one that it was given still has that one."""
SURE_AFTER_MS = 1_000
"""This long after a key's own time the source has no word on it any more that the stream could still bring."""

Held = tuple[int, bytes, int, int]
"""Database of the source, key, its own end, the end it was given; Unix ms."""


@dataclass
class HeldKeys:
    """Those of one source. At most `HELD_AT_MOST`: what is above lives until the end that it was given."""

    _keys: dict[tuple[int, bytes], tuple[int, int]] = field(default_factory=dict)
    from_snapshot: list[Held] = field(default_factory=list)
    _changed: bool = False

    def add(self, held: Iterable[Held]) -> None:
        """Keys that a command of the stream has given a later end."""
        for database, key, own_ms, given_ms in held:
            self._changed = True
            if len(self._keys) < HELD_AT_MOST or (database, key) in self._keys:
                self._keys[database, key] = (own_ms, given_ms)

    def add_snapshot(self, held: Iterable[Held]) -> None:
        """Keys of a snapshot that were given a later end."""
        self.from_snapshot = list(held)
        self._changed = True

    def save(self, path: Path) -> None:
        """Remember them over the death of this process; nothing is written where nothing changed."""
        if not self._changed:
            return
        self._changed = False
        held = [*self.from_snapshot, *((*name, *ends) for name, ends in self._keys.items())]
        if held:
            words = (
                [b"%d" % database, key, b"%d" % own, b"%d" % given] for database, key, own, given in held
            )
            write_private(path, b"".join(map(write_command, words)))
        else:
            path.unlink(missing_ok=True)

    @classmethod
    def restored(cls, path: Path) -> HeldKeys:
        """What `save` has written; nothing where there is none, or it cannot be read."""
        found = cls()
        try:
            data, at = path.read_bytes(), 0
            while at < len(data):
                (database, key, own, given), at = read_command(data, at)
                found.from_snapshot.append((int(database), key, int(own), int(given)))
        except (OSError, ValueError):
            return found
        return found

    async def let_go(self, target: Target, databases: Databases, *, every: bool = False) -> None:
        """Everything that the source has said is done: keys that still have the end they were given get their own.

        One that the stream has since given another, or none, keeps that. The target's clock is taken for ours, within seconds.

        Args: `every`, those too whose own end has not come yet: nothing follows any more. Raises: TargetBroke.
        """
        sure_ms = _now_ms() - SURE_AFTER_MS
        due = [name for name, (own_ms, _) in self._keys.items() if every or own_ms < sure_ms]
        chosen = [(*name, *self._keys.pop(name)) for name in due]
        snapshot, self.from_snapshot = self.from_snapshot, []
        self._changed = self._changed or bool(snapshot or chosen)
        await self._give(target, databases, [*snapshot, *chosen])

    async def _give(self, target: Target, databases: Databases, held: list[Held]) -> None:
        for database in {each[0] for each in held} if not target.cluster else ({0} if held else ()):
            chosen = [each for each in held if each[0] == database]
            cells = [target.cell_of(key) for _, key, _, _ in chosen]
            if not target.cluster:
                await target.ask_cell(0, "SELECT", databases.of(database))
            asked = [(cell, pack("PTTL", key)) for cell, (_, key, _, _) in zip(cells, chosen, strict=True)]
            left = await target.ask_each(asked)
            now_ms = _now_ms()
            await target.ask_each(
                [
                    (cell, pack("PEXPIREAT", key, own_ms))
                    for cell, (_, key, own_ms, given_ms), ttl in zip(cells, chosen, left, strict=True)
                    if isinstance(ttl, int) and ttl >= 0 and abs(now_ms + ttl - given_ms) < WITHIN_MS
                ]
            )
            if not target.cluster:
                await target.ask_cell(0, "SELECT", 0)


def _now_ms() -> int:
    return int(time.time() * 1000)
