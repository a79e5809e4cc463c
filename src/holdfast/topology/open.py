"""Brings spec, record, machines and engine together before a command works on a cache."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from holdfast.engine.build import BrokenEngine, EngineBuild
from holdfast.engine.choose import Needs, choose_engine, lacks
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


@dataclass(eq=False)
class EngineNotAllowed(HoldfastError):
    """An engine was named that the spec does not allow."""

    cache: str
    engine: str
    lacks: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"{self.engine} {' and '.join(self.lacks)}, as the spec of {self.cache} or the TLS its nodes speak asks. Nothing "
            "was changed. Write what you want into engine: of the spec, then run holdfast upgrade FILE"
        )


@dataclass(eq=False)
class EngineNotHere(HoldfastError):
    """No engine of that name is on the cache's machines."""

    named: str
    known: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"there is no engine {self.named} on the machines of the cache (there are {', '.join(self.known) or 'none'}). "
            "Nothing was changed. `holdfast engines` says which others can be added"
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


class Aim(StrEnum):
    """Which engine a command wants for a cache that exists."""

    STAY = "stay"
    """The one its nodes run, whatever the spec says: the command changes no engine."""
    FIT = "fit"
    """The same while the spec allows it, else the best that it allows."""
    NEWEST = "newest"
    """The best that the spec allows."""


@dataclass(frozen=True)
class EngineWish:
    """What a command wants of the engine."""

    aim: Aim = Aim.STAY
    named: str = ""
    """With NEWEST: only builds of that name, "valkey-9.1", or the one of that key."""


AS_IT_IS = EngineWish()
AS_THE_SPEC_SAYS = EngineWish(Aim.FIT)


async def open_cache(
    loaded: LoadedSpec, store: CacheStore, hosts: Hosts, wish: EngineWish = AS_IT_IS
) -> LiveCache:
    """The cache as a command needs it; writes nothing but passwords and an authority that are lacking.

    Raises: NoEngineFits, EnginesDiffer, RecordUnreadable, HostUnreachable.
    """
    spec = loaded.spec
    names = list(hosts)
    facts = dict(zip(names, await asyncio.gather(*(hosts[name].facts() for name in names)), strict=True))
    record = store.record() if store.exists else None
    common, broken = await _engines(spec, hosts)
    build = choose_build(spec, record, common, broken, wish)
    if record is None:
        tls = build.tls and spec.security.tls.mode is not TlsMode.OFF
        record = CacheRecord(name=spec.cache.name, mode=spec.topology.mode.value, engine=build.key, tls=tls)
    store.passwords(orders.all_users(spec))
    if record.tls:
        store.authority_cert(spec.security.tls.ca_days)
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
        builds={each.key: each for each in common},
    )


async def _engines(spec: Spec, hosts: Hosts) -> tuple[list[EngineBuild], Sequence[BrokenEngine]]:
    """The builds that every machine has. Raises: EnginesDiffer."""
    surveys = await asyncio.gather(*(host.engines(spec.engine.path) for host in hosts.values()))
    found, broken = surveys[0]
    everywhere = set.intersection(*({build.key for build in each} for each, _ in surveys))
    common = [build for build in found if build.key in everywhere]
    if found and not common:
        raise EnginesDiffer(tuple(hosts), str(engine_needs(spec)))
    return common, broken


def choose_build(
    spec: Spec,
    record: CacheRecord | None,
    common: Sequence[EngineBuild],
    broken: Sequence[BrokenEngine],
    wish: EngineWish,
) -> EngineBuild:
    """The build that the nodes are to run. Raises: NoEngineFits, EngineNotAllowed."""
    needs = engine_needs(spec)
    if record is None:
        return choose_engine(needs, common, broken)
    if record.tls:  # nodes that speak TLS cannot be joined by one that does not
        needs = replace(needs, tls=TlsMode.REQUIRED.value)
    kept = next((build for build in common if build.key == record.engine), None)
    if kept is not None and (wish.aim is Aim.STAY or (wish.aim is Aim.FIT and not lacks(needs, kept))):
        return kept
    if not wish.named:
        return choose_engine(needs, common, broken)
    meant = [each for each in common if wish.named in {each.key, each.series}]
    if meant and all(lacks(needs, each) for each in meant):
        raise EngineNotAllowed(record.name, meant[0].title, tuple(lacks(needs, meant[0])))
    if not meant:
        raise EngineNotHere(wish.named, tuple(sorted({each.series for each in common})))
    return choose_engine(needs, meant, ())
