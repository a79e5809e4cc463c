"""When the cache may be worked on."""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field

from holdfast.spec.model import Model
from holdfast.spec.names import Name
from holdfast.spec.units import Seconds

_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d", re.ASCII)


def _clock(text: str) -> str:
    if _CLOCK.fullmatch(text) is None:
        raise ValueError(f'{text!r} is not a time of day: write it in quotes, for example "02:00"')
    return text


class Day(StrEnum):
    """A day of the week, or each."""

    DAILY = "daily"
    MONDAY = "monday"
    TUESDAY = "tuesday"
    WEDNESDAY = "wednesday"
    THURSDAY = "thursday"
    FRIDAY = "friday"
    SATURDAY = "saturday"
    SUNDAY = "sunday"


class WindowSpec(Model):
    """A time in which upgrades and other work that moves primaries may happen."""

    day: Day = Day.DAILY
    """Which day."""
    start: Annotated[str, AfterValidator(_clock)]
    """From when on, `"02:00"`, in `timezone`."""
    duration_s: Seconds = Field(default=7200, alias="duration", ge=60, le=86_400)
    """For how long."""
    timezone: str = Field(default="UTC", pattern=r"^[A-Za-z][A-Za-z0-9_+/-]{0,63}$")
    """A name of the time zone database, for example Asia/Seoul."""


class MaintenanceSpec(Model):
    """When the cache may be worked on; without a window, whenever an operator says so."""

    windows: Mapping[Name, WindowSpec] = Field(default_factory=dict)
    """Times, by name."""
