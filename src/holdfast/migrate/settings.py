"""Settings of servers that are changed for the time of a migration: what they were is on disk before they change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from holdfast.engine.connection import CommandRefused, EngineNode
from holdfast.engine.facts import Address
from holdfast.errors import HoldfastError
from holdfast.migrate.ends import Side
from holdfast.migrate.journal import Borrowed, Journal

SENTINEL_PATIENCE_MS = 10 * 365 * 24 * 3600 * 1000
"""How long a Sentinel waits for a primary that has become a replica: it would promote another one in its place."""
PING_PERIOD_S = 3600
"""CLIENT PAUSE does not stop a primary's PINGs to its replicas, and each moves its offset."""
BACKLOG_BYTES = 64 * 1024 * 1024


@dataclass
class Book:
    """The journal in hand and how it is kept."""

    journal: Journal
    keep: Callable[[Journal], None]

    def write(self, **changes: object) -> None:
        """Change the journal, on disk first."""
        changed = replace(self.journal, **changes)  # type: ignore[arg-type]
        self.keep(changed)
        self.journal = changed


async def borrow(book: Book, side: Side, address: Address, node: EngineNode, wanted: dict[str, str]) -> None:
    """Set directives for the time of the migration. One that the server does not know is left out.

    Raises: NodeDenied, NodeGone, NodeSilent.
    """
    for name, value in wanted.items():
        try:
            told = {
                str(each): str(is_now) for each, is_now in dict(await node.ask("CONFIG", "GET", name)).items()
            }
        except CommandRefused:
            continue
        if name not in told or told[name] == value:
            continue
        known = any((each.address, each.name) == (address, name) for each in book.journal.borrowed)
        if not known:
            loan = Borrowed(side, address, name, told[name])
            book.write(borrowed=(*book.journal.borrowed, loan))
        await node.ask("CONFIG", "SET", name, value)


async def calm_sentinels(book: Book, side: Side) -> tuple[str, ...]:
    """Tell the Sentinels of an end that its primary may be a replica for long; what each that could not be told said."""
    end = book.journal.end(side)
    failed = []
    for address in end.sentinels:
        try:
            async with await EngineNode.connect(end.sentinel_endpoint(address)) as node:
                facts = dict(await node.ask("SENTINEL", "MASTER", end.watched_name))
                now = str(facts["down-after-milliseconds"])
                if now == str(SENTINEL_PATIENCE_MS):
                    continue
                loan = Borrowed(side, address, "down-after-milliseconds", now, end.watched_name)
                if not any(
                    (each.address, each.sentinel) == (address, end.watched_name)
                    for each in book.journal.borrowed
                ):
                    book.write(borrowed=(*book.journal.borrowed, loan))
                await node.ask(
                    "SENTINEL", "SET", end.watched_name, "down-after-milliseconds", SENTINEL_PATIENCE_MS
                )
        except HoldfastError as silent:
            failed.append(str(silent))
    return tuple(failed)


async def give_back(book: Book, which: Callable[[Borrowed], bool] = lambda _: True) -> tuple[str, ...]:
    """Set what was borrowed to what it was; why each that could not be stays borrowed."""
    failed = []
    for loan in [each for each in book.journal.borrowed if which(each)]:
        end = book.journal.end(loan.side)
        endpoint = end.sentinel_endpoint(loan.address) if loan.sentinel else end.endpoint(loan.address)
        try:
            async with await EngineNode.connect(endpoint) as node:
                if loan.sentinel:
                    await node.ask("SENTINEL", "SET", loan.sentinel, loan.name, loan.value)
                else:
                    await node.ask("CONFIG", "SET", loan.name, loan.value)
        except HoldfastError as silent:
            failed.append(f"{loan.name} of {endpoint}: {silent}")
            continue
        book.write(borrowed=tuple(each for each in book.journal.borrowed if each != loan))
    return tuple(failed)
