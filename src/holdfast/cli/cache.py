"""`holdfast plan | up | status | down | logs`: one cache, from file to servers and back."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli.app import AllowPause, AsJson, CacheArgument, Place, Surge, Yes, app
from holdfast.cli.exit import ExitCode


@app.command()
def plan(
    cache: CacheArgument,
    surge: Surge = False,
    allow_pause: AllowPause = False,
    json: AsJson = False,
    place: Place = None,
) -> None:
    """Print the steps from what runs to what CACHE asks for; change nothing.

    Exit code 3 when changes wait, 0 when all is as it should be.

    Example: holdfast plan examples/phonebill/cache.yaml
    """
    import asyncio

    from holdfast.cli.console import show
    from holdfast.cli.opening import named, opened
    from holdfast.cli.views import plan_facts, plan_text
    from holdfast.topology.apply import outstanding
    from holdfast.topology.open import AS_THE_SPEC_SAYS
    from holdfast.topology.steps import Step
    from holdfast.topology.wanted import Manner

    given = named(cache, place)
    manner = Manner(surge=surge, allow_pause=allow_pause)

    async def work() -> tuple[Step, ...]:
        async with opened(given, wish=AS_THE_SPEC_SAYS, manner=manner) as live:
            return await outstanding(live)

    steps = asyncio.run(work())
    show(plan_facts(given.loaded.spec, steps), plan_text(given.loaded.spec, steps), as_json=json)
    raise typer.Exit(ExitCode.CHANGES_WAIT if steps else ExitCode.OK)


@app.command()
def up(
    cache: CacheArgument,
    show_failover: Annotated[
        bool,
        typer.Option(
            "--show-failover",
            help="If this call makes the cache: kill a primary while it is empty, under load, and tell the gap.",
        ),
    ] = False,
    prove: Annotated[
        bool,
        typer.Option(
            "--prove",
            help="If this call makes the cache: end with the harmless checks of `prove` and a small load.",
        ),
    ] = False,
    surge: Surge = False,
    allow_pause: AllowPause = False,
    json: AsJson = False,
    place: Place = None,
) -> None:
    """Bring CACHE up, or to what its file now asks for; what is right already is left alone.

    May be stopped at any moment and run again: it goes on from what is there. What only a restart changes, another
    engine too, is done one node after the other, each verified before the next; when one fails, all go back.

    \b
    Examples:
      holdfast up examples/phonebill/cache.yaml
      holdfast up cache.yaml --surge
    """
    from holdfast.cli.bringup import First, How, bring_up
    from holdfast.cli.opening import named
    from holdfast.topology.open import AS_THE_SPEC_SAYS
    from holdfast.topology.wanted import Manner

    how = How(AS_THE_SPEC_SAYS, Manner(surge=surge, allow_pause=allow_pause))
    bring_up(named(cache, place), how, as_json=json, first=First(show_failover, prove))


@app.command()
def status(cache: CacheArgument, json: AsJson = False, place: Place = None) -> None:
    """Show nodes, roles, slots, lag, memory, clients and versions, and what is wrong.

    Exit code 3 when the cache is degraded.

    Example: holdfast status phonebill-cache-prod
    """
    import asyncio

    from holdfast.cli.console import show
    from holdfast.cli.look import look
    from holdfast.cli.opening import named
    from holdfast.cli.views import status_facts, status_text

    given = named(cache, place)
    report = asyncio.run(look(given))
    show(status_facts(report), status_text(report), as_json=json)
    raise typer.Exit(ExitCode.CHANGES_WAIT if report.problems else ExitCode.OK)


@app.command()
def down(
    cache: CacheArgument,
    delete_data: Annotated[
        bool, typer.Option("--delete-data", help="Also delete data, files and secrets; asks first.")
    ] = False,
    yes: Yes = False,
    json: AsJson = False,
    place: Place = None,
) -> None:
    """Stop all nodes of CACHE; data on disk, files and secrets stay, unless --delete-data.

    Example: holdfast down phonebill-cache-prod
    """
    import asyncio

    from holdfast.cli.console import confirm, show
    from holdfast.cli.lines import number_of
    from holdfast.cli.opening import named, opened
    from holdfast.errors import WrongUsage
    from holdfast.supervisor.launch import leave_if_idle
    from holdfast.topology.apply import stop_all

    given = named(cache, place)
    name = given.loaded.spec.cache.name
    record = given.store.record()
    if delete_data and not yes and not confirm(f"Delete all data, files and secrets of {name} for good?"):
        raise WrongUsage(f"the data of {name} is not deleted without a yes", "answer y, or add --yes")

    async def work() -> bool:
        with given.store.alone():
            async with opened(given) as live:
                await stop_all(live, delete_data=delete_data)
        return await leave_if_idle(given.state)

    left = asyncio.run(work())
    names = [member.name for member in record.members]
    persistence = given.loaded.spec.persistence
    on_disk = not delete_data and (persistence.rdb.enabled or persistence.aof.enabled)
    facts = {
        "cache": name,
        "stopped": names,
        "data_deleted": delete_data,
        "data_on_disk": on_disk,
        "supervisor_ended": left,
    }
    if delete_data:
        kept = "its data, files and secrets are deleted"
    elif on_disk:
        kept = "its data stays: holdfast up brings it back"
    else:
        kept = "its data is gone, for its spec keeps none on disk (persistence); its files and secrets stay"
    show(facts, f"{name}: stopped {number_of(names, 'node')}; {kept}.", as_json=json)


@app.command()
def logs(
    cache: CacheArgument,
    node: Annotated[str, typer.Argument(metavar="NODE", help="Name of a node; all of them without it.")] = "",
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=1, max=10_000, help="How many lines of each.")
    ] = 20,
    json: AsJson = False,
) -> None:
    """Print the last lines of the servers' own logs.

    Example: holdfast logs phonebill-cache-prod n3 --lines 50
    """
    import asyncio

    from holdfast.cli.console import show
    from holdfast.cli.opening import machines, named
    from holdfast.errors import WrongUsage

    given = named(cache)
    record = given.store.record()
    chosen = [member for member in record.members if node in {"", member.name}]
    if not chosen:
        known = ", ".join(member.name for member in record.members)
        raise WrongUsage(f"{record.name} has no node {node}", f"name one of: {known}")

    async def work() -> dict[str, tuple[str, ...]]:
        async with machines(given, start=True) as hosts:
            return {
                member.name: await hosts[member.host].log(record.name, member.name, lines)
                for member in chosen
            }

    found = asyncio.run(work())
    text = "\n".join(
        line if len(found) == 1 else f"{name}: {line}" for name, each in found.items() for line in each
    )
    from rich.text import Text

    show({name: list(each) for name, each in found.items()}, Text(text), as_json=json)
