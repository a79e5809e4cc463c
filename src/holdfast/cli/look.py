"""Gathers what `status` shows: the cache as seen, what is wrong, and what cannot be enforced."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from holdfast.cli.opening import Named, machines
from holdfast.errors import HoldfastError
from holdfast.host.firewall import Enforcement
from holdfast.spec.cache import Spec
from holdfast.topology.health import Problem, problems
from holdfast.topology.maintenance import Maintenance
from holdfast.topology.observe import Access, observe
from holdfast.topology.record import CacheRecord
from holdfast.topology.seen import SeenCache


@dataclass(frozen=True)
class Report:
    """One look at one cache."""

    spec: Spec
    record: CacheRecord
    seen: SeenCache
    problems: tuple[Problem, ...]
    allow: Mapping[str, Enforcement] = field(default_factory=dict)
    """For each machine, whether `network.allow` holds there; empty when its supervisor does not answer."""
    notes: tuple[str, ...] = ()
    maintenance: Maintenance | None = None
    """The one it is in now."""


async def look(given: Named) -> Report:
    """Observe the cache as its record has it; starts nothing."""
    from holdfast.topology.guards import enforcement

    record = given.store.record()
    access = Access(given.store.own_credentials(), given.store.trust(tls_on=record.tls), timeout_s=1.0)
    spec = given.loaded.spec
    notes: list[str] = []
    allow: Mapping[str, Enforcement] = {}
    async with machines(given, start=False) as hosts:
        # At the same time: a supervisor that hangs is waited for once.
        seen, held = await asyncio.gather(
            observe(record, access, hosts), enforcement(spec, record, hosts), return_exceptions=True
        )
        if isinstance(seen, BaseException):
            raise seen
        if isinstance(held, HoldfastError):
            notes.append(str(held))
        elif isinstance(held, BaseException):
            raise held
        else:
            allow = held
    if record.engine_before:
        notes.append(
            f"its nodes are being moved from {record.engine_before} to {record.engine}: holdfast up goes on with it"
        )
    quiet = given.store.maintenance(datetime.now(UTC))
    return Report(spec, record, seen, problems(seen, spec.topology), allow, tuple(notes), quiet)
