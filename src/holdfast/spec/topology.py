"""How many servers make the cache, how they are tied, and over which zones they are spread."""

from collections.abc import Iterator
from enum import StrEnum

from pydantic import Field

from holdfast.spec.model import Flaw, Model
from holdfast.spec.names import ZoneName
from holdfast.spec.units import Milliseconds

SLOTS = 16384
FEWEST_SHARDS = 3
FEWEST_SENTINELS = 3


class Mode(StrEnum):
    """How the servers are tied."""

    STANDALONE = "standalone"
    REPLICATED = "replicated"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


class TopologySpec(Model):
    """How many servers make the cache, and how they are tied."""

    mode: Mode = Mode.STANDALONE
    """`standalone`: one server; `replicated`: one primary and replicas; `sentinel`: the same, watched by sentinels;
    `cluster`: the keys split over shards."""
    shards: int = Field(default=1, ge=1, le=1000)
    """Primaries: 1, or in a cluster 3 and up."""
    replicas: int = Field(default=0, ge=0, le=20)
    """Replicas of each primary."""
    zones: tuple[ZoneName, ...] = Field(default=("local",), min_length=1, max_length=100)
    """Failure domains that the nodes are spread over; a primary and its replica are never put into one while there
    are two."""
    node_timeout_ms: Milliseconds = Field(default=5000, alias="node_timeout", ge=100, le=600_000)
    """Silence after which nodes hold one another for dead. The engines' own default of 15 s makes their election take
    over 20 s; 5 s leaves room for a long command."""
    replica_validity_factor: int = Field(default=10, ge=0, le=1000)
    """A replica that lost its primary for longer than this many node timeouts does not stand for election; 0: any may."""
    sentinels: int = Field(default=3, ge=1, le=99)
    """Sentinels that watch, in mode `sentinel`: an odd number, 3 and up."""
    quorum: int = Field(default=2, ge=1, le=99)
    """Sentinels that must agree that a primary is dead."""
    parallel_syncs: int = Field(default=1, ge=1, le=20)
    """Replicas that copy from a new primary at the same time, in mode `sentinel`."""
    require_full_coverage: bool = Field(default=False, alias="full_coverage")
    """Whether a cluster that lost a shard refuses all keys, and not only those of that shard."""
    unattended_takeover: bool = False
    """Whether replicas of a cluster take over without a vote, and without waiting for a person, where so many primaries died at
    once that no vote can be won and nothing on disk holds what they had: only while every server that does not answer is known
    to be dead to this machine's supervisor. What they had acknowledged and not yet copied is lost. Without it, `holdfast repair`."""
    port: int | None = Field(default=None, ge=1, le=65535)
    """The first port wished; without it free ones are chosen and kept."""

    @property
    def nodes(self) -> int:
        """Servers that hold data."""
        return self.shards * (1 + self.replicas)

    def flaws(self) -> Iterator[Flaw]:
        if self.mode is Mode.CLUSTER and self.shards < FEWEST_SHARDS:
            yield Flaw(
                ("shards",),
                f"a cluster of {self.shards} shards cannot outvote a lost primary",
                "write shards: 3 or more",
            )
        if self.mode is not Mode.CLUSTER and self.shards != 1:
            yield Flaw(
                ("shards",),
                f"mode {self.mode} has one shard, not {self.shards}",
                "write mode: cluster, or shards: 1",
            )
        if self.mode is Mode.STANDALONE and self.replicas:
            yield Flaw(
                ("replicas",),
                f"mode standalone has no replicas, not {self.replicas}",
                "write mode: replicated or sentinel",
            )
        if self.mode in {Mode.REPLICATED, Mode.SENTINEL} and not self.replicas:
            yield Flaw(
                ("replicas",), f"mode {self.mode} needs a replica to turn to", "write replicas: 1 or more"
            )
        if self.mode is Mode.SENTINEL:
            yield from self._sentinel_flaws()
        if len(set(self.zones)) != len(self.zones):
            twice = sorted({zone for zone in self.zones if self.zones.count(zone) > 1})
            yield Flaw(
                ("zones",),
                f"zone {twice[0]} is named more than once",
                "name each zone once",
                needs=("topology", "zones"),
            )

    def _sentinel_flaws(self) -> Iterator[Flaw]:
        majority = self.sentinels // 2 + 1
        if self.sentinels < FEWEST_SENTINELS or self.sentinels % 2 == 0:
            yield Flaw(
                ("sentinels",),
                f"{self.sentinels} sentinels have no majority left when one is lost",
                "write 3, 5 or 7",
            )
        elif not majority <= self.quorum <= self.sentinels:
            yield Flaw(
                ("quorum",),
                f"a quorum of {self.quorum} is no majority of {self.sentinels} sentinels",
                f"write quorum: {majority}",
            )
