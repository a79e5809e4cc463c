"""How much a node may hold, and what it does when it is full."""

from collections.abc import Iterator
from enum import StrEnum

from pydantic import Field

from holdfast.spec.model import Flaw, Model
from holdfast.spec.units import Bytes, Percent


class EvictionPolicy(StrEnum):
    """What a full node drops; the engines' own names."""

    NOEVICTION = "noeviction"
    ALLKEYS_LRU = "allkeys-lru"
    ALLKEYS_LFU = "allkeys-lfu"
    ALLKEYS_RANDOM = "allkeys-random"
    VOLATILE_LRU = "volatile-lru"
    VOLATILE_LFU = "volatile-lfu"
    VOLATILE_RANDOM = "volatile-random"
    VOLATILE_TTL = "volatile-ttl"

    @property
    def drops_any_key(self) -> bool:
        """Whether keys without a TTL may go too."""
        return self.value.startswith("allkeys-")

    @property
    def drops_expiring_keys(self) -> bool:
        """Whether only keys with a TTL may go."""
        return self.value.startswith("volatile-")


class MemorySpec(Model):
    """How much a node may hold, and what it does when it is full."""

    maxmemory_bytes: Bytes = Field(default=256 << 20, alias="maxmemory", ge=1 << 20)
    """Data that one node may hold."""
    policy: EvictionPolicy = EvictionPolicy.VOLATILE_LRU
    """What a full node drops. The default keeps a full cache writable and drops only keys that were given a TTL, that
    is, keys whose writer has said that they may go: nothing else is lost silently."""
    samples: int = Field(default=5, ge=1, le=64)
    """Keys that are looked at to find one to drop (maxmemory-samples)."""
    timer_hz: int | None = Field(default=None, alias="hz", ge=1, le=500)
    """Rounds per second of a server's timer, in which expired keys are looked for. Without it 10, but 100 in a cluster of
    an engine that begins a forced election only at its timer (Redis, Valkey before 8.1): a dead primary is then replaced
    in some 10 ms and not in up to 100, for less than 0.2 % of a core."""
    lazy_expire: bool = True
    """Whether the memory of expired keys is given back by a background thread. (An expired key is never served,
    whatever is set here: the engines look at the TTL on every access.)"""
    limit_bytes: Bytes | None = Field(default=None, alias="limit", ge=1 << 20)
    """Memory that the container or the machine leaves to one node; copies made while saving must fit in too."""
    warn_percent: Percent = Field(default=80, alias="warn", ge=1, le=100)
    """Share of maxmemory from which `status` and `watch` warn."""
    critical_percent: Percent = Field(default=90, alias="critical", ge=1, le=100)
    """Share of maxmemory from which they call it critical."""
    replication_backlog_bytes: Bytes = Field(default=64 << 20, alias="replication_backlog", ge=16 << 10)
    """Written bytes that a primary keeps, so that a replica that was away catches up without a full copy: 64mb is a
    minute at 1 MB/s. Comes on top of maxmemory."""

    def flaws(self) -> Iterator[Flaw]:
        if self.critical_percent < self.warn_percent:
            yield Flaw(
                ("critical",),
                f"critical at {self.critical_percent:g}% comes before the warning at {self.warn_percent:g}%",
                "write critical at or above warn",
            )
        if self.limit_bytes is not None and self.limit_bytes <= self.maxmemory_bytes:
            yield Flaw(
                ("limit",),
                "the limit leaves nothing beside maxmemory",
                "write a limit of at least maxmemory / 0.75",
            )
