"""A profile: all that one service's client must know to use one cache, as a JSON file without secrets.

`holdfast env CACHE SERVICE --profile FILE` writes it; the client library reads it. Passwords are named by the file
they lie in, and read there again when they were changed. This module needs the base install only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from types import UnionType
from typing import Any, Self, TypeVar, cast, get_args, get_origin, get_type_hints

import orjson

from holdfast.errors import HoldfastError

PROFILE_FORMAT = 1
MOST = 1 << 53
"""No number of a profile is as large; above it JSON's own are no longer exact."""
Made = TypeVar("Made")
Held = TypeVar("Held", list[Any], dict[str, Any])
MODES = ("standalone", "replicated", "sentinel", "cluster")


@dataclass(eq=False)
class ProfileInvalid(HoldfastError):
    """A profile is not one that this version understands."""

    source: str
    why: str

    def __str__(self) -> str:
        return (
            f"the profile {self.source} cannot be used: {self.why}; write it anew with "
            "`holdfast env CACHE SERVICE --profile FILE`"
        )


@dataclass(frozen=True)
class Seed:
    """A node to ask first; the client learns of the others from it."""

    host: str
    port: int


@dataclass(frozen=True)
class NamespaceProfile:
    """One family of keys that the service may use."""

    pattern: str
    """`bill:inquiry:{customerId}:{month}`; double braces are a hash tag that stays in the key."""
    ttl_s: int | None
    """How long a value lives; None: until it is deleted."""
    kind: str
    """cache, session, counter, breaker or lock; only cache may live in the first tier."""
    tier: str
    """`l2`, or `l1+l2`."""
    writes: bool
    """Whether the service may write here, or only read."""
    read: str = "primary"
    stale_bound_ms: int | None = None
    jitter_percent: float = 10
    negative_ttl_s: int | None = None
    lease_ms: int | None = None
    compress_above_bytes: int | None = None
    serve_stale_s: float | None = None
    """How long past its end a value may be served while its loader fails or another process loads it."""
    early_refresh: float | None = None
    """How eagerly a value is loaded anew before it ends (the beta of XFetch); None: never."""
    shorter_ttls_s: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class PoolProfile:
    """The connections of one instance of the service."""

    max_total: int = 20
    max_idle: int = 10
    min_idle: int = 5
    max_wait_ms: int = 5000
    connect_timeout_ms: int = 1000
    command_timeout_ms: int = 1000
    batch_size: int = 100
    pipeline_timeout_ms: int = 1000
    refresh_ms: int = 30_000


@dataclass(frozen=True)
class Profile:
    """How one service reaches one cache, and what is its own there."""

    cache: str
    service: str
    mode: str
    seeds: tuple[Seed, ...]
    """Data nodes; with mode sentinel, the sentinels."""
    user: str
    password_file: str
    """Path of a file that holds the password and nothing else."""
    ca_file: str | None
    """Path of the authority that the nodes' certificates come from; None: no TLS."""
    tls_min_version: str = "1.2"
    l1_ttl_s: int = 300
    l1_max_entries: int = 2000
    pool: PoolProfile = PoolProfile()
    namespaces: Mapping[str, NamespaceProfile] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """The profile as the file holds it."""
        return orjson.dumps({"format": PROFILE_FORMAT} | asdict(self), option=orjson.OPT_INDENT_2)

    @classmethod
    def from_json(cls, text: bytes, source: str = "given") -> Self:
        """Read a profile back. Raises: ProfileInvalid."""
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError as broken:
            raise ProfileInvalid(source, f"it is not JSON ({broken})") from broken
        if not isinstance(value, dict):
            raise ProfileInvalid(source, "it is not a JSON object")
        found = value.pop("format", None)
        if found != PROFILE_FORMAT:
            newer = isinstance(found, int) and found > PROFILE_FORMAT
            told = "a newer Holdfast wrote it" if newer else "it names no format that is known"
            raise ProfileInvalid(source, f"{told} (format {found!r}, known: {PROFILE_FORMAT})")
        try:
            profile = _made(
                cls,
                {
                    **value,
                    "seeds": tuple(_made(Seed, each, "a seed") for each in _those(value, "seeds", list)),
                    "pool": _made(PoolProfile, value.get("pool"), "pool"),
                    "namespaces": {
                        name: _made(NamespaceProfile, each, f"namespace {name}")
                        for name, each in _those(value, "namespaces", dict).items()
                    },
                },
                "it",
            )
        except ValueError as wrong:
            raise ProfileInvalid(source, str(wrong)) from wrong
        if profile.mode not in MODES or not profile.seeds:
            raise ProfileInvalid(source, f"mode is {profile.mode!r} with {len(profile.seeds)} seeds")
        return profile


def _those(value: Mapping[str, Any], name: str, kind: type[Held]) -> Held:
    found = value.get(name)
    if not isinstance(found, kind):
        raise ValueError(f"it has no {name}")
    return found


def _made(kind: type[Made], value: Any, what: str) -> Made:
    """A dataclass from a JSON object whose fields are all there, all known, and of the declared types.

    Raises: ValueError, which names the field; never its value, which may be anything.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{what} is no JSON object")
    hints = get_type_hints(kind)
    known = fields(cast(Any, kind))
    lacking = {each.name for each in known if each.default is MISSING and each.default_factory is MISSING}
    if missing := sorted(lacking - set(value)):
        raise ValueError(f"{what} has no {missing[0]}")
    if unknown := sorted(set(value) - set(hints)):
        raise ValueError(f"{what} has {unknown[0][:80]!r}, which is not known")
    for name, each in value.items():
        if not _fits(each, hints[name]):
            raise ValueError(f"{name} of {what} is not what it has to be")
    return kind(**value)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a JSON value may stand where `hint` is declared: numbers are finite and not negative, texts hold no NUL."""
    if (parts := get_args(hint)) and get_origin(hint) is UnionType:
        return any(_fits(value, part) for part in parts)
    if isinstance(value, bool) or hint is bool:
        return isinstance(value, bool) and hint is bool
    if hint is int:
        return isinstance(value, int) and 0 <= value < MOST
    if hint is float:
        return isinstance(value, int | float) and 0 <= value < MOST
    if hint is str:
        return isinstance(value, str) and "\0" not in value
    if parts and parts[-1] is int:
        return isinstance(value, dict) and all(_fits(each, int) for each in value.values())
    return isinstance(value, get_origin(hint) or hint)
