"""One dead primary's succession: ask the best replica, judge by its role, and say what happened in milliseconds."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.spec.topology import Mode
from holdfast.supervisor import failover_rules as rules
from holdfast.supervisor.doors import Doors
from holdfast.supervisor.failover_rules import Voice
from holdfast.topology.hosts import WatchOrder

LOOK_EVERY_S = 0.001
ELECTION_BOUND_S = 1.5
"""An election that is won at all is won in a few ms (Valkey) or about 55 ms (Redis, whose cluster timer is 100 ms)."""
ARMING_BOUND_S = 2.0
KNOWN_BOUND_S = 30.0
BUMP_AFTER_S = 1.0
SENTINEL_BOUND_S = 10.0
PROBE_KEY = "holdfast:probe"
"""Deleted, never written: DEL of a missing key changes nothing and is refused wherever a write would be."""


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


@dataclass
class Taken:
    """What became of it."""

    was_primary: bool = False
    heir: str = ""
    """The node that has its place now; empty when nobody has."""
    leader: str = ""
    """Outside a cluster: the primary that is there already; the one that ended was none, or is none any more."""
    words: str = ""
    asked: tuple[str, ...] = ()
    asked_ms: float | None = None
    elected_ms: float | None = None
    accepting_ms: float | None = None
    known_ms: float | None = None
    """When every survivor knew: the old primary may be started again only then."""
    bumped: int = 0
    """How often the heir had to take a newer epoch for all to know."""
    offset_gap_bytes: int | None = None
    heard: frozenset[str] = frozenset()
    """Names of the servers that answered."""
    holders: tuple[str, ...] = ()
    """Its replicas that answered and hold keys."""

    def facts(self) -> dict[str, Any]:
        """For the event."""
        return {
            "heir": self.heir,
            "asked": list(self.asked),
            "asked_ms": self.asked_ms,
            "elected_ms": self.elected_ms,
            "accepting_ms": self.accepting_ms,
            "known_ms": self.known_ms,
            "bumped": self.bumped,
            "offset_gap_bytes_at_most": self.offset_gap_bytes,
            "words": self.words,
        }


async def take_over(takeover: Takeover) -> Taken:
    """See who must succeed the dead node, if anybody, and have it elected. Raises nothing for what does not work out."""
    if takeover.order.mode == Mode.CLUSTER:
        return await _in_cluster(takeover)
    return await _alone(takeover)


def _since_ms(takeover: Takeover) -> float:
    return round((time.monotonic() - takeover.ended_s) * 1000, 2)


def _gap(takeover: Takeover, heir: Voice) -> int | None:
    """Bytes that the dead one was ahead when last sampled; no more than an upper bound of what is lost."""
    return None if takeover.last_offset is None else max(0, takeover.last_offset - heir.offset)


async def _in_cluster(takeover: Takeover) -> Taken:
    doors, dead_id = takeover.doors, takeover.dead_id
    voices = await doors.voices(without=takeover.dead)
    taken = Taken(
        was_primary=rules.was_primary(dead_id, voices), heard=frozenset(each.name for each in voices)
    )
    if not taken.was_primary:
        return taken
    wanting = rules.candidates(dead_id, voices)
    taken.holders = tuple(voice.name for voice in wanting if voice.keys)
    if not wanting:
        taken.words = "it has no replica that answers"
        return taken
    if not rules.has_majority([dead_id], voices):
        taken.words = "fewer than half of the primaries are left: no vote can be won"
        return taken
    for candidate in wanting:
        if not await _armed(takeover, candidate):
            taken.words = f"not every primary knows {candidate.name} as a replica yet; the engine's own election decides"
            continue
        taken.asked = (*taken.asked, candidate.name)
        if taken.asked_ms is None:
            taken.asked_ms = _since_ms(takeover)
        with contextlib.suppress(HoldfastError):
            await doors.ask(candidate.name, "CLUSTER", "FAILOVER", "FORCE")
        if await _is_primary(takeover, candidate.name, ELECTION_BOUND_S):
            taken.heir = candidate.name
            taken.elected_ms = _since_ms(takeover)
            taken.offset_gap_bytes = _gap(takeover, candidate)
            taken.accepting_ms = await _accepting(takeover, candidate.name)
            taken.words = ""
            await await_known(takeover, taken)
            return taken
        taken.words = f"{candidate.name} was asked and did not win in {ELECTION_BOUND_S:g} s"
    voices = await doors.voices(without=takeover.dead)
    taken.heard = frozenset(each.name for each in voices)
    if not rules.candidates(dead_id, voices) or not rules.has_majority([dead_id], voices):
        return taken  # more has died meanwhile: there is nobody to wait for
    taken.heir = await _elected_by_engine(takeover)
    if taken.heir:
        taken.elected_ms = _since_ms(takeover)
        await await_known(takeover, taken)
    return taken


async def await_known(takeover: Takeover, taken: Taken) -> None:
    """Wait until every survivor has the dead one's slots down as somebody else's.

    Started again before that, an old primary can get its slots back, and the heir be left with none. Where a
    survivor does not learn it by itself, the heir takes a newer epoch, which every node has to accept.
    """
    began_s = time.monotonic()
    bumped_s = began_s
    ignorant: list[str] = []
    while time.monotonic() - began_s < KNOWN_BOUND_S:
        voices = await takeover.doors.voices(without=takeover.dead)
        ignorant = [
            voice.name
            for voice in voices
            if (gone := voice.peers.get(takeover.dead_id)) is not None and gone.owns_slots
        ]
        if voices and not ignorant:
            taken.known_ms = _since_ms(takeover)
            taken.words = ""
            return
        if taken.heir in ignorant:
            taken.words = f"{taken.heir} does not hold itself for the owner of the slots"
        if time.monotonic() - bumped_s > BUMP_AFTER_S and taken.heir and taken.heir not in ignorant:
            bumped_s = time.monotonic()
            taken.bumped += 1
            with contextlib.suppress(HoldfastError):
                await takeover.doors.ask(taken.heir, "CLUSTER", "BUMPEPOCH")
        await asyncio.sleep(0.01)
    taken.words = (
        f"{', '.join(ignorant) or 'nobody'} does not know of {taken.heir} as the new primary after {KNOWN_BOUND_S:g} s: the "
        "old one stays down"
    )


async def _armed(takeover: Takeover, candidate: Voice) -> bool:
    end_s = time.monotonic() + ARMING_BOUND_S
    while True:
        voices = await takeover.doors.voices(without=takeover.dead)
        if rules.is_armed(candidate.node_id, takeover.dead_id, voices):
            return True
        if time.monotonic() > end_s:
            return False
        await asyncio.sleep(0.02)


async def _elected_by_engine(takeover: Takeover) -> str:
    """Wait for the engine's own election, as long as it may take: twice the node timeout and some seconds."""
    end_s = time.monotonic() + 2 * takeover.order.node_timeout_ms / 1000 + 5
    while time.monotonic() < end_s:
        for voice in await takeover.doors.voices(without=takeover.dead):
            gone = voice.peers.get(takeover.dead_id)
            former = voice.peers.get(voice.node_id)
            if voice.is_primary and former and former.owns_slots and gone and not gone.owns_slots:
                return voice.name
        await asyncio.sleep(0.1)
    return ""


async def _is_primary(takeover: Takeover, name: str, bound_s: float) -> bool:
    """Judged by the role that is seen: an OK is not an election."""
    end_s = time.monotonic() + bound_s
    while time.monotonic() < end_s:
        with contextlib.suppress(HoldfastError):
            role = await takeover.doors.ask(name, "ROLE")
            if role[0] == "master":
                return True
        await asyncio.sleep(LOOK_EVERY_S)
    return False


async def _accepting(takeover: Takeover, name: str) -> float | None:
    """Milliseconds until the heir takes writes: a DEL of a key that is not there, in one of its slots or refused with
    MOVED, both of which say that it serves.
    """
    end_s = time.monotonic() + 2.0
    while time.monotonic() < end_s:
        try:
            await takeover.doors.ask(name, "DEL", PROBE_KEY)
            return _since_ms(takeover)
        except HoldfastError as refused:
            if "MOVED" in str(refused):
                return _since_ms(takeover)
        await asyncio.sleep(LOOK_EVERY_S)
    return None


async def _alone(takeover: Takeover) -> Taken:
    """Replicated, sentinel and standalone: one primary."""
    doors = takeover.doors
    dead = doors.record.member(takeover.dead)
    address = f"{dead.address} {dead.port}"
    voices = await doors.voices(without=takeover.dead)
    if leaders := [voice.name for voice in voices if voice.is_primary]:
        leader = leaders[0] if len(leaders) == 1 else ""
        return Taken(heard=frozenset(each.name for each in voices), leader=leader)
    wanting = rules.best_replica(address, voices)
    taken = Taken(
        was_primary=True,
        heard=frozenset(each.name for each in voices),
        holders=tuple(voice.name for voice in wanting if voice.keys),
    )
    if not wanting:
        taken.words = "it has no replica that answers"
        return taken
    best = wanting[0]
    taken.asked = (best.name,)
    taken.asked_ms = _since_ms(takeover)
    if takeover.order.mode == Mode.SENTINEL:
        heir = await _by_sentinel(takeover)
    else:
        heir = await _promoted(takeover, wanting)
    if heir:
        taken.heir = heir
        taken.elected_ms = _since_ms(takeover)
        taken.offset_gap_bytes = _gap(
            takeover, next((voice for voice in wanting if voice.name == heir), best)
        )
        taken.accepting_ms = await _accepting(takeover, heir)
    else:
        taken.words = "no replica could be promoted"
    return taken


async def _promoted(takeover: Takeover, wanting: list[Voice]) -> str:
    """REPLICAOF NO ONE on the best, then the others follow it. The dead one's end is certain: it was our child."""
    doors = takeover.doors
    for candidate in wanting:
        with contextlib.suppress(HoldfastError):
            await doors.ask(candidate.name, "REPLICAOF", "NO", "ONE")
        if not await _is_primary(takeover, candidate.name, ELECTION_BOUND_S):
            continue
        heir = doors.record.member(candidate.name)
        for other in wanting:
            if other.name != candidate.name:
                with contextlib.suppress(HoldfastError):
                    await doors.ask(other.name, "REPLICAOF", heir.address, heir.port)
        return candidate.name
    return ""


async def _by_sentinel(takeover: Takeover) -> str:
    """One sentinel is asked to fail over; its vote and its choice stand."""
    doors = takeover.doors
    for name in await doors.sentinels():
        try:
            await doors.ask(name, "SENTINEL", "FAILOVER", takeover.order.cache)
        except HoldfastError:
            continue  # a failover is under way already, or it sees no good replica: the next may
        break
    end_s = time.monotonic() + SENTINEL_BOUND_S
    while time.monotonic() < end_s:
        for voice in await doors.voices(without=takeover.dead):
            if voice.is_primary:
                return voice.name
        await asyncio.sleep(0.005)
    return ""
