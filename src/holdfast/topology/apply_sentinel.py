"""Steps on sentinels: what they watch, how, and whom they should forget."""

from __future__ import annotations

import asyncio
import time

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
