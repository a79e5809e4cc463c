"""What is on disk and what survives: configuration of the live nodes, and a scratch server of the same build for what would
harm them (a truncated file, a full disk).
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from holdfast.engine.connection import CommandRefused, NodeDenied
from holdfast.errors import HoldfastError
from holdfast.prove.check import Measured
from holdfast.prove.scratch import Scratch, scratch_server
from holdfast.prove.stage import Stage
from holdfast.topology.record import Member

ASKED = (
    "save",
    "appendonly",
    "appendfsync",
    "auto-aof-rewrite-percentage",
    "auto-aof-rewrite-min-size",
    "aof-load-truncated",
    "min-replicas-to-write",
    "min-replicas-max-lag",
    "maxmemory",
    "maxmemory-policy",
)
TAIL_KEYS = 200
FULL_BYTES = 1 << 20
FULL_WRITES = 1500
"""Of 4 kB each: several times more than there is room for."""


KEEPING = (
    "appendonly",
    "appendfsync",
    "aof-load-truncated",
    "no-appendfsync-on-rewrite",
    "aof-use-rdb-preamble",
)
"""The settings of a node that a scratch server takes over: what is tried is what the cache would do, not what it should."""


async def config(stage: Stage) -> Measured:
    """What each server says it does with its data."""
    told: dict[str, Any] = {}
    for member in stage.record.servers:
        try:
            settings = await _settings(stage, member)
            told[member.name] = {name: settings.get(name, "") for name in ASKED}
        except (NodeDenied, CommandRefused) as refused:
            told[member.name] = {"refused": str(refused)}
        except HoldfastError as failed:
            told[member.name] = {"failed": str(failed)}
    return {"nodes": told}


async def _settings(stage: Stage, member: Member) -> dict[str, str]:
    async with stage.at(member) as node:
        found = await node.ask("CONFIG", "GET", "*")
    pairs = found if isinstance(found, dict) else dict(zip(found[::2], found[1::2], strict=True))
    return {str(name): str(value) for name, value in pairs.items()}


async def _kinds(stage: Stage) -> list[tuple[dict[str, str], list[str]]]:
    """The settings that nodes keep their data by, each kind once, with the nodes that have them. Raises: HoldfastError."""
    kinds: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for member in stage.record.servers:
        settings = await _settings(stage, member)
        kind = tuple((name, settings[name]) for name in KEEPING if name in settings)
        kinds.setdefault(kind, []).append(member.name)
    return [(dict(kind), names) for kind, names in kinds.items()]


async def aof_tail(stage: Stage) -> Measured:
    """A server of the same build and settings whose append-only file ends in the middle of a write."""
    if not stage.spec.persistence.aof.enabled:
        return {"runs": []}
    return {
        "runs": [await _cut(stage, settings) | {"nodes": names} for settings, names in await _kinds(stage)]
    }


async def _cut(stage: Stage, settings: dict[str, str]) -> dict[str, Any]:
    async with scratch_server(stage, settings | {"appendfsync": "always"}) as server:
        for number in range(TAIL_KEYS):
            await server.ask("SET", f"key:{number}", "x" * 50)
        await server.kill()
        cut = server.cut_aof_tail(20)
        began_s = time.monotonic()
        refused = ""
        keys = 0
        try:
            await server.start()
            keys = int(await server.ask("DBSIZE"))
        except HoldfastError as failed:
            refused = str(failed)
        return {
            "settings": settings,
            "written": TAIL_KEYS,
            "cut_bytes": cut,
            "keys_after": keys,
            "refused": refused,
            "took_ms": round((time.monotonic() - began_s) * 1000, 1),
        }


async def disk_full(stage: Stage) -> Measured:
    """A server of the same build and settings that may write no more than a megabyte: what it says, keeps, and does when
    there is room.
    """
    if not stage.spec.persistence.aof.enabled:
        return {"runs": []}
    return {
        "runs": [
            await _filled_up(stage, settings) | {"nodes": names} for settings, names in await _kinds(stage)
        ]
    }


async def _filled_up(stage: Stage, settings: dict[str, str]) -> dict[str, Any]:
    async with scratch_server(stage, settings) as server:
        server.limit_files(FULL_BYTES)
        acknowledged, words = await _until_refused(server)
        server.limit_files(None)
        ended = not server.running  # with fsync always an engine ends rather than go on
        if ended:
            await server.start()
        recovered_s = await _until_accepted(server)
        await asyncio.sleep(1.2)  # what it held back meanwhile reaches the file with the next second's flush
        await server.kill()
        await server.start()
        survived = int(await server.ask("DBSIZE"))
        return {
            "settings": settings,
            "acknowledged": acknowledged,
            "refused_with": words,
            "ended": ended,
            "accepted_again_after_s": recovered_s,
            "kept_after_a_crash": survived,
        }


async def _until_refused(server: Scratch) -> tuple[int, str]:
    value = "x" * 4096
    end_s = time.monotonic() + 10
    acknowledged = 0
    while time.monotonic() < end_s:
        try:
            await server.ask("SET", f"key:{acknowledged}", value)
        except HoldfastError as refused:
            return acknowledged, str(refused)
        acknowledged += 1
        if acknowledged >= FULL_WRITES:
            break
    return acknowledged, ""


async def _until_accepted(server: Scratch) -> float | None:
    began_s = time.monotonic()
    while time.monotonic() - began_s < 10:
        try:
            await server.ask("SET", "afterwards", "x")
            return round(time.monotonic() - began_s, 2)
        except HoldfastError:
            await asyncio.sleep(0.1)
    return None


async def nothing_to_run(stage: Stage) -> Measured:
    """For promises whose verbs do not exist in this version."""
    return {}
