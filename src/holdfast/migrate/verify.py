"""Compares what both ends of a migration hold, by `holdfast.compare`; goes on where an earlier run was cut off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from holdfast.compare.judge import Tolerance
from holdfast.compare.options import Options
from holdfast.compare.pace import PaceLimits
from holdfast.compare.report import Report
from holdfast.compare.run import Comparison
from holdfast.compare.side import Side as ReadSide
from holdfast.engine.connection import Endpoint
from holdfast.jobs.folder import JobFolder
from holdfast.migrate.ends import End, EndUnusable, Layout, Side
from holdfast.migrate.journal import Journal
from holdfast.migrate.observe import see_end

FILE = "verify"
FENCE_KEYS = b"holdfast:fence:"
DATABASES = 1 << 10
"""More than servers are given."""


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
        lacking = [side for side in (one, other) if not side.tells_field_ttl]
        agreed = len(lacking) == 1 and "losses" in journal.options.accepted
        wanted = Options(
            tolerance=Tolerance(any_field_ttl=agreed),
            pace=PaceLimits(options.added_ms, options.keys_per_s),
            databases=options.databases or await _mapping(journal, one, other),
            ignore=(FENCE_KEYS, *(word.encode() for word in journal.more.get("own_keys", ()))),
        )
        found = await Comparison(one, other, wanted, report, keep).run()
        if agreed:
            engine = lacking[0].keyspace
            without = f"{engine.engine.capitalize()} {'.'.join(map(str, engine.version))}"
            words = f"times to live of fields of hashes: {without} has none (agreed to with --accept losses)"
            found.left_out = (*found.left_out, words)
        return found
    finally:
        one.close()
        other.close()


async def _mapping(journal: Journal, one: ReadSide, other: ReadSide) -> dict[int, int] | None:
    """Which database of the second side stands for which of the first, of those that have keys; None where all have their own."""
    whole = journal.mapping(journal.follower, DATABASES)
    if whole is None:
        return None
    theirs = set(await other.databases())
    used = {*await one.databases(), *(ours for ours, each in whole.items() if each in theirs)}
    return {ours: whole[ours] for ours in sorted(used) if ours in whole}


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
