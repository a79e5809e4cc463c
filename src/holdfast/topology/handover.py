"""One primary without slots hands over to one of its replicas: writes held, offsets equal, roles changed, writes let go.

The engines' own `FAILOVER TO` does the same but believes only what replicas report by themselves, once a second: it
held writes for 0.8 s where this takes some milliseconds, for here the replica is asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import time

from holdfast.engine.connection import EngineNode
from holdfast.engine.facts import Address
from holdfast.errors import HoldfastError
from holdfast.topology.observe import read_info

HELD_MS = 3000
"""Writes are held no longer than this, whatever becomes of whoever asked for it."""
EQUAL_BOUND_S = 1.5
"""Well within the hold: an old primary must be none any more before its clients' held writes are let go."""
LOOK_EVERY_S = 0.001
PROMOTE_TRIES = 3


async def hand_over(old: EngineNode, heir: EngineNode, heir_address: Address) -> str:
    """Make the heir the primary and the old primary its replica; no acknowledged write is lost.

    Between the two changes there is no primary, never two: whoever is stopped there leaves a cache that takes no
    writes, and none that takes them twice.
    Returns: why it was not done, in which case the old primary serves on as before; empty when it was.
    Raises: HoldfastError when a node no longer answers, and nobody can say whether it changed; held writes are let go
        after HELD_MS at the latest.
    """
    await old.ask("CLIENT", "PAUSE", HELD_MS, "WRITE")
    try:
        if not await _equal(old, heir):
            return f"the replica did not catch up within {EQUAL_BOUND_S:g} s of held writes"
        await old.ask("REPLICAOF", *heir_address)
        if words := await _promote(heir):
            if (await heir.ask("ROLE"))[0] == "master":
                return ""  # late, but it did
            await old.ask("REPLICAOF", "NO", "ONE")  # the heir has just said that it is none
            return words
    finally:
        with contextlib.suppress(HoldfastError):
            await old.ask("CLIENT", "UNPAUSE")
    return ""


async def _equal(old: EngineNode, heir: EngineNode) -> bool:
    """Wait until the replica has all that the primary has; new writes are held."""
    end_s = time.monotonic() + EQUAL_BOUND_S
    while time.monotonic() < end_s:
        target = int(read_info(str(await old.ask("INFO", "replication"))).get("master_repl_offset", "0"))
        seen = read_info(str(await heir.ask("INFO", "replication")))
        if seen.get("master_link_status") == "up" and int(seen.get("slave_repl_offset", "0")) >= target:
            return True
        await asyncio.sleep(LOOK_EVERY_S)
    return False


async def _promote(heir: EngineNode) -> str:
    """REPLICAOF NO ONE until its role is seen to have changed; why it has not, in words."""
    words = "it stayed a replica"
    for _ in range(PROMOTE_TRIES):
        try:
            await heir.ask("REPLICAOF", "NO", "ONE")
            if (await heir.ask("ROLE"))[0] == "master":
                return ""
        except HoldfastError as refused:
            words = str(refused)
    return words
