"""What a switch does to the servers of both ends, each thing by itself: held, told how far they are, read from here on."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from holdfast.engine.connection import Endpoint, EngineNode, NodeGone, NodeSilent
from holdfast.errors import HoldfastError
from holdfast.migrate import fences
from holdfast.migrate.ends import Side
from holdfast.migrate.observe import ask_server
from holdfast.migrate.relay.source import NO_SUCH_PORT, SourceLink
from holdfast.migrate.seen import SeenServer
from holdfast.migrate.settings import BACKLOG_BYTES, Book, borrow, give_back
from holdfast.migrate.write.checkpoint import slot_tags
from holdfast.migrate.write.kept import Kept
from holdfast.migrate.write.notes import ReadShard
from holdfast.migrate.write.proof import RightsProof
from holdfast.topology.seen import Role
from holdfast.topology.shards import Keyspace, Shard

MARGIN_MS = 5000
"""How much longer writes are held than the streams may take to be written: room for the fence."""
SAFETY_MS = 1500
"""No fence is begun when less than this is left of the pause."""
BACKLOG_BOUND_S = 20.0
LOOK_EVERY_S = 0.02


@dataclass
class OldPrimary:
    """A primary whose clients are to lose their writes."""

    endpoint: Endpoint
    node: EngineNode
    seen: SeenServer
    tag: bytes
    """Of a slot that it owns; empty outside a cluster."""
    proof: RightsProof | None = None

    @classmethod
    async def connect(cls, shard: Shard, *, cluster: bool) -> OldPrimary:
        """Raises: the connection's errors."""
        address = (shard.primary.host, shard.primary.port)
        node = await EngineNode.connect(shard.primary)
        tag = slot_tags()[shard.slots[0].first] if cluster else b""
        try:
            return cls(shard.primary, node, await ask_server(node, address), tag)
        except BaseException:
            await node.close()
            raise

    async def close(self) -> None:
        """Close everything; always safe."""
        await self.node.close()
        if self.proof is not None:
            self.proof.close()


@dataclass
class Hands:
    """The old end's primaries, in the order of the ways that read them."""

    book: Book
    side: Side
    old: list[OldPrimary] = field(default_factory=list)
    held_at_s: float = 0.0
    """0 when this process did not hold the writes."""

    @classmethod
    async def connect(cls, book: Book, side: Side, shards: Sequence[Shard], *, cluster: bool) -> Hands:
        """Connect to all. Raises: the connection's errors."""
        made = cls(book, side)
        try:
            for shard in shards:
                made.old.append(await OldPrimary.connect(shard, cluster=cluster))
        except BaseException:
            await made.close()
            raise
        return made

    async def close(self) -> None:
        """Close everything; always safe."""
        for each in self.old:
            await each.close()

    async def queue(self) -> None:
        """Queue the writes that EXEC must be refused for."""
        for each in self.old:
            each.proof = await RightsProof.prepare(each.endpoint, each.tag)

    @property
    def held_ms(self) -> float:
        """How long writes have been held; 0 when not by this process."""
        return (time.monotonic() - self.held_at_s) * 1000 if self.held_at_s else 0.0

    async def hold(self, bound_ms: int) -> None:
        """From here on clients' writes wait, on all primaries."""
        self.held_at_s = time.monotonic()

        async def one(each: OldPrimary) -> None:
            if fences.pauses_writes(each.seen.version):
                await fences.pause_writes(each.node, bound_ms + MARGIN_MS)
            else:
                await borrow(self.book, self.side, each.seen.address, each.node, fences.REFUSING)

        await asyncio.gather(*(one(each) for each in self.old))

    async def release(self) -> None:
        """Let the held clients go on. Raises: the first error, after all have been tried."""
        pausing = [each for each in self.old if fences.pauses_writes(each.seen.version)]
        for failed in await asyncio.gather(
            *(fences.unpause_writes(each.node) for each in pausing), return_exceptions=True
        ):
            if isinstance(failed, BaseException):
                raise failed
        if len(pausing) < len(self.old):
            left = await give_back(
                self.book, lambda loan: loan.side is self.side and loan.name in fences.REFUSING
            )
            if left:
                raise NodeGone(str(self.old[0].endpoint), "; ".join(left))
            for each in self.old:
                await fences.rewrite(each.node)  # the fence has written it down too

    async def again(self) -> None:
        """Connect anew to whichever connection broke. Raises: the connection's errors."""
        for each in self.old:
            await each.node.close()
            each.node = await EngineNode.connect(each.endpoint)

    async def offsets(self) -> list[int]:
        """How far each has written. Raises: NodeGone when one is no primary any more."""
        seen = await asyncio.gather(*(ask_server(each.node, each.seen.address) for each in self.old))
        for each in seen:
            if each.role is not Role.PRIMARY:
                raise NodeGone(each.title, "it is no primary any more")
        return [each.offset for each in seen]

    async def prove(self, users: Sequence[str], *, by_trying: bool) -> tuple[str, ...]:
        """What they answer to writes. Raises: FenceLeaks."""
        said: list[str] = []
        for each in self.old:
            if each.proof is None:
                each.proof = await RightsProof.prepare(each.endpoint, each.tag)
            told = await each.proof.prove(users, by_trying=by_trying)
            head = f"{each.endpoint} " if len(self.old) > 1 else ""
            said += [f"{head}{words}" for words in told]
        return tuple(said)


async def arrange(kept: Kept, side: Side, shards: Sequence[Shard]) -> None:
    """Have each primary of the end that is to be read keep what it writes, so that its stream can be asked for at any offset.

    A primary that never had a replica counts no offsets. Raises: NodeSilent, and the connection's errors.
    """
    for shard in shards:
        address = (shard.primary.host, shard.primary.port)
        async with await EngineNode.connect(shard.primary) as node:
            seen = await ask_server(node, address)
            if int(seen.info.get("repl_backlog_size", "0")) < BACKLOG_BYTES:
                await borrow(kept.book, side, address, node, {"repl-backlog-size": str(BACKLOG_BYTES)})
            if seen.info.get("repl_backlog_active") != "1":
                watched = bool(kept.book.journal.end(side).sentinels)
                await _begin_backlog(node, shard.primary, seen, NO_SUCH_PORT if watched else None)


async def _begin_backlog(node: EngineNode, endpoint: Endpoint, seen: SeenServer, port: int | None) -> None:
    """Ask for a synchronisation, and go as soon as the backlog is there: no data needs to come."""
    link = await SourceLink.open(endpoint, port)
    try:
        await link.begin_backlog()
        end_s = time.monotonic() + BACKLOG_BOUND_S
        while (await ask_server(node, seen.address)).info.get("repl_backlog_active") != "1":
            if time.monotonic() > end_s:
                raise NodeSilent(str(endpoint), "PSYNC", BACKLOG_BOUND_S)
            await asyncio.sleep(LOOK_EVERY_S)
    finally:
        await link.close()


async def cuts(keyspace: Keyspace) -> tuple[ReadShard, ...]:
    """Where the stream of each shard stands now. Raises: NodeGone when one is no primary, and the connection's errors."""

    async def one(shard: Shard) -> ReadShard:
        address = (shard.primary.host, shard.primary.port)
        async with await EngineNode.connect(shard.primary) as node:
            seen = await ask_server(node, address)
        if seen.role is not Role.PRIMARY:
            raise NodeGone(seen.title, "it is no primary any more")
        members = tuple((each.host, each.port) for each in (shard.primary, *shard.replicas))
        return ReadShard(members, shard.slots if keyspace.cluster else (), seen.replid, seen.offset)

    return tuple(await asyncio.gather(*(one(shard) for shard in keyspace.shards)))


async def quietly(hands: Hands) -> None:
    """Release whatever is held, as far as it answers."""
    with contextlib.suppress(HoldfastError):
        await hands.release()
