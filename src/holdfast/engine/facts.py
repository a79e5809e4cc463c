"""What must be known of one server before its files can be written: places, addresses, secrets (pure values).

The spec says what the cache should be; these facts say where this one server of it lives.
"""

from __future__ import annotations

from dataclasses import dataclass, field

Address = tuple[str, int]
"""An IP address and a port that others connect to."""


@dataclass(frozen=True)
class TlsFiles:
    """Absolute paths, on the server's own machine, of what it proves itself with."""

    ca: str
    cert: str
    key: str


@dataclass(frozen=True)
class ServerFacts:
    """Where one server process lives, whatever it serves."""

    cache: str
    node: str
    zone: str
    address: str
    """The IP address that clients and other nodes connect to."""
    bind: tuple[str, ...]
    port: int
    """For clients: the TLS port where `tls` is given, the plaintext port otherwise."""
    folder: str
    """The server's own folder, absolute: configuration, users, log and data."""

    @property
    def acl_path(self) -> str:
        return f"{self.folder}/users.acl"

    @property
    def log_path(self) -> str:
        return f"{self.folder}/server.log"


@dataclass(frozen=True)
class NodeFacts(ServerFacts):
    """Where one data node lives and whom it follows."""

    bus_port: int | None = None
    """Cluster bus; None means the engine's own rule, `port` + 10000."""
    socket: str | None = None
    """Unix socket: the supervisor's own door, which no network fault can close."""
    tls: TlsFiles | None = None
    primary: Address | None = None
    """Whom it follows from its first moment (`replicated` and `sentinel`; a cluster knows by itself)."""
    replication_user: str = ""
    replication_password: str = field(default="", repr=False)

    @property
    def config_path(self) -> str:
        return f"{self.folder}/server.conf"

    @property
    def secrets_path(self) -> str:
        return f"{self.folder}/secrets.conf"


@dataclass(frozen=True)
class SentinelFacts(ServerFacts):
    """Where one Sentinel lives and which primary it starts to watch."""

    primary: Address
    socket: str | None = None
    tls: TlsFiles | None = None
    data_user: str = ""
    """The user it is on the data nodes."""
    data_password: str = field(default="", repr=False)
    peer_user: str = ""
    """The user it is on the other Sentinels."""
    peer_password: str = field(default="", repr=False)

    @property
    def config_path(self) -> str:
        return f"{self.folder}/sentinel.conf"
