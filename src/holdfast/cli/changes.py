"""`holdfast switchover | events`: planned changes of primaries, and what happened to a cache."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from holdfast.cli.app import AsJson, CacheArgument, Place, app


@app.command()
def switchover(
    cache: CacheArgument,
    shard: Annotated[
        str,
        typer.Argument(metavar="SHARD", help="A shard's number in the order of `status`, or any node of it."),
    ] = "",
    to: Annotated[str, typer.Option("--to", metavar="NODE", help="The replica that is to take over.")] = "",
    json: AsJson = False,
    place: Place = None,
) -> None:
    """Hand a primary's role to a replica, while clients work; no acknowledged write is lost.

    \b
    Examples:
      holdfast switchover phonebill-cache-prod 2
      holdfast switchover phonebill-cache-prod --to n4
    """
    import asyncio

    from holdfast.cli.console import show
    from holdfast.cli.opening import named, opened
    from holdfast.state import audit
    from holdfast.topology.switchover import Switched, switch_over

    given = named(cache, place)

    async def work() -> Switched:
        with given.store.alone():
            async with opened(given) as live:
                return await switch_over(live, shard, to)

    done = asyncio.run(work())
    audit(
        given.state, "switchover", {"cache": given.loaded.spec.cache.name, "from": done.old, "to": done.new}
    )
    facts = {
        "from": done.old,
        "to": done.new,
        "by": done.by,
        "took_ms": done.took_ms,
        "held_ms": done.held_ms,
    }
    show(
        facts,
        f"{done.new} is the primary in place of {done.old} ({done.by}): writes were held for {done.held_ms:.0f} ms"
        f" of {done.took_ms:.0f} ms",
        as_json=json,
    )


@app.command()
def events(
    cache: CacheArgument,
    last: Annotated[int, typer.Option("--last", "-n", min=1, max=10_000, help="How many, newest last.")] = 20,
    json: AsJson = False,
) -> None:
    """Show what happened to CACHE: failovers with their measured gaps, restarts, switches.

    Example: holdfast events phonebill-cache-prod --last 5
    """
    import asyncio

    from rich.console import Console

    from holdfast.cli.console import show
    from holdfast.cli.opening import machines, named
    from holdfast.cli.views import event_line

    given = named(cache)
    name = given.loaded.spec.cache.name

    async def work() -> list[dict[str, Any]]:
        async with machines(given, start=True) as hosts:
            found = [event for host in hosts.values() for event in await host.events(name, last)]
        return sorted(found, key=lambda event: str(event["at"]))[-last:]

    found = asyncio.run(work())

    def text(console: Console) -> None:
        if not found:
            console.print(f"Nothing has happened to {name} that its supervisors have kept.")
        for event in found:
            console.print(event_line(event), markup=False)

    show(found, text, as_json=json)
