"""The whole: what one cache should be."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from holdfast.spec.backup import BackupSpec, DrSpec
from holdfast.spec.engine import EngineSpec
from holdfast.spec.keyspace import KeyspaceSpec
from holdfast.spec.maintenance import MaintenanceSpec
from holdfast.spec.memory import MemorySpec
from holdfast.spec.model import Flaw, Model
from holdfast.spec.names import CacheName, Name
from holdfast.spec.network import NetworkSpec
from holdfast.spec.persistence import PersistenceSpec, WritePromise
from holdfast.spec.place import PlaceKind, PlaceSpec
from holdfast.spec.promises import PromisesSpec
from holdfast.spec.security import RESERVED_USER_PREFIX, SecuritySpec
from holdfast.spec.service import ServiceSpec
from holdfast.spec.topology import TopologySpec
from holdfast.spec.watch import AlertSpec, WatchSpec

FORMAT = 1
"""The newest format of the file; later ones only add."""

Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]


class CacheSpec(Model):
    """What the cache is called."""

    name: CacheName
    """Lower-case letters, digits and '-', a letter first, at most 40 characters."""
    description: str = Field(default="", max_length=2000)
    """What it is for."""


class Spec(Model):
    """What one cache should be. Everything but `cache.name` has a default."""

    format: Literal[1] = 1
    """Format of this file."""
    cache: CacheSpec
    """What it is called."""
    engine: EngineSpec = EngineSpec.model_construct()
    """Which engine carries it."""
    topology: TopologySpec = TopologySpec.model_construct()
    """How many servers make it, and how they are tied."""
    memory: MemorySpec = MemorySpec.model_construct()
    """How much a node may hold."""
    persistence: PersistenceSpec = PersistenceSpec.model_construct()
    """What is written to disk, and what an acknowledged write promises."""
    security: SecuritySpec = SecuritySpec.model_construct()
    """Encryption, access, secrets."""
    network: NetworkSpec = NetworkSpec.model_construct()
    """Who may reach the nodes."""
    services: Mapping[Name, ServiceSpec] = Field(default_factory=dict)
    """Services that use it, by name."""
    keyspace: KeyspaceSpec = KeyspaceSpec.model_construct()
    """Its keys."""
    backup: BackupSpec = BackupSpec.model_construct()
    """Backups."""
    dr: DrSpec = DrSpec.model_construct()
    """The copy in another region."""
    watch: WatchSpec = WatchSpec.model_construct()
    """What is measured."""
    alerts: Mapping[Name, AlertSpec] = Field(default_factory=dict)
    """What raises an alarm, by name."""
    maintenance: MaintenanceSpec = MaintenanceSpec.model_construct()
    """When it may be worked on."""
    promises: PromisesSpec = PromisesSpec.model_construct()
    """What it promises."""
    place: PlaceSpec = PlaceSpec.model_construct()
    """Where the nodes run."""
    accept: Mapping[str, Reason] = Field(default_factory=dict)
    """Advice that is known and lived with: its id, and why."""

    def user_of(self, service: str) -> str:
        """The engine's user of a declared service."""
        return self.services[service].user or service

    def flaws(self) -> Iterator[Flaw]:
        yield from self._unknown_names()
        yield from self._users_taken_twice()
        yield from self._hosts_outside_the_zones()
        durability = self.persistence.durability
        if durability.writes is not WritePromise.NONE and durability.replicas > self.topology.replicas:
            yield Flaw(
                ("persistence", "durability", "replicas"),
                f"writes are to reach {durability.replicas} replicas of {self.topology.replicas}",
                "write at most topology.replicas",
                needs=("topology", "replicas"),
            )

    def _unknown_names(self) -> Iterator[Flaw]:
        for name, service in self.services.items():
            for key, namespaces in (("namespaces", service.namespaces), ("reads", service.reads)):
                for index, namespace in enumerate(namespaces):
                    if namespace not in self.keyspace.namespaces:
                        yield Flaw(
                            ("services", name, key, index),
                            f"there is no namespace {namespace}",
                            needs=("keyspace", "namespaces", namespace),
                        )
        for name, owned in self.keyspace.namespaces.items():
            if owned.owner is not None and owned.owner not in self.services:
                yield Flaw(
                    ("keyspace", "namespaces", name, "owner"),
                    f"there is no service {owned.owner}",
                    needs=("services", owned.owner),
                )

    def _users_taken_twice(self) -> Iterator[Flaw]:
        taken = dict.fromkeys(self.security.access.operators, "an operator")
        for name in self.services:
            user = self.user_of(name)
            if user == "default" or user.startswith(RESERVED_USER_PREFIX):
                yield Flaw(
                    ("services", name),
                    f"user {user} is Holdfast's or the engine's own",
                    "give it another user",
                    needs=("services", name),
                )
            elif user in taken:
                yield Flaw(
                    ("services", name),
                    f"user {user} is already {taken[user]}",
                    "give it a user of its own",
                    needs=("services", name),
                )
            taken.setdefault(user, f"the user of service {name}")

    def _hosts_outside_the_zones(self) -> Iterator[Flaw]:
        if self.place.kind is not PlaceKind.HOSTS:
            return
        for name, host in self.place.hosts.items():
            if host.zone not in self.topology.zones:
                yield Flaw(
                    ("place", "hosts", name, "zone"),
                    f"{host.zone} is none of the zones",
                    f"write one of: {', '.join(self.topology.zones)}",
                    needs=("topology", "zones"),
                )
        for index, zone in enumerate(self.topology.zones):
            if all(host.zone != zone for host in self.place.hosts.values()):
                yield Flaw(
                    ("topology", "zones", index),
                    f"no host is in zone {zone}",
                    "name a host there, or leave the zone out",
                    needs=("place", "hosts"),
                )
