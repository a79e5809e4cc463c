"""`holdfast migrate status | verify`: where a migration stands, and whether both ends hold the same."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli.app import AsJson
from holdfast.cli.exit import ExitCode
from holdfast.cli.migrate.group import Name, migrate


@migrate.command()
def status(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Name of the migration; all of them without it.")
    ] = "",
    events: Annotated[
        int, typer.Option("--events", min=0, max=10_000, help="How many of the newest events.")
    ] = 5,
    json: AsJson = False,
) -> None:
    """Show where a migration stands: phase, lag, losses, what happened. Exit code 3 when something is wrong with it.

    Example: holdfast migrate status cart
    """
    from holdfast.cli.console import show
    from holdfast.cli.migrate.views import list_facts, list_text, status_facts, status_text
    from holdfast.jobs.folder import JobFolder, jobs_of
    from holdfast.migrate.journal import KIND
    from holdfast.state import StateFolder

    state = StateFolder.open()
    if not name:
        rows = [status_facts(JobFolder.find(state, KIND, each), 0) for each in jobs_of(state, KIND)]
        show(list_facts(rows), list_text(rows), as_json=json)
        return
    facts = status_facts(JobFolder.find(state, KIND, name), events)
    show(facts, status_text(facts), as_json=json)
    if facts["wrong"]:
        raise typer.Exit(ExitCode.CHANGES_WAIT)


@migrate.command()
def verify(
    name: Name,
    added_ms: Annotated[
        float,
        typer.Option("--added-ms", min=0.1, help="How much longer the primary may answer others meanwhile."),
    ] = 3.0,
    keys_per_s: Annotated[
        float, typer.Option("--keys-per-s", min=1, help="Never read faster than this.")
    ] = 10_000_000.0,
    anew: Annotated[
        bool, typer.Option("--anew", help="Begin anew, also where an earlier run was cut off.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Compare all keys of both ends, both ways, with full values and TTLs, while writes go on.

    What differs is looked at again until it settles. May be interrupted and run again: it goes on. Exit code 5 when data
    differs, with a list.

    Example: holdfast migrate verify cart
    """
    import asyncio

    from holdfast.cli.comparison_views import comparison_text, watching
    from holdfast.cli.console import show
    from holdfast.jobs.folder import JobFolder
    from holdfast.migrate.journal import KIND
    from holdfast.migrate.orders import journal_of
    from holdfast.migrate.verify import VerifyOptions
    from holdfast.migrate.verify import verify as compare
    from holdfast.state import StateFolder

    folder = JobFolder.find(StateFolder.open(), KIND, name)
    options = VerifyOptions(added_ms, keys_per_s, anew)
    with watching(quiet=json) as look:
        report = asyncio.run(compare(folder, journal_of(folder), options, look))
    show(report.facts(), comparison_text(name, report), as_json=json)
    if report.different or report.changing:
        raise typer.Exit(ExitCode.DATA_DIFFERS)
