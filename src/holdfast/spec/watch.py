"""What is measured, how long it is kept, and what raises an alarm."""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Self

from pydantic import Field, model_validator

from holdfast.spec.model import Flaw, Model
from holdfast.spec.names import Name
from holdfast.spec.units import Days, Seconds


class Unit(StrEnum):
    """What a measured number counts."""

    PERCENT = "percent"
    MS = "ms"
    COUNT = "count"
    BYTES = "bytes"
    PER_SECOND = "per_second"


class Metric(StrEnum):
    """What is measured; one spelling for alerts, dashboards and exports."""

    HITS = "hits"
    MISSES = "misses"
    HIT_PERCENT = "hit_percent"
    MISS_PERCENT = "miss_percent"
    GET_COMMANDS = "get_commands"
    SET_COMMANDS = "set_commands"
    COMMANDS = "commands"
    CONNECTED_CLIENTS = "connected_clients"
    REFUSED_CONNECTIONS = "refused_connections"
    USED_MEMORY = "used_memory"
    USED_MEMORY_PERCENT = "used_memory_percent"
    EVICTED_KEYS = "evicted_keys"
    EXPIRED_KEYS = "expired_keys"
    LATENCY = "latency"
    ERRORS = "errors"
    REPLICATION_LAG = "replication_lag"
    BACKUP_AGE = "backup_age"
    NODES_DOWN = "nodes_down"

    @property
    def unit(self) -> Unit:
        """What its numbers count."""
        return _UNITS.get(self, Unit.COUNT)


_UNITS = {
    Metric.HIT_PERCENT: Unit.PERCENT,
    Metric.MISS_PERCENT: Unit.PERCENT,
    Metric.USED_MEMORY_PERCENT: Unit.PERCENT,
    Metric.USED_MEMORY: Unit.BYTES,
    Metric.LATENCY: Unit.MS,
    Metric.REPLICATION_LAG: Unit.MS,
    Metric.BACKUP_AGE: Unit.MS,
    Metric.GET_COMMANDS: Unit.PER_SECOND,
    Metric.SET_COMMANDS: Unit.PER_SECOND,
    Metric.COMMANDS: Unit.PER_SECOND,
}


class Severity(StrEnum):
    """How bad it is."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Action(StrEnum):
    """Who is told, and how; where that is (an address, a token) is no part of a spec."""

    TEAMS = "teams"
    SLACK = "slack"
    SMS = "sms"
    PHONE = "phone"
    EMAIL = "email"
    PAGER = "pager"
    WEBHOOK = "webhook"
    LOG = "log"


class AlertSpec(Model):
    """When a measured number raises an alarm."""

    title: str = Field(default="", max_length=200)
    """What people read."""
    metric: Metric
    """What is measured."""
    threshold: float
    """From which value on, in `unit`."""
    unit: Unit | None = None
    """What the threshold counts: the metric's own unit, written out for people."""
    window_s: Seconds = Field(default=300, alias="window", ge=1)
    """How long it must hold; `count` metrics are summed over it."""
    severity: Severity = Severity.WARNING
    """How bad it is."""
    action: tuple[Action, ...] = (Action.LOG,)
    """Who is told, and how."""

    @model_validator(mode="after")
    def _unit_is_always_known(self) -> Self:
        if self.unit is None:
            object.__setattr__(self, "unit", self.metric.unit)
        return self

    def flaws(self) -> Iterator[Flaw]:
        if self.unit is not None and self.unit is not self.metric.unit:
            yield Flaw(
                ("unit",),
                f"{self.metric} is measured in {self.metric.unit}, not {self.unit}",
                f"write unit: {self.metric.unit}",
            )
        if self.metric.unit is Unit.PERCENT and not 0 <= self.threshold <= 100:
            yield Flaw(("threshold",), f"{self.threshold:g} is no percentage", "write 0 to 100")


class DashboardSpec(Model):
    """A page of charts."""

    title: str = Field(default="", max_length=200)
    """What people read."""
    tool: str = Field(default="holdfast", max_length=50)
    """What shows it: `holdfast`, `grafana`, `azure`."""
    datasource: str | None = Field(default=None, max_length=200)
    """Where its numbers come from, as the tool calls it."""
    panels: Mapping[Name, str] = Field(default_factory=dict)
    """Charts: name, and what each shows."""
    optional: bool = False
    """Whether the cache counts as watched without it."""


class WatchSpec(Model):
    """What is measured, and how long it is kept."""

    interval_s: Seconds = Field(default=10, alias="interval", ge=1, le=3600)
    """How often the nodes are asked."""
    health_check_interval_s: Seconds = Field(default=30, alias="health_check_interval", ge=1, le=3600)
    """How often the whole cache is judged, with a write and a read."""
    metrics: tuple[Metric, ...] = tuple(Metric)
    """What is kept."""
    metrics_retention_days: Days = Field(default=90, alias="metrics_retention", ge=1, le=3650)
    """How long numbers are kept."""
    logs_retention_days: Days = Field(default=30, alias="logs_retention", ge=1, le=3650)
    """How long logs are kept."""
    dashboards: Mapping[Name, DashboardSpec] = Field(default_factory=dict)
    """Pages of charts."""
