"""What can end, or interrupt, the writing way of a migration."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.errors import HoldfastError


@dataclass(eq=False)
class TargetStuck(HoldfastError):
    """The target did not take writes for longer than the bound."""

    address: str
    waited_s: float
    why: str

    def __str__(self) -> str:
        return (
            f"the target {self.address} has taken no writes for {self.waited_s:g} s ({self.why}); nothing is lost, the source's "
            "stream waits in the spool: mend the target, then resume the migration"
        )


@dataclass(eq=False)
class CheckpointLost(HoldfastError):
    """A checkpoint that was written is gone or older than what the target had acknowledged."""

    address: str
    why: str

    def __str__(self) -> str:
        return (
            f"the target {self.address} {self.why}: it was flushed, evicted from, or came back without data, so what it holds "
            "is unknown; a full synchronisation has to be made anew"
        )


@dataclass(eq=False)
class SlotMovedAtSource(HoldfastError):
    """A slot changed its owner at the source: two streams that have no common order tell of it."""

    slot: int
    source: str

    def __str__(self) -> str:
        return (
            f"slot {self.slot} was moved to {self.source} while its source was being migrated: the two streams that tell of it "
            "have no common order, so the migration has stopped before it could go wrong. Let the source's resharding end, "
            "then resume: a full synchronisation is made anew"
        )


@dataclass(eq=False)
class DatabaseNotMapped(HoldfastError):
    """The source writes to a database that the target has no place for."""

    database: int
    source: str

    def __str__(self) -> str:
        return (
            f"{self.source} wrote to database {self.database}, for which no database of the target is declared; nothing after "
            "that was written. Declare one (--database 1=0), or leave the database out with --accept"
        )
