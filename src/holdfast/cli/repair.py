"""`holdfast repair`: what only a person may decide after an accident, told with what each side has, and done on a word."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli.app import AsJson, CacheArgument, Place, Yes, app
from holdfast.cli.exit import ExitCode


@app.command()
def repair(
    cache: CacheArgument,
    keep: Annotated[
        str,
        typer.Option("--keep", metavar="NODE", help="Where two sides hold data: the node whose data stays."),
    ] = "",
    compare: Annotated[
        bool,
        typer.Option(
            "--compare", help="Also count the keys in which two primaries differ, by value and TTL."
        ),
    ] = False,
    yes: Yes = False,
    typed: Annotated[
        str,
        typer.Option(
            "--confirm",
            metavar="CACHE",
            help="The cache's name, where data is given up and nobody can type it.",
        ),
    ] = "",
    json: AsJson = False,
    place: Place = None,
) -> None:
    """Show what is broken in CACHE that does not mend itself (two primaries, two owners of a slot, no majority, no
    primary, all nodes down), what each side has, and what a repair would do; with --yes, do it.

    Nothing is changed without --yes. Where data is given up, it is saved aside first, and the cache's name must be typed
    (or given with --confirm). Exit code 3 when something is broken, and was only shown.

    \b
    Examples:
      holdfast repair phonebill-cache-prod
      holdfast repair phonebill-cache-prod --keep n2 --yes --confirm phonebill-cache-prod
    """
    from holdfast.cli.console import show
    from holdfast.cli.opening import named
    from holdfast.cli.repairing import look_and_repair, repair_facts, repair_text

    done = look_and_repair(named(cache, place), keep=keep, act=yes, typed=typed, compare=compare, quiet=json)
    show(repair_facts(done), repair_text(done), as_json=json)
    raise typer.Exit(ExitCode.CHANGES_WAIT if done.findings and not done.acted else ExitCode.OK)
