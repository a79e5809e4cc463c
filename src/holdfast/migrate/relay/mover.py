"""Keeps a migration by relay going: the leg to whichever end follows, and that end's server at it."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import ssl
import time
from dataclasses import dataclass
from typing import Any

from holdfast.engine.connection import Credentials, Endpoint, EngineNode, NodeGone
from holdfast.engine.facts import Address
from holdfast.errors import HoldfastError
from holdfast.jobs.crash import crash_point
from holdfast.jobs.folder import JobFolder
from holdfast.migrate.ends import Side
from holdfast.migrate.fences import rewrite
from holdfast.migrate.journal import Stage
from holdfast.migrate.observe import see_end
from holdfast.migrate.plan import Follow, follow
from holdfast.migrate.relay.commands import merged
from holdfast.migrate.relay.doors import credentials_for, host_towards, tls_for
from holdfast.migrate.relay.leg import Leg
from holdfast.migrate.relay.relay import Settings
from holdfast.migrate.relay.serve import Door
from holdfast.migrate.relay.terms import Full, LossNotAccepted, Phase
from holdfast.migrate.relay.translation import commands_of, dialect_of, rewriting_for
from holdfast.migrate.seen import SeenEnd, SeenServer
from holdfast.migrate.settings import Book, borrow, calm_sentinels, give_back
from holdfast.state import StateFolder
from holdfast.topology.seen import Role

TEND_EVERY_S = 0.5
TOKEN_BYTES = 32
HEARD_EVERY_MS = 1500
"""A target tells its offset every second; one that has not for longer is behind by what it has been silent."""
FASTER_LOADING = {"repl-diskless-load": "on-empty-db"}
"""An empty target loads from the link; one that holds data keeps it until the new is whole on its disk."""


@dataclass(eq=False)
class NoPrimary(HoldfastError):
    """An end shows no server, or several, that it would take writes with."""

    end: str
    seen: str

    def __str__(self) -> str:
        return f"{self.end} has no one primary at the moment ({self.seen}); nothing was changed, and it is looked for again"


@dataclass(eq=False)
class TakenOver(HoldfastError):
    """The server that was to follow us was made a primary by somebody else."""

    server: str
    what: str

    def __str__(self) -> str:
        return (
            f"{self.server} {self.what}, and not by this migration: what it holds now may be wanted, so it is left alone. "
            "If it is to follow again, say so: holdfast migrate resume NAME --point-again; else holdfast migrate stop NAME"
        )


class RelayMover:
    """The work of one migration by relay, on one event loop."""

    def __init__(self, folder: JobFolder, book: Book, state: StateFolder, kept: dict[str, Any]) -> None:
        self.folder = folder
        self.book = book
        self.state = state
        self._secrets = kept
        self.legs: dict[Side, Leg] = {}
        self.trouble = ""
        """What is wrong with the end that follows; empty when nothing is."""
        self.switching = False
        """Whether a switch is under way: a replica's stream will not do then."""
        self.turn = asyncio.Lock()
        """Held by whoever changes the ends: the tending, or a switch."""
        self.keys_total = 0
        """Keys that the source had when the leg was made."""

    @property
    def leg(self) -> Leg | None:
        """The leg to the end that follows now."""
        return self.legs.get(self.book.journal.follower)

    def tell(self, what: str) -> None:
        """Note an event."""
        self.folder.tell(what)

    # -- seeing --------------------------------------------------------------------------------------------------------

    async def see(self, side: Side) -> SeenEnd:
        """Look at one end; servers seen for the first time are remembered."""
        journal = self.book.journal
        doors = [address for _, address in journal.doors]
        seen = await see_end(journal.end(side), strangers=[*doors, *journal.end(side.other).servers])
        known = journal.end(side).knowing(each.address for each in seen.servers)
        if known.servers != journal.end(side).servers:
            self.book.write(**{side.value: known})
        return seen

    async def head(self, side: Side) -> SeenServer:
        """The server of that end that follows no other of it. Raises: NoPrimary."""
        seen = await self.see(side)
        if seen.head is None:
            told = "; ".join([*(f"{each.title} is one" for each in seen.heads), *seen.silent.values()])
            raise NoPrimary(seen.label, told or "no server answers")
        return seen.head

    async def connect(self, side: Side, address: Address, *, timeout_s: float = 5.0) -> EngineNode:
        """A connection to one server of that end; close it."""
        return await EngineNode.connect(self.book.journal.end(side).endpoint(address), timeout_s=timeout_s)

    # -- legs ----------------------------------------------------------------------------------------------------------

    async def make_leg(self, to: Side, *, full: Full) -> Leg:
        """The leg to that side, its door open; what an earlier process spooled is taken up.

        Raises: NoPrimary, NoCertificate and the connection's errors.
        """
        if to in self.legs:
            return self.legs[to]
        journal = self.book.journal
        reader, writer = await self.head(to), await self.head(to.other)
        async with await self.connect(to, reader.address) as node:
            host = host_towards(reader.address, journal.options.listen)
            credentials = await self._credentials(to, reader.address, node)
            tls: ssl.SSLContext | None = await tls_for(journal, journal.end(to), node, host, self.state)
            commands = await commands_of(node, journal.options.accepted, writer, reader)
        self.keys_total = writer.keys
        accepted = journal.options.accepted
        settings = Settings(
            find_source=lambda: self._primary(to.other),
            commands=commands,
            rewriting=lambda: rewriting_for(dialect_of(reader), commands.databases),
            full=full,
            accepts_losses="losses" in accepted,
            hold_until_whole=reader.keys > 0,
            tell=self.tell,
        )
        ports = [port for _, port in journal.doors_of(to)]
        door = Door(host, ports[-1] if ports else 0, credentials, tls)
        leg = Leg(to, self.folder.path / f"spool-to-{to.value}", settings, door, journal.options.spool_bytes)
        await leg.open()
        self.legs[to] = leg
        if journal.doors_of(to)[-1:] != (leg.door,):
            self.book.write(doors=(*self.book.journal.doors, (to, leg.door)))
        return leg

    async def _credentials(self, to: Side, address: Address, node: EngineNode) -> Credentials:
        return await credentials_for(self.book, to, address, node, self._token(to))

    def _token(self, to: Side) -> str:
        """The password of our door to that side; on disk before anybody is told it."""
        name = f"door-{to.value}"
        own = dict(self._secrets.get("own", {}))
        if name not in own:
            own[name] = secrets.token_urlsafe(TOKEN_BYTES)
            self._secrets["own"] = own
            self.folder.write("secrets", self._secrets)
        return str(own[name])

    async def _primary(self, side: Side) -> Endpoint:
        """Where the stream of that end is to be had: its primary, or a replica in sync where that was asked for."""
        head = await self.head(side)
        if head.role is not Role.PRIMARY:
            raise NodeGone(self.book.journal.end(side).label, f"{head.title} is a replica of {head.primary}")
        if self.book.journal.options.from_replica and not self.switching and side is Side.SOURCE:
            replicas = (await self.see(side)).replicas_of(head.address)
            for each in replicas:
                if each.link_up and each.replid == head.replid:
                    return self.book.journal.end(side).endpoint(each.address)
        return self.book.journal.end(side).endpoint(head.address)

    # -- tending -------------------------------------------------------------------------------------------------------

    async def keep(self) -> None:
        """Carry until cancelled. Raises: LossNotAccepted, WayBroken, TakenOver, and what makes going on useless."""
        while True:
            async with self.turn:
                await self._tend()
            await asyncio.sleep(TEND_EVERY_S)

    async def _tend(self) -> None:
        journal = self.book.journal
        back = journal.primary is Side.TARGET
        try:
            leg = await self.make_leg(journal.follower, full=Full.NEVER if back else Full.ALLOWED)
            if back and journal.way_back:
                return
            leg.take()
            if (failed := leg.failure()) is not None:
                await self._failed(leg, failed)
                return
            await self._point(leg)
            self.trouble = ""
        except (TakenOver, LossNotAccepted):
            raise
        except HoldfastError as failed:
            if str(failed) != self.trouble:
                self.tell(str(failed))
            self.trouble = str(failed)
        self._account(leg=self.leg)

    async def _failed(self, leg: Leg, failed: BaseException) -> None:
        if leg.to is Side.SOURCE:
            self.book.write(way_back=str(failed))
            self.tell(f"the way back is closed: {failed}")
            await leg.rest()
            return
        raise failed

    async def _point(self, leg: Leg) -> None:
        """See to it that the end's server follows us. Raises: TakenOver."""
        if leg.relay.phase not in {Phase.SNAPSHOT, Phase.TAIL, Phase.WAITING_FOR_ROOM}:
            return
        journal = self.book.journal
        head = await self.head(leg.to)
        known = journal.pointed if leg.to is Side.TARGET else ""
        verdict = follow(head, self.book.journal.doors_of(leg.to), leg.spool.replid, known)
        if leg.to is Side.SOURCE and verdict is Follow.POINT:
            verdict = Follow.HANDS_OFF  # a server that has left the way back is not led onto it again unasked
        if verdict is Follow.FOLLOWS:
            if head.link_up:
                leg.relay.heard(head.offset)
            if leg.to is Side.TARGET and journal.pointed != head.run_id:
                self.book.write(pointed=head.run_id)
            return
        if verdict is Follow.HANDS_OFF:
            what = "was made a primary" if head.role is Role.PRIMARY else f"follows {head.primary}"
            if leg.to is Side.SOURCE:
                self.book.write(way_back=f"{head.title} {what}")
                self.tell(f"the way back is closed: {head.title} {what}")
                return
            raise TakenOver(head.title, what)
        if verdict is Follow.ADOPT:
            leg.relay.adopt(head.replid, head.offset)
        await self._lead(leg, head)

    async def _lead(self, leg: Leg, head: SeenServer) -> None:
        """Make the head follow our door."""
        if failed := await calm_sentinels(self.book, leg.to):
            self.tell(f"a Sentinel could not be told that its primary will be a replica: {'; '.join(failed)}")
        async with await self.connect(leg.to, head.address) as node:
            if not head.keys:
                with contextlib.suppress(HoldfastError):
                    await borrow(self.book, leg.to, head.address, node, FASTER_LOADING)
            await self._credentials(leg.to, head.address, node)
            self.book.write(pointed=head.run_id)
            crash_point("point")
            await node.ask("REPLICAOF", *leg.door)
            crash_point("pointed")
            if words := await rewrite(node):
                self.tell(f"{head.title} forgets after a restart that it follows: {words}")
        self.tell(f"{head.title} follows the relay at {leg.door[0]}:{leg.door[1]}")

    async def let_go(self) -> tuple[str, ...]:
        """Leave the target as a primary of its own, and give back what was borrowed; what could not be."""
        said: list[str] = []
        leg = self.leg
        try:
            head = await self.head(Side.TARGET)
            if leg is not None and head.role is Role.REPLICA and head.primary == leg.door:
                async with await self.connect(Side.TARGET, head.address) as node:
                    await node.ask("REPLICAOF", "NO", "ONE")
                    if words := await rewrite(node):
                        said.append(words)
        except HoldfastError as failed:
            said.append(str(failed))
        said.extend(await give_back(self.book))
        return tuple(said)

    async def close(self, *, forget: bool = False) -> None:
        """Take and give no more. Args: `forget`, delete what is spooled."""
        for leg in self.legs.values():
            await leg.close(forget=forget)
        self.legs = {}

    # -- telling -------------------------------------------------------------------------------------------------------

    def _account(self, leg: Leg | None) -> None:
        """Write down what must not be forgotten: full synchronisations and losses."""
        if leg is None:
            return
        journal, counts = self.book.journal, leg.relay.counts
        if counts.reasons:
            self.book.write(full_syncs=(*journal.full_syncs, *counts.reasons), losses={})
            counts.reasons = []
        losses = merged(counts.rdb_losses, counts.stream_losses)
        new = {what: count for what, count in losses.items() if count > journal.losses.get(what, 0)}
        if new:
            self.book.write(losses={**journal.losses, **new})

    def glance(self) -> dict[str, Any]:
        """How far it is, for progress.json."""
        leg, journal = self.leg, self.book.journal
        if leg is None:
            return {"phase": "connecting", "trouble": self.trouble}
        relay, now = leg.relay, time.monotonic()
        silent_ms = (now - relay.heard_at_s) * 1000 if relay.lag_bytes else 0.0
        lag_ms = max(relay.lag.ms, silent_ms - HEARD_EVERY_MS) if relay.acknowledged >= 0 else 0.0
        loaded = relay.acknowledged >= 0
        phase = relay.phase.value
        if relay.phase is Phase.TAIL and not loaded:
            phase = "loading"
        if journal.stage is Stage.PAUSED:
            phase = "paused"
        return {
            "phase": phase,
            "trouble": self.trouble or relay.trouble,
            "keys": relay.counts.keys,
            "keys_total": self.keys_total,
            "keys_per_s": round(relay.key_meter.per_s),
            "bytes": relay.counts.rdb_bytes if relay.phase is Phase.SNAPSHOT else relay.counts.stream_bytes,
            "bytes_per_s": round(relay.meter.per_s),
            "offset": leg.spool.end,
            "applied": relay.acknowledged,
            "lag_bytes": relay.lag.bytes if relay.acknowledged >= 0 else relay.lag_bytes,
            "lag_ms": round(lag_ms),
            "spool_bytes": leg.spool.held_bytes,
            "losses": dict(merged(relay.counts.rdb_losses, relay.counts.stream_losses)),
            "full_syncs": len(journal.full_syncs) + len(relay.counts.reasons),
            "continued": relay.counts.continued + leg.server.continued,
        }
