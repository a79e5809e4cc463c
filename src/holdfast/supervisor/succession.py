"""One dead node's succession as it is told: what is known at its end, what became of it, and when, in milliseconds."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from holdfast.engine.datafiles import DataFiles
from holdfast.errors import HoldfastError
from holdfast.supervisor import failover_rules as rules
from holdfast.supervisor.doors import Doors
from holdfast.supervisor.failover_rules import Voice
from holdfast.topology.hosts import WatchOrder
from holdfast.topology.patience import Patience

LOOK_EVERY_S = 0.001
ENDED_TOO = "its replicas ended with it, and what is on its disk is no older than what is on theirs"
PROBE_KEY = "holdfast:probe"
"""Deleted, never written: DEL of a missing key changes nothing and is refused wherever a write would be."""


class Way(StrEnum):
    """How the heir came to its place."""

    ASKED = "asked"
    """At once, by the engine's own vote, or by being told to where there is no vote."""
    HURRIED = "asked, the voters' rest cut short"
    """The same, with a shorter node timeout meanwhile: they had voted about this primary a short while ago."""
    ENGINE = "by the engine alone"
    UNVOTED = "without a vote, as the spec allows: no majority was left, and all who were missing are known to be dead"


@dataclass(frozen=True)
class Takeover:
    """What is known when a node has ended."""

    order: WatchOrder
    doors: Doors
    dead: str
    dead_id: str
    last_offset: int | None
    """Its offset when last sampled."""
    ended_s: float
    """When its end was seen, monotonic."""
    patience: Patience
    voted_s: float | None = None
    """When voters last voted about it, as far as was seen; monotonic."""
    was_primary: bool = False
    """What it was when last heard, for where no survivor can say."""
    outlived: Callable[[str], bool] = lambda _: True
    """Whether that server has run since before the end: one that was started later has no more than its own files."""
    nobody_else: Callable[[Collection[str]], bool] = lambda _: False
    """Whether all servers but those named, which answered, are known to be dead: they were children of this supervisor."""
    files: Callable[[], DataFiles] = DataFiles
    """Looks at the data set that it left on disk, where that can be seen."""


@dataclass
class Taken:
    """What became of it."""

    was_primary: bool = False
    heir: str = ""
    """The node that has its place now; empty when nobody has."""
    leader: str = ""
    """Outside a cluster: the primary that is there already; the one that ended was none, or is none any more."""
    way: Way = Way.ASKED
    words: str = ""
    asked: tuple[str, ...] = ()
    asked_ms: float | None = None
    last_asked_ms: float | None = None
    elected_ms: float | None = None
    accepting_ms: float | None = None
    told_ms: float | None = None
    """When the sentinels that answer had been told who it is; before that, clients that ask them are sent to the dead one."""
    known_ms: float | None = None
    """When every survivor knew: the old primary may be started again only then."""
    bumped: int = 0
    """How often the heir had to take a newer epoch for all to know."""
    offset_gap_bytes: int | None = None
    heard: frozenset[str] = frozenset()
    """Names of the servers that answered."""
    holders: tuple[str, ...] = ()
    """Its replicas that answered and hold keys."""
    waits_for_word: bool = False
    """Whether only a person may say that one of the holders takes over."""
    voters: frozenset[str] = frozenset()
    """In a cluster: the other primaries."""

    def facts(self) -> dict[str, Any]:
        """For the event."""
        return {
            "heir": self.heir,
            "way": str(self.way) if self.heir else "",
            "asked": list(self.asked),
            "asked_ms": self.asked_ms,
            "elected_ms": self.elected_ms,
            "accepting_ms": self.accepting_ms,
            "told_ms": self.told_ms,
            "known_ms": self.known_ms,
            "bumped": self.bumped,
            "offset_gap_bytes_at_most": self.offset_gap_bytes,
            "words": self.words,
        }


def since_ms(takeover: Takeover) -> float:
    return round((time.monotonic() - takeover.ended_s) * 1000, 2)


def worthy(takeover: Takeover, wanting: Sequence[Voice]) -> list[Voice]:
    """Those who may have all that the dead one had (see `failover_rules.worthy`)."""
    return rules.worthy(wanting, takeover.outlived, lambda: takeover.files().holds_keys)


def gap_bytes(takeover: Takeover, heir: Voice) -> int | None:
    """Bytes that the dead one was ahead when last sampled; no more than an upper bound of what is lost."""
    return None if takeover.last_offset is None else max(0, takeover.last_offset - heir.offset)


async def becomes_primary(takeover: Takeover, name: str, bound_s: float) -> bool:
    """Judged by the role that is seen: an OK is not an election."""
    end_s = time.monotonic() + bound_s
    while time.monotonic() < end_s:
        with contextlib.suppress(HoldfastError):
            role = await takeover.doors.ask(name, "ROLE")
            if role[0] == "master":
                return True
        await asyncio.sleep(LOOK_EVERY_S)
    return False


async def accepting_ms(takeover: Takeover, name: str) -> float | None:
    """Milliseconds until the heir takes writes: a DEL of a key that is not there, in one of its slots or refused with
    MOVED, both of which say that it serves.
    """
    end_s = time.monotonic() + 2.0
    while time.monotonic() < end_s:
        try:
            await takeover.doors.ask(name, "DEL", PROBE_KEY)
            return since_ms(takeover)
        except HoldfastError as refused:
            if "MOVED" in str(refused):
                return since_ms(takeover)
        await asyncio.sleep(LOOK_EVERY_S)
    return None
