"""Holding and fencing one server, so that it takes no write any more, also after a restart; and the proof of it.

Measured (see docs/migrate.md): a pause that runs out lets held writes in; a fence without CONFIG REWRITE is gone after a
restart; `replica-read-only no` is none; a queued EXEC and a script must be tried too.
"""

from __future__ import annotations

import contextlib
import secrets
from dataclasses import dataclass

from holdfast.engine.connection import CommandRefused, Endpoint, EngineNode
from holdfast.engine.facts import Address
from holdfast.errors import HoldfastError

PAUSES_WRITES_FROM = (6, 2, 0)
SCRIPT_FLAGS_FROM = (7, 0, 0)
"""From here on a script says beforehand that it writes, and is refused while writes are held too."""
REFUSING = {"min-replicas-to-write": "1000000"}
"""The setting under which a primary without the pause refuses every write; borrowed for the time of a switch."""
_REFUSALS = ("READONLY", "MASTERDOWN", "NOREPLICAS", "EXECABORT", "NOPERM", "instance is now a read-only")
"""The last is what engines before 6.0 answer to EXEC."""
_PROBE_MS = 1


@dataclass(eq=False)
class FenceLeaks(HoldfastError):
    """A server that was fenced took a write."""

    address: str
    command: str
    words: str

    def __str__(self) -> str:
        return (
            f"{self.address} was fenced and did not refuse {self.command}: {self.words}. The fence was taken away "
            "again; the source serves on as before"
        )


def pauses_writes(version: tuple[int, int, int]) -> bool:
    """Whether a server of that version has CLIENT PAUSE WRITE: its clients wait. Before, writes are refused (NOREPLICAS) by `REFUSING`."""
    return version >= PAUSES_WRITES_FROM


async def pause_writes(node: EngineNode, bound_ms: int) -> None:
    """Let no client's write through for at most `bound_ms`; reads go on. Raises: CommandRefused, NodeDenied, NodeGone."""
    await node.ask("CLIENT", "PAUSE", bound_ms, "WRITE")


async def unpause_writes(node: EngineNode) -> None:
    """Let clients go on, whatever awaits them."""
    await node.ask("CLIENT", "UNPAUSE")


async def fence(node: EngineNode, door: Address) -> str:
    """Make the server a read-only replica of `door`, for good; what could not be made to last, else empty.

    Raises: CommandRefused, NodeDenied, NodeGone.
    """
    for name in ("replica-read-only", "slave-read-only"):
        try:
            await node.ask("CONFIG", "SET", name, "yes")
            break
        except CommandRefused as refused:
            if name == "slave-read-only":
                raise refused from None
    await node.ask("REPLICAOF", door[0], door[1])
    return await rewrite(node)


async def unfence(node: EngineNode) -> str:
    """Make it a primary again; what could not be made to last, else empty."""
    await node.ask("REPLICAOF", "NO", "ONE")
    return await rewrite(node)


async def rewrite(node: EngineNode) -> str:
    """Write the configuration to the server's file, so that a restart keeps it; why that failed, else empty."""
    try:
        await node.ask("CONFIG", "REWRITE", timeout_s=10.0)
    except HoldfastError as failed:
        return str(failed)
    return ""


class FenceProof:
    """Tries to write to a fenced server in each way that a client can: at once, by EXEC of what was queued before, by script.

    Made before writes are held, for the EXEC must be queued before.
    """

    def __init__(self, endpoint: Endpoint, version: tuple[int, int, int], queued: EngineNode) -> None:
        self._endpoint = endpoint
        self._version = version
        self._queued = queued
        self._key = f"holdfast:fence:{secrets.token_hex(8)}"

    @classmethod
    async def prepare(cls, endpoint: Endpoint, version: tuple[int, int, int]) -> FenceProof:
        """Connect and queue a write. Raises: the connection's errors."""
        node = await EngineNode.connect(endpoint)
        proof = cls(endpoint, version, node)
        try:
            await node.ask("MULTI")
            await node.ask("SET", proof._key, "1", "PX", _PROBE_MS)
        except CommandRefused as refused:
            if not any(sign in refused.words for sign in _REFUSALS):
                await node.close()
                raise
            # Fenced already, by a process that was cut off: then nothing can be queued, and EXEC ends the same way.
        except BaseException:
            await node.close()
            raise
        return proof

    async def prove(self) -> tuple[str, ...]:
        """What the server said to each. Raises: FenceLeaks, and the connection's errors."""
        said = [await self._refused(self._queued, "EXEC", ("EXEC",))]
        async with await EngineNode.connect(self._endpoint) as node:
            said.append(await self._refused(node, "SET", ("SET", self._key, "1", "PX", _PROBE_MS)))
            if self._version >= SCRIPT_FLAGS_FROM:
                said.append(await self._script(node, "#!lua\n"))
        return tuple(said)

    async def prove_after_release(self) -> tuple[str, ...]:
        """The script of engines before 7.0, which would be held until the release."""
        if self._version >= SCRIPT_FLAGS_FROM:
            return ()
        async with await EngineNode.connect(self._endpoint) as node:
            return (await self._script(node, ""),)

    async def _script(self, node: EngineNode, head: str) -> str:
        script = f"{head}return redis.call('set', KEYS[1], '1', 'PX', '{_PROBE_MS}')"
        return await self._refused(node, "EVAL", ("EVAL", script, 1, self._key))

    async def _refused(self, node: EngineNode, name: str, words: tuple[str | int, ...]) -> str:
        try:
            reply = await node.ask(*words)
        except CommandRefused as refused:
            if any(sign in refused.words for sign in _REFUSALS):
                return f"{name}: {refused.words.partition('.')[0][:100]}"
            raise FenceLeaks(str(self._endpoint), name, f"it answered {refused.words[:100]!r}") from refused
        raise FenceLeaks(str(self._endpoint), name, f"it answered {str(reply)[:60]!r}")

    async def close(self) -> None:
        """Close what was opened; always safe."""
        with contextlib.suppress(HoldfastError):
            await self._queued.close()
