"""What a cache is to become: the spec, the members it has, the hosts and the engine it may use. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from holdfast.engine.build import EngineBuild
from holdfast.engine.directive import Directive
from holdfast.spec.cache import Spec
from holdfast.spec.topology import TopologySpec
from holdfast.topology.layout import HostPlace
from holdfast.topology.record import CacheRecord


@dataclass(frozen=True)
class Manner:
    """How a change that restarts nodes is to be made."""

    surge: bool = False
    """Whether each shard gets a spare replica first."""
    allow_pause: bool = False
    """Whether a primary without a replica may be restarted, its clients waiting meanwhile."""
    going_back: bool = False
    """Whether this takes back a change that failed."""


CAREFUL = Manner()


@dataclass(frozen=True)
class Wanted:
    """All that a plan is made from, but for what is seen."""

    spec: Spec
    digest: str
    """Digest of the merged spec."""
    record: CacheRecord
    hosts: Sequence[HostPlace]
    build: EngineBuild
    """What the nodes are to run."""
    directives: Mapping[str, tuple[Directive, ...]] = field(default_factory=dict)
    """For each member that is a server: its configuration, but for whom it follows."""
    users_digest: str = ""
    """Digest of the ACL that every server is to have."""

    filtered: bool = False
    """Whether `network.allow` keeps anybody out that `network.bind` would let in."""
    stale_certificates: frozenset[str] = frozenset()
    """Members whose certificate has ended, soon will, or is for other addresses."""
    sentinel_users_digest: str = ""
    """Digest of the ACL that every sentinel is to have."""
    manner: Manner = CAREFUL

    @property
    def topology(self) -> TopologySpec:
        return self.spec.topology

    def zones_of(self, host: str) -> tuple[str, ...]:
        """The zones that nodes on that machine may be said to be in."""
        return tuple(
            zone
            for place in self.hosts
            if place.name == host
            for zone in place.zones
            if zone in self.topology.zones
        )
