"""One connection to one server: a command goes out, its reply comes back, every wait is bounded."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    NoPermissionError,
    RedisError,
    ResponseError,
)

from holdfast.engine.resp2 import as_resp3
from holdfast.errors import HoldfastError

_NOT_LET_IN = (
    "NOAUTH",
    "WRONGPASS",
    "invalid username-password",
    "HELLO must be called with the client already",
)
"""How refused log-ins read; the base client wraps them in an error of the connection."""

Reply = Any
"""What the engine answers, text decoded as UTF-8 with surrogates for other bytes."""


@dataclass(eq=False)
class NodeGone(HoldfastError):
    """Nobody listens at the address, or the connection broke."""

    address: str
    why: str

    def __str__(self) -> str:
        return f"{self.address} cannot be reached: {self.why}"


@dataclass(eq=False)
class NodeSilent(HoldfastError):
    """An engine took a command and did not answer in time: it may or may not have run it."""

    address: str
    command: str
    waited_s: float

    def __str__(self) -> str:
        return f"{self.address} did not answer {self.command} within {self.waited_s:g} s and may still run it"


@dataclass(eq=False)
class NodeLoading(HoldfastError):
    """The engine is up and reads its data set from disk; it answers nothing else yet."""

    address: str

    def __str__(self) -> str:
        return f"{self.address} is still loading its data set"


@dataclass(eq=False)
class NodeDenied(HoldfastError):
    """The engine does not let this user in, or not do this."""

    address: str
    user: str
    command: str
    words: str

    def __str__(self) -> str:
        return f"{self.address} refused {self.command} to user {self.user or 'default'}: {self.words}"


@dataclass(eq=False)
class CommandRefused(HoldfastError):
    """The engine answered a command with an error."""

    address: str
    command: str
    words: str

    def __str__(self) -> str:
        return f"{self.address} answered {self.command} with an error: {self.words}"

    @property
    def code(self) -> str:
        """The error's first word: MOVED, NOREPLICAS, ERR..."""
        return self.words.partition(" ")[0]


@dataclass(frozen=True)
class Credentials:
    """Who speaks; the password shows in no representation."""

    user: str
    password: str

    def __repr__(self) -> str:
        return f"Credentials(user={self.user!r})"


@dataclass(frozen=True)
class TlsTrust:
    """What a client needs to speak TLS with a cache: its authority, and a certificate where nodes ask for one."""

    ca_file: str
    cert_file: str | None = None
    key_file: str | None = None


@dataclass(frozen=True)
class Endpoint:
    """Where a server is and how it is spoken to."""

    host: str
    """IP address; empty when `socket` is given."""
    port: int
    credentials: Credentials | None = None
    tls: TlsTrust | None = None
    socket: str | None = None

    def __str__(self) -> str:
        if self.socket:
            return self.socket
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class EngineNode:
    """A connected server. Not for concurrent use: one command at a time, or one `ask_all`.

    Replies have the shapes of RESP3, also those of engines that do not know it (before 6.0).
    """

    def __init__(self, endpoint: Endpoint, timeout_s: float, protocol: int = 3) -> None:
        self.endpoint = endpoint
        self.timeout_s = timeout_s
        self._protocol = protocol
        self._connection = _connection(endpoint, timeout_s, protocol)
        self._broken = False

    @classmethod
    async def connect(cls, endpoint: Endpoint, *, timeout_s: float = 5.0) -> Self:
        """Connect and log in.

        Raises: NodeGone, NodeSilent, NodeDenied, NodeLoading.
        """
        node = cls(endpoint, timeout_s)
        try:
            await node._log_in()
        except CommandRefused as refused:
            if not _knows_no_hello(refused):
                raise
            node = cls(endpoint, timeout_s, protocol=2)
            await node._log_in()
        return node

    async def _log_in(self) -> None:
        try:
            tls = self.endpoint.tls
            if tls is not None and isinstance(self._connection, SSLConnection):
                self._connection.ssl_context.context = _context(tls, _changed(tls))
            async with asyncio.timeout(self.timeout_s):
                await self._connection.connect()  # type: ignore[no-untyped-call]
        except BaseException as failed:
            await self.close()
            if isinstance(failed, Exception) and not isinstance(failed, HoldfastError):
                raise self._ours(failed, "the log-in") from failed
            raise

    async def ask(self, *words: str | bytes | int, timeout_s: float | None = None) -> Reply:
        """Send one command, return its reply; a connection left mid-reply is closed, never used again.

        Raises: CommandRefused, NodeDenied, NodeGone, NodeSilent, NodeLoading.
        """
        (reply,) = await self.ask_all([words], timeout_s=timeout_s)
        if isinstance(reply, HoldfastError):
            raise reply
        return reply

    async def ask_all(
        self, commands: Sequence[Sequence[str | bytes | int]], *, timeout_s: float | None = None
    ) -> list[Reply]:
        """Send several commands at once; the replies in order, errors of single commands among them as values.

        Raises: NodeGone, NodeSilent when the connection itself fails.
        """
        if self._broken:
            raise NodeGone(
                str(self.endpoint), "the connection was left in the middle of a reply and is closed"
            )
        bound_s = self.timeout_s if timeout_s is None else timeout_s
        named = _name(commands[0]) if len(commands) == 1 else f"{len(commands)} commands"
        replies: list[Reply] = []
        answered = False
        try:
            async with asyncio.timeout(bound_s):
                packed = self._connection.pack_commands([tuple(command) for command in commands])
                await self._connection.send_packed_command(packed, check_health=False)
                for command in commands:
                    try:
                        reply = await self._connection.read_response(timeout=bound_s + 1)
                        replies.append(reply if self._protocol == 3 else as_resp3(command, reply))
                    except ResponseError as refused:
                        replies.append(self._ours(refused, _name(command)))
            answered = True
            return replies
        except (RedisError, OSError, TimeoutError) as failed:
            raise self._ours(failed, named) from failed
        finally:  # cancellation too: a late reply must not answer the next command
            if not answered:
                self._broken = True
                await self.close()

    async def close(self) -> None:
        """Close the connection; always safe."""
        await self._connection.disconnect(nowait=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self.close()

    def _ours(self, failed: Exception, command: str) -> HoldfastError:
        address = str(self.endpoint)
        user = self.endpoint.credentials.user if self.endpoint.credentials else "default"
        words = str(failed)
        if isinstance(failed, BusyLoadingError) or words.startswith("LOADING"):
            return NodeLoading(address)
        if isinstance(failed, AuthenticationError | NoPermissionError) or words.startswith(_NOT_LET_IN):
            return NodeDenied(address, user, command, words)
        if isinstance(failed, ResponseError):
            code = getattr(failed, "status_code", None) or ""  # the base client cuts known codes off the text
            return CommandRefused(address, command, words if words.startswith(code) else f"{code} {words}")
        if isinstance(failed, TimeoutError) or "Timeout" in type(failed).__name__:
            return NodeSilent(address, command, self.timeout_s)
        return NodeGone(address, system_words(failed) or words or type(failed).__name__)


def system_words(failed: BaseException) -> str:
    """The system's own words for a connection that failed, empty where it was not the system; libraries wrap them in
    theirs, address and all.
    """
    cause = failed if isinstance(failed, OSError) else failed.__cause__ or failed.__context__
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    if cause is None or isinstance(cause, ssl.SSLError):
        return ""
    if isinstance(cause, socket.gaierror):  # whose numbers are not the system's
        return cause.strerror or str(cause)
    return os.strerror(cause.errno) if cause.errno else ""


def _name(command: Sequence[str | bytes | int]) -> str:
    """The command's first word and, where the first says little, its second; never its values."""
    first = str(command[0]).upper()
    containers = {"CLUSTER", "CONFIG", "ACL", "CLIENT", "SENTINEL", "COMMAND", "DEBUG", "SCRIPT", "FUNCTION"}
    return f"{first} {str(command[1]).upper()}" if first in containers and len(command) > 1 else first


def _knows_no_hello(refused: CommandRefused) -> bool:
    """Whether a log-in failed because the engine is older than HELLO and RESP3, which came with 6.0."""
    return "unknown command" in refused.words and "HELLO" in refused.words.upper()


def _connection(endpoint: Endpoint, timeout_s: float, protocol: int) -> AbstractConnection:
    settings: dict[str, Any] = {
        "socket_timeout": timeout_s + 1,  # ours comes first; this one is the net below it
        "decode_responses": True,
        "encoding_errors": "surrogateescape",
        "protocol": protocol,
        "driver_info": None,
        "retry_on_error": [],
    }
    if endpoint.credentials:
        user = endpoint.credentials.user
        # Engines before 6.0 have one password and no users.
        named = user if protocol == 3 or user != "default" else None
        settings |= {"username": named, "password": endpoint.credentials.password}
    if endpoint.socket:
        return UnixDomainSocketConnection(path=endpoint.socket, **settings)
    settings |= {"host": endpoint.host, "port": endpoint.port, "socket_connect_timeout": timeout_s}
    if endpoint.tls is None:
        return Connection(**settings)
    return SSLConnection(
        ssl_ca_certs=endpoint.tls.ca_file,
        ssl_certfile=endpoint.tls.cert_file,
        ssl_keyfile=endpoint.tls.key_file,
        ssl_check_hostname=True,
        ssl_min_version=ssl.TLSVersion.TLSv1_2,
        **settings,
    )


def tls_context(trust: TlsTrust) -> ssl.SSLContext:
    """What a client of our own making speaks TLS with; made once for each set of files."""
    return _context(trust, _changed(trust))


@lru_cache(maxsize=64)
def _context(trust: TlsTrust, changed: tuple[int, ...]) -> ssl.SSLContext:
    """TLS that trusts the cache's own authority and nobody else, made once and shared.

    The base client's own would also trust every authority of the system, and reading those takes 30 ms of processor time
    for each connection: with six nodes the first had timed out before it was looked at.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks certificate and name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(trust.ca_file)
    if trust.cert_file:
        context.load_cert_chain(trust.cert_file, trust.key_file)
    return context


def _changed(trust: TlsTrust) -> tuple[int, ...]:
    """When the files last changed: a context of older ones is not used again."""
    files = (trust.ca_file, trust.cert_file, trust.key_file)
    return tuple(Path(file).stat().st_mtime_ns for file in files if file)
