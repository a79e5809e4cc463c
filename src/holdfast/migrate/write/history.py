"""What a writer is given and what it tells: the history it writes, its settings, what it is doing and has done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from holdfast.migrate.relay.serve import Way
from holdfast.migrate.write.checkpoint import Marks
from holdfast.migrate.write.errors import SlotMovedAtSource
from holdfast.migrate.write.held import HeldKeys
from holdfast.migrate.write.jobs import Past, SlotJob
from holdfast.migrate.write.load import Snapshot


class HistorySpool(Snapshot, Protocol):
    """A source's history on disk (`migrate.relay.spool.Spool`)."""

    replid: str
    base: int
    end: int

    @property
    def start(self) -> int: ...

    @property
    def has_rdb(self) -> bool: ...

    def read(self, at: int, length: int) -> bytes: ...


class History(Protocol):
    """Who fills the spool (`migrate.relay.relay.Relay`)."""

    @property
    def spool(self) -> HistorySpool: ...

    def way(self, replid: str, offset: int) -> Way: ...

    def heard(self, offset: int) -> None: ...

    async def grown(self) -> None: ...

    def start_over(self, why: str) -> None: ...


class Phase(StrEnum):
    """What a writer is doing."""

    CONNECTING = "connecting"
    WAITING = "waiting for the snapshot"
    REMOVING = "removing what an earlier snapshot left"
    LOADING = "full sync"
    TAIL = "tail"
    STOPPED = "stopped"


class Claims(Protocol):
    """Who gives slots that move at the end that is read from one way to another (`migrate.write.moves`)."""

    async def slot(self, slot: int) -> None:
        """Wait until a slot of another shard, which the stream has come to, is this source's to write. Raises: SlotMovedAtSource."""

    async def job(self, job: SlotJob) -> Past:
        """Wait until a move of whole slots to this source has ended, and its slots are this source's; what has been dealt with then.

        Raises: SlotMovedAtSource.
        """

    def anew(self) -> None:
        """A snapshot is written: what earlier streams told is of the past."""


class NobodyGives:
    """`Claims` where nobody knows of slots that move."""

    async def slot(self, slot: int) -> None:
        """Raises: SlotMovedAtSource, always."""
        raise SlotMovedAtSource(slot, "another shard")

    async def job(self, job: SlotJob) -> Past:
        """Raises: SlotMovedAtSource, always."""
        raise SlotMovedAtSource(min(job.slots, default=-1), "another shard")

    def anew(self) -> None:
        """Nothing is known that could be forgotten."""


@dataclass(frozen=True)
class WriterSettings:
    """How one source is written."""

    marks: Marks
    owned: frozenset[int] | None = None
    """The source shard's slots; None where it is not a cluster."""
    databases: dict[int, int] | None = None
    """Of the source -> of the target; each to its own number without it."""
    sole: bool = True
    """Whether this is the only source, so that a flush of it is a flush of the target."""
    claims: Claims = field(default_factory=NobodyGives)
    past: Past = field(default_factory=Past)
    """What of the stream is not to be written again."""
    held_file: Path | None = None
    """Where keys whose time was put off are remembered."""
    tell: Callable[[str], None] = lambda _: None


RAISE_EVERY_S = 5.0
RAISE_IDLE_S = 0.3
"""A stream at rest is acknowledged this soon."""


@dataclass
class Raised:
    """How far all checkpoints have been raised."""

    offset: int = -1
    at_s: float = 0.0
    read_at_s: float = 0.0
    """When there was last something to write."""
    hurry: bool = False
    """Somebody waits for an acknowledgement."""

    def due(self, now_s: float, *, idle: bool) -> bool:
        """Whether it is time to do it again. Args: `idle`, there is nothing to write at the moment."""
        # A trickle of writes is not rest: raising all checkpoints after each of them would cost more than they do.
        at_rest = idle and now_s - self.read_at_s >= RAISE_IDLE_S
        return at_rest or (idle and self.hurry) or now_s - self.at_s >= RAISE_EVERY_S


@dataclass
class Standing:
    """Where a writer is in its source's history, and what it is at."""

    phase: Phase = Phase.CONNECTING
    replid: str = ""
    position: int = -1
    """Offset up to which everything is in the target; -1 before the snapshot is."""
    database: int = 0
    """The source's, selected at `position`."""
    owned: frozenset[int] | None = None
    """The source shard's slots; None where it is not a cluster."""
    past: Past = field(default_factory=Past)
    """What of the stream is not to be written again."""
    applied: dict[int, int] = field(default_factory=dict)
    """How far each cell has come already, where that is further than `position`."""
    repeats_until: int = 0
    """Up to here commands may have run before: refusals then say nothing."""
    raised: Raised = field(default_factory=Raised)
    raising: bool = False
    """Whether all checkpoints are being raised just now."""
    quiet: bool = False
    """Whether checkpoints are left where they are: a switch is under way, and needs the time for the stream."""
    held: HeldKeys = field(default_factory=HeldKeys)
    waits_for: frozenset[int] = frozenset()
    """Slots of another shard that the stream has come to, and that are not ours to write yet."""


@dataclass
class Written:
    """What a writer has done since it was made."""

    commands: int = 0
    repeated: int = 0
    """Times that the stream was replayed from an older place."""
    loads: int = 0
    removed: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    """What the target refused for good, by the engine's words."""
    lost: dict[str, int] = field(default_factory=dict)
    """What could not be carried exactly, by what it was."""
