"""Compares what both ends of a migration hold, by `holdfast.compare`; goes on where an earlier run was cut off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from holdfast.compare.pace import PaceLimits
from holdfast.compare.report import Report
from holdfast.compare.run import Comparison, Options
from holdfast.compare.side import Side as ReadSide
from holdfast.engine.connection import Endpoint
from holdfast.jobs.folder import JobFolder
from holdfast.migrate.ends import End, EndUnusable, Layout, Side
from holdfast.migrate.journal import Journal
from holdfast.migrate.observe import see_end

FILE = "verify"
FENCE_KEYS = b"holdfast:fence:"


@dataclass(frozen=True)
class VerifyOptions:
    """How to compare."""

    added_ms: float = PaceLimits().added_ms
    keys_per_s: float = PaceLimits().keys_per_s
    anew: bool = False
    """Begin at the beginning, whatever an earlier run has left."""
    databases: dict[int, int] | None = None


async def verify(
    folder: JobFolder,
    journal: Journal,
    options: VerifyOptions,
    look: Callable[[Report], None] = lambda _: None,
) -> Report:
    """Compare all keys, both ways; the primary end is the first side. What was seen is kept, and gone on from.

    Raises: EndUnusable when an end has no one head, SideLost, and errors of the connections.
    """
    first, second = journal.primary, journal.follower
    state = {} if options.anew else dict(folder.read(FILE))
    report = Report.resumed(state) if state and not state.get("complete") else Report()

    def keep(seen: Report) -> None:
        folder.write(FILE, {**seen.state(), "complete": seen.complete})
        look(seen)

    one, other = await _open(journal, first), await _open(journal, second)
    try:
        wanted = Options(
            pace=PaceLimits(options.added_ms, options.keys_per_s),
            databases=options.databases,
            ignore=(FENCE_KEYS, *(word.encode() for word in journal.more.get("own_keys", ()))),
        )
        return await Comparison(one, other, wanted, report, keep).run()
    finally:
        one.close()
        other.close()


async def _open(journal: Journal, side: Side) -> ReadSide:
    end = journal.end(side)
    if end.layout is Layout.CLUSTER:
        return await ReadSide.open([end.endpoint(each) for each in end.servers])
    return await ReadSide.open([await _head(end)], as_named=True)


async def _head(end: End) -> Endpoint:
    seen = await see_end(end)
    # The relay's own address is a stranger that answers no INFO, so a server that follows it is the head all the same.
    known = [each for each in seen.servers if each.address in end.servers]
    heads = [each for each in known if each in seen.heads or each.primary not in end.servers]
    if not heads:
        raise EndUnusable(end.label, "no server of it answers", "See holdfast migrate status.")
    return end.endpoint(heads[0].address)
