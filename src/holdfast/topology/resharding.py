"""Moves slots with their keys between two primaries while clients work, with the engine's own commands.

Valkey 9 moves a whole range as one replication-like job that it commits itself (CLUSTER MIGRATESLOTS). Elsewhere each
slot is marked at both ends, its keys go over in batches (MIGRATE), and both ends are told the new owner; clients are
redirected key by key (ASK) meanwhile. Either can be stopped at any point and done again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from holdfast.engine.connection import CommandRefused, EngineNode, Reply
from holdfast.errors import HoldfastError
from holdfast.topology.cluster_view import read_cluster_nodes
from holdfast.topology.live import LiveCache, Told
from holdfast.topology.observe import as_map, read_info
from holdfast.topology.slots import Slots, ranges

BATCH_MOST = 512
BATCH_LEAST = 1
BATCH_BYTES = 1 << 20
"""In memory, by the engine's own sampled word: a few large values must not go in one batch."""
BATCH_TARGET_S = 0.005
"""MIGRATE holds both servers while it runs: batches are sized so that a client waits no longer than about this."""
MIGRATE_TIMEOUT_MS = 30_000
LOOK_EVERY_S = 0.05
SERVING_BOUND_S = 30.0
STALLED_BOUND_S = 120.0
JOB_DONE = "success"
JOB_ENDED = frozenset({JOB_DONE, "failed", "cancelled", "canceled", "forgotten"})
MARKED_AT_ONCE = 64
"""Slots marked in one round trip; an interrupted move leaves at most this many marked."""
LANES = 16
REPLICATES_SETSLOT = ("valkey", (8, 0, 0))
"""From this version on, SETSLOT keeps its connection waiting until replicas have it (4 ms each, measured): several
connections wait at the same time.
"""


@dataclass(eq=False)
class NotMoved(HoldfastError):
    """Slots could not all be moved; each slot is still owned by exactly one of the two, with all its keys."""

    source: str
    target: str
    left: int
    words: str

    def __str__(self) -> str:
        return (
            f"{self.left} slots stay on {self.source} and are not on {self.target} yet: {self.words}. No key is lost; run "
            "the same command again to go on"
        )


async def move_slots(cache: LiveCache, source: str, target: str, slots: Slots) -> None:
    """Move the slots from one primary to the other. Raises: NotMoved, NodeGone, NodeSilent."""
    name, since = REPLICATES_SETSLOT
    builds = [cache.build_of(cache.record.member(node)) for node in (source, target)]
    lanes = LANES if all(build.name == name and build.version >= since for build in builds) else 1
    async with AsyncExitStack() as opened:

        async def connect(node: str) -> EngineNode:
            return await opened.enter_async_context(await cache.connect(node, timeout_s=60.0))

        giver, taker = await connect(source), await connect(target)
        await _name_owners(cache, taker)
        await _await_serving(giver, taker, source, target, len(slots))
        giver_view = read_cluster_nodes(await giver.ask("CLUSTER", "NODES"))
        taker_view = read_cluster_nodes(await taker.ask("CLUSTER", "NODES"))
        half_moved = {each.slot for each in (*giver_view.moving, *taker_view.moving)}
        whole = slots & giver_view.slots - half_moved
        if all(build.knows_command("CLUSTER|MIGRATESLOTS") for build in builds) and whole:
            await _move_ranges(cache, giver, taker_view.own_id, source, target, whole)
            slots -= whole
        if not slots:
            return
        givers = [giver, *[await connect(source) for _ in range(lanes - 1)]]
        takers = [taker, *[await connect(target) for _ in range(lanes - 1)]]
        mover = _SlotMover(cache, givers, takers, giver_view.own_id, taker_view.own_id, source, target)
        await mover.move(sorted(slots))


async def _name_owners(cache: LiveCache, taker: EngineNode) -> None:
    """Tell the target who owns the slots that it was receiving when their owner died.

    A node leaves a slot that is on its way to it alone, whatever gossip says of it. An owner that was replaced has
    taken the slot with it, and the target would wait for a whole cluster for ever (seen on Redis 7.0).
    Source: clusterUpdateSlotsConfigWith in src/cluster.c, Redis 7.0.
    """
    view = read_cluster_nodes(await taker.ask("CLUSTER", "NODES"))
    if not (marked := {each.slot for each in view.moving if each.source}):
        return
    owners = [node for node in (await cache.look()).primaries if node.node_id != view.own_id]
    await taker.ask_all(
        [
            ("CLUSTER", "SETSLOT", slot, "NODE", owner.node_id)
            for owner in owners
            for slot in sorted(marked & owner.slots)
        ]
    )


async def _await_serving(giver: EngineNode, taker: EngineNode, source: str, target: str, left: int) -> None:
    """Wait until the target serves and has heard of every slot's owner.

    A primary answers CLUSTERDOWN in the first two seconds of its life, even for slots that it owns, and for any slot
    whose owner gossip has not told it yet (both measured): moved there earlier, keys would be away for the rest of that
    time, and MIGRATE would be refused.
    """
    began = time.monotonic()
    while True:
        theirs = read_info(str(await giver.ask("CLUSTER", "INFO")))
        ours = read_info(str(await taker.ask("CLUSTER", "INFO")))
        heard = int(ours["cluster_slots_assigned"]) >= int(theirs["cluster_slots_assigned"])
        if ours["cluster_state"] == "ok" and heard:
            return
        if time.monotonic() - began > SERVING_BOUND_S:
            raise NotMoved(source, target, left, f"{target} does not say that it serves the whole cluster")
        await asyncio.sleep(LOOK_EVERY_S)


async def _move_ranges(
    cache: LiveCache, giver: EngineNode, target_id: str, source: str, target: str, slots: Slots
) -> None:
    known = await _exports(giver)
    for name, job in known.items():
        if job.get("state") not in JOB_ENDED:  # begun by a command that was interrupted; it goes on by itself
            await _await_job(giver, name, source, target, len(slots))
    slots &= read_cluster_nodes(await giver.ask("CLUSTER", "NODES")).slots
    if not slots:
        return
    spans = [str(end) for span in ranges(slots) for end in (span.first, span.last)]
    try:
        await giver.ask("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", *spans, "NODE", target_id)
    except CommandRefused as refused:
        raise NotMoved(source, target, len(slots), refused.words) from refused
    begun = [name for name in await _exports(giver) if name not in known]
    if not begun:
        raise NotMoved(source, target, len(slots), "the source does not list the move")
    for name in begun:
        job = await _await_job(giver, name, source, target, len(slots))
        if job.get("state") != JOB_DONE:
            words = job.get("message") or f"the engine says {job.get('state')}"
            raise NotMoved(source, target, len(slots), words)
    cache.tell(Told(source, f"gave {len(slots)} slots to {target}"))


async def _exports(giver: EngineNode) -> dict[str, dict[str, str]]:
    """Moves away from the node that it still remembers, by the engine's own names for them."""
    jobs = [as_map(job) for job in await giver.ask("CLUSTER", "GETSLOTMIGRATIONS")]
    return {job["name"]: job for job in jobs if job.get("operation") == "EXPORT"}


async def _await_job(giver: EngineNode, name: str, source: str, target: str, left: int) -> dict[str, str]:
    """Wait for the end of a move, good or bad. Raises: NotMoved, after cancelling it, when it stands still."""
    progressed = time.monotonic()
    seen: dict[str, str] = {}
    while True:
        job = (await _exports(giver)).get(name, {"state": "forgotten"})
        if job["state"] in JOB_ENDED:
            return job
        telling = {field: job.get(field, "") for field in ("state", "remaining_repl_size", "last_ack_time")}
        if telling != seen:
            seen, progressed = telling, time.monotonic()
        if time.monotonic() - progressed > STALLED_BOUND_S:
            await giver.ask("CLUSTER", "CANCELSLOTMIGRATIONS")
            words = f"no progress for {STALLED_BOUND_S:.0f} s in state {job['state']}"
            raise NotMoved(source, target, left, words)
        await asyncio.sleep(LOOK_EVERY_S)


class _SlotMover:
    """One way from a primary to another; slots go one after the other, marks and ownership in batches."""

    def __init__(
        self,
        cache: LiveCache,
        givers: Sequence[EngineNode],
        takers: Sequence[EngineNode],
        giver_id: str,
        taker_id: str,
        source: str,
        target: str,
    ) -> None:
        self._cache = cache
        self._givers, self._takers = givers, takers
        self._giver = givers[0]
        self._giver_id, self._taker_id = giver_id, taker_id
        self._source, self._target = source, target
        self._batch = 64
        credentials = cache.access.credentials
        self._login = ("AUTH2", credentials.user, credentials.password)
        member = cache.record.member(target)
        self._address = (member.address, str(member.port))

    async def move(self, slots: Sequence[int]) -> None:
        # One goes ahead: from then on clients that ask who owns what hear of a target that had no slots before, and can
        # follow an ASK to it (some clients cannot follow one to a node they have never heard of).
        starts = [0, *range(1, len(slots), MARKED_AT_ONCE)]
        for start, end in zip(starts, [*starts[1:], len(slots)], strict=True):
            group = slots[start:end]
            await self._mark(group, left=len(slots) - start)
            counts = await self._giver.ask_all([("CLUSTER", "COUNTKEYSINSLOT", slot) for slot in group])
            for slot, count in zip(group, counts, strict=True):
                if isinstance(count, HoldfastError):
                    raise count
                await self._empty(slot, count)
            await self._hand_over(group)
            self._cache.tell(
                Told(self._source, f"{len(slots) - start - len(group)} slots left to give to {self._target}")
            )

    async def _mark(self, slots: Sequence[int], left: int) -> None:
        """The target first: a source that redirects to an unready target would make clients err."""
        marks = (
            (self._takers, "IMPORTING", self._giver_id, "I'm already the owner of hash slot"),
            (self._givers, "MIGRATING", self._taker_id, "I'm not the owner of hash slot"),
        )
        for nodes, mark, other, harmless in marks:
            orders = [("CLUSTER", "SETSLOT", str(slot), mark, other) for slot in slots]
            for reply in await _spread(nodes, orders):
                if isinstance(reply, CommandRefused) and harmless in reply.words:
                    continue  # this slot had gone over before an interruption; only its marks are left
                if isinstance(reply, HoldfastError):
                    raise NotMoved(self._source, self._target, left, str(reply))

    async def _empty(self, slot: int, count: int) -> None:
        while count:
            keys = await self._giver.ask("CLUSTER", "GETKEYSINSLOT", slot, self._batch)
            if not keys:
                return
            sizes = await self._giver.ask_all([("MEMORY", "USAGE", key, "SAMPLES", 5) for key in keys])
            for part in portions(keys, [size if isinstance(size, int) else 0 for size in sizes]):
                began = time.perf_counter()
                await self._send(part, replace=False)
                took_s = time.perf_counter() - began
                if took_s > BATCH_TARGET_S:
                    self._batch = max(BATCH_LEAST, self._batch // 2)
                elif took_s < BATCH_TARGET_S / 2 and len(part) == len(keys):
                    self._batch = min(BATCH_MOST, self._batch * 2)

    async def _send(self, keys: Sequence[str], *, replace: bool) -> None:
        options = ("REPLACE",) if replace else ()
        raw = [key.encode(errors="surrogateescape") for key in keys]
        command = ("MIGRATE", *self._address, "", 0, MIGRATE_TIMEOUT_MS, *options, *self._login, "KEYS", *raw)
        try:
            await self._giver.ask(*command)
        except CommandRefused as refused:
            # A move that broke off left a copy there. Clients are answered by the source as long as it has the key,
            # so its value is the right one.
            if "BUSYKEY" in refused.words and not replace:
                await self._send(keys, replace=True)
                return
            raise NotMoved(self._source, self._target, 1, refused.words) from refused

    async def _hand_over(self, slots: Sequence[int]) -> None:
        """Ownership: the target first, then the source; the others hear of it from the target, whose epoch is the newest."""
        orders = [("CLUSTER", "SETSLOT", str(slot), "NODE", self._taker_id) for slot in slots]
        for nodes in (self._takers, self._givers):
            for reply in await _spread(nodes, orders):
                if isinstance(reply, HoldfastError):
                    raise NotMoved(self._source, self._target, len(slots), str(reply))


def portions(keys: Sequence[str], sizes: Sequence[int], at_most: int = BATCH_BYTES) -> list[list[str]]:
    """The keys, in order, in parts of at most so many bytes; one that is larger goes alone."""
    found: list[list[str]] = []
    room = 0
    for key, size in zip(keys, sizes, strict=True):
        if not found or size > room:
            found.append([])
            room = at_most
        found[-1].append(key)
        room -= size
    return found


async def _spread(lanes: Sequence[EngineNode], commands: Sequence[tuple[str, ...]]) -> list[Reply]:
    """The commands over several connections to one node at the same time; replies in no particular order."""
    shares = [commands[place :: len(lanes)] for place in range(len(lanes))]
    asked = [lane.ask_all(share) for lane, share in zip(lanes, shares, strict=True) if share]
    return [reply for replies in await asyncio.gather(*asked) for reply in replies]
