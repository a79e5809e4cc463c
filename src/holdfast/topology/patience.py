"""Lets voters vote again soon: for the length of one election they hold a shorter node timeout (see `resting`).

The engines call their rest "not strictly needed for correctness" and Valkey dropped it in 8.1: two elections are kept
apart by their epochs. Measured with it: a primary that failed a second time within 30 s was not replaced at all.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping

from holdfast.engine.build import parse_version
from holdfast.engine.dialects import EngineVersion
from holdfast.errors import HoldfastError
from holdfast.topology.asked import Asked, setting_of
from holdfast.topology.observe import read_info
from holdfast.topology.resting import is_shortened, rests

DIRECTIVE = "cluster-node-timeout"


class Patience:
    """The node timeouts of one cluster's nodes, as somebody has shortened them. Used inside one event loop."""

    def __init__(self) -> None:
        self._short: dict[Asked, int] = {}
        """Node -> what it is to be given back, in ms."""
        self._turn = asyncio.Lock()
        """One election at a time: the end of one would give back what another still needs."""
        self._suspects: set[Asked] = set()

    async def tried(self, nodes: Iterable[Asked]) -> bool:
        """Whether any of these voters waits before it votes about one primary again."""
        engines = await asyncio.gather(*(_engine(node) for node in nodes))
        return any(engine is None or rests(engine) for engine in engines)

    @contextlib.asynccontextmanager
    async def shortened(self, to_ms: Mapping[Asked, int]) -> AsyncIterator[None]:
        """For the length of the block these nodes have that node timeout, where theirs is longer."""
        async with self._turn:
            try:
                await asyncio.gather(*(self._shorten(node, short_ms) for node, short_ms in to_ms.items()))
                yield
            finally:
                await self.give_back()

    async def give_back(self) -> None:
        """Give back what was taken; one that does not answer is tried again by the next call."""
        await asyncio.gather(*(self._restore(node, kept_ms) for node, kept_ms in self._short.items()))

    async def heal(self, nodes: Iterable[Asked], node_timeout_ms: int) -> None:
        """Give all nodes at least the cluster's own: who shortened it may have been killed in between."""
        nodes = list(nodes)
        found = await asyncio.gather(*(node_timeout_of(node) for node in nodes))
        for node, value_ms in zip(nodes, found, strict=True):
            if 0 < value_ms < node_timeout_ms:
                self._short.setdefault(node, node_timeout_ms)
        await self.give_back()

    async def mend(self, nodes: Iterable[Asked], node_timeout_ms: int) -> list[Asked]:
        """Give the cluster's own node timeout to those that somebody else has shortened and never gave it back: at two
        calls in a row, so let more time pass between two than a vote takes. Returns: to whom.
        """
        nodes = list(nodes)
        found = await asyncio.gather(*(node_timeout_of(node) for node in nodes))
        short = {
            node
            for node, value_ms in zip(nodes, found, strict=True)
            if is_shortened(value_ms, node_timeout_ms) and node not in self._short
        }
        left = [node for node in nodes if node in short & self._suspects]
        self._suspects = short - set(left)
        for node in left:
            self._short.setdefault(node, node_timeout_ms)
        if left:
            await self.give_back()
        return left

    async def _shorten(self, node: Asked, to_ms: int) -> None:
        before_ms = await node_timeout_of(node)
        if before_ms <= to_ms:
            return
        self._short.setdefault(node, before_ms)  # first, for an answer that does not come may come too late
        with contextlib.suppress(HoldfastError):
            await node.ask("CONFIG", "SET", DIRECTIVE, to_ms)

    async def _restore(self, node: Asked, to_ms: int) -> None:
        with contextlib.suppress(HoldfastError):
            await node.ask("CONFIG", "SET", DIRECTIVE, to_ms)
            self._short.pop(node, None)


async def node_timeout_of(node: Asked) -> int:
    """Its node timeout now, in ms; 0 where it does not say."""
    return await setting_of(node, DIRECTIVE)


async def _engine(node: Asked) -> EngineVersion | None:
    with contextlib.suppress(HoldfastError, ValueError, KeyError):
        info = read_info(str(await node.ask("INFO", "server")))
        kind = "valkey" if "valkey_version" in info else "redis"
        return EngineVersion(kind, parse_version(info.get("valkey_version") or info["redis_version"]))
    return None
