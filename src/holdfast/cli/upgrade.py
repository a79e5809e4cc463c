"""`holdfast upgrade`: another engine, or a newer version of it, under a running cache, one node after the other."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli.app import AllowPause, AsJson, CacheArgument, Place, Surge, app
from holdfast.cli.exit import ExitCode


@app.command()
def upgrade(
    cache: CacheArgument,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="ENGINE",
            help="As `holdfast engines` names it: valkey-9.1. Default: the best that the spec allows.",
        ),
    ] = "",
    surge: Surge = False,
    allow_pause: AllowPause = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Print the steps and change nothing; exit code 3 when there are some."
        ),
    ] = False,
    json: AsJson = False,
    place: Place = None,
) -> None:
    """Move CACHE to another engine or version while clients work: replicas first, then a switchover, then the old
    primary, each verified before the next; when one fails, all go back.

    Redis up to 7.2 goes to Valkey, and every engine to a newer version of itself. What one does not load of the other
    (Redis 7.4 and later to Valkey) is refused before anything is touched: that is `holdfast migrate`.

    \b
    Examples:
      holdfast upgrade cache.yaml --dry-run
      holdfast upgrade phonebill-cache-prod --to valkey-9.1 --surge
    """
    import asyncio

    from holdfast.cli.bringup import How, bring_up
    from holdfast.cli.console import show
    from holdfast.cli.opening import named, opened
    from holdfast.cli.views import plan_facts, plan_text
    from holdfast.state import audit
    from holdfast.topology.apply import outstanding
    from holdfast.topology.open import Aim, EngineWish
    from holdfast.topology.steps import Step
    from holdfast.topology.wanted import Manner

    given = named(cache, place)
    given.store.record()  # a cache that does not exist is not made here
    how = How(EngineWish(Aim.NEWEST, to), Manner(surge=surge, allow_pause=allow_pause))
    if not dry_run:
        audit(given.state, "upgrade", {"cache": given.loaded.spec.cache.name, "to": to or "best allowed"})
        bring_up(given, how, as_json=json)
        return

    async def work() -> tuple[Step, ...]:
        async with opened(given, wish=how.wish, manner=how.manner) as live:
            return await outstanding(live)

    steps = asyncio.run(work())
    spec = given.loaded.spec
    show(plan_facts(spec, steps), plan_text(spec, steps, "holdfast upgrade"), as_json=json)
    raise typer.Exit(ExitCode.CHANGES_WAIT if steps else ExitCode.OK)
