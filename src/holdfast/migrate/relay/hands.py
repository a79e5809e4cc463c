"""What a switch of primaries does to the two servers, each thing by itself: held, settled, fenced, proved, promoted, released."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Self

from holdfast.engine.connection import EngineNode, NodeGone
from holdfast.engine.facts import Address
from holdfast.migrate import fences
from holdfast.migrate.ends import Side
from holdfast.migrate.journal import Step
from holdfast.migrate.observe import ask_server
from holdfast.migrate.relay.mover import RelayMover
from holdfast.migrate.seen import SeenServer
from holdfast.migrate.settings import BACKLOG_BYTES, PING_PERIOD_S, borrow, give_back
from holdfast.migrate.switching import SwitchUndone
from holdfast.topology.seen import Role

LOOK_EVERY_S = 0.001
MARGIN_MS = 5000
"""How much longer writes are held than the offsets may take: room for the fence, its proof and the promotion."""
SAFETY_MS = 1500
"""No fence is begun when less than this is left of the pause."""


@dataclass
class Hands:
    """Both servers of one switch, connected, and what has been learnt while it goes on."""

    mover: RelayMover
    to: Side
    old_address: Address
    new_address: Address
    door: Address
    """Where the old primary is fenced at."""
    old: EngineNode
    new: EngineNode
    version: tuple[int, int, int]
    """Of the old primary."""
    bound_ms: int
    proof: fences.FenceProof | None = None
    held_at_s: float = 0.0
    """0 when this process did not hold the writes."""
    offset: int = -1
    replid: str = ""

    @classmethod
    async def connect(cls, mover: RelayMover, to: Side, old: Address, new: Address, bound_ms: int) -> Self:
        """Connect to both. Raises: the connection's errors."""
        door = mover.legs[to.other].door
        first = await mover.connect(to.other, old)
        try:
            second = await mover.connect(to, new)
            version = (await ask_server(first, old)).version
        except BaseException:
            await first.close()
            raise
        return cls(mover, to, old, new, door, first, second, version, bound_ms)

    async def close(self) -> None:
        """Close everything; always safe."""
        await self.old.close()
        await self.new.close()
        if self.proof is not None:
            await self.proof.close()

    async def see(self) -> tuple[SeenServer, SeenServer]:
        """The old and the new primary, now."""
        old, new = await asyncio.gather(
            ask_server(self.old, self.old_address), ask_server(self.new, self.new_address)
        )
        return old, new

    async def again(self) -> None:
        """Connect anew to whichever connection broke. Raises: the connection's errors."""
        await self.old.close()
        await self.new.close()
        self.old = await self.mover.connect(self.to.other, self.old_address)
        self.new = await self.mover.connect(self.to, self.new_address)

    @property
    def held_ms(self) -> float:
        """How long writes have been held; 0 when not by this process."""
        return (time.monotonic() - self.held_at_s) * 1000 if self.held_at_s else 0.0

    async def arrange(self) -> None:
        """Settings that a short pause and a way back need; all are given back."""
        book, to = self.mover.book, self.to
        period = str(PING_PERIOD_S)
        pings = {"repl-ping-replica-period": period, "repl-ping-slave-period": period}
        await borrow(book, to.other, self.old_address, self.old, pings)
        for side, address, node in ((to.other, self.old_address, self.old), (to, self.new_address, self.new)):
            seen = await ask_server(node, address)
            if int(seen.info.get("repl_backlog_size", "0")) < BACKLOG_BYTES:
                await borrow(book, side, address, node, {"repl-backlog-size": str(BACKLOG_BYTES)})

    async def queue(self) -> None:
        """Queue the write that EXEC must be refused for."""
        endpoint = self.mover.book.journal.end(self.to.other).endpoint(self.old_address)
        self.proof = await fences.FenceProof.prepare(endpoint, self.version)

    async def hold(self) -> None:
        """From here on clients' writes wait."""
        self.held_at_s = time.monotonic()
        if fences.pauses_writes(self.version):
            await fences.pause_writes(self.old, self.bound_ms + MARGIN_MS)
        else:
            await borrow(self.mover.book, self.to.other, self.old_address, self.old, fences.REFUSING)

    async def equal(self, step: Step) -> None:
        """Wait until both have the same offset. Raises: SwitchUndone when they do not in time."""
        end_s = time.monotonic() + self.bound_ms / 1000
        while True:
            old, new = await self.see()
            if old.offset == new.offset and new.role is Role.REPLICA:
                self.offset, self.replid = new.offset, new.replid
                return
            if time.monotonic() > end_s:
                raise SwitchUndone(
                    step,
                    f"after {self.bound_ms} ms the old primary is at offset {old.offset} and the other at {new.offset}",
                )
            await asyncio.sleep(LOOK_EVERY_S)

    async def fence(self) -> str:
        """For good; what of it would not outlast a restart, else empty. Raises: SwitchUndone when time is short."""
        if self.held_ms > self.bound_ms + MARGIN_MS - SAFETY_MS:
            raise SwitchUndone(
                Step.FENCE, f"writes were held for {self.held_ms:.0f} ms, and are about to go on"
            )
        return await fences.fence(self.old, self.door)

    async def prove(self) -> tuple[str, ...]:
        """What the old primary answers to writes. Raises: FenceLeaks."""
        if self.proof is None:
            await self.queue()
        assert self.proof is not None
        return await self.proof.prove()

    async def promote(self) -> None:
        """Make the new one a primary, and see that it is."""
        await self.new.ask("REPLICAOF", "NO", "ONE")
        seen = await ask_server(self.new, self.new_address)
        if seen.role is not Role.PRIMARY:
            raise SwitchUndone(
                Step.PROMOTE, f"{seen.title} said OK to a promotion and is a {seen.role.value}"
            )

    async def release(self) -> None:
        """Let the held clients go on."""
        if fences.pauses_writes(self.version):
            await fences.unpause_writes(self.old)
            return
        failed = await give_back(
            self.mover.book, lambda loan: loan.side is self.to.other and loan.name in fences.REFUSING
        )
        if failed:
            raise NodeGone(str(self.old.endpoint), "; ".join(failed))
        await fences.rewrite(
            self.old
        )  # the fence has written it down too, and it is not to come back with a restart
