"""A profile: all that one service's client must know to use one cache, as a JSON file without secrets.

`holdfast env CACHE SERVICE --profile FILE` writes it; the client library reads it. Passwords are named by the file
they lie in, and read there again when they were changed. This module needs the base install only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Self

import orjson

from holdfast.errors import HoldfastError

PROFILE_FORMAT = 1
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
            profile = cls(
                **{
                    **value,
                    "seeds": tuple(Seed(**seed) for seed in value["seeds"]),
                    "pool": PoolProfile(**value["pool"]),
                    "namespaces": {
                        name: NamespaceProfile(**each) for name, each in value["namespaces"].items()
                    },
                }
            )
        except (KeyError, TypeError, AttributeError) as wrong:
            raise ProfileInvalid(source, f"{type(wrong).__name__}: {wrong}") from wrong
        if profile.mode not in MODES or not profile.seeds:
            raise ProfileInvalid(source, f"mode is {profile.mode!r} with {len(profile.seeds)} seeds")
        return profile
