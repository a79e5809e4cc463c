"""How a connection introduces itself: user, password (read anew each time, so that it may change), TLS."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.client.errors import CacheDenied, CacheError, NodeUnreached, ServerUnfit
from holdfast.client.wire import Meaning, ReplyError, meaning, pack
from holdfast.profile import Profile

Credentials = Callable[[], tuple[str, str]]
"""Returns user and password; called for each new connection, so it must be quick."""
_TLS_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


@dataclass(eq=False)
class PasswordUnreadable(CacheError):
    """The profile names a file for the password that cannot be read."""

    path: str
    why: str

    def __str__(self) -> str:
        return f"the password cannot be read from {self.path}: {self.why}"


@dataclass
class Login:
    """What every connection of one cache needs to be let in; `tls` is another where the profile has changed."""

    cache: str
    name: str
    credentials: Credentials
    tls: ssl.SSLContext | None
    connect_s: float

    @classmethod
    def of(cls, profile: Profile, credentials: Credentials | None = None) -> Login:
        """From the profile; `credentials` instead of its user and password file.

        Raises: NodeUnreached when the authority's file cannot be used.
        """
        return cls(
            profile.cache,
            f"holdfast:{profile.service}" if profile.service else "holdfast",
            credentials or from_file(profile.user, profile.password_file),
            tls_of(profile),
            profile.pool.connect_timeout_ms / 1000,
        )

    def hello(self, *, anonymous: bool = False) -> bytes:
        """The first command. Raises: PasswordUnreadable."""
        user, password = ("", "") if anonymous else self.credentials()
        auth = ("AUTH", user or "default", password) if password else ()
        return pack(("HELLO", 3, *auth, "SETNAME", self.name))

    def judge(self, reply: Any, address: str) -> dict[bytes, Any]:
        """What the server said of itself. Raises: CacheDenied, ServerUnfit, NodeUnreached when it is not ready."""
        if isinstance(reply, dict):
            return reply
        said = str(reply)
        if isinstance(reply, ReplyError) and meaning(said) is Meaning.DENIED:
            raise CacheDenied(self.cache, address, said)
        if isinstance(reply, ReplyError) and "max number of clients" in said:
            raise NodeUnreached(address, said)
        raise ServerUnfit(address, said[:200])


def from_file(user: str, path: str) -> Credentials:
    """User, and the password that a file holds at that moment; no file: no password."""

    def read() -> tuple[str, str]:
        if not path:
            return user, ""
        try:
            return user, Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as failed:
            raise PasswordUnreadable(path, str(failed)) from failed

    return read


def tls_of(profile: Profile) -> ssl.SSLContext | None:
    """What its connections are wrapped in; None without TLS. Raises: NodeUnreached when the authority cannot be used."""
    if profile.ca_file is None:
        return None
    try:
        context = ssl.create_default_context(cafile=profile.ca_file or None)
    except (OSError, ssl.SSLError) as failed:
        raise NodeUnreached(
            profile.cache, f"its authority {profile.ca_file} cannot be used: {failed}"
        ) from failed
    context.minimum_version = _TLS_VERSIONS.get(profile.tls_min_version, ssl.TLSVersion.TLSv1_2)
    return context


READONLY = pack(("READONLY",))
