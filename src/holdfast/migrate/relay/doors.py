"""Where an end reaches the relay, and what both show each other there."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass

from holdfast.engine.connection import CommandRefused, Credentials, EngineNode
from holdfast.engine.facts import Address
from holdfast.engine.issued import Subject
from holdfast.errors import HoldfastError
from holdfast.migrate.ends import End, Side
from holdfast.migrate.journal import Journal
from holdfast.migrate.settings import Book, borrow
from holdfast.state import StateFolder
from holdfast.topology.store import CacheStore

CERTIFICATE_DAYS = 30
CA_DAYS = 3650


@dataclass(eq=False)
class NoCertificate(HoldfastError):
    """An end replicates over TLS, and we have nothing to prove ourselves with."""

    end: str

    def __str__(self) -> str:
        return (
            f"{self.end} replicates over TLS only (tls-replication yes), and the relay has no certificate that it trusts; "
            "nothing was changed: give one with --relay-cert and --relay-key"
        )


def host_towards(address: Address, listen: str) -> str:
    """Our own address as `address` sees it. Args: `listen`, what the operator says it is; empty to ask the system."""
    if listen:
        return listen
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    try:
        with socket.socket(
            family, socket.SOCK_DGRAM
        ) as probe:  # nothing is sent: only the route is looked up
            probe.connect(address)
            return str(probe.getsockname()[0])
    except OSError:
        return socket.gethostbyname(socket.gethostname())


async def directives(node: EngineNode, *names: str) -> dict[str, str]:
    """What the server has for those directives; one that it does not know, or may not tell, is left out."""
    found: dict[str, str] = {}
    for name in names:
        try:
            told = dict(await node.ask("CONFIG", "GET", name))
        except HoldfastError as failed:
            if not isinstance(failed, CommandRefused):
                raise
            continue
        found |= {str(each): str(value) for each, value in told.items()}
    return found


async def credentials_for(
    book: Book, side: Side, address: Address, node: EngineNode, token: str
) -> Credentials:
    """What the server at `address` will log in to us with: its own replication password where it has one, else one of ours
    that it is given for the time of the migration.

    Args: `token`, that one; it must be on our disk already.
    """
    said = await directives(node, "masteruser", "masterauth")
    if said.get("masterauth"):
        return Credentials(said.get("masteruser") or "default", said["masterauth"])
    await borrow(book, side, address, node, {"masterauth": token})
    return Credentials("default", token)


async def tls_for(
    journal: Journal, end: End, node: EngineNode, host: str, state: StateFolder
) -> ssl.SSLContext | None:
    """What we listen with, where the server replicates over TLS. Raises: NoCertificate."""
    if (await directives(node, "tls-replication")).get("tls-replication") != "yes":
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    options = journal.options
    if options.relay_cert:
        context.load_cert_chain(options.relay_cert, options.relay_key or None)
        return context
    if not end.cache:
        raise NoCertificate(end.label)
    store = CacheStore(state, end.cache)
    name = "holdfast-relay"
    store.certificate(Subject.NODE, name, (host,), days=CERTIFICATE_DAYS, ca_days=CA_DAYS)
    folder = store.folder / "tls"
    context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    return context
