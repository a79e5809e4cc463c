"""Which database of the target stands for which of the source. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from holdfast.codec.stream import write_command
from holdfast.migrate.write.errors import DatabaseNotMapped


@dataclass(frozen=True)
class Databases:
    """The declared mapping, or each number to itself as far as the target has it."""

    count: int
    """How many the target has; 1 for a cluster."""
    mapping: Mapping[int, int] | None = None
    source: str = ""

    def of(self, database: int) -> int:
        """The target's number. Raises: DatabaseNotMapped."""
        found = self.mapping.get(database, -1) if self.mapping is not None else database
        if not 0 <= found < self.count:
            raise DatabaseNotMapped(database, self.source)
        return found

    def select(self, database: int) -> bytes:
        """SELECT of the target's database for the source's."""
        return write_command([b"SELECT", b"%d" % self.of(database)])

    def all(self) -> tuple[int, ...]:
        """Every database of the target that the source may write to."""
        return (
            tuple(sorted(set(self.mapping.values())))
            if self.mapping is not None
            else tuple(range(self.count))
        )

    def rewritten(self, name: bytes, words: Sequence[bytes]) -> list[bytes]:
        """MOVE, SWAPDB, or COPY, with the target's numbers. Raises: DatabaseNotMapped."""
        found = list(words)
        places = {b"MOVE": (2,), b"SWAPDB": (1, 2)}.get(name, ())
        if name == b"COPY":
            places = tuple(at + 1 for at, word in enumerate(words) if at > 2 and word.upper() == b"DB")
        for at in places:
            if at < len(found) and found[at].isdigit():
                found[at] = b"%d" % self.of(int(found[at]))
        return found
