"""What the two ends of a migration are and how they were named. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from holdfast.engine.connection import Credentials, Endpoint, TlsTrust
from holdfast.engine.facts import Address
from holdfast.errors import HoldfastError, WrongUsage

DEFAULT_PORT = 6379
_SCHEMES = {"redis": False, "valkey": False, "rediss": True, "valkeys": True}
_AUTH_LINE = re.compile(r"[^\x00-\x1f\x7f]{1,4096}")


class Side(StrEnum):
    """Which end of a migration."""

    SOURCE = "source"
    TARGET = "target"

    @property
    def other(self) -> Side:
        return Side.TARGET if self is Side.SOURCE else Side.SOURCE


class Layout(StrEnum):
    """How the servers of an end are tied, found by asking them."""

    REPLICATED = "replicated"
    """One primary and any number of replicas, none too."""
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


@dataclass(eq=False)
class EndUnusable(HoldfastError):
    """An end cannot be worked with."""

    end: str
    why: str
    instead: str

    def __str__(self) -> str:
        return f"{self.end} cannot be an end of a migration: {self.why}; nothing was changed. {self.instead}"


@dataclass(frozen=True)
class Certificates:
    """Files that TLS with an end needs; empty where a default serves."""

    ca: str = ""
    cert: str = ""
    key: str = ""


@dataclass(frozen=True)
class End:
    """One end: where its servers are and how they are spoken to. Roles are never kept, they are observed."""

    label: str
    """As the operator named it."""
    layout: Layout
    servers: tuple[Address, ...]
    """Every data node that was ever seen of it, the one that was named first."""
    credentials: Credentials | None = None
    tls: TlsTrust | None = None
    sentinels: tuple[Address, ...] = ()
    sentinel_credentials: Credentials | None = None
    watched_name: str = ""
    """What its Sentinels call the primary."""
    cache: str = ""
    """Name of the cache when Holdfast itself runs it."""

    def endpoint(self, address: Address) -> Endpoint:
        """How the data node at `address` is spoken to."""
        return Endpoint(address[0], address[1], self.credentials, self.tls)

    def sentinel_endpoint(self, address: Address) -> Endpoint:
        """How the Sentinel at `address` is spoken to."""
        return Endpoint(address[0], address[1], self.sentinel_credentials, self.tls)

    def knowing(self, servers: Iterable[Address]) -> Self:
        """The same with servers that were seen since."""
        return replace(self, servers=tuple(dict.fromkeys((*self.servers, *servers))))

    def to_json(self) -> dict[str, Any]:
        """All but the passwords, which `secrets` holds."""
        return {
            "label": self.label,
            "layout": self.layout.value,
            "servers": [list(each) for each in self.servers],
            "user": self.credentials.user if self.credentials else None,
            "tls": _trust_to_json(self.tls),
            "sentinels": [list(each) for each in self.sentinels],
            "sentinel_user": self.sentinel_credentials.user if self.sentinel_credentials else None,
            "watched_name": self.watched_name,
            "cache": self.cache,
        }

    def secrets(self) -> dict[str, str]:
        """Its passwords, to be kept apart from everything that is shown."""
        found = {}
        if self.credentials:
            found["password"] = self.credentials.password
        if self.sentinel_credentials:
            found["sentinel_password"] = self.sentinel_credentials.password
        return found

    @classmethod
    def from_json(cls, facts: Mapping[str, Any], secrets: Mapping[str, str]) -> Self:
        """Take back what `to_json` and `secrets` gave; a migration that is over has no passwords any more.

        Raises: KeyError, TypeError, ValueError.
        """
        user, watcher = facts["user"], facts["sentinel_user"]
        tls = facts["tls"]
        return cls(
            label=str(facts["label"]),
            layout=Layout(facts["layout"]),
            servers=_addresses(facts["servers"]),
            credentials=None if user is None else Credentials(str(user), secrets.get("password", "")),
            tls=None if tls is None else TlsTrust(tls["ca"], tls["cert"], tls["key"]),
            sentinels=_addresses(facts["sentinels"]),
            sentinel_credentials=None
            if watcher is None
            else Credentials(str(watcher), secrets.get("sentinel_password", "")),
            watched_name=str(facts["watched_name"]),
            cache=str(facts["cache"]),
        )


def _addresses(pairs: Iterable[Iterable[Any]]) -> tuple[Address, ...]:
    return tuple((str(host), int(port)) for host, port in pairs)


def _trust_to_json(tls: TlsTrust | None) -> dict[str, str | None] | None:
    return None if tls is None else {"ca": tls.ca_file, "cert": tls.cert_file, "key": tls.key_file}


@dataclass(frozen=True)
class NamedEnd:
    """What a URL says of an end, before anybody was asked."""

    label: str
    address: Address
    user: str
    tls: bool
    watched_name: str = ""


@dataclass(frozen=True)
class Login:
    """Whom an environment variable or a file says to log in as."""

    user: str = ""
    password: str = field(default="", repr=False)


def looks_like_url(text: str) -> bool:
    """Whether an END is meant as a URL; anything else is a spec file or the name of a cache."""
    return "://" in text


def read_url(text: str) -> NamedEnd:
    """Read `redis://`, `rediss://` (TLS), `valkey://` or `valkeys://` `[user@]host[:port][?primary=NAME]`.

    Args: `primary`, what the Sentinels at that address call the primary, where they watch several.
    Raises: WrongUsage, also for a password in it: command lines are seen by others and kept in histories.
    """
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port or DEFAULT_PORT
    except ValueError as wrong:
        raise WrongUsage(
            f"{text.partition('@')[2] or text} is no URL ({wrong})", "write redis://HOST:PORT"
        ) from None
    if parts.scheme not in _SCHEMES:
        raise WrongUsage(
            f"an end cannot be named by {parts.scheme}://",
            f"use one of {', '.join(f'{each}://' for each in _SCHEMES)}",
        )
    if parts.password is not None:
        raise WrongUsage(
            f"the URL of {host} holds a password, which others can see in the list of processes",
            "put it into a file and name that with this end's option (--from-auth-file or --to-auth-file; --a-auth-file "
            "or --b-auth-file where two caches are compared), or into the environment variable HOLDFAST_FROM_PASSWORD "
            "or HOLDFAST_TO_PASSWORD",
        )
    if not host:
        raise WrongUsage(f"{text} names no host", "write redis://HOST:PORT")
    if parts.path not in {"", "/"}:
        raise WrongUsage(
            f"{text} names a database, and a migration moves all of them", f"leave {parts.path} out"
        )
    asked = parse_qs(parts.query)
    if unknown := set(asked) - {"primary"}:
        raise WrongUsage(f"{text} asks for {', '.join(sorted(unknown))}", "only ?primary=NAME is known")
    shown_host = f"[{host}]" if ":" in host else host
    return NamedEnd(
        label=f"{parts.scheme}://{shown_host}:{port}",
        address=(host, port),
        user=unquote(parts.username or ""),
        tls=_SCHEMES[parts.scheme],
        watched_name=asked.get("primary", [""])[0],
    )


def read_login(text: str, where: str) -> Login:
    """Read a password file: the password alone, or the user on the first line and the password on the second.

    Raises: WrongUsage; the text is never part of it.
    """
    lines = text.removesuffix("\n").removesuffix("\r").split("\n")
    lines = [line.removesuffix("\r") for line in lines]
    if len(lines) not in {1, 2} or not all(_AUTH_LINE.fullmatch(line) for line in lines):
        raise WrongUsage(
            f"{where} holds {len(lines)} lines or signs that no password has",
            "it must hold the password, or the user on the first line and the password on the second",
        )
    return Login(lines[0], lines[1]) if len(lines) == 2 else Login("", lines[0])


def credentials_of(named: NamedEnd, login: Login) -> Credentials | None:
    """Whom to log in as: the file's user first, then the URL's, then `default`; None without a password.

    Raises: WrongUsage when the two name different users, or a user is named and no password is known.
    """
    if login.user and named.user and login.user != named.user:
        raise WrongUsage(
            f"{named.label} is to be entered as {named.user} by its URL and as {login.user} by its password file",
            "name one user",
        )
    user = login.user or named.user
    if not login.password:
        if user:
            raise WrongUsage(
                f"no password is known for user {user} of {named.label}",
                "name a file with it (--from-auth-file, --to-auth-file; --a-auth-file, --b-auth-file where two caches are "
                "compared), or set HOLDFAST_FROM_PASSWORD or "
                "HOLDFAST_TO_PASSWORD",
            )
        return None
    return Credentials(user or "default", login.password)
