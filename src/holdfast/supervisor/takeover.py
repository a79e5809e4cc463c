"""Outside a cluster: the best replica of a dead primary takes its place, by the sentinels' vote or because it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import time

from holdfast.errors import HoldfastError
from holdfast.spec.topology import Mode
from holdfast.supervisor import election
from holdfast.supervisor import failover_rules as rules
from holdfast.supervisor.failover_rules import Voice
from holdfast.supervisor.succession import (
    ENDED_TOO,
    Taken,
    Takeover,
    accepting_ms,
    becomes_primary,
    gap_bytes,
    since_ms,
    worthy,
)
from holdfast.topology.record import Member
from holdfast.topology.sentinel_news import news_for

PROMOTION_BOUND_S = 1.5
SENTINEL_BOUND_S = 10.0


async def take_over(takeover: Takeover) -> Taken:
    """See who must succeed the dead node, if anybody, and have it elected. Raises nothing for what does not work out."""
    if takeover.order.mode == Mode.CLUSTER:
        return await election.in_cluster(takeover)
    return await _alone(takeover)


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
        was_primary=bool(wanting) or takeover.was_primary,
        heard=frozenset(each.name for each in voices),
        holders=tuple(voice.name for voice in wanting if voice.keys),
    )
    if not wanting:
        taken.words = "it has no replica that answers"
        return taken
    if not (wanting := worthy(takeover, wanting)):
        taken.words = ENDED_TOO
        return taken
    best = wanting[0]
    taken.asked = (best.name,)
    taken.asked_ms = since_ms(takeover)
    if takeover.order.mode == Mode.SENTINEL:
        heir = await _by_sentinel(takeover, taken, wanting)
    else:
        heir = await _promoted(takeover, wanting)
    if heir:
        taken.heir = heir
        taken.elected_ms = taken.elected_ms or since_ms(takeover)
        taken.offset_gap_bytes = gap_bytes(
            takeover, next((voice for voice in wanting if voice.name == heir), best)
        )
        taken.accepting_ms = await accepting_ms(takeover, heir)
    else:
        taken.words = "no replica could be promoted"
    return taken


async def _promoted(takeover: Takeover, wanting: list[Voice]) -> str:
    """REPLICAOF NO ONE on the best, then the others follow it. The dead one's end is certain: it was our child."""
    doors = takeover.doors
    for candidate in wanting:
        with contextlib.suppress(HoldfastError):
            await doors.ask(candidate.name, "REPLICAOF", "NO", "ONE")
        if not await becomes_primary(takeover, candidate.name, PROMOTION_BOUND_S):
            continue
        heir = doors.record.member(candidate.name)
        for other in wanting:
            if other.name != candidate.name:
                with contextlib.suppress(HoldfastError):
                    await doors.ask(other.name, "REPLICAOF", heir.address, heir.port)
        return candidate.name
    return ""


async def _by_sentinel(takeover: Takeover, taken: Taken, wanting: list[Voice]) -> str:
    """One sentinel is asked to fail over; its vote and its choice stand. As soon as a replica is seen to be the primary
    all sentinels are told, and the other replicas sent to it: left to themselves they take a second for it, in which
    clients that ask are sent to the dead one.
    """
    doors = takeover.doors
    names = await doors.sentinels()
    for name in names:
        try:
            await doors.ask(name, "SENTINEL", "FAILOVER", takeover.order.cache)
        except HoldfastError:
            continue  # a failover is under way already, or it sees no good replica: the next may
        break
    news = await news_for(takeover.order.cache, [doors.door(name) for name in names])
    end_s = time.monotonic() + SENTINEL_BOUND_S
    while time.monotonic() < end_s:
        for voice in await doors.voices(without=takeover.dead):
            if voice.is_primary:
                taken.elected_ms = since_ms(takeover)
                heir = doors.record.member(voice.name)
                await news.tell((heir.address, heir.port))
                taken.told_ms = since_ms(takeover)
                await _sent_to(takeover, heir, wanting)
                return voice.name
        await asyncio.sleep(0.005)
    return ""


async def _sent_to(takeover: Takeover, heir: Member, replicas: list[Voice]) -> None:
    """Have the other replicas follow the heir, and write it down, as a sentinel has them do."""
    for other in replicas:
        if other.name != heir.name:
            with contextlib.suppress(HoldfastError):
                await takeover.doors.ask(other.name, "REPLICAOF", heir.address, heir.port)
                await takeover.doors.ask(other.name, "CONFIG", "REWRITE")
