"""Looks at the two ends of a migration by relay: who is there, who takes writes, and how each is spoken to."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.engine.connection import EngineNode
from holdfast.engine.facts import Address
from holdfast.errors import HoldfastError
from holdfast.jobs.folder import JobFolder
from holdfast.migrate.ends import Side
from holdfast.migrate.observe import see_end
from holdfast.migrate.seen import SeenEnd, SeenServer
from holdfast.migrate.settings import Book


@dataclass(eq=False)
class NoPrimary(HoldfastError):
    """An end shows no server, or several, that it would take writes with."""

    end: str
    seen: str

    def __str__(self) -> str:
        return f"{self.end} has no one primary at the moment ({self.seen}); nothing was changed, and it is looked for again"


class Sight:
    """Both ends, looked at anew each time."""

    def __init__(self, folder: JobFolder, book: Book) -> None:
        self.folder = folder
        self.book = book

    def tell(self, what: str) -> None:
        """Note an event."""
        self.folder.tell(what)

    async def see(self, side: Side) -> SeenEnd:
        """Look at one end; servers seen for the first time are remembered."""
        journal = self.book.journal
        doors = [address for _, address in journal.doors]
        seen = await see_end(journal.end(side), strangers=[*doors, *journal.end(side.other).servers])
        known = journal.end(side).knowing(each.address for each in seen.servers)
        if known.servers != journal.end(side).servers:
            self.book.write(**{side.value: known})
        return seen

    async def head(self, side: Side) -> SeenServer:
        """The server of that end that follows no other of it. Raises: NoPrimary."""
        seen = await self.see(side)
        if seen.head is None:
            told = "; ".join([*(f"{each.title} is one" for each in seen.heads), *seen.silent.values()])
            raise NoPrimary(seen.label, told or "no server answers")
        return seen.head

    async def connect(self, side: Side, address: Address, *, timeout_s: float = 5.0) -> EngineNode:
        """A connection to one server of that end; close it."""
        return await EngineNode.connect(self.book.journal.end(side).endpoint(address), timeout_s=timeout_s)
