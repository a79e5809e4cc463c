"""`holdfast maintenance`: a time in which somebody works on a cache, and Holdfast leaves its primaries where they are."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli.app import AsJson, CacheArgument, Place, app


@app.command()
def maintenance(
    cache: CacheArgument,
    lasts: Annotated[
        str, typer.Option("--for", metavar="TIME", help="How long it lasts: 30m, 1h; it ends by itself.")
    ] = "",
    end: Annotated[bool, typer.Option("--end", help="End it now.")] = False,
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="What is done, for those who look.")] = "",
    json: AsJson = False,
    place: Place = None,
) -> None:
    """Begin, end or show a maintenance of CACHE: meanwhile primaries are not switched back to their zones and alerts are
    quiet. Dead nodes are replaced and started again as ever.

    Begun anew while it lasts, it gets the new end.

    \b
    Examples:
      holdfast maintenance phonebill-cache-prod --for 1h --why "kernel update"
      holdfast maintenance phonebill-cache-prod --end
    """
    import asyncio
    import getpass
    import importlib.util
    from dataclasses import replace
    from datetime import UTC, datetime, timedelta

    from holdfast.cli.console import show
    from holdfast.cli.opening import named, opened
    from holdfast.cli.quantities import time_option
    from holdfast.errors import WrongUsage
    from holdfast.state import audit
    from holdfast.topology.apply import watch_all
    from holdfast.topology.maintenance import Maintenance

    if lasts and end:
        raise WrongUsage("a maintenance cannot begin and end at once", "give --for or --end")
    lasts_s = time_option("--for", lasts) if lasts else 0.0
    given = named(cache, place)
    given.store.record()
    name = given.loaded.spec.cache.name
    now = datetime.now(UTC)

    async def work() -> None:
        with given.store.alone():
            if end:
                given.store.end_maintenance()
            else:
                until = (now + timedelta(seconds=lasts_s)).isoformat(timespec="seconds")
                begun = Maintenance(now.isoformat(timespec="seconds"), until, getpass.getuser(), why)
                given.store.begin_maintenance(begun)
            async with opened(given) as live:
                if end:
                    await watch_all(live, replace(live.watch_order(), quiet_until_s=now.timestamp()))
                else:
                    await watch_all(live)
                    await live.note("maintenance", "", state="begun", until=until, why=why)

    held = given.store.maintenance(now)
    if end and held is None:
        raise WrongUsage(f"{name} is in no maintenance", "begin one with --for 1h")
    if lasts or end:
        asyncio.run(work())
        audit(given.state, "maintenance", {"cache": name, "for_s": lasts_s, "end": end, "why": why})
    found = given.store.maintenance(datetime.now(UTC))
    backup = given.loaded.spec.backup
    asked = backup.before_maintenance and backup.schedule != "off"
    lacking = asked and bool(lasts) and importlib.util.find_spec("holdfast.backup") is None
    text = f"{name} is in no maintenance."
    if found is not None:
        at = datetime.fromisoformat(found.until).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        reason = f" ({found.why})" if found.why else ""
        text = (
            f"{name} is in maintenance until {at}, begun by {found.by}{reason}: primaries are not switched back by "
            "themselves, alerts are quiet."
        )
    if lacking:
        text += " backup.before_maintenance asks for a backup first: none was made, for this Holdfast makes none yet."
    show({"cache": name, "maintenance": found.to_json() if found else None}, text, as_json=json)
