"""Lets voters vote again soon: for the length of one election they hold a shorter node timeout.

A voter that has voted about a primary votes about it again only after two node timeouts, and a replica that has asked
waits for four, 4 s at least, before it asks again. The engines call the first "not strictly needed for correctness"
and Valkey dropped it in 8.1: two elections are kept apart by their epochs. Measured with it: a primary that failed a
second time within 30 s was not replaced at all.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable

from holdfast.engine.build import parse_version
from holdfast.engine.dialects import EngineVersion
from holdfast.errors import HoldfastError
from holdfast.supervisor import failover_rules as rules
from holdfast.supervisor.doors import Doors
from holdfast.topology.observe import read_info

DIRECTIVE = "cluster-node-timeout"


class Patience:
    """The node timeouts of one cluster's nodes, as its guardian has shortened them. Used inside one event loop."""

    def __init__(self, doors: Doors, node_timeout_ms: int) -> None:
        self._doors = doors
        self._node_timeout_ms = node_timeout_ms
        self._short: dict[str, int] = {}
        """Node -> what it is to be given back, in ms."""
        self._turn = asyncio.Lock()
        """One election at a time: the end of one would give back what another still needs."""

    async def tried(self, names: Iterable[str]) -> bool:
        """Whether any of these voters waits before it votes about one primary again."""
        engines = await asyncio.gather(*(self._engine(name) for name in names))
        return any(engine is None or rules.rests(engine) for engine in engines)

    @contextlib.asynccontextmanager
    async def shortened(self, names: Iterable[str], to_ms: int) -> AsyncIterator[None]:
        """For the length of the block these nodes have that node timeout, where theirs is longer."""
        async with self._turn:
            await asyncio.gather(*(self._shorten(name, to_ms) for name in names))
            try:
                yield
            finally:
                await self.give_back()

    async def give_back(self) -> None:
        """Give back what was taken; one that does not answer is tried again by the next call."""
        await asyncio.gather(*(self._restore(name, kept) for name, kept in self._short.items()))

    async def heal(self) -> None:
        """Give all nodes at least the cluster's own: an earlier supervisor may have been killed in between."""
        names = [member.name for member in self._doors.record.servers]
        found = await asyncio.gather(*(self._asked(name) for name in names))
        for name, value_ms in zip(names, found, strict=True):
            if 0 < value_ms < self._node_timeout_ms:
                self._short.setdefault(name, self._node_timeout_ms)
        await self.give_back()

    async def _shorten(self, name: str, to_ms: int) -> None:
        before_ms = await self._asked(name)
        if before_ms <= to_ms:
            return
        self._short.setdefault(name, before_ms)  # first, for an answer that does not come may come too late
        with contextlib.suppress(HoldfastError):
            await self._doors.ask(name, "CONFIG", "SET", DIRECTIVE, to_ms, timeout_s=0.5)

    async def _restore(self, name: str, to_ms: int) -> None:
        with contextlib.suppress(HoldfastError):
            await self._doors.ask(name, "CONFIG", "SET", DIRECTIVE, to_ms)
            self._short.pop(name, None)

    async def _asked(self, name: str) -> int:
        """Its node timeout now, in ms; 0 where it does not say."""
        with contextlib.suppress(HoldfastError):
            reply = await self._doors.ask(name, "CONFIG", "GET", DIRECTIVE, timeout_s=0.5)
            value = dict(
                reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=False)
            )
            if str(value.get(DIRECTIVE, "")).isdigit():
                return int(value[DIRECTIVE])
        return 0

    async def _engine(self, name: str) -> EngineVersion | None:
        with contextlib.suppress(HoldfastError, ValueError, KeyError):
            info = read_info(str(await self._doors.ask(name, "INFO", "server", timeout_s=0.5)))
            kind = "valkey" if "valkey_version" in info else "redis"
            return EngineVersion(kind, parse_version(info.get("valkey_version") or info["redis_version"]))
        return None
