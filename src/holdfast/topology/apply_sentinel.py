"""Steps on sentinels: what they watch, how, and whom they should forget."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from holdfast.engine.acl import SENTINEL_USER
from holdfast.engine.connection import EngineNode, NodeGone, NodeSilent
from holdfast.engine.facts import Address
from holdfast.engine.sentinel_config import failover_timeout_ms
from holdfast.errors import HoldfastError
from holdfast.topology.live import LiveCache
from holdfast.topology.plan_replication import sentinel_settings
from holdfast.topology.sentinel_news import News, news_for
from holdfast.topology.steps import RefreshSentinels, TuneSentinel, WatchPrimary

FOUND_AGAIN_BOUND_S = 30.0
"""Sentinels find one another through the primary's channel, on which each says hello every two seconds."""


async def watch(cache: LiveCache, step: WatchPrimary) -> None:
    """Have the sentinel watch the primary anew, with the spec's settings and the nodes' user."""
    address, port = cache.address(step.primary)
    name = cache.record.name
    settings = sentinel_settings(cache.wanted())
    settings["failover-timeout"] = str(failover_timeout_ms(cache.spec))
    password = cache.store.passwords([SENTINEL_USER])[SENTINEL_USER]
    async with await cache.connect(step.node) as node:
        await node.ask_all(
            [("SENTINEL", "REMOVE", name)]
        )  # an error says that it watched nothing of that name
        await node.ask("SENTINEL", "MONITOR", name, address, port, settings["quorum"])
        await node.ask("SENTINEL", "SET", name, "auth-user", SENTINEL_USER, "auth-pass", password)
        for setting, value in settings.items():
            await node.ask("SENTINEL", "SET", name, setting, value)


@dataclass(frozen=True)
class Announcement:
    """That the primary is another one, ready to be told to every sentinel that answers."""

    cache: LiveCache
    primary: str
    before: Address
    """Of the one that was the primary until now."""
    sentinels: Mapping[str, EngineNode]
    news: News

    async def tell(self) -> None:
        """Tell all at once. Raises nothing: see `assure`."""
        await self.news.tell(self.cache.address(self.primary))

    async def take_back(self) -> None:
        """Tell all that it is the one that it was before. Raises nothing."""
        await self.news.newer().tell(self.before)

    async def assure(self) -> None:
        """See that all took it that answer; one that did not is told to watch the new primary. Raises: HoldfastError."""
        address, port = self.cache.address(self.primary)
        for name, node in self.sentinels.items():
            try:
                where = await node.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.cache.record.name)
            except (NodeGone, NodeSilent):
                continue
            if list(where or ()) != [address, str(port)]:
                await watch(self.cache, WatchPrimary(name, self.primary))


@contextlib.asynccontextmanager
async def news_of(cache: LiveCache, primary: str, before: Address) -> AsyncIterator[Announcement]:
    """News for every sentinel that answers; one that does not will hear of it from the others."""
    async with contextlib.AsyncExitStack() as stack:
        found: dict[str, EngineNode] = {}
        for member in cache.record.sentinels:
            with contextlib.suppress(HoldfastError):
                found[member.name] = await stack.enter_async_context(await cache.connect(member.name))
        yield Announcement(
            cache, primary, before, found, await news_for(cache.record.name, list(found.values()))
        )


async def announce(cache: LiveCache, primary: str) -> None:
    """Tell every sentinel that the primary is another one since now, and see that they took it. Raises: HoldfastError."""
    async with news_of(cache, primary, cache.address(primary)) as news:
        await news.tell()
        await news.assure()


async def tune(cache: LiveCache, step: TuneSentinel) -> None:
    """Change the settings it has for the primary."""
    async with await cache.connect(step.node) as node:
        for setting, value in step.settings.items():
            await node.ask("SENTINEL", "SET", cache.record.name, setting, value)


async def refresh(cache: LiveCache, step: RefreshSentinels) -> None:
    """SENTINEL RESET on one after the other, waiting between two until the first has found the rest again: so
    there is always a majority that can fail over.
    """
    sentinels = cache.record.sentinels
    for member in sentinels:
        async with await cache.connect(member.name) as node:
            await node.ask("SENTINEL", "RESET", cache.record.name)
            began = time.monotonic()
            while time.monotonic() - began < FOUND_AGAIN_BOUND_S:
                others = await node.ask("SENTINEL", "SENTINELS", cache.record.name)
                if len(others) >= len(sentinels) - 1:
                    break
                await asyncio.sleep(0.2)
