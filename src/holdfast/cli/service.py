"""`holdfast service install | remove`: the supervisor as a systemd service, so that caches come back after a reboot."""

from __future__ import annotations

import typer

from holdfast.cli.app import AsJson, app
from holdfast.cli.exit import ExitCode

service = typer.Typer(
    help="The supervisor as a systemd service that survives a reboot.", no_args_is_help=True
)
app.add_typer(service, name="service")


@service.command()
def install(json: AsJson = False) -> None:
    """Have systemd run this state folder's supervisor, from boot on: for root the machine's, else your own.

    The supervisor that runs now is replaced; nodes run on. After a reboot the supervisor starts the nodes that ran, with
    the same care as after a crash of all of them.

    \b
    Examples:
      holdfast service install
      sudo HOLDFAST_STATE=/srv/holdfast holdfast service install
    """
    import asyncio
    import os

    from holdfast.cli.console import show
    from holdfast.state import StateFolder, audit
    from holdfast.supervisor import service as unit
    from holdfast.supervisor.launch import replace

    state = StateFolder.open()
    done = unit.install(state, os.environ)
    replaced = asyncio.run(replace(state))  # started by the manager, now that the unit is known
    running = done.service.manager.is_active(done.service.name)
    audit(state, "service install", {"unit": done.service.path})
    lines = [f"{done.service.name} is registered ({done.service.path}); {replaced.nodes} nodes run on."]
    if not running:
        lines.append(
            "systemd has not started it; a supervisor runs beside it and the service takes over when that one ends."
        )
    if not done.survives_reboot:
        lines.append(
            f"It will not start at boot before you log in ({done.why_not}): sudo loginctl enable-linger {os.environ.get('USER', '')}"
        )
    facts = {
        "unit": done.service.name,
        "path": done.service.path,
        "running": running,
        "survives_reboot": done.survives_reboot,
        "why_not": done.why_not,
    }
    show(facts, "\n".join(lines), as_json=json)


@service.command()
def remove(json: AsJson = False) -> None:
    """Take the service away; the nodes run on, and the next command starts a supervisor as where there is no service.

    \b
    Example: holdfast service remove
    """
    from holdfast.cli.console import show
    from holdfast.state import StateFolder, audit
    from holdfast.supervisor import service as unit

    state = StateFolder.open()
    gone = unit.remove(state)
    if gone is None:
        show({"removed": None}, "No service is registered for this state folder.", as_json=json)
        raise typer.Exit(ExitCode.OK)
    audit(state, "service remove", {"unit": gone.path})
    show({"removed": gone.path}, f"{gone.path} is gone; nodes run on.", as_json=json)
