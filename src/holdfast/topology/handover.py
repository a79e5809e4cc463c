"""A primary hands over to one of its replicas: writes held, offsets equal, roles changed, writes let go.

The engines' own means do the same but wait for their timers. `FAILOVER TO` believes only what replicas report by
themselves, once a second: it held writes for 0.8 s where this takes some milliseconds, for here the replica is asked.
`CLUSTER FAILOVER` compares offsets once and then every 100 ms; where they are equal before it is sent, it is elected in
5 ms. But between nodes of one machine the old primary hears of that 40 ms later, which `_push` is for.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from holdfast.codec.crc import key_slot
from holdfast.engine.build import parse_version
from holdfast.engine.connection import EngineNode
from holdfast.engine.facts import Address
from holdfast.errors import HoldfastError
from holdfast.topology.asked import Asked
from holdfast.topology.cluster_view import is_armed, read_peers, votes
from holdfast.topology.observe import read_info
from holdfast.topology.patience import Patience, node_timeout_of
from holdfast.topology.resting import Rest, read_rest

HELD_MS = 3000
"""Writes are held no longer than this, whatever becomes of whoever asked for it."""
EQUAL_BOUND_S = 1.5
"""Well within the hold: an old primary must be none any more before its clients' held writes are let go."""
LOOK_EVERY_S = 0.001
PROMOTE_TRIES = 3
ELECTED_BOUND_S = 1.0
ARMED_BOUND_S, ARMED_EVERY_S = 10.0, 0.05
"""Nodes tell each other of roles within some seconds."""
RESTED_BOUND_S, RESTED_EVERY_S = 15.0, 0.25
PUSH_BYTES = 65536
"""No less than a segment of the loopback interface (MTU 65536)."""
PUSH_TRIES = 1 << 17
"""Tags tried for one whose slot the shard has; one slot of all is found in half as many, as good as surely."""
SHARD_CHANNELS_SINCE = (7, 2, 0)
"""From here on SPUBLISH reaches an old primary too: before, only those who were replicas already."""


@dataclass(eq=False)
class NotArmed(HoldfastError):
    """An election would have been lost."""

    waited_s: float

    def __str__(self) -> str:
        return (
            f"after {self.waited_s:g} s not every primary of the cluster knows it as that one's replica, "
            "so it would not be voted for"
        )


@dataclass(eq=False)
class NotRested(HoldfastError):
    """An election would have been lost."""

    waited_s: float

    def __str__(self) -> str:
        return (
            f"it was asked or voted for a moment ago, nodes of this engine do not vote again so soon, and after {self.waited_s:g} s "
            "of waiting its link to the primary is still new"
        )


@dataclass(frozen=True)
class HandedOver:
    """What came of it."""

    why_not: str
    """Why the old primary serves on as before; empty where it does not."""
    held_ms: float
    """For how long writes were held at most."""


class Teller(Protocol):
    """Tells those who are asked where the primary is."""

    async def tell(self) -> None:
        """That it is the heir. Raises nothing."""

    async def take_back(self) -> None:
        """That it is the old primary after all. Raises nothing."""


async def hand_over(old: EngineNode, heir: EngineNode, heir_address: Address, teller: Teller) -> HandedOver:
    """Make the heir the primary and the old primary its replica; no acknowledged write is lost.

    Between the two changes there is no primary, never two: whoever is stopped there leaves a cache that takes no
    writes, and none that takes them twice.
    Args: `teller`, told while the heir becomes the primary. A write that was held has its refusal only when all is done, but
        one that comes in between is refused at once, for servers look at their role before they look whether they pause
        (measured: of 72 refused clients that tried again after 1 ms, 10 were too early).
    Raises: HoldfastError when a node no longer answers, and nobody can say whether it changed; held writes are let go
        after HELD_MS at the latest.
    """
    began_s = time.monotonic()
    await old.ask("CLIENT", "PAUSE", HELD_MS, "WRITE")
    try:
        words = await _change_places(old, heir, heir_address, teller)
    finally:
        with contextlib.suppress(HoldfastError):
            await old.ask("CLIENT", "UNPAUSE")
    held_ms = _since_ms(began_s)
    if not words:
        await send_away(old)
    return HandedOver(words, held_ms)


async def send_away(former: Asked) -> None:
    """Close the connections of applications to a former primary, as a sentinel does that demotes one: who only reads, or
    listens, is refused nothing there, and would stay with a replica that it takes for the primary.

    A write that was held has had its answer by then: it is refused before the next command is read.
    """
    for kind in ("normal", "pubsub"):
        with contextlib.suppress(HoldfastError):
            await former.ask("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")


async def _change_places(old: EngineNode, heir: EngineNode, heir_address: Address, teller: Teller) -> str:
    """The old one first. Returns: why it was not done; empty when it was. Raises: HoldfastError."""
    if not await _equal(old, heir):
        return f"the replica did not catch up within {EQUAL_BOUND_S:g} s of held writes"
    await old.ask("REPLICAOF", *heir_address)
    words, _ = await asyncio.gather(_promote(heir), teller.tell())
    if words and (await heir.ask("ROLE"))[0] != "master":
        await old.ask("REPLICAOF", "NO", "ONE")  # the heir has just said that it is none
        await teller.take_back()
        return words
    return ""  # late, perhaps, but it did


async def hand_over_slots(old: Asked, heir: Asked, others: Iterable[Asked], patience: Patience) -> float:
    """The same in a cluster, by `CLUSTER FAILOVER`, which goes on where the heir does not catch up in time; so the
    caller has to see whether it became the primary.

    Where nodes have voted a short while ago and would not again, this waits some seconds, and lets them have a shorter
    node timeout for the length of the vote; both before writes are held.
    Args: `others`, the servers beside these two, of which some vote.
    Returns: for how many milliseconds writes were held by this; where the heir was not elected the engine goes on for 5 s.
    Raises: HoldfastError when a node no longer answers, or the voters do not know the heir or have just voted (nothing
        was done then); held writes are let go by then, or after HELD_MS.
    """
    voters = await _await_armed(old, heir, list(others))
    rest = await _rested(heir, voters, patience)
    push = await _push_words(old)
    async with patience.shortened(await _shorter(heir, voters, rest)):
        began_s = time.monotonic()
        await old.ask("CLIENT", "PAUSE", HELD_MS, "WRITE")
        try:
            await _equal(old, heir)
            await heir.ask("CLUSTER", "FAILOVER")  # from here on the old primary holds writes itself too
            if await _role_becomes(heir, "master", ELECTED_BOUND_S):
                with contextlib.suppress(HoldfastError):
                    await heir.ask(*push)
                await _role_becomes(old, "slave", ELECTED_BOUND_S)
        finally:
            with contextlib.suppress(HoldfastError):
                await old.ask("CLIENT", "UNPAUSE")
        return _since_ms(began_s)


def _since_ms(began_s: float) -> float:
    return round((time.monotonic() - began_s) * 1000, 1)


async def _rested(heir: Asked, voters: Sequence[Asked], patience: Patience) -> Rest | None:
    """Wait until those who voted or asked lately can be made to do it again; None where they do not rest at all.

    Raises: HoldfastError, NotRested.
    """
    if not await patience.tried((heir, *voters)):
        return None
    end_s = time.monotonic() + RESTED_BOUND_S
    while True:
        said = await asyncio.gather(*(node.ask("CLUSTER", "INFO") for node in (heir, *voters)))
        link = await heir.ask("CLIENT", "LIST", "TYPE", "master")
        rest = read_rest(str(said[0]), str(link), map(str, said[1:]))
        if not rest.lacking_s:
            return rest
        if time.monotonic() > end_s:
            raise NotRested(RESTED_BOUND_S)
        await asyncio.sleep(min(RESTED_EVERY_S, rest.lacking_s))


async def _shorter(heir: Asked, voters: Sequence[Asked], rest: Rest | None) -> dict[Asked, int]:
    """The node timeouts that they need for one more vote, in ms; none where their own will do."""
    own_ms = await node_timeout_of(heir) if rest is not None else 0
    if rest is None or not own_ms:
        return {}
    needed = {heir: rest.asker_ms(own_ms)} | dict.fromkeys(voters, rest.voters_ms(own_ms))
    return {node: each_ms for node, each_ms in needed.items() if each_ms is not None}


async def _await_armed(old: Asked, heir: Asked, others: Sequence[Asked]) -> list[Asked]:
    """Wait until the voters know the heir as the old one's replica: right after a switch some do not yet.

    Returns: those of the others who vote. Raises: HoldfastError, NotArmed.
    """
    old_id, heir_id = str(await old.ask("CLUSTER", "MYID")), str(await heir.ask("CLUSTER", "MYID"))
    end_s = time.monotonic() + ARMED_BOUND_S
    while True:
        texts = await asyncio.gather(*(node.ask("CLUSTER", "NODES") for node in (old, heir, *others)))
        views = [read_peers(str(text)) for text in texts]
        if is_armed(heir_id, old_id, views):
            return [node for node, view in zip(others, views[2:], strict=True) if votes(*view)]
        if time.monotonic() > end_s:
            raise NotArmed(ARMED_BOUND_S)
        await asyncio.sleep(ARMED_EVERY_S)


async def _push_words(old: Asked) -> tuple[str, ...]:
    """A message as long as a TCP segment, on a channel that nobody listens to, for the heir to send over the cluster bus.

    The heir's news lie in its socket until its request for votes is acknowledged (Nagle), and the old primary, which
    has nothing to say on that connection, acknowledges late, by 40 ms. A whole segment is sent at once, with what lay
    before it. Over an MTU of 1500 each message of the bus is longer than a segment, and nothing lies.
    """
    info = read_info(str(await old.ask("INFO", "server")))
    word = "SPUBLISH" if parse_version(info["redis_version"]) >= SHARD_CHANNELS_SINCE else "PUBLISH"
    own_id = str(await old.ask("CLUSTER", "MYID"))
    own = [span for span in await old.ask("CLUSTER", "SLOTS") if str(span[2][2]) == own_id]
    tag = next(
        (
            number
            for number in range(PUSH_TRIES)
            if any(int(first) <= key_slot(str(number).encode()) <= int(last) for first, last, *_ in own)
        ),
        0,
    )
    return word, f"holdfast:switchover:{{{tag}}}", " " * PUSH_BYTES


async def _role_becomes(node: Asked, role: str, bound_s: float) -> bool:
    end_s = time.monotonic() + bound_s
    while time.monotonic() < end_s:
        if (await node.ask("ROLE"))[0] == role:
            return True
        await asyncio.sleep(LOOK_EVERY_S)
    return False


async def _equal(old: Asked, heir: Asked) -> bool:
    """Wait until the replica has all that the primary has; new writes are held."""
    end_s = time.monotonic() + EQUAL_BOUND_S
    while time.monotonic() < end_s:
        target = int(read_info(str(await old.ask("INFO", "replication"))).get("master_repl_offset", "0"))
        seen = read_info(str(await heir.ask("INFO", "replication")))
        if seen.get("master_link_status") == "up" and int(seen.get("slave_repl_offset", "0")) >= target:
            return True
        await asyncio.sleep(LOOK_EVERY_S)
    return False


async def _promote(heir: EngineNode) -> str:
    """REPLICAOF NO ONE until its role is seen to have changed; why it has not, in words."""
    words = "it stayed a replica"
    for _ in range(PROMOTE_TRIES):
        try:
            told, role = await heir.ask_all([("REPLICAOF", "NO", "ONE"), ("ROLE",)])
        except HoldfastError as refused:
            words = str(refused)
            continue
        if isinstance(role, list) and role[0] == "master":
            return ""
        words = str(told) if isinstance(told, HoldfastError) else words
    return words
