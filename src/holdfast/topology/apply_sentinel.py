"""Steps on sentinels: what they watch, how, and whom they should forget."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.engine.acl import SENTINEL_USER
from holdfast.engine.connection import EngineNode, NodeGone, NodeSilent
from holdfast.engine.sentinel_config import failover_timeout_ms
from holdfast.errors import HoldfastError
from holdfast.topology.live import LiveCache
from holdfast.topology.plan_replication import sentinel_settings
from holdfast.topology.steps import RefreshSentinels, TuneSentinel, WatchPrimary

TELL_BOUND_S = 1.0
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
class _Told:
    """A sentinel that can be told at once."""

    name: str
    node: EngineNode
    hello: str
    """Empty where it knows no other sentinel in whose name it could be told."""


@dataclass(frozen=True)
class News:
    """That the primary is another one, ready to be told to the sentinels."""

    cache: LiveCache
    primary: str
    sentinels: Sequence[_Told]

    async def tell(self) -> None:
        """Tell all at once, in the way they tell one another: a hello with a newer configuration epoch. So they keep what
        they know, and tell the clients that listen to them (`+switch-master`), which a sentinel that is only told to
        watch another server does not. Raises nothing: see `assure`.
        """
        await asyncio.gather(*(self._tell(each) for each in self.sentinels if each.hello))

    async def _tell(self, sentinel: _Told) -> None:
        with contextlib.suppress(HoldfastError, TimeoutError):  # writes are held meanwhile
            async with asyncio.timeout(TELL_BOUND_S):
                await sentinel.node.ask_all([("PUBLISH", "__sentinel__:hello", sentinel.hello)])

    async def assure(self) -> None:
        """See that all took it that answer; one that did not is told to watch the new primary. Raises: HoldfastError."""
        address, port = self.cache.address(self.primary)
        for each in self.sentinels:
            try:
                where = await each.node.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.cache.record.name)
            except (NodeGone, NodeSilent):
                continue
            if list(where or ()) != [address, str(port)]:
                await watch(self.cache, WatchPrimary(each.name, self.primary))


@contextlib.asynccontextmanager
async def news_of(cache: LiveCache, primary: str) -> AsyncIterator[News]:
    """News for every sentinel that answers; one that does not will hear of it from the others."""
    address, port = cache.address(primary)
    async with contextlib.AsyncExitStack() as stack:
        found: dict[str, EngineNode] = {}
        epochs, others = [0], {}
        for member in cache.record.sentinels:
            with contextlib.suppress(HoldfastError):
                node = await stack.enter_async_context(await cache.connect(member.name))
                own = _pairs([await node.ask("SENTINEL", "MASTER", cache.record.name)])
                epochs.append(int(own[0].get("config-epoch", "0")))
                others[member.name] = _pairs(await node.ask("SENTINEL", "SENTINELS", cache.record.name))
                found[member.name] = node
        epoch = 1 + max(epochs)

        def hello(known: Sequence[dict[str, str]]) -> str:
            if not known:
                return ""
            sender = f"{known[0]['ip']},{known[0]['port']},{known[0]['runid']},{epoch}"
            return f"{sender},{cache.record.name},{address},{port},{epoch}"

        yield News(cache, primary, [_Told(name, node, hello(others[name])) for name, node in found.items()])


async def announce(cache: LiveCache, primary: str) -> None:
    """Tell every sentinel that the primary is another one since now, and see that they took it. Raises: HoldfastError."""
    async with news_of(cache, primary) as news:
        await news.tell()
        await news.assure()


def _pairs(reply: Any) -> list[dict[str, str]]:
    """What SENTINEL answers, as dictionaries: names and values in turn, or maps already."""
    return [
        dict(each) if isinstance(each, dict) else dict(zip(each[::2], each[1::2], strict=False))
        for each in reply
    ]


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
