"""`holdfast migrate assess | start | status | verify | cutover | rollback | finish | pause | resume | stop`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.app import AsJson, Yes, app
from holdfast.cli.exit import ExitCode

if TYPE_CHECKING:
    from holdfast.migrate.ends import End
    from holdfast.migrate.resolve import Wanted
    from holdfast.migrate.rules import Finding

migrate = typer.Typer(
    help="Move a live data set to another engine, version or topology, verified, and with a way back.",
    no_args_is_help=True,
)
app.add_typer(migrate, name="migrate")


class ModeName(StrEnum):
    """How data gets into the target."""

    RELAY = "relay"
    WRITE = "write"


Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the migration.")]
From = Annotated[
    str,
    typer.Option(
        "--from", metavar="END", help="The source: a spec file, the name of a cache that is up, or a URL."
    ),
]
To = Annotated[str, typer.Option("--to", metavar="END", help="The target, named in the same ways.")]
FromAuth = Annotated[
    str,
    typer.Option(
        "--from-auth-file",
        help="File with the source's password, or with user and password on two lines (or HOLDFAST_FROM_PASSWORD).",
    ),
]
ToAuth = Annotated[
    str, typer.Option("--to-auth-file", help="The same for the target (or HOLDFAST_TO_PASSWORD).")
]
FromCa = Annotated[
    str, typer.Option("--from-ca", help="PEM file of the authority that a rediss:// source is trusted by.")
]
ToCa = Annotated[str, typer.Option("--to-ca", help="The same for the target.")]
FromCert = Annotated[
    str, typer.Option("--from-cert", help="Client certificate for the source, where it asks for one.")
]
FromKey = Annotated[str, typer.Option("--from-key", help="Its key.")]
ToCert = Annotated[
    str, typer.Option("--to-cert", help="Client certificate for the target, where it asks for one.")
]
ToKey = Annotated[str, typer.Option("--to-key", help="Its key.")]
RelayCert = Annotated[
    str, typer.Option("--relay-cert", help="Certificate of the relay, where an end replicates over TLS only.")
]
RelayKey = Annotated[str, typer.Option("--relay-key", help="Its key.")]
Accept = Annotated[
    list[str] | None,
    typer.Option("--accept", metavar="ID", help="Agree to a finding that blocks; may be given again."),
]
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
Mode = Annotated[
    ModeName, typer.Option("--mode", help="relay: as the target's primary. write: as its client (clusters).")
]


@migrate.command()
def assess(
    source: From,
    target: To,
    mode: Mode = ModeName.RELAY,
    from_auth_file: FromAuth = "",
    to_auth_file: ToAuth = "",
    from_ca: FromCa = "",
    to_ca: ToCa = "",
    from_cert: FromCert = "",
    from_key: FromKey = "",
    to_cert: ToCert = "",
    to_key: ToKey = "",
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
    from holdfast.cli.migrate_views import findings_facts, findings_text
    from holdfast.migrate.rules import blocking

    one = _wanted("source", source, from_auth_file, (from_ca, from_cert, from_key))
    other = _wanted("target", target, to_auth_file, (to_ca, to_cert, to_key))
    _, found = asyncio.run(_assessed(one, other, tuple(accept or ()), bool(relay_cert), mode))
    show(findings_facts(found), findings_text(found), as_json=json)
    if blocking(found):
        raise typer.Exit(ExitCode.FAILED)


@migrate.command()
def start(
    name: Name,
    source: From,
    target: To,
    mode: Mode = ModeName.RELAY,
    from_auth_file: FromAuth = "",
    to_auth_file: ToAuth = "",
    from_ca: FromCa = "",
    to_ca: ToCa = "",
    from_cert: FromCert = "",
    from_key: FromKey = "",
    to_cert: ToCert = "",
    to_key: ToKey = "",
    relay_cert: RelayCert = "",
    relay_key: RelayKey = "",
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

    from holdfast.cli.migrate_views import started
    from holdfast.migrate.journal import Mode as JournalMode
    from holdfast.migrate.journal import Options
    from holdfast.migrate.orders import create
    from holdfast.state import StateFolder

    _check_name(name)
    state = StateFolder.open()
    accepted = tuple(dict.fromkeys(accept or ()))
    options = Options(
        accepted=accepted,
        spool_bytes=_bytes(spool_bytes),
        listen=listen,
        from_replica=from_replica,
        relay_cert=str(Path(relay_cert).absolute()) if relay_cert else "",
        relay_key=str(Path(relay_key).absolute()) if relay_key else "",
    )
    one = _wanted("source", source, from_auth_file, (from_ca, from_cert, from_key))
    other = _wanted("target", target, to_auth_file, (to_ca, to_cert, to_key))
    ends, found = asyncio.run(_assessed(one, other, accepted, bool(relay_cert), mode))
    folder = create(state, name, ends, JournalMode(mode.value), options, found)
    started(folder, found, wait=not no_wait, as_json=json)


@migrate.command()
def status(
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="Name of the migration; all of them without it.")
    ] = "",
    events: Annotated[
        int, typer.Option("--events", min=0, max=10_000, help="How many of the newest events.")
    ] = 5,
    json: AsJson = False,
) -> None:
    """Show where a migration stands: phase, lag, losses, what happened. Exit code 3 when something is wrong with it.

    Example: holdfast migrate status cart
    """
    from holdfast.cli.console import show
    from holdfast.cli.migrate_views import list_facts, list_text, status_facts, status_text
    from holdfast.jobs.folder import JobFolder, jobs_of
    from holdfast.migrate.journal import KIND
    from holdfast.state import StateFolder

    state = StateFolder.open()
    if not name:
        rows = [status_facts(JobFolder.find(state, KIND, each), 0) for each in jobs_of(state, KIND)]
        show(list_facts(rows), list_text(rows), as_json=json)
        return
    facts = status_facts(JobFolder.find(state, KIND, name), events)
    show(facts, status_text(facts), as_json=json)
    if facts["wrong"]:
        raise typer.Exit(ExitCode.CHANGES_WAIT)


@migrate.command()
def verify(
    name: Name,
    added_ms: Annotated[
        float,
        typer.Option("--added-ms", min=0.1, help="How much longer the primary may answer others meanwhile."),
    ] = 3.0,
    keys_per_s: Annotated[
        float, typer.Option("--keys-per-s", min=1, help="Never read faster than this.")
    ] = 10_000_000.0,
    anew: Annotated[
        bool, typer.Option("--anew", help="Begin anew, also where an earlier run was cut off.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Compare all keys of both ends, both ways, with full values and TTLs, while writes go on.

    What differs is looked at again until it settles. May be interrupted and run again: it goes on. Exit code 5 when data
    differs, with a list.

    Example: holdfast migrate verify cart
    """
    import asyncio

    from holdfast.cli.console import show
    from holdfast.cli.migrate_views import comparison_text, watching
    from holdfast.jobs.folder import JobFolder
    from holdfast.migrate.journal import KIND
    from holdfast.migrate.orders import journal_of
    from holdfast.migrate.verify import VerifyOptions
    from holdfast.migrate.verify import verify as compare
    from holdfast.state import StateFolder

    folder = JobFolder.find(StateFolder.open(), KIND, name)
    options = VerifyOptions(added_ms, keys_per_s, anew)
    with watching(quiet=json) as look:
        report = asyncio.run(compare(folder, journal_of(folder), options, look))
    show(report.facts(), comparison_text(name, report), as_json=json)
    if report.different or report.changing:
        raise typer.Exit(ExitCode.DATA_DIFFERS)


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


@migrate.command()
def relay(
    source: From,
    listen: Annotated[str, typer.Option("--listen", metavar="HOST:PORT", help="Where targets come to.")],
    speak: Annotated[
        str,
        typer.Option("--speak", help="Engine whose dialect targets are spoken to in, such as valkey-8.1."),
    ] = "valkey-8.1",
    from_auth_file: FromAuth = "",
    from_ca: FromCa = "",
    from_cert: FromCert = "",
    from_key: FromKey = "",
    auth_file: Annotated[
        str,
        typer.Option("--auth-file", help="File with the password that targets must show (masterauth there)."),
    ] = "",
    open_to_all: Annotated[
        bool,
        typer.Option(
            "--without-auth",
            help="Let in whoever reaches the address: some managed services show no password.",
        ),
    ] = False,
    tls_cert: Annotated[str, typer.Option("--tls-cert", help="Listen with TLS, and this certificate.")] = "",
    tls_key: Annotated[str, typer.Option("--tls-key", help="Its key.")] = "",
    accept_losses: Annotated[
        bool, typer.Option("--accept-losses", help="Leave out what that dialect cannot hold, and count it.")
    ] = False,
    spool_bytes: Annotated[str, typer.Option("--spool-bytes", help="How much may wait on disk.")] = "16gb",
) -> None:
    """Stand between a source and targets that come by themselves, in the foreground, until Ctrl-C.

    For a managed service's own online migration: give it this address as its source. It is answered what it asks (INFO, CONFIG
    GET, COMMAND ...) with the source's answers, in the dialect spoken; it can write nothing.

    Example: holdfast migrate relay --from redis://10.0.0.5:6379 --listen 10.0.0.9:6379 --speak valkey-8.1 --auth-file relay.password
    """
    import asyncio
    import ssl
    import tempfile

    from holdfast.cli.console import out
    from holdfast.codec.rdb.dialect import dialect_named
    from holdfast.engine.connection import Credentials
    from holdfast.errors import WrongUsage
    from holdfast.migrate.ends import read_login
    from holdfast.migrate.relay.stand import Stand, stand
    from holdfast.migrate.resolve import resolve
    from holdfast.state import StateFolder, private_folder

    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit():
        raise WrongUsage(f"--listen {listen} is no address", "write HOST:PORT")
    if not auth_file and not open_to_all:
        raise WrongUsage(
            "whoever reaches the relay gets the whole data set",
            "name a password with --auth-file, or say --without-auth where a firewall lets in the target alone",
        )
    credentials = None
    if auth_file:
        login = read_login(Path(auth_file).read_text(), auth_file)
        credentials = Credentials(login.user or "default", login.password)
    context = None
    if tls_cert:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(tls_cert, tls_key or None)
    state = StateFolder.open()
    wanted = _wanted("source", source, from_auth_file, (from_ca, from_cert, from_key))

    async def work(folder: Path) -> None:
        end = await resolve(wanted, state)
        await stand(
            Stand(
                end,
                dialect_named(speak),
                host.strip("[]"),
                int(port),
                folder,
                _bytes(spool_bytes),
                credentials,
                context,
                accept_losses,
            ),
            out,
        )

    with tempfile.TemporaryDirectory(prefix="relay-", dir=private_folder(state.path / "jobs")) as folder:
        asyncio.run(work(Path(folder)))


def _order(name: str, verb: str, *, as_json: bool, **options: object) -> None:
    from holdfast.cli.console import show
    from holdfast.cli.migrate_views import status_facts, verdict_text
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


async def _assessed(
    one: Wanted, other: Wanted, accepted: tuple[str, ...], has_certificate: bool, mode: ModeName
) -> tuple[tuple[End, End], tuple[Finding, ...]]:
    """Both ends, and what speaks against moving from the one to the other."""
    from holdfast.migrate.assess import assess_end
    from holdfast.migrate.journal import Mode as JournalMode
    from holdfast.migrate.resolve import resolve
    from holdfast.migrate.rules import accept, findings
    from holdfast.state import StateFolder

    state = StateFolder.open()
    source, target = await resolve(one, state), await resolve(other, state)
    facts = await assess_end(source), await assess_end(target)
    found = findings(*facts, has_certificate=has_certificate, mode=JournalMode(mode.value))
    return (source, target), accept(found, accepted)


def _wanted(side: str, text: str, auth_file: str, files: tuple[str, str, str]) -> Wanted:
    from holdfast.cli.opening import named
    from holdfast.migrate.ends import Certificates, Side, looks_like_url
    from holdfast.migrate.resolve import Wanted

    if not looks_like_url(text):
        text = named(text).loaded.spec.cache.name
    return Wanted(Side(side), text, auth_file, Certificates(*files))


def _check_name(name: str) -> None:
    import re

    from holdfast.errors import WrongUsage

    if not re.fullmatch(r"[a-z][a-z0-9-]{0,39}", name):
        raise WrongUsage(
            f"{name} cannot be a migration's name",
            "take lower-case letters, digits and '-', a letter first, at most 40",
        )


def _bytes(text: str) -> int:
    from holdfast.errors import WrongUsage
    from holdfast.spec.units import parse_size_bytes

    try:
        return parse_size_bytes(text)
    except ValueError as wrong:
        raise WrongUsage(f"--spool-bytes {text}: {wrong}", "write for example 20gb") from None
