"""`holdfast migrate assess | start`: what speaks against a migration, and its beginning."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.app import AsJson
from holdfast.cli.exit import ExitCode
from holdfast.cli.grouped import grouped
from holdfast.cli.migrate.group import Name, SourceOptions, TargetOptions, migrate, spool_size

if TYPE_CHECKING:
    from holdfast.migrate.ends import End
    from holdfast.migrate.rules import Finding


class ModeName(StrEnum):
    """How data gets into the target."""

    RELAY = "relay"
    WRITE = "write"


Mode = Annotated[
    ModeName, typer.Option("--mode", help="relay: as the target's primary. write: as its client (clusters).")
]
RelayCert = Annotated[
    str, typer.Option("--relay-cert", help="Certificate of the relay, where an end replicates over TLS only.")
]
Accept = Annotated[
    list[str] | None,
    typer.Option("--accept", metavar="ID", help="Agree to a finding that blocks; may be given again."),
]


@dataclass(frozen=True)
class _Question:
    """What is to be assessed."""

    source: SourceOptions
    target: TargetOptions
    mode: ModeName
    has_certificate: bool
    """The relay was given one of its own."""
    accepted: tuple[str, ...]


@migrate.command()
@grouped
def assess(
    source: SourceOptions,
    target: TargetOptions,
    mode: Mode = ModeName.RELAY,
    relay_cert: RelayCert = "",
    accept: Accept = None,
    json: AsJson = False,
) -> None:
    """Say what speaks against a migration and what it would lose; change nothing.

    Exit code 1 when a finding blocks it.

    Example: holdfast migrate assess --from redis://10.0.0.5:6379 --to cache.yaml
    """
    import asyncio

    from holdfast.cli.console import show
    from holdfast.cli.migrate.views import findings_facts, findings_text
    from holdfast.migrate.rules import blocking

    asked = _Question(source, target, mode, bool(relay_cert), tuple(accept or ()))
    _, found = asyncio.run(_assessed(asked))
    show(findings_facts(found), findings_text(found), as_json=json)
    if blocking(found):
        raise typer.Exit(ExitCode.FAILED)


@migrate.command()
@grouped
def start(
    name: Name,
    source: SourceOptions,
    target: TargetOptions,
    mode: Mode = ModeName.RELAY,
    relay_cert: RelayCert = "",
    relay_key: Annotated[str, typer.Option("--relay-key", help="Its key.")] = "",
    accept: Accept = None,
    listen: Annotated[
        str,
        typer.Option(
            "--listen-address", help="Address by which the ends reach this machine; found by itself."
        ),
    ] = "",
    spool_bytes: Annotated[
        str, typer.Option("--spool-bytes", help="How much may wait on disk for the target, for example 20gb.")
    ] = "16gb",
    from_replica: Annotated[
        bool,
        typer.Option("--from-replica", help="Take the data from a replica of the source that is in step."),
    ] = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Do not wait for the full synchronisation.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Begin to move the source's data to the target, and keep the target in step until the cutover.

    The work goes on in a process of its own: Ctrl-C here only stops watching. The source is only read.

    \b
    Examples:
        holdfast migrate start cart --from redis://10.0.0.5:6379 --from-auth-file old.password --to cache.yaml
        holdfast migrate start cart --from redis://10.0.0.5 --to valkey://10.0.1.7:6379 --accept losses
    """
    import asyncio

    from holdfast.cli.migrate.following import started
    from holdfast.migrate.journal import Mode as JournalMode
    from holdfast.migrate.journal import Options
    from holdfast.migrate.orders import create
    from holdfast.state import StateFolder

    _check_name(name)
    state = StateFolder.open()
    accepted = tuple(dict.fromkeys(accept or ()))
    options = Options(
        accepted=accepted,
        spool_bytes=spool_size(spool_bytes),
        listen=listen,
        from_replica=from_replica,
        relay_cert=_absolute(relay_cert),
        relay_key=_absolute(relay_key),
    )
    asked = _Question(source, target, mode, bool(relay_cert), accepted)
    ends, found = asyncio.run(_assessed(asked))
    folder = create(state, name, ends, JournalMode(mode.value), options, found)
    started(folder, found, wait=not no_wait, as_json=json)


async def _assessed(asked: _Question) -> tuple[tuple[End, End], tuple[Finding, ...]]:
    """Both ends, and what speaks against moving from the one to the other."""
    from holdfast.migrate.assess import assess_end
    from holdfast.migrate.journal import Mode as JournalMode
    from holdfast.migrate.resolve import resolve
    from holdfast.migrate.rules import accept, findings
    from holdfast.state import StateFolder

    state = StateFolder.open()
    one, other = asked.source.wanted(), asked.target.wanted()
    source, target = await resolve(one, state), await resolve(other, state)
    facts = await assess_end(source), await assess_end(target)
    found = findings(*facts, has_certificate=asked.has_certificate, mode=JournalMode(asked.mode.value))
    return (source, target), accept(found, asked.accepted)


def _check_name(name: str) -> None:
    from holdfast.errors import WrongUsage

    if not re.fullmatch(r"[a-z][a-z0-9-]{0,39}", name):
        raise WrongUsage(
            f"{name} cannot be a migration's name",
            "take lower-case letters, digits and '-', a letter first, at most 40",
        )


def _absolute(path: str) -> str:
    return str(Path(path).absolute()) if path else ""
