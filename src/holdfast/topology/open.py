"""Brings spec, record, machines and engine together before a command works on a cache."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from holdfast.engine.build import EngineBuild
from holdfast.engine.choose import Needs, choose_engine
from holdfast.errors import HoldfastError
from holdfast.spec.cache import Spec
from holdfast.spec.load import LoadedSpec
from holdfast.spec.place import PlaceKind
from holdfast.spec.security import TlsMode
from holdfast.spec.topology import Mode
from holdfast.topology import orders
from holdfast.topology.hosts import Hosts
from holdfast.topology.layout import HostPlace
from holdfast.topology.live import LiveCache
from holdfast.topology.record import CacheRecord
from holdfast.topology.store import CacheStore

WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what to announce for them, not what to bind


@dataclass(eq=False)
class EnginesDiffer(HoldfastError):
    """The machines of a cache have no engine in common that the spec allows."""

    hosts: tuple[str, ...]
    wanted: str

    def __str__(self) -> str:
        return (
            f"{', '.join(self.hosts)} have no engine in common that is {self.wanted}; nothing was started: add the same "
            "one on each with `holdfast engines add NAME`"
        )


def engine_needs(spec: Spec) -> Needs:
    """What the spec asks of an engine."""
    return Needs(
        name=spec.engine.name.value,
        version=spec.engine.version,
        tls=spec.security.tls.mode.value,
        sentinel=spec.topology.mode is Mode.SENTINEL,
    )


def places_of(spec: Spec) -> tuple[HostPlace, ...]:
    """Machines and the zones they stand for."""
    if spec.place.kind is PlaceKind.HOSTS:
        return tuple(HostPlace(name, (host.zone,)) for name, host in sorted(spec.place.hosts.items()))
    return (HostPlace("local", tuple(spec.topology.zones)),)


def addresses_of(spec: Spec) -> dict[str, str]:
    """Machine -> the address its nodes announce."""
    if spec.place.kind is PlaceKind.HOSTS:
        return {name: str(host.address) for name, host in spec.place.hosts.items()}
    first = str(spec.network.bind[0])
    return {"local": WILDCARDS.get(first, first)}


async def open_cache(loaded: LoadedSpec, store: CacheStore, hosts: Hosts) -> LiveCache:
    """The cache as a command needs it; writes nothing but passwords and an authority that are lacking.

    Raises: NoEngineFits, EnginesDiffer, RecordUnreadable, HostUnreachable.
    """
    spec = loaded.spec
    names = list(hosts)
    facts = dict(zip(names, await asyncio.gather(*(hosts[name].facts() for name in names)), strict=True))
    record = store.record() if store.exists else None
    build = await _engine(spec, record, hosts)
    if record is None:
        tls = build.tls and spec.security.tls.mode is not TlsMode.OFF
        record = CacheRecord(name=spec.cache.name, mode=spec.topology.mode.value, engine=build.key, tls=tls)
    store.passwords(orders.all_users(spec))
    if record.tls:
        store.authority(spec.security.tls.ca_days)
    return LiveCache(
        spec=spec,
        digest=loaded.digest,
        record=record,
        store=store,
        hosts=hosts,
        host_facts=facts,
        places=places_of(spec),
        build=build,
        addresses=addresses_of(spec),
    )


async def _engine(spec: Spec, record: CacheRecord | None, hosts: Hosts) -> EngineBuild:
    """The build that the record names while it is there; else the best that the spec allows on every machine."""
    surveys = await asyncio.gather(*(host.engines(spec.engine.path) for host in hosts.values()))
    found, broken = surveys[0]
    everywhere = set.intersection(*({build.key for build in each} for each, _ in surveys))
    common = [build for build in found if build.key in everywhere]
    if found and not common:
        raise EnginesDiffer(tuple(hosts), str(engine_needs(spec)))
    if record is not None:
        for build in common:
            if build.key == record.engine:
                return build
    return choose_engine(engine_needs(spec), common, broken)
