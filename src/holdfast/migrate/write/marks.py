"""The checkpoints of one source in a target: read, written all at once, and removed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from holdfast.engine.pipeline import pack, refusal
from holdfast.migrate.write.checkpoint import Marks, Place, read_place, slot_tags
from holdfast.migrate.write.errors import CheckpointLost
from holdfast.migrate.write.target import Target
from holdfast.migrate.write.units import Mark


@dataclass
class Checkpoints:
    """What the writer knows of its marks. `expected` is what each cell's holds by its own last word."""

    target: Target
    marks: Marks
    cells: tuple[int, ...]
    """The cells that this source writes to."""
    expected: dict[int, bytes] = field(default_factory=dict)
    _keys: dict[int, bytes] = field(default_factory=dict)

    def key(self, cell: int) -> bytes:
        """The name of a cell's checkpoint."""
        found = self._keys.get(cell)
        if found is None:
            found = self._keys[cell] = self.marks.checkpoint(self.tag(cell))
        return found

    def tag(self, cell: int) -> bytes:
        """A hash tag of the cell."""
        return slot_tags()[cell] if self.target.cluster else b""

    async def read(self) -> dict[int, Place | None]:
        """Every cell's checkpoint; None where there is none. Raises: TargetBroke, CheckpointLost for what makes no sense."""
        self._keys.clear()  # the target may be another by now
        replies = await self.target.ask_each([(cell, pack("GET", self.key(cell))) for cell in self.cells])
        found: dict[int, Place | None] = {}
        for cell, reply in zip(self.cells, replies, strict=True):
            if refusal(reply) or (reply is not None and read_place(reply) is None):
                raise CheckpointLost(
                    str(self.target.seeds[0]), f"has a checkpoint that cannot be read ({reply!r})"
                )
            found[cell] = None if reply is None else read_place(reply)
            if reply is not None:
                self.expected[cell] = reply
        return found

    async def set_all(self, place: Place, *, fresh: bool = False, cells: tuple[int, ...] = ()) -> None:
        """Write the same place to every cell, which must have come so far.

        Args: `fresh`, there were none before; `cells`, these only.

        Raises: TargetBroke; CheckpointLost when one was not what was written last.
        """
        value = place.to_bytes()
        left = list(cells or self.cells)
        for _ in range(600):
            commands = [(cell, Mark(self.key(cell), value).packed()) for cell in left]
            again: list[int] = []
            for cell, reply in zip(left, await self.target.ask_each(commands), strict=True):
                if refusal(reply):
                    again.append(cell)
                elif not fresh and reply not in (self.expected.get(cell), value):
                    raise CheckpointLost(str(self.target.seeds[0]), "lost a checkpoint")
                else:
                    self.expected[cell] = value
            if not again:
                return
            await self.target.follow(again[0])
            left = again
        raise CheckpointLost(str(self.target.seeds[0]), "does not take checkpoints")

    async def remove(self, cells: Iterable[int] | None = None) -> None:
        """Delete them: what was written is then no longer known."""
        chosen = tuple(self.cells if cells is None else cells)
        await self.target.ask_each([(cell, pack("DEL", self.key(cell))) for cell in chosen])
        self.expected.clear()


def cells_of(target: Target, owned: frozenset[int] | None) -> tuple[int, ...]:
    """The cells that a source writes to."""
    return tuple(sorted(owned)) if target.cluster and owned is not None else tuple(target.cells)
