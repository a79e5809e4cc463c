"""One direction of a migration by relay: its spool, what takes from the one end, and the door by which the other fetches."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from pathlib import Path

from holdfast.engine.facts import Address
from holdfast.migrate.ends import Side
from holdfast.migrate.relay.relay import Relay, Settings
from holdfast.migrate.relay.serve import Door, TargetServer
from holdfast.migrate.relay.spool import Spool
from holdfast.migrate.relay.terms import Phase


class Leg:
    """The way to one side."""

    def __init__(self, to: Side, folder: Path, settings: Settings, door: Door, bound_bytes: int) -> None:
        self.to = to
        self.spool = Spool(folder, bound_bytes)
        self.relay = Relay(self.spool, settings)
        self.server = TargetServer(door, self.relay)
        self.relay.on_new_history = self.server.drop_fed
        self.door: Address = (door.host, door.port)
        """Where the side is told to find us."""
        self.keys_total = 0
        """Keys that the end we take from had when this was made."""
        self._taking: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Take up what an earlier process left, and listen: at the port of before where that is still to be had."""
        self.spool.reopen()
        try:
            port = await self.server.start()
        except OSError:
            self.server.door = replace(self.server.door, port=0)
            port = await self.server.start()
        self.door = (self.door[0], port)

    def take(self) -> None:
        """Begin to take from the other end, unless that was begun already."""
        if self._taking is None:
            self._taking = asyncio.create_task(self.relay.run())

    def failure(self) -> BaseException | None:
        """Why taking has ended for good; None while it goes on."""
        if self._taking is None or not self._taking.done() or self._taking.cancelled():
            return None
        return self._taking.exception()

    @property
    def in_tail(self) -> bool:
        """Whether the full synchronisation is over, both ends are linked, and the stream flows."""
        return self.relay.phase is Phase.TAIL and self.relay.acknowledged >= 0

    async def rest(self) -> None:
        """Take no more; the door stays open."""
        if self._taking is not None:
            self._taking.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self._taking
            self._taking = None

    async def close(self, *, forget: bool = False) -> None:
        """Take and listen no more. Args: `forget`, delete what is spooled."""
        await self.rest()
        await self.server.stop()
        if forget:
            self.spool.clear()
        self.spool.close()
