"""Removes what a source's snapshot, or its flush, leaves no place for: keys of its cells, and no other's."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from holdfast.codec.crc import SLOTS, key_slot
from holdfast.engine.pipeline import Pipeline, pack, refusal
from holdfast.migrate.write.checkpoint import PREFIX
from holdfast.migrate.write.target import Target

PIECE = 1_000


async def remove_keys(target: Target, database: int, slots: Collection[int] | None) -> int:
    """Delete every key of a database that lies in one of the slots, but for a migration's own marks.

    Args: `database`, the target's number; `slots`, None for all.
    Returns: how many were deleted. Raises: TargetBroke (as NodeGone or NodeSilent of the connection).
    """
    if target.cluster:
        chosen = range(SLOTS) if slots is None else sorted(slots)
        return sum(
            await asyncio.gather(
                *(
                    _remove_slots(pipe, [slot for slot in chosen if target.pipe_of(slot) is pipe])
                    for pipe in target.pipes
                )
            )
        )
    return await _scan_and_remove(target.pipes[0], database, slots)


async def _remove_slots(pipe: Pipeline, slots: list[int]) -> int:
    removed = 0
    for at in range(0, len(slots), PIECE):
        part = slots[at : at + PIECE]
        counts = await pipe.ask_all([("CLUSTER", "COUNTKEYSINSLOT", slot) for slot in part])
        for slot, count in zip(part, counts, strict=True):
            if not refusal(count) and count:
                keys = await pipe.ask("CLUSTER", "GETKEYSINSLOT", slot, count)
                doomed = [key for key in keys if not key.startswith(PREFIX)]
                removed += await _unlink(pipe, doomed)
    return removed


async def _scan_and_remove(pipe: Pipeline, database: int, slots: Collection[int] | None) -> int:
    removed = 0
    cursor = b"0"
    await pipe.ask("SELECT", database)
    try:
        while True:
            cursor, keys = await pipe.ask("SCAN", cursor, "COUNT", PIECE)
            doomed = [
                key
                for key in keys
                if not key.startswith(PREFIX) and (slots is None or key_slot(key) in slots)
            ]
            removed += await _unlink(pipe, doomed)
            if cursor == b"0":
                return removed
    finally:
        if pipe.usable:
            await pipe.ask("SELECT", 0)


async def _unlink(pipe: Pipeline, keys: list[bytes]) -> int:
    for at in range(0, len(keys), PIECE):
        await pipe.send(
            b"".join(pack("UNLINK", key) for key in keys[at : at + PIECE]), len(keys[at : at + PIECE])
        )
    return len(keys)
