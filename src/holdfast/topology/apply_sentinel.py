"""Steps on sentinels: what they watch, how, and whom they should forget."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from holdfast.engine.acl import SENTINEL_USER
from holdfast.engine.sentinel_config import failover_timeout_ms
from holdfast.topology.live import LiveCache
from holdfast.topology.plan_replication import sentinel_settings
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


async def announce(cache: LiveCache, primary: str) -> None:
    """Tell every sentinel, in the way they tell one another, that the primary is another one since now.

    A hello with a newer configuration epoch: so they keep what they know, and tell the clients that listen to them
    (`+switch-master`), which a sentinel that is only told to watch another server does not. One that does not take it
    is told to watch.
    """
    told = {member.name: await _of_the_primary(cache, member.name) for member in cache.record.sentinels}
    epoch = 1 + max((int(each.get("config-epoch", "0")) for each in told.values()), default=0)
    address, port = cache.address(primary)
    for member in cache.record.sentinels:
        async with await cache.connect(member.name) as node:
            if others := _pairs(await node.ask("SENTINEL", "SENTINELS", cache.record.name)):
                sender = f"{others[0]['ip']},{others[0]['port']},{others[0]['runid']},{epoch}"
                hello = f"{sender},{cache.record.name},{address},{port},{epoch}"
                await node.ask_all([("PUBLISH", "__sentinel__:hello", hello)])
            where = await node.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", cache.record.name)
        if list(where or ()) != [address, str(port)]:
            await watch(cache, WatchPrimary(member.name, primary))


async def _of_the_primary(cache: LiveCache, sentinel: str) -> dict[str, str]:
    async with await cache.connect(sentinel) as node:
        return next(iter(_pairs([await node.ask("SENTINEL", "MASTER", cache.record.name)])), {})


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
