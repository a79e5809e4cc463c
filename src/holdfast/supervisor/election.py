"""One election in a cluster: ask the best replica, judge it by its role, and wait until every survivor knows of it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence

from holdfast.errors import HoldfastError
from holdfast.supervisor import failover_rules as rules
from holdfast.supervisor.failover_rules import Voice
from holdfast.supervisor.succession import (
    ENDED_TOO,
    Taken,
    Takeover,
    Way,
    accepting_ms,
    becomes_primary,
    gap_bytes,
    since_ms,
    worthy,
)
from holdfast.supervisor.timer import striking
from holdfast.topology.asked import Asked
from holdfast.topology.resting import ASKS_AGAIN_AFTER_S, LEAST_REST_S, PINGING_MS, shortened_timeout_ms

ELECTION_BOUND_S = 1.5
"""An election that is won at all is won in some ms, or within 100 where the engine waits for its timer."""
ARMS_ITSELF_S, ARMING_BOUND_S = 0.5, 2.0
"""How long voters may take to hear of the candidate by themselves, and when they have been made to ask about it."""
KNOWN_BOUND_S = 30.0
BUMP_AFTER_S = 1.0


async def in_cluster(takeover: Takeover) -> Taken:
    """See who must succeed the dead node, if anybody, and have it elected. Raises nothing for what does not work out."""
    doors, dead_id = takeover.doors, takeover.dead_id
    voices = await doors.voices(without=takeover.dead)
    taken = Taken(
        was_primary=rules.was_primary(dead_id, voices) if voices else takeover.was_primary,
        heard=frozenset(each.name for each in voices),
    )
    if not taken.was_primary or not voices:
        taken.words = "nobody else answers" if taken.was_primary else ""
        return taken
    taken.voters = frozenset(rules.voters(dead_id, voices))
    wanting = rules.candidates(dead_id, voices)
    taken.holders = tuple(voice.name for voice in wanting if voice.keys)
    if not wanting:
        taken.words = "it has no replica that answers"
        return taken
    if not (wanting := worthy(takeover, wanting)):
        taken.words = ENDED_TOO
        return taken
    if not rules.has_majority([dead_id], voices):
        await _without_vote(takeover, taken, voices)
        return taken
    await _stand(takeover, taken, wanting)
    if taken.heir:
        return taken
    voices = await doors.voices(without=takeover.dead)
    taken.heard = frozenset(each.name for each in voices)
    wanting = rules.candidates(dead_id, voices)
    if not rules.has_majority([dead_id], voices):  # more has died meanwhile
        await _without_vote(takeover, taken, voices)
        return taken
    if not wanting:
        return taken
    if taken.asked:
        await _stand_again(takeover, taken, wanting)
    if not taken.heir and rules.keeps_all(takeover.files()):
        taken.words += "; it is started again from its append-only file"
    elif not taken.heir:
        await _settled_by_engine(takeover, taken)
    return taken


async def _without_vote(takeover: Takeover, taken: Taken, voices: Sequence[Voice]) -> None:
    """No majority is left to vote. Where an append-only file holds what was acknowledged, the old primary is started from it.
    Without one its start would take away what its replicas hold, and a replica that takes over without a vote may meet one
    who was only unseen: a person decides, now or beforehand in the spec. Even then only where each node that does not answer
    is known to be dead, for this supervisor was its parent.
    """
    taken.words = "fewer than half of the primaries are left: no vote can be won"
    if rules.keeps_all(takeover.files()):
        return
    taken.waits_for_word = bool(taken.holders)
    if not takeover.order.unattended_takeover or not takeover.nobody_else(taken.heard):
        return
    wanting = rules.candidates(takeover.dead_id, voices)
    knowing = [
        each for each in wanting if rules.knows_slots(each, takeover.dead_id) and takeover.outlived(each.name)
    ]
    if not knowing:
        return
    heir = knowing[0]
    taken.asked = (*taken.asked, heir.name)
    taken.asked_ms = taken.asked_ms or since_ms(takeover)
    with contextlib.suppress(HoldfastError):
        await takeover.doors.ask(heir.name, "CLUSTER", "FAILOVER", "TAKEOVER")
    if await becomes_primary(takeover, heir.name, ELECTION_BOUND_S):
        await _elected(takeover, taken, heir, Way.UNVOTED)


async def _stand(takeover: Takeover, taken: Taken, wanting: Sequence[Voice]) -> None:
    """Ask one replica after the other, each only when the one before did not win."""
    for candidate in wanting:
        if not await _made_known(takeover, taken, candidate):
            taken.words = f"not every primary knows {candidate.name} as a replica yet; the engine's own election decides"
            continue
        short = await _shortened(takeover, taken, candidate)
        if await _asked(takeover, taken, candidate, short):
            return


async def _shortened(takeover: Takeover, taken: Taken, candidate: Voice) -> Mapping[Asked, int]:
    """The node timeouts that voters need who have voted about the dead one lately, and a candidate that may have asked
    then, in ms; none where their own will do.
    """
    voted_s = max((at_s for at_s in (takeover.voted_s, _last_asked_s(takeover, taken)) if at_s), default=None)
    if voted_s is None:
        return {}
    since_s = time.monotonic() - voted_s
    voters = [takeover.doors.door(name) for name in sorted(taken.voters)]
    if not _shorter(takeover, taken, candidate, since_s) or not await takeover.patience.tried(voters):
        return {}
    await asyncio.sleep(max(0.0, LEAST_REST_S - since_s))
    return _shorter(takeover, taken, candidate, time.monotonic() - voted_s)


def _shorter(takeover: Takeover, taken: Taken, candidate: Voice, since_s: float) -> Mapping[Asked, int]:
    """The node timeouts with which these vote and that one asks again, so long after they last did."""
    timeout_ms = takeover.order.node_timeout_ms
    needed = {name: shortened_timeout_ms(timeout_ms, since_s, None) for name in sorted(taken.voters)}
    needed[candidate.name] = shortened_timeout_ms(timeout_ms, None, since_s)
    return {takeover.doors.door(name): each_ms for name, each_ms in needed.items() if each_ms is not None}


def _last_asked_s(takeover: Takeover, taken: Taken) -> float | None:
    """When a replica was last asked in this election, monotonic: some may have voted for it, if not enough."""
    return None if taken.last_asked_ms is None else takeover.ended_s + taken.last_asked_ms / 1000


async def _stand_again(takeover: Takeover, taken: Taken, wanting: Sequence[Voice]) -> None:
    """Ask the best once more, at the first moment at which it may ask and they may vote; the engine may be quicker."""
    asked_s = _last_asked_s(takeover, taken) or takeover.ended_s
    while (now_s := time.monotonic()) < asked_s + ASKS_AGAIN_AFTER_S:
        if heir := await _heir_there_is(takeover, taken):
            await _elected(takeover, taken, heir, Way.ENGINE)
            return
        await asyncio.sleep(min(0.1, max(0.001, asked_s + ASKS_AGAIN_AFTER_S - now_s)))
    short = _shorter(takeover, taken, wanting[0], time.monotonic() - asked_s)
    await _asked(takeover, taken, wanting[0], short)


async def _asked(takeover: Takeover, taken: Taken, candidate: Voice, short: Mapping[Asked, int]) -> bool:
    """Ask a replica to stand for election. Args: `short`, the node timeouts that it and the voters have meanwhile,
    empty for their own. Returns: whether it won.
    """
    async with takeover.patience.shortened(short) if short else contextlib.nullcontext():
        won = await _forced(takeover, taken, candidate)
    if won:
        await _elected(takeover, taken, candidate, Way.HURRIED if short else Way.ASKED)
    else:
        taken.words = f"{candidate.name} was asked and did not win in {ELECTION_BOUND_S:g} s"
    return won


async def _forced(takeover: Takeover, taken: Taken, candidate: Voice) -> bool:
    taken.asked = (*taken.asked, candidate.name)
    taken.last_asked_ms = since_ms(takeover)
    if taken.asked_ms is None:
        taken.asked_ms = taken.last_asked_ms
    async with striking(takeover.doors, candidate.name, "CLUSTER", "FAILOVER", "FORCE"):
        if not await becomes_primary(takeover, candidate.name, ELECTION_BOUND_S):
            return False
        taken.elected_ms = since_ms(takeover)
    return True


async def _elected(takeover: Takeover, taken: Taken, heir: Voice, way: Way) -> None:
    """Write down who was elected, and wait until it takes writes and all know."""
    taken.heir, taken.way, taken.words = heir.name, way, ""
    if taken.elected_ms is None:
        taken.elected_ms = since_ms(takeover)
    taken.offset_gap_bytes = gap_bytes(takeover, heir)
    taken.accepting_ms = await accepting_ms(takeover, heir.name)
    await await_known(takeover, taken)


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
            taken.known_ms = since_ms(takeover)
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


async def _made_known(takeover: Takeover, taken: Taken, candidate: Voice) -> bool:
    """Whether the candidate is armed. One that became a replica a moment ago tells each of the others when the two next
    ping each other, which may take half a node timeout: with a shorter one they do so at once.
    """
    if await _armed(takeover, candidate, ARMS_ITSELF_S):
        return True
    hurried: Mapping[Asked, int] = {
        takeover.doors.door(name): PINGING_MS for name in sorted({*taken.voters, candidate.name})
    }
    async with takeover.patience.shortened(hurried):
        return await _armed(takeover, candidate, ARMING_BOUND_S)


async def _armed(takeover: Takeover, candidate: Voice, bound_s: float) -> bool:
    end_s = time.monotonic() + bound_s
    while True:
        voices = await takeover.doors.voices(without=takeover.dead)
        if rules.is_armed(candidate.node_id, takeover.dead_id, voices):
            return True
        if time.monotonic() > end_s:
            return False
        await asyncio.sleep(0.02)


async def _settled_by_engine(takeover: Takeover, taken: Taken) -> None:
    """Wait for the engine's own election, as long as it may take: twice the node timeout and some seconds."""
    end_s = time.monotonic() + 2 * takeover.order.node_timeout_ms / 1000 + 5
    while time.monotonic() < end_s:
        if heir := await _heir_there_is(takeover, taken):
            await _elected(takeover, taken, heir, Way.ENGINE)
            return
        await asyncio.sleep(0.1)


async def _heir_there_is(takeover: Takeover, taken: Taken) -> Voice | None:
    """A primary that was none before, and in whose eyes the dead one has no slots any more."""
    for voice in await takeover.doors.voices(without=takeover.dead):
        gone = voice.peers.get(takeover.dead_id)
        own = voice.peers.get(voice.node_id)
        new = voice.is_primary and voice.name not in taken.voters
        if new and own and own.owns_slots and gone and not gone.owns_slots:
            return voice
    return None
