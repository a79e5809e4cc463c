"""What a node writes to disk, and what an acknowledged write promises."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, InstanceOf, PlainSerializer, WithJsonSchema

from holdfast.spec.model import Flaw, Model
from holdfast.spec.units import Bytes, Milliseconds, Seconds

_SAVE_RULE = re.compile(r"(\d{1,9})\s+(\d{1,9})", re.ASCII)


@dataclass(frozen=True, order=True)
class SaveRule:
    """Save a snapshot after this many seconds if at least this many keys changed; written `900 1`."""

    after_s: int
    changes: int

    @property
    def text(self) -> str:
        return f"{self.after_s} {self.changes}"

    @classmethod
    def parse(cls, text: str) -> "SaveRule":
        match = _SAVE_RULE.fullmatch(text.strip())
        if match is None or int(match[1]) < 1 or int(match[2]) < 1:
            raise ValueError(
                f'{text!r} is not a save rule: write seconds and changed keys, for example "900 1"'
            )
        return cls(int(match[1]), int(match[2]))


def _save_rule(given: Any) -> Any:
    return SaveRule.parse(given) if isinstance(given, str) else given


SaveRuleField = Annotated[
    InstanceOf[SaveRule],
    BeforeValidator(_save_rule),
    PlainSerializer(lambda rule: rule.text, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": r"^\d+\s+\d+$", "examples": ["900 1"]}),
]


class Fsync(StrEnum):
    """When the append-only file reaches the disk; the engines' own names."""

    EVERYSEC = "everysec"
    ALWAYS = "always"
    NO = "no"


class WritePromise(StrEnum):
    """What an acknowledged write has behind it."""

    NONE = "none"
    WAIT = "wait"
    MIN_REPLICAS = "min_replicas"


class RdbSpec(Model):
    """Snapshots of a node."""

    enabled: bool = True
    """Whether snapshots are written by rule; a replica's first copy and backups use snapshots in any case."""
    save: tuple[SaveRuleField, ...] = Field(
        default=(SaveRule(900, 1), SaveRule(300, 10), SaveRule(60, 10000)), max_length=16
    )
    """Rules `SECONDS CHANGES`: save after so many seconds if so many keys changed."""
    compression: bool = True
    """Whether texts inside are compressed (LZF)."""
    checksum: bool = True
    """Whether the file ends in a checksum that is verified on load."""

    def flaws(self) -> Iterator[Flaw]:
        if self.enabled and not self.save:
            yield Flaw(
                ("save",),
                "snapshots are enabled without a rule that says when",
                "write a rule, or enabled: false",
            )


class AofSpec(Model):
    """The append-only file of a node."""

    enabled: bool = False
    """Whether every write is also appended to a file."""
    fsync: Fsync = Fsync.EVERYSEC
    """When the file reaches the disk: `everysec` may lose about a second (two at worst), `always` nothing, `no` what
    the system still holds."""
    rewrite_percentage: int = Field(default=100, ge=0, le=10_000)
    """Growth since the last rewrite, in percent, that starts the next; 0: never by itself."""
    rewrite_min_size_bytes: Bytes = Field(default=64 << 20, alias="rewrite_min_size", ge=0)
    """A smaller file is not rewritten."""
    load_truncated: bool = True
    """Whether a file that ends in the middle of a write is loaded up to there (and the loss said)."""


class DurabilitySpec(Model):
    """What an acknowledged write has behind it, beside the primary's own memory and files."""

    writes: WritePromise = WritePromise.NONE
    """`none`; `wait`: Holdfast's client waits for replicas (WAIT) and reports when they did not answer;
    `min_replicas`: a primary that sees too few replicas refuses writes (min-replicas-to-write)."""
    replicas: int = Field(default=1, ge=1, le=20)
    """How many replicas are meant."""
    timeout_ms: Milliseconds = Field(default=1000, alias="timeout", ge=1, le=600_000)
    """`wait`: how long the client waits for them."""
    max_lag_s: Seconds = Field(default=10, alias="max_lag", ge=1, le=3600)
    """`min_replicas`: how long ago a replica may have answered last to be counted."""


class PersistenceSpec(Model):
    """What a node writes to disk, and what an acknowledged write promises."""

    rdb: RdbSpec = RdbSpec.model_construct()
    """Snapshots."""
    aof: AofSpec = AofSpec.model_construct()
    """The append-only file."""
    durability: DurabilitySpec = DurabilitySpec.model_construct()
    """What an acknowledged write promises."""
