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
        what = f"slot {self.slot} was" if self.slot >= 0 else "slots were"
        return (
            f"{what} moved to {self.source} while its source was being migrated, and the order of the two streams that tell of it "
            "is not known: everything has to be copied again, once the source's resharding has ended"
        )


@dataclass(eq=False)
class RestartedIncomplete(HoldfastError):
    """A fenced server has loaded its append-only file without the transactions in it."""

    server: str

    def __str__(self) -> str:
        return (
            f"{self.server} was restarted while it was fenced, and engines of its kind leave out every transaction of their append-only "
            "file then: what it holds is not known any more. The file itself is whole"
        )


@dataclass(eq=False)
class SlotsOnTheMove(HoldfastError):
    """A cluster is being resharded."""

    end: str

    def __str__(self) -> str:
        return f"slots of {self.end} are being moved: a full synchronisation is begun when they have come to rest"


@dataclass(eq=False)
class DatabaseNotMapped(HoldfastError):
    """The source writes to a database that the target has no place for."""

    database: int
    source: str

    def __str__(self) -> str:
        return (
            f"{self.source} uses database {self.database}, for which the target has no place; nothing behind that was written. Give "
            f"this migration up (holdfast migrate stop), and start it again with --map-db {self.database}=N, N a database of the target's "
            "that no other is mapped to"
        )
