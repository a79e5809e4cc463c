"""What a relay works by, counts, and ends with: the translation of an RDB, whether all may be asked anew, phases, errors."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from holdfast.errors import HoldfastError


class Rewriting(Protocol):
    """Translates one RDB as it passes (see `holdfast.codec.rdb`)."""

    @property
    def keys(self) -> int:
        """Keys that have passed."""

    @property
    def losses(self) -> dict[str, int]:
        """What the target cannot hold, counted by what it is."""

    @property
    def grave(self) -> dict[str, int]:
        """Those losses that somebody has to agree to."""

    @property
    def stream_db(self) -> int:
        """The database that the stream behind the RDB begins in."""

    def feed(self, data: bytes) -> bytes:
        """Translate the next bytes."""

    def finish(self) -> bytes:
        """The last bytes. Raises: when the RDB was not whole."""


class Full(StrEnum):
    """Whether the source may be asked for a full synchronisation."""

    ALLOWED = "allowed"
    NEVER = "never"


class Phase(StrEnum):
    """What a relay is doing."""

    CONNECTING = "connecting"
    SNAPSHOT = "full sync"
    TAIL = "tail"
    WAITING_FOR_ROOM = "waiting for room"
    BROKEN_OFF = "broken off"
    """It would need a full synchronisation, and may not ask for one."""
    STOPPED = "stopped"


@dataclass(eq=False)
class WayBroken(HoldfastError):
    """The history cannot be continued, and starting over is not allowed here."""

    source: str
    why: str

    def __str__(self) -> str:
        return (
            f"the stream of {self.source} cannot be continued ({self.why}), and a full synchronisation was not asked for: "
            "it would empty the other side first. The way back is closed; what both sides hold is untouched"
        )


@dataclass(eq=False)
class LossNotAccepted(HoldfastError):
    """The source holds what the target cannot, and nobody has agreed to lose it."""

    losses: dict[str, int]

    def __str__(self) -> str:
        told = "; ".join(f"{what}: {count}" for what, count in self.losses.items())
        return (
            f"the source holds what the target cannot take ({told}), so the synchronisation was stopped; the source is as it "
            "was. Start again with --accept losses to go on without these"
        )


@dataclass
class Counts:
    """What a relay has done since it was made."""

    full_syncs: int = 0
    continued: int = 0
    rdb_bytes: int = 0
    """Received of the RDB that is, or was last, being taken."""
    stream_bytes: int = 0
    keys: int = 0
    rdb_losses: dict[str, int] = field(default_factory=dict)
    stream_losses: dict[str, int] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    """Why each full synchronisation was made."""
