"""A service that uses the cache: its user, the keys it may touch, where it runs and how it connects."""

from collections.abc import Iterator
from enum import StrEnum

from pydantic import Field

from holdfast.spec.model import Flaw, Model
from holdfast.spec.names import NamespaceName, UserName
from holdfast.spec.network import AddressRanges
from holdfast.spec.units import Milliseconds


class Access(StrEnum):
    """What a service may do with its namespaces."""

    READWRITE = "readwrite"
    READ = "read"


class InstancesSpec(Model):
    """How many processes of a service run at the same time; each has a pool of its own."""

    min: int = Field(default=1, ge=0, le=100_000)
    """At the quietest."""
    max: int = Field(default=1, ge=1, le=100_000)
    """At the busiest."""

    def flaws(self) -> Iterator[Flaw]:
        if self.min > self.max:
            yield Flaw(
                ("min",), f"at least {self.min} and at most {self.max} instances", "write min at or below max"
            )


class PoolSpec(Model):
    """The connections of one instance."""

    max_total: int = Field(default=20, ge=1, le=100_000)
    """Connections at most."""
    max_idle: int = Field(default=10, ge=0, le=100_000)
    """Unused connections kept at most."""
    min_idle: int = Field(default=5, ge=0, le=100_000)
    """Unused connections kept at least."""
    max_wait_ms: Milliseconds = Field(default=5000, alias="max_wait", ge=0)
    """How long a caller waits for a connection."""
    connect_timeout_ms: Milliseconds = Field(default=1000, alias="connect_timeout", ge=1)
    """How long making a connection may take."""
    command_timeout_ms: Milliseconds = Field(default=1000, alias="command_timeout", ge=1)
    """How long the answer to a command may take."""
    fail_at_start: bool = False
    """Whether an application that cannot connect when it starts gives up, instead of trying on."""
    test_on_borrow: bool = True
    """Whether a connection is tried before use."""
    test_on_return: bool = False
    """Whether it is tried after use."""
    test_while_idle: bool = True
    """Whether unused ones are tried from time to time."""
    pipelining: bool = True
    """Whether commands are sent in batches."""
    batch_size: int = Field(default=100, ge=1, le=100_000)
    """Commands in a batch at most."""
    pipeline_timeout_ms: Milliseconds = Field(default=1000, alias="pipeline_timeout", ge=1)
    """How long the answers to a batch may take."""
    refresh_ms: Milliseconds = Field(default=30_000, alias="refresh", ge=100)
    """How often the client asks which node holds what."""
    adaptive_refresh: bool = True
    """Whether it also asks at once when a node redirects it or is gone."""

    def flaws(self) -> Iterator[Flaw]:
        if self.max_idle > self.max_total:
            yield Flaw(
                ("max_idle",),
                f"{self.max_idle} idle connections of {self.max_total} at most",
                "write max_idle at or below max_total",
            )
        if self.min_idle > self.max_idle:
            yield Flaw(
                ("min_idle",),
                f"at least {self.min_idle} and at most {self.max_idle} idle",
                "write min_idle at or below max_idle",
            )


class ServiceSpec(Model):
    """A service that uses the cache."""

    user: UserName | None = None
    """Its user of the engine; the service's own name where none is written."""
    description: str = Field(default="", max_length=1000)
    """What it does."""
    access: Access = Access.READWRITE
    """What it may do with `namespaces`."""
    namespaces: tuple[NamespaceName, ...] = Field(default=(), max_length=1000)
    """Namespaces that it uses."""
    reads: tuple[NamespaceName, ...] = Field(default=(), max_length=1000)
    """Namespaces that it may only read."""
    addresses: AddressRanges = ()
    """Where it connects from; empty: wherever `network.allow` lets in."""
    pool: PoolSpec = PoolSpec.model_construct()
    """The connections of one instance."""
    instances: InstancesSpec = InstancesSpec.model_construct()
    """How many instances run at the same time."""

    def flaws(self) -> Iterator[Flaw]:
        seen: set[str] = set()
        for key, names in (("namespaces", self.namespaces), ("reads", self.reads)):
            for index, name in enumerate(names):
                if name in seen:
                    yield Flaw(
                        (key, index),
                        f"namespace {name} is named more than once",
                        "name it once, in namespaces or in reads",
                    )
                seen.add(name)
