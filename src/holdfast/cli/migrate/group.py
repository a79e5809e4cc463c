"""The group `holdfast migrate`, and the options that several of its commands take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.app import app

if TYPE_CHECKING:
    from holdfast.migrate.resolve import Wanted

migrate = typer.Typer(
    help="Move a live data set to another engine, version or topology, verified, and with a way back.",
    no_args_is_help=True,
)
app.add_typer(migrate, name="migrate")

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the migration.")]


@dataclass(frozen=True)
class SourceOptions:
    """How the source is named and spoken to."""

    source: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="END",
            help="The source: a spec file, the name of a cache that is up, or a URL.",
        ),
    ]
    from_auth_file: Annotated[
        str,
        typer.Option(
            "--from-auth-file",
            help="File with the source's password, or with user and password on two lines (or HOLDFAST_FROM_PASSWORD).",
        ),
    ] = ""
    from_ca: Annotated[
        str,
        typer.Option("--from-ca", help="PEM file of the authority that a rediss:// source is trusted by."),
    ] = ""
    from_cert: Annotated[
        str, typer.Option("--from-cert", help="Client certificate for the source, where it asks for one.")
    ] = ""
    from_key: Annotated[str, typer.Option("--from-key", help="Its key.")] = ""

    def wanted(self) -> Wanted:
        """As `resolve` takes it. Raises: WrongUsage, SpecError."""
        files = (self.from_ca, self.from_cert, self.from_key)
        return _wanted("source", self.source, self.from_auth_file, files)


@dataclass(frozen=True)
class TargetOptions:
    """The same of the target."""

    target: Annotated[str, typer.Option("--to", metavar="END", help="The target, named in the same ways.")]
    to_auth_file: Annotated[
        str, typer.Option("--to-auth-file", help="The same for the target (or HOLDFAST_TO_PASSWORD).")
    ] = ""
    to_ca: Annotated[str, typer.Option("--to-ca", help="The same for the target.")] = ""
    to_cert: Annotated[
        str, typer.Option("--to-cert", help="Client certificate for the target, where it asks for one.")
    ] = ""
    to_key: Annotated[str, typer.Option("--to-key", help="Its key.")] = ""

    def wanted(self) -> Wanted:
        """As `resolve` takes it. Raises: WrongUsage, SpecError."""
        files = (self.to_ca, self.to_cert, self.to_key)
        return _wanted("target", self.target, self.to_auth_file, files)


def _wanted(side: str, text: str, auth_file: str, files: tuple[str, str, str]) -> Wanted:
    from holdfast.cli.opening import named
    from holdfast.migrate.ends import Certificates, Side, looks_like_url
    from holdfast.migrate.resolve import Wanted

    if not looks_like_url(text):
        text = named(text).loaded.spec.cache.name
    return Wanted(Side(side), text, auth_file, Certificates(*files))


def spool_size(text: str) -> int:
    """The bytes that `--spool-bytes` names. Raises: WrongUsage."""
    from holdfast.errors import WrongUsage
    from holdfast.migrate.relay.spool import LEAST_BOUND_BYTES
    from holdfast.spec.units import parse_size_bytes

    try:
        size_bytes = parse_size_bytes(text)
    except ValueError as wrong:
        raise WrongUsage(f"--spool-bytes {text}: {wrong}", "write for example 20gb") from None
    if size_bytes < LEAST_BOUND_BYTES:
        least = f"{LEAST_BOUND_BYTES >> 20}mb"
        raise WrongUsage(f"--spool-bytes {text} is less than {least}", f"write {least} or more")
    return size_bytes
