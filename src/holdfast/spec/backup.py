"""Backups of the cache, and its copy in another region."""

import re
from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator, Field

from holdfast.spec.model import Flaw, Model
from holdfast.spec.names import CacheName

NAMED_SCHEDULES = {"hourly": "0 * * * *", "daily": "0 2 * * *", "weekly": "0 2 * * 0", "monthly": "0 2 1 * *"}
"""Schedules that have a name, as cron writes them."""
_CRON_PARTS = (("minute", 0, 59), ("hour", 0, 23), ("day", 1, 31), ("month", 1, 12), ("weekday", 0, 7))
_CRON_ITEM = re.compile(r"(\*|(\d{1,2})(?:-(\d{1,2}))?)(?:/(\d{1,2}))?", re.ASCII)
_STORE = re.compile(r"local|[a-z][a-z0-9+.-]{0,30}://[^\s]+|/[^\s\x00]+")
_STORE_WITH_SECRET = re.compile(r"[a-z][a-z0-9+.-]*://[^/@\s]*:[^/@\s]*@")


def _schedule(text: str) -> str:
    """`off`, `hourly`, ... or five cron fields; ValueError that names the field."""
    wanted = " ".join(text.split())
    if wanted == "off" or wanted in NAMED_SCHEDULES:
        return wanted
    fields = wanted.split(" ")
    if len(fields) != len(_CRON_PARTS):
        raise ValueError(
            f"{text!r} is not a schedule: write hourly, daily, weekly, monthly, off, or five cron fields (0 2 * * *)"
        )
    for field, (name, low, high) in zip(fields, _CRON_PARTS, strict=True):
        for item in field.split(","):
            match = _CRON_ITEM.fullmatch(item)
            numbers = [int(number) for number in (match[2], match[3]) if number] if match else []
            if (
                match is None
                or not all(low <= number <= high for number in numbers)
                or numbers != sorted(numbers)
                or match[4] in {"0", "00"}
            ):
                raise ValueError(
                    f"{item!r} is not a cron {name}: write *, {low} to {high}, a range a-b, or */n"
                )
    return wanted


def _store(text: str) -> str:
    if _STORE.fullmatch(text) is None:
        raise ValueError(
            f"{text!r} is not a store: write local, a folder (/srv/backups) or a URL (s3://bucket/folder)"
        )
    if _STORE_WITH_SECRET.match(text):
        raise ValueError(
            "a store's URL carries no password: give the store its credentials outside of this file"
        )
    return text


Schedule = Annotated[str, AfterValidator(_schedule)]
StoreUrl = Annotated[str, AfterValidator(_store)]


class RetentionSpec(Model):
    """How many backups of each age are kept; 0: none."""

    hourly: int = Field(default=24, ge=0, le=100_000)
    """The latest ones, one for each hour."""
    daily: int = Field(default=7, ge=0, le=100_000)
    """One for each day."""
    weekly: int = Field(default=4, ge=0, le=100_000)
    """One for each week."""
    monthly: int = Field(default=12, ge=0, le=100_000)
    """One for each month."""

    def flaws(self) -> Iterator[Flaw]:
        if not (self.hourly or self.daily or self.weekly or self.monthly):
            yield Flaw((), "no backup would be kept", "keep at least one, or write schedule: off")


class BackupSpec(Model):
    """Backups of the whole cache."""

    schedule: Schedule = "daily"
    """`hourly`, `daily`, `weekly`, `monthly`, `off`, or five cron fields."""
    retention: RetentionSpec = RetentionSpec.model_construct()
    """How many are kept."""
    store: StoreUrl = "local"
    """Where they are kept: `local` (Holdfast's state folder), a folder, or a URL (`s3://`, `abfs://`, `gs://`, `file://`)."""
    encryption: bool = True
    """Whether they are encrypted before they leave the node."""
    from_replica: bool = True
    """Whether a replica is read, so that no primary has to fork."""
    before_maintenance: bool = True
    """Whether one is made before maintenance."""
    before_release: bool = False
    """Whether one is made before a new release of the application."""


class DrSpec(Model):
    """A copy of the cache in another region, for when this one is lost."""

    region: str | None = Field(default=None, min_length=1, max_length=100)
    """Where it is; without it there is none."""
    cache: CacheName | None = None
    """What it is called."""
    link: str | None = Field(default=None, max_length=100)
    """What the link to it is called, where the place names links."""
    automatic: bool = False
    """Whether clients are moved there without being asked."""
    approval: bool = True
    """Whether a person must approve the move."""

    def flaws(self) -> Iterator[Flaw]:
        if self.automatic and self.approval:
            yield Flaw(
                ("automatic",),
                "a move that waits for approval is not automatic",
                "write approval: false, or automatic: false",
            )
        if self.region is None and (self.cache or self.link or self.automatic):
            yield Flaw(("region",), "a copy elsewhere is described, but not where it is", "name its region")
