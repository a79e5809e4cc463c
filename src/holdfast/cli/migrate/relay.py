"""`holdfast migrate relay`: the relay alone, for targets that come by themselves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.grouped import grouped
from holdfast.cli.migrate.group import SourceOptions, migrate, spool_size

if TYPE_CHECKING:
    from holdfast.migrate.relay.serve import Door


@dataclass(frozen=True)
class DoorOptions:
    """Where targets come to, and what they must show."""

    listen: Annotated[str, typer.Option("--listen", metavar="HOST:PORT", help="Where targets come to.")]
    auth_file: Annotated[
        str,
        typer.Option("--auth-file", help="File with the password that targets must show (masterauth there)."),
    ] = ""
    open_to_all: Annotated[
        bool,
        typer.Option(
            "--without-auth",
            help="Let in whoever reaches the address: some managed services show no password.",
        ),
    ] = False
    tls_cert: Annotated[str, typer.Option("--tls-cert", help="Listen with TLS, and this certificate.")] = ""
    tls_key: Annotated[str, typer.Option("--tls-key", help="Its key.")] = ""

    def door(self) -> Door:
        """As the relay takes it. Raises: WrongUsage; OSError when a file cannot be read."""
        import ssl

        from holdfast.engine.connection import Credentials
        from holdfast.errors import WrongUsage
        from holdfast.migrate.ends import read_login
        from holdfast.migrate.relay.serve import Door

        host, _, port = self.listen.rpartition(":")
        if not host or not port.isdigit():
            raise WrongUsage(f"--listen {self.listen} is no address", "write HOST:PORT")
        if not self.auth_file and not self.open_to_all:
            raise WrongUsage(
                "whoever reaches the relay gets the whole data set",
                "name a password with --auth-file, or say --without-auth where a firewall lets in the target alone",
            )
        credentials = None
        if self.auth_file:
            login = read_login(Path(self.auth_file).read_text(), self.auth_file)
            credentials = Credentials(login.user or "default", login.password)
        context = None
        if self.tls_cert:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.load_cert_chain(self.tls_cert, self.tls_key or None)
        return Door(host.strip("[]"), int(port), credentials, context)


@migrate.command()
@grouped
def relay(
    source: SourceOptions,
    door: DoorOptions,
    speak: Annotated[
        str,
        typer.Option("--speak", help="Engine whose dialect targets are spoken to in, such as valkey-8.1."),
    ] = "valkey-8.1",
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
    import tempfile

    from holdfast.cli.console import out
    from holdfast.codec.rdb.dialect import dialect_named
    from holdfast.migrate.relay.stand import Stand, stand
    from holdfast.migrate.resolve import resolve
    from holdfast.state import StateFolder, private_folder

    listening, dialect, spool = door.door(), dialect_named(speak), spool_size(spool_bytes)
    state, wanted = StateFolder.open(), source.wanted()

    async def work(folder: Path) -> None:
        end = await resolve(wanted, state)
        await stand(Stand(end, dialect, listening, folder, spool, accept_losses), out)

    with tempfile.TemporaryDirectory(prefix="relay-", dir=private_folder(state.path / "jobs")) as folder:
        asyncio.run(work(Path(folder)))
