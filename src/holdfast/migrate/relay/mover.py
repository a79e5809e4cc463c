"""Keeps a migration by relay going: the leg to whichever end follows, and that end's server at it."""

from __future__ import annotations

import asyncio
import secrets
import ssl
from typing import Any

from holdfast.engine.connection import Endpoint, NodeGone
from holdfast.errors import HoldfastError
from holdfast.jobs.folder import JobFolder
from holdfast.migrate.ends import Side
from holdfast.migrate.fences import rewrite
from holdfast.migrate.relay.doors import credentials_for, host_towards, tls_for
from holdfast.migrate.relay.leg import Leg
from holdfast.migrate.relay.pointing import TakenOver, point
from holdfast.migrate.relay.relay import Settings
from holdfast.migrate.relay.serve import Door
from holdfast.migrate.relay.sight import Sight
from holdfast.migrate.relay.source import NO_SUCH_PORT
from holdfast.migrate.relay.spool import SpoolTooSmall
from holdfast.migrate.relay.terms import Full, LossNotAccepted
from holdfast.migrate.relay.told import account, glance
from holdfast.migrate.relay.translation import commands_of, dialect_of, rewriting_for
from holdfast.migrate.settings import Book, give_back
from holdfast.state import StateFolder
from holdfast.topology.seen import Role

TEND_EVERY_S = 0.5
TOKEN_BYTES = 32


class RelayMover(Sight):
    """The work of one migration by relay, on one event loop."""

    def __init__(self, folder: JobFolder, book: Book, state: StateFolder, kept: dict[str, Any]) -> None:
        super().__init__(folder, book)
        self.state = state
        self._secrets = kept
        self.legs: dict[Side, Leg] = {}
        self.trouble = ""
        """What is wrong with the end that follows; empty when nothing is."""
        self.switching = False
        """Whether a switch is under way: a replica's stream will not do then."""
        self.turn = asyncio.Lock()
        """Held by whoever changes the ends: the tending, or a switch."""

    @property
    def leg(self) -> Leg | None:
        """The leg to the end that follows now."""
        return self.legs.get(self.book.journal.follower)

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
            credentials = await credentials_for(self.book, to, reader.address, node, self._token(to))
            tls: ssl.SSLContext | None = await tls_for(journal, journal.end(to), node, host, self.state)
            commands = await commands_of(node, journal.options.accepted, writer, reader)
        accepted = journal.options.accepted
        settings = Settings(
            find_source=lambda: self._primary(to.other),
            commands=commands,
            rewriting=lambda: rewriting_for(dialect_of(reader), commands.databases),
            full=full,
            accepts_losses="losses" in accepted,
            hold_until_whole=reader.keys > 0,
            tell=self.tell,
            port=NO_SUCH_PORT if journal.end(to.other).sentinels else None,
        )
        ports = [port for _, port in journal.doors_of(to)]
        door = Door(host, ports[-1] if ports else 0, credentials, tls)
        leg = Leg(to, self.folder.path / f"spool-to-{to.value}", settings, door, journal.options.spool_bytes)
        leg.keys_total = writer.keys
        await leg.open()
        self.legs[to] = leg
        if journal.doors_of(to)[-1:] != (leg.door,):
            self.book.write(doors=(*self.book.journal.doors, (to, leg.door)))
        return leg

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
        """Carry until cancelled. Raises: LossNotAccepted, SpoolTooSmall, WayBroken, TakenOver, and what makes going on useless."""
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
            await point(self, leg, self._token(leg.to))
            self.trouble = ""
        except (TakenOver, LossNotAccepted, SpoolTooSmall):
            raise
        except HoldfastError as failed:
            if str(failed) != self.trouble:
                self.tell(str(failed))
            self.trouble = str(failed)
        account(self.book, self.leg)

    async def _failed(self, leg: Leg, failed: BaseException) -> None:
        if leg.to is Side.SOURCE:
            self.book.write(way_back=str(failed))
            self.tell(f"the way back is closed: {failed}")
            await leg.rest()
            return
        raise failed

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

    def glance(self) -> dict[str, Any]:
        """How far it is, for progress.json."""
        return glance(self.book.journal, self.leg, self.trouble)
