"""`holdfast migrate cutover | rollback | finish | stop | pause | resume`: orders to the process that works on a migration."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli.app import AsJson, Yes
from holdfast.cli.migrate.group import Name, migrate

BoundMs = Annotated[
    int,
    typer.Option(
        "--bound-ms", min=100, max=60_000, help="How long writes may be held for both ends to be equal."
    ),
]
Hook = Annotated[
    str,
    typer.Option(
        "--hook",
        help="Command or http(s) URL that re-points the applications; gets the new primary's address as JSON.",
    ),
]


@migrate.command()
def cutover(name: Name, bound_ms: BoundMs = 3000, hook: Hook = "", json: AsJson = False) -> None:
    """Make the target the primary: hold writes, wait until both are equal, fence the source, prove it, promote.

    Undone, with the source serving on, when the two do not become equal in time. The way back stays open until `finish`.

    Example: holdfast migrate cutover cart --hook ./repoint-applications.sh
    """
    _order(name, "cutover", as_json=json, bound_ms=bound_ms, hook=hook)


@migrate.command()
def rollback(name: Name, bound_ms: BoundMs = 3000, hook: Hook = "", json: AsJson = False) -> None:
    """Make the old source the primary again, by the same short switch; nothing written since the cutover is lost.

    Example: holdfast migrate rollback cart
    """
    _order(name, "rollback", as_json=json, bound_ms=bound_ms, hook=hook)


@migrate.command()
def finish(name: Name, yes: Yes = False, json: AsJson = False) -> None:
    """End a migration after its cutover: the way back is closed, borrowed settings are given back, the record printed.

    The old source stays fenced, with its data as it is at this moment.

    Example: holdfast migrate finish cart
    """
    from holdfast.cli.console import confirm
    from holdfast.errors import WrongUsage

    if not yes and not confirm(f"Close the way back of {name} for good?"):
        raise WrongUsage("the way back is not closed without a yes", "answer y, or add --yes")
    _order(name, "finish", as_json=json)


@migrate.command()
def stop(name: Name, yes: Yes = False, json: AsJson = False) -> None:
    """Give a migration up before its cutover: the target is left by itself, with what it has; the source is as it was.

    Example: holdfast migrate stop cart
    """
    from holdfast.cli.console import confirm
    from holdfast.errors import WrongUsage

    if not yes and not confirm(f"Give up the migration {name}?"):
        raise WrongUsage("the migration is not given up without a yes", "answer y, or add --yes")
    _order(name, "stop", as_json=json)


@migrate.command()
def pause(name: Name, json: AsJson = False) -> None:
    """Close both links for a while. What the source writes meanwhile must fit its backlog, or all is copied again.

    Example: holdfast migrate pause cart
    """
    from holdfast.cli.console import show
    from holdfast.jobs.folder import JobFolder
    from holdfast.migrate import orders
    from holdfast.migrate.journal import KIND
    from holdfast.state import StateFolder

    state = StateFolder.open()
    orders.pause(state, JobFolder.find(state, KIND, name))
    show(
        {"migration": name, "paused": True},
        f"{name} is being paused: holdfast migrate resume {name} goes on.",
        as_json=json,
    )


@migrate.command()
def resume(
    name: Name,
    point_again: Annotated[
        bool,
        typer.Option(
            "--point-again", help="Make the target follow although somebody else has made it a primary."
        ),
    ] = False,
    json: AsJson = False,
) -> None:
    """Go on after a pause, a failure, or a restart of this machine.

    Example: holdfast migrate resume cart
    """
    from holdfast.cli.console import show
    from holdfast.jobs.folder import JobFolder
    from holdfast.migrate import orders
    from holdfast.migrate.journal import KIND
    from holdfast.state import StateFolder

    state = StateFolder.open()
    begun = orders.resume(state, JobFolder.find(state, KIND, name), point_again=point_again)
    told = "goes on" if begun else "goes on; its process was there"
    show({"migration": name, "started": begun}, f"{name} {told}.", as_json=json)


def _order(name: str, verb: str, *, as_json: bool, **options: object) -> None:
    from holdfast.cli.console import show
    from holdfast.cli.migrate.views import status_facts, verdict_text
    from holdfast.jobs.folder import JobFolder
    from holdfast.migrate import orders
    from holdfast.migrate.journal import KIND
    from holdfast.state import StateFolder

    state = StateFolder.open()
    folder = JobFolder.find(state, KIND, name)
    number = orders.order(state, folder, verb, **options)
    orders.await_answer(folder, number, verb)
    facts = status_facts(folder, 0)
    show(facts, verdict_text(facts, verb), as_json=as_json)
