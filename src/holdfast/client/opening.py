"""From a profile, its file or a URL to all that a cache is opened with."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from holdfast.client.errors import NamespaceInvalid, NodeUnreached
from holdfast.client.layout import Address
from holdfast.client.login import Credentials, Login, from_file, tls_of
from holdfast.client.shared import Shared
from holdfast.errors import WrongUsage
from holdfast.profile import NamespaceProfile, PoolProfile, Profile, ProfileInvalid, Seed

SCHEMES = {"valkey": False, "redis": False, "valkeys": True, "rediss": True}
MODES = ("auto", "standalone", "replicated", "sentinel", "cluster")
KINDS = ("cache", "session", "counter", "breaker", "lock")
TIERS = ("l2", "l1+l2")
DEFAULT_PORT, SENTINEL_PORT = 6379, 26379
_LOOK_EVERY_S = 0.2
"""How often at most it is looked whether the profile's file was changed; it is, whenever the layout is looked at."""
_FOLLOWED = ("seeds", "mode", "user", "password_file", "ca_file", "tls_min_version")
"""What of a profile may be another after its file was written anew."""
_EXAMPLE = "write valkey://user:password@host:6379 or valkeys+cluster://host1:6380,host2:6380"


def declare(
    pattern: str,
    *,
    ttl_s: float | None,
    tier: str = "l2",
    kind: str = "cache",
    writes: bool = True,
    **policy: Any,
) -> NamespaceProfile:
    """Declare a namespace in code, where there is no profile.

    Args: `pattern` such as `bill:inquiry:{customerId}:{month}`; `ttl_s`, None for values that live until they are
        deleted; `tier` l2 or l1+l2; `kind` cache, session, counter, breaker or lock; `policy`, further fields of
        NamespaceProfile: read, stale_bound_ms, jitter_percent, negative_ttl_s, lease_ms, compress_above_bytes,
        serve_stale_s, early_refresh.
    Raises: NamespaceInvalid.
    """
    known = {each.name for each in dataclasses.fields(NamespaceProfile)}
    if unknown := set(policy) - known:
        raise NamespaceInvalid(pattern, f"there is no policy {', '.join(sorted(unknown))}")
    made = NamespaceProfile(pattern=pattern, ttl_s=ttl_s, kind=kind, tier=tier, writes=writes, **policy)  # type: ignore[arg-type]
    check_declared(pattern, made)
    return made


def check_declared(name: str, declared: NamespaceProfile) -> None:
    """Refuse what no spec would have let through. Raises: NamespaceInvalid."""
    for field, allowed in (("kind", KINDS), ("tier", TIERS)):
        if getattr(declared, field) not in allowed:
            raise NamespaceInvalid(
                name, f"{field} is {getattr(declared, field)!r}, not one of {', '.join(allowed)}"
            )
    if declared.read not in ("primary", "replica_preferred", "replica", "nearest"):
        raise NamespaceInvalid(
            name, f"read is {declared.read!r}, not primary, replica_preferred, replica or nearest"
        )
    numbers = {
        "ttl_s": (declared.ttl_s, 0.001, 10 * 365 * 86_400),
        "stale_bound_ms": (declared.stale_bound_ms, 0, 1e10),
        "jitter_percent": (declared.jitter_percent, 0, 90),
        "negative_ttl_s": (declared.negative_ttl_s, 0.001, 1e9),
        "lease_ms": (declared.lease_ms, 1, 3_600_000),
        "compress_above_bytes": (declared.compress_above_bytes, 1, 1e12),
        "serve_stale_s": (declared.serve_stale_s, 0, 1e9),
        "early_refresh": (declared.early_refresh, 0, 100),
    }
    for field, (value, least, most) in numbers.items():
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise NamespaceInvalid(name, f"{field} is {value!r}, not a number from {least:g} to {most:g}")


def profile_of_url(
    url: str, namespaces: Mapping[str, NamespaceProfile | Mapping[str, Any]]
) -> tuple[Profile, str]:
    """Profile and password of `valkey[s][+MODE]://[user[:password]@]host[:port][,host...][/primary-name]`.

    The mode is found out where the URL does not say it. Query: ca_file, service, and the fields of the pool.
    Raises: WrongUsage, NamespaceInvalid.
    """
    parts = urlsplit(url)
    scheme, _, mode = parts.scheme.partition("+")
    mode = mode or "auto"
    if scheme not in SCHEMES or mode not in MODES:
        raise WrongUsage(
            "the URL's scheme is none of a cache", _EXAMPLE
        )  # the URL itself may hold a password
    login, _, hosts = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    default_port = SENTINEL_PORT if mode == "sentinel" else DEFAULT_PORT
    seeds = tuple(_seed(each, default_port) for each in hosts.split(",") if each)
    if not seeds:
        raise WrongUsage("the URL names no host", _EXAMPLE)
    name = parts.path.strip("/")
    if mode == "sentinel" and not name:
        raise WrongUsage("the URL does not name the primary that the Sentinels watch", "add it: …/mycache")
    if mode != "sentinel" and name not in ("", "0"):
        raise WrongUsage(
            f"the URL asks for database {name}", "only database 0 exists in every topology; use key prefixes"
        )
    asked = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    pool = _pool(asked)
    secure = SCHEMES[scheme]
    ca_file = asked.pop("ca_file", "" if secure else None)
    service = asked.pop("service", "")
    if asked:
        raise WrongUsage(
            f"the URL's query has {', '.join(asked)}", "known: ca_file, service, and the pool's fields"
        )
    declared = {}
    for each, given in namespaces.items():
        declared[each] = given if isinstance(given, NamespaceProfile) else declare(**given)
        check_declared(each, declared[each])
    profile = Profile(
        cache=name or f"the cache at {hosts}",
        service=service,
        mode=mode,
        seeds=seeds,
        user=unquote(user),
        password_file="",
        ca_file=ca_file,
        pool=pool,
        namespaces=declared,
    )
    return profile, unquote(password)


def _seed(text: str, default_port: int) -> Seed:
    host, port = text, str(default_port)
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":") or port
    elif ":" in text:
        host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65_536:
        raise WrongUsage(f"{text!r} is no host and port", _EXAMPLE)
    return Seed(host, int(port))


def _pool(asked: dict[str, str]) -> PoolProfile:
    changes = {}
    for each in dataclasses.fields(PoolProfile):
        if each.name in asked:
            text = asked.pop(each.name)
            if not text.isdigit() or int(text) == 0:
                raise WrongUsage(
                    f"{each.name}={text} is no whole number above 0", f"write for example {each.name}=20"
                )
            changes[each.name] = int(text)
    return dataclasses.replace(PoolProfile(), **changes)


class Source:
    """Where a cache's profile comes from; a file is read again when it was changed, as after a migration."""

    def __init__(self, profile: Profile, credentials: Credentials, path: Path | None = None) -> None:
        self.profile = profile
        self._credentials, self._path = credentials, path
        self._credentials_by_profile = False
        """Whether user and password come from where the profile says."""
        self._stamp = _stamp(path)
        self._looked_at = time.monotonic()

    @classmethod
    def of(cls, given: str | Path | Profile, credentials: Credentials | None) -> Source:
        """Raises: ProfileInvalid."""
        if isinstance(given, Profile):
            return cls(given, credentials or from_file(given.user, given.password_file))
        path = Path(given)
        profile = _read(path)
        source = cls(profile, credentials or from_file(profile.user, profile.password_file), path)
        source._credentials_by_profile = credentials is None
        return source

    def credentials(self) -> tuple[str, str]:
        """User and password, as they are now."""
        return self._credentials()

    def follow(self, shared: Shared, login: Login) -> tuple[tuple[Address, ...], bool]:
        """Nodes to ask first; and whether they are new ones, so that those known before are to be forgotten.

        What the file says anew of where the cache is and of who we are there is taken over; namespaces and pool stay as they
        were opened. A file that cannot be read is half written, or will be mended: the next look will see.
        """
        before, now = self.profile, time.monotonic()
        if self._path is not None and now - self._looked_at >= _LOOK_EVERY_S:
            self._looked_at = now
            stamp = _stamp(self._path)
            if stamp != self._stamp:
                with contextlib.suppress(ProfileInvalid, NamespaceInvalid, NodeUnreached):
                    self._take(_read(self._path), login)
                    self._stamp = stamp
        shared.profile = self.profile
        renewed = (self.profile.seeds, self.profile.mode) != (before.seeds, before.mode)
        return tuple(Address(seed.host, seed.port) for seed in self.profile.seeds), renewed

    def _take(self, read: Profile, login: Login) -> None:
        changed = {name: getattr(read, name) for name in _FOLLOWED}
        if changed == {name: getattr(self.profile, name) for name in _FOLLOWED}:
            return
        profile = dataclasses.replace(self.profile, **changed)
        login.tls = tls_of(profile)
        self.profile = profile
        if self._credentials_by_profile:
            self._credentials = from_file(read.user, read.password_file)


def _read(path: Path) -> Profile:
    try:
        profile = Profile.from_json(path.read_bytes(), str(path))
    except OSError as failed:
        raise ProfileInvalid(str(path), failed.strerror or str(failed)) from failed
    for name, declared in profile.namespaces.items():
        check_declared(name, declared)
    return profile


def _stamp(path: Path | None) -> tuple[int, int] | None:
    try:
        seen = path.stat() if path is not None else None
    except OSError:
        return None
    return (seen.st_mtime_ns, seen.st_ino) if seen is not None else None
