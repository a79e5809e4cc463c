"""Has the target expire and evict nothing by itself while it is written to, where it can be told so.

Source: `import-mode` and CLIENT IMPORT-SOURCE of Valkey 8.1 and later: keys whose time has passed stay until their source says
that they go, and only the connections that say so may see them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from holdfast.engine.connection import Endpoint
from holdfast.engine.pipeline import Pipeline, refusal
from holdfast.errors import HoldfastError
from holdfast.migrate.write.target import Target
from holdfast.topology.shards import discover

_ASK_S = 5.0


async def enter(target: Target) -> bool:
    """Begin; whether every primary understood. Replicas are told too, as far as they answer: one may be promoted.

    Raises: NodeGone, NodeSilent.
    """
    understood = True
    for pipe in target.pipes:
        said = await pipe.ask_all(
            [("CONFIG", "SET", "import-mode", "yes"), ("CLIENT", "IMPORT-SOURCE", "ON")]
        )
        understood = understood and not any(refusal(each) for each in said)
    target.importing = understood
    if understood and target.keyspace is not None:
        await _set([each for shard in target.keyspace.shards for each in shard.replicas], "yes")
    return understood


async def leave(seeds: Sequence[Endpoint]) -> tuple[str, ...]:
    """End it on every server of the target; what could not be, in words."""
    try:
        found = await discover(seeds)
    except HoldfastError as failed:
        return (f"import-mode was not ended: {failed}",)
    servers = [each for shard in found.shards for each in (shard.primary, *shard.replicas)]
    return await _set(servers, "no")


async def _set(servers: Sequence[Endpoint], value: str) -> tuple[str, ...]:
    said = await asyncio.gather(*(_set_one(server, value) for server in servers))
    return tuple(each for each in said if each)


async def _set_one(server: Endpoint, value: str) -> str:
    """Why it was not set; empty when it was, and where there is no such setting."""
    try:
        async with await Pipeline.connect(server, timeout_s=_ASK_S) as pipe:
            (said,) = await pipe.ask_all([("CONFIG", "SET", "import-mode", value)])
    except HoldfastError as failed:
        return f"import-mode of {server} was not set to {value}: {failed}"
    words = refusal(said)
    if words and "Unknown" not in words and "Unsupported" not in words:
        return f"import-mode of {server} was not set to {value}: {words}"
    return ""
