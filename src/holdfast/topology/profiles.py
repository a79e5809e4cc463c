"""From a spec and a record to what one service's client needs: its profile, and the same as environment. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from holdfast.errors import HoldfastError
from holdfast.profile import NamespaceProfile, PoolProfile, Profile, Seed
from holdfast.spec.cache import Spec
from holdfast.spec.service import Access
from holdfast.spec.topology import Mode
from holdfast.topology.record import CacheRecord


@dataclass(eq=False)
class ServiceUnknown(HoldfastError):
    """The spec declares no such service."""

    cache: str
    service: str
    known: tuple[str, ...]

    def __str__(self) -> str:
        known = f"declared: {', '.join(self.known)}" if self.known else "the spec declares none"
        return (
            f"{self.cache} has no service {self.service} ({known}): add it under services, then holdfast up"
        )


def profile_of(
    spec: Spec, record: CacheRecord, service: str, *, password_file: str, ca_file: str | None
) -> Profile:
    """The profile of a declared service. Raises: ServiceUnknown."""
    if service not in spec.services:
        raise ServiceUnknown(spec.cache.name, service, tuple(spec.services))
    declared = spec.services[service]
    sentinel = record.mode == Mode.SENTINEL
    pool = declared.pool
    return Profile(
        cache=spec.cache.name,
        service=service,
        mode=record.mode,
        seeds=tuple(
            Seed(member.address, member.port) for member in (record.sentinels if sentinel else record.servers)
        ),
        user=spec.user_of(service),
        password_file=password_file,
        ca_file=ca_file if record.tls else None,
        tls_min_version=spec.security.tls.min_version.value,
        l1_ttl_s=spec.keyspace.l1.ttl_s,
        l1_max_entries=spec.keyspace.l1.max_entries,
        pool=PoolProfile(
            max_total=pool.max_total,
            max_idle=pool.max_idle,
            min_idle=pool.min_idle,
            max_wait_ms=pool.max_wait_ms,
            connect_timeout_ms=pool.connect_timeout_ms,
            command_timeout_ms=pool.command_timeout_ms,
            batch_size=pool.batch_size,
            pipeline_timeout_ms=pool.pipeline_timeout_ms,
            refresh_ms=pool.refresh_ms,
        ),
        namespaces=dict(_namespaces(spec, service)),
    )


def _namespaces(spec: Spec, service: str) -> Iterable[tuple[str, NamespaceProfile]]:
    declared = spec.services[service]
    for name in (*declared.namespaces, *declared.reads):
        namespace = spec.keyspace.namespaces[name]
        policy = namespace.policy
        yield (
            name,
            NamespaceProfile(
                pattern=namespace.pattern,
                ttl_s=namespace.ttl_s,
                kind=namespace.kind.value,
                tier=namespace.tier.value,
                writes=declared.access is Access.READWRITE and name in declared.namespaces,
                read=policy.read.value,
                stale_bound_ms=policy.stale_bound_ms,
                jitter_percent=policy.jitter_percent,
                negative_ttl_s=policy.negative_ttl_s,
                lease_ms=policy.lease_ms,
                compress_above_bytes=policy.compress_above_bytes,
                serve_stale_s=policy.serve_stale_s,
                early_refresh=policy.early_refresh,
                shorter_ttls_s=dict(namespace.shorter_ttls),
            ),
        )


def environment(profile: Profile) -> dict[str, str]:
    """The profile's facts under names that applications commonly read; never the password itself."""
    scheme = "rediss" if profile.ca_file else "redis"
    first = profile.seeds[0]
    host = f"[{first.host}]" if ":" in first.host else first.host
    named = {
        "CACHE_NAME": profile.cache,
        "CACHE_MODE": profile.mode,
        "CACHE_URL": f"{scheme}://{profile.user}@{host}:{first.port}",
        "CACHE_NODES": ",".join(
            f"[{s.host}]:{s.port}" if ":" in s.host else f"{s.host}:{s.port}" for s in profile.seeds
        ),
        "CACHE_USER": profile.user,
        "CACHE_PASSWORD_FILE": profile.password_file,
        "CACHE_TLS": "true" if profile.ca_file else "false",
        "CACHE_POOL_MAX": str(profile.pool.max_total),
        "CACHE_COMMAND_TIMEOUT_MS": str(profile.pool.command_timeout_ms),
    }
    if profile.ca_file:
        named["CACHE_CA_FILE"] = profile.ca_file
    if profile.mode == "sentinel":
        named["CACHE_SENTINEL_NAME"] = profile.cache
    return named


def as_shell(named: Mapping[str, str]) -> str:
    """Lines for `eval`."""
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in named.items())


def as_dotenv(named: Mapping[str, str]) -> str:
    """Lines of a .env file: always in double quotes, with what is special in them escaped."""
    return "\n".join(f'{name}="{_escaped(value)}"' for name, value in named.items())


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
