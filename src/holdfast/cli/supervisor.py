"""`holdfast supervisor run | status | upgrade | invite | join | stop`: this machine's supervisor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli.app import AsJson, CacheArgument, Place, app
from holdfast.cli.exit import ExitCode

supervisor = typer.Typer(help="The process that parents this machine's nodes.", no_args_is_help=True)
app.add_typer(supervisor, name="supervisor")


@supervisor.command()
def run() -> None:
    """Run the supervisor in the foreground, for a service manager; `holdfast up` starts one by itself.

    Example: HOLDFAST_STATE=/srv/holdfast holdfast supervisor run
    """
    from holdfast.supervisor.__main__ import main

    main()


@supervisor.command()
def status(json: AsJson = False) -> None:
    """Show whether it runs and which nodes it keeps. Exit code 3 when it does not run.

    Example: holdfast supervisor status
    """
    import asyncio
    from collections.abc import Mapping

    from rich.console import Console

    from holdfast.cli.console import show
    from holdfast.state import StateFolder
    from holdfast.supervisor.launch import local_client
    from holdfast.supervisor.protocol import HostUnreachable, facts_to_json, process_to_json
    from holdfast.topology.hosts import HostFacts
    from holdfast.topology.seen import SeenProcess

    state = StateFolder.open()

    async def work() -> tuple[HostFacts, Mapping[str, Mapping[str, SeenProcess]]]:
        async with local_client(state) as client:
            return await client.facts(), await client.nodes()

    try:
        facts, caches = asyncio.run(work())
    except HostUnreachable as away:
        show({"running": False, "state": str(state.path), "why": away.why}, str(away), as_json=json)
        raise typer.Exit(ExitCode.CHANGES_WAIT) from None

    def text(console: Console) -> None:
        console.print(f"Supervisor {facts.version}, pid {facts.pid}, state folder {facts.state}")
        for cache, nodes in caches.items():
            for name, process in sorted(nodes.items()):
                told = f"pid {process.pid}" if process.pid else process.why
                console.print(f"  {cache}  {name}  {process.state.value}  {told}", markup=False)

    told = {
        "running": True,
        **facts_to_json(facts),
        "caches": {
            cache: {name: process_to_json(each) for name, each in nodes.items()}
            for cache, nodes in caches.items()
        },
    }
    show(told, text, as_json=json)


@supervisor.command()
def upgrade(json: AsJson = False) -> None:
    """Replace the supervisor that runs by this program's own, while clients work; no node is touched.

    Commands do the same by themselves when they meet one that speaks another version. For some tenths of a second nobody
    watches over the nodes; what dies meanwhile is seen to by the new supervisor.

    \b
    Example: holdfast supervisor upgrade
    """
    import asyncio
    from dataclasses import asdict

    from holdfast.cli.console import show
    from holdfast.state import StateFolder, audit
    from holdfast.supervisor.launch import replace

    state = StateFolder.open()
    done = asyncio.run(replace(state))
    audit(state, "supervisor upgrade", {"from": done.before, "to": done.after})
    if done.before:
        text = (
            f"Supervisor {done.after} in place of {done.before}: {done.nodes} nodes run on, the same processes; "
            f"nobody watched over them for {done.unwatched_s:.1f} s."
        )
    else:
        text = f"None ran; supervisor {done.after} is started."
    show(asdict(done), text, as_json=json)


@supervisor.command()
def invite(
    cache: CacheArgument,
    machine: Annotated[str, typer.Argument(metavar="MACHINE", help="A machine of the spec's place.hosts.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the invitation.")],
    place: Place = None,
) -> None:
    """Write what MACHINE needs so that this cache's commands and its other machines reach the supervisor there.

    The file holds a private key: carry it over a safe way (scp), and delete it once `holdfast supervisor join` has read it.

    \b
    Example: holdfast supervisor invite cache.yaml left -o left.invitation
    """
    from holdfast.cli.console import out
    from holdfast.cli.opening import named
    from holdfast.state import audit, write_private
    from holdfast.supervisor.invitation import invite as made_for

    given = named(cache, place)
    with given.store.alone():
        made = made_for(given.loaded.spec, given.store, machine)
    write_private(output.absolute(), made.to_json())
    audit(given.state, "supervisor invite", {"cache": made.cache, "machine": machine})
    out(
        f"{output} is for {machine}: carry it there, run `holdfast supervisor join {output.name}`, then delete it here and there."
    )


@supervisor.command()
def join(
    invitation: Annotated[
        Path, typer.Argument(metavar="INVITATION", help="The file that `holdfast supervisor invite` wrote.")
    ],
    json: AsJson = False,
) -> None:
    """Let a cache's controller and its other machines reach this machine's supervisor, over mutual TLS.

    Whoever holds the controller's key of that cache can run its servers here as your user. The supervisor is started anew
    so that it listens; nodes run on.

    \b
    Example: holdfast supervisor join left.invitation
    """
    import asyncio

    from holdfast.cli.console import show
    from holdfast.errors import WrongUsage
    from holdfast.state import StateFolder, audit
    from holdfast.supervisor import admission
    from holdfast.supervisor.launch import replace

    state = StateFolder.open()
    try:
        text = invitation.read_bytes()
    except OSError as failed:
        raise WrongUsage(
            f"{invitation} cannot be read ({failed.strerror})", "name the file that was written"
        ) from None
    admitted = admission.Admission.from_json(str(invitation), text)
    admission.keep(state.supervisor, admitted)
    asyncio.run(replace(state))
    audit(state, "supervisor join", {"cache": admitted.cache, "machine": admitted.machine})
    facts = {
        "cache": admitted.cache,
        "machine": admitted.machine,
        "listens": f"{admitted.address}:{admitted.port}",
    }
    show(
        facts,
        f"This machine is {admitted.machine} of {admitted.cache}; its supervisor listens on {facts['listens']}.",
        as_json=json,
    )


@supervisor.command()
def stop() -> None:
    """End the supervisor; nodes run on, and the next one takes them up again.

    Example: holdfast supervisor stop
    """
    import asyncio

    from holdfast.cli.console import out
    from holdfast.state import StateFolder
    from holdfast.supervisor.launch import SOCKET, leave

    state = StateFolder.open()
    if not (state.supervisor / SOCKET).exists():
        out(f"No supervisor runs for {state.path}: there is nothing to end.")
        return
    asyncio.run(leave(state))
    out("The supervisor has ended; its nodes run on.")
