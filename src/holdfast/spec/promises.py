"""What the cache promises, to be measured by `holdfast prove`; what is not written is not promised."""

from pydantic import Field

from holdfast.spec.model import Model
from holdfast.spec.units import FractionalMilliseconds, FractionalSeconds, Percent, Seconds


class PromisesSpec(Model):
    """What the cache promises."""

    latency_ms: FractionalMilliseconds | None = Field(default=None, alias="latency", gt=0)
    """An answer takes at most this long, at `percentile`, under `throughput`."""
    percentile: float = Field(default=99, gt=0, lt=100)
    """Share of answers, in percent, that keep `latency`."""
    throughput_ops: float | None = Field(default=None, alias="throughput", gt=0)
    """Commands per second that the cache carries."""
    hit_rate_percent: Percent | None = Field(default=None, alias="hit_rate", ge=0, le=100)
    """Share of reads that find their key."""
    failover_s: FractionalSeconds | None = Field(default=None, alias="failover", gt=0)
    """From the death of a primary to the next accepted write of its shard."""
    rto_s: Seconds | None = Field(default=None, alias="rto", ge=0)
    """From the loss of the whole cache to its return from a backup."""
    rpo_s: Seconds | None = Field(default=None, alias="rpo", ge=0)
    """Writes, counted back from such a loss, that may be gone."""
    availability_percent: Percent | None = Field(default=None, alias="availability", ge=0, lt=100)
    """Share of the time in which reads and writes are answered."""
    connections: int | None = Field(default=None, ge=1)
    """Clients connected at the same time, over all nodes."""
    users: int | None = Field(default=None, ge=1)
    """People served at the same time at the peak, for capacity plans."""
