"""`holdfast uninstall`: lists what Holdfast has put on this machine, then removes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from holdfast.cli.app import AsJson, Yes, app

if TYPE_CHECKING:
    from rich.console import Console

    from holdfast.host.belongings import Belongings, FolderUser

SUPERVISOR_ENDS_S = 10.0
"""Longer than the five seconds that it gives its open requests."""


@app.command()
def uninstall(yes: Yes = False, json: AsJson = False) -> None:
    """List all that Holdfast keeps on this machine, and remove it once you say so.

    Fetched engines, caches with their data, secrets and logs go; outside the state folder only the service that
    `holdfast service install` registered is touched, and what else lies in that folder stays. While a cache is up nothing is removed. With --json and without --yes it only lists.

    \b
    Examples:
      holdfast uninstall
      holdfast uninstall --json
      holdfast uninstall --yes
    """
    import os

    from holdfast.cli import console
    from holdfast.cli.exit import ExitCode
    from holdfast.host.belongings import StillInUse, belongings_in, remove, users_of
    from holdfast.state import StateFolder, locate
    from holdfast.supervisor import service

    folder = locate(os.environ)
    if (folder / "version").exists():
        StateFolder.open()  # refuses a folder of somebody else, or of a newer Holdfast
    seen = belongings_in(folder)
    users = users_of(folder) if seen.own else ()
    unit = service.registered(StateFolder(folder)) if seen.own else None
    removing = bool(seen.own) and (yes or not json)
    if not json:
        console.show(None, lambda screen: _list(screen, seen, users), as_json=False)
        if unit is not None:
            console.out(f"registered with systemd, and removed with the rest: {unit.path}")
    working = tuple(user for user in users if not user.is_supervisor_of(folder))
    if removing and working:
        raise StillInUse(working, seen.caches)
    if removing and not yes and not console.confirm(_question(seen)):
        console.err("holdfast: nothing was removed; --yes removes without asking")
        raise typer.Exit(ExitCode.FAILED)
    if removing:
        if unit is not None:
            service.remove(StateFolder.open())
        if users:  # the supervisor alone, with nothing left to supervise
            _end_supervisor()
        remove(seen)
    facts = {
        "folder": str(folder),
        "own": [
            {"kind": each.kind, "name": each.name, "path": str(each.path), "size_bytes": each.size_bytes}
            for each in seen.own
        ],
        "foreign": [str(path) for path in seen.foreign],
        "service": unit.path if unit is not None else None,
        "in_use_by": [{"pid": user.pid, "program": user.program, "path": user.path} for user in users],
        "removed": removing,
    }
    if json:
        console.show(facts, "", as_json=True)
    elif removing:
        stays = (
            f"{folder} stays with {len(seen.foreign)} things that are not Holdfast's"
            if seen.foreign
            else f"{folder} is gone"
        )
        console.out(
            f"Removed. {stays}. The program itself goes with the folder that it was installed in (.venv, or pip uninstall holdfast)."
        )


def _end_supervisor() -> None:
    """Ask an idle supervisor to end and wait, bounded, until it has; whoever still works is found by `remove`."""
    import asyncio
    import time

    from holdfast.host.belongings import users_of
    from holdfast.state import StateFolder
    from holdfast.supervisor.launch import leave_if_idle

    state = StateFolder.open()
    asyncio.run(leave_if_idle(state))
    asked = time.monotonic()
    while users_of(state.path) and time.monotonic() - asked < SUPERVISOR_ENDS_S:
        time.sleep(0.05)


def _question(seen: Belongings) -> str:
    caches = f", with the data of {', '.join(seen.caches)}," if seen.caches else ""
    return f"Remove all of this{caches} for ever?"


def _list(screen: Console, seen: Belongings, users: tuple[FolderUser, ...]) -> None:
    from rich.table import Table
    from rich.text import Text

    from holdfast.host.finding import readable_size

    if not seen.own:
        screen.print(
            Text(
                f"Holdfast keeps nothing on this machine: {seen.folder} is not a state folder of its making."
            )
        )
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("what", "name", "size", "where"):
        table.add_column(heading, justify="right" if heading == "size" else "left", overflow="fold")
    for each in seen.own:
        table.add_row(each.kind, Text(each.name), readable_size(each.size_bytes), Text(str(each.path)))
    screen.print(table)
    screen.print(Text(f"{len(seen.own)} things, {readable_size(seen.size_bytes)}, all below {seen.folder}"))
    for path in seen.foreign:
        screen.print(Text(f"stays, not Holdfast's: {path}"))
    for user in users:
        screen.print(Text(f"in use by {user.program} (pid {user.pid}): {user.path}"))
