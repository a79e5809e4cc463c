"""`holdfast migrate assess | start`: what speaks against a migration, and its beginning."""

from __future__ import annotations

import re
from collections.abc import Sequence
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
MapDb = Annotated[
    list[str] | None,
    typer.Option(
        "--map-db",
        metavar="N=M",
        help="Database N of the source becomes M of the target (mode write); may be given again. Others keep their number.",
    ),
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
    databases: tuple[tuple[int, int], ...] = ()
    """Of the source -> of the target."""


@migrate.command()
@grouped
def assess(
    source: SourceOptions,
    target: TargetOptions,
    mode: Mode = ModeName.RELAY,
    relay_cert: RelayCert = "",
    accept: Accept = None,
    map_db: MapDb = None,
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

    databases = _mapping(map_db or (), mode)
    asked = _Question(source, target, mode, bool(relay_cert), tuple(accept or ()), databases)
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
    map_db: MapDb = None,
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
        holdfast migrate start cart --mode write --from redis://10.0.0.5 --to valkey://10.0.1.7:6379 --map-db 3=0
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
        databases=_mapping(map_db or (), mode),
        relay_cert=_absolute(relay_cert),
        relay_key=_absolute(relay_key),
    )
    asked = _Question(source, target, mode, bool(relay_cert), accepted, options.databases)
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
    mode = JournalMode(asked.mode.value)
    facts = await assess_end(source, mode), await assess_end(target, mode)
    found = findings(*facts, has_certificate=asked.has_certificate, mode=mode, databases=asked.databases)
    return (source, target), accept(found, asked.accepted)


def _mapping(texts: Sequence[str], mode: ModeName) -> tuple[tuple[int, int], ...]:
    """What `--map-db` says. Raises: WrongUsage."""
    from holdfast.errors import WrongUsage

    if texts and mode is not ModeName.WRITE:
        raise WrongUsage("--map-db changes numbers that a relay passes on as they are", "use --mode write")
    found: dict[int, int] = {}
    for text in texts:
        parts = re.fullmatch(r"(\d{1,5})=(\d{1,5})", text)
        if parts is None:
            raise WrongUsage(f"--map-db {text} is no pair of databases", "write for example --map-db 3=0")
        here, there = int(parts[1]), int(parts[2])
        if found.get(here, there) != there or there in {at for each, at in found.items() if each != here}:
            raise WrongUsage(
                f"--map-db {text} gives two databases one place, or one two", "give each a place of its own"
            )
        found[here] = there
    return tuple(sorted(found.items()))


def _check_name(name: str) -> None:
    from holdfast.errors import WrongUsage

    if not re.fullmatch(r"[a-z][a-z0-9-]{0,39}", name):
        raise WrongUsage(
            f"{name} cannot be a migration's name",
            "take lower-case letters, digits and '-', a letter first, at most 40",
        )


def _absolute(path: str) -> str:
    return str(Path(path).absolute()) if path else ""
