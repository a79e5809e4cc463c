"""Connections to all nodes of a cache that stay open, so that a failover begins with a question and not a handshake."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.engine.connection import EngineNode, NodeGone, Reply
from holdfast.errors import HoldfastError
from holdfast.supervisor.failover_rules import Voice
from holdfast.topology.cluster_view import read_peers
from holdfast.topology.observe import Access, read_info
from holdfast.topology.record import CacheRecord, Kind, Member


@dataclass(frozen=True)
class Door:
    """One node, for what asks a node and need not know of the others."""

    doors: Doors
    name: str

    async def ask(self, *words: str | int) -> Reply:
        """One command. Raises: HoldfastError, the engine's refusal included."""
        return await self.doors.ask(self.name, *words)


class Doors:
    """One open connection to each member; a broken one is opened anew at the next question."""

    def __init__(self, record: CacheRecord, access: Access) -> None:
        self.record = record
        self._access = access
        self._open: dict[str, EngineNode] = {}
        self._turns = {member.name: asyncio.Lock() for member in record.members}

    async def ask_all(
        self, name: str, commands: Sequence[Sequence[str | int]], *, timeout_s: float
    ) -> list[Reply]:
        """Commands to one node; a connection that broke since the last question is tried once more.

        Raises: NodeGone and its siblings; single commands' errors are values.
        """
        async with self._turns[name]:
            kept = self._open.get(name)
            if kept is not None:
                try:
                    return await kept.ask_all(commands, timeout_s=timeout_s)
                except NodeGone:
                    pass  # closed by the other side since: nothing was done
                except HoldfastError:
                    await self._drop(name)
                    raise
                await self._drop(name)
            made = await EngineNode.connect(
                self._access.endpoint(self.record.member(name)), timeout_s=timeout_s
            )
            self._open[name] = made
            try:
                return await made.ask_all(commands, timeout_s=timeout_s)
            except HoldfastError:
                await self._drop(name)
                raise

    async def ask(self, name: str, *words: str | int, timeout_s: float = 1.0) -> Reply:
        """One command to one node. Raises: HoldfastError, the engine's refusal included."""
        (reply,) = await self.ask_all(name, [words], timeout_s=timeout_s)
        if isinstance(reply, HoldfastError):
            raise reply
        return reply

    def door(self, name: str) -> Door:
        """One of them alone."""
        return Door(self, name)

    async def voices(self, *, without: str = "", timeout_s: float = 0.5) -> list[Voice]:
        """What every server that answers within the bound says now."""
        servers = [member for member in self.record.servers if member.name != without]
        heard = await asyncio.gather(*(self._voice(member, timeout_s) for member in servers))
        return [voice for voice in heard if voice is not None]

    async def _voice(self, member: Member, timeout_s: float) -> Voice | None:
        clustered = bool(member.bus_port)
        commands: list[tuple[str, ...]] = [("INFO", "replication"), ("DBSIZE",)]
        if clustered:
            commands.append(("CLUSTER", "NODES"))
        try:
            info_text, keys, *rest = await self.ask_all(member.name, commands, timeout_s=timeout_s)
        except HoldfastError:
            return None
        if (
            not isinstance(info_text, str)
            or not isinstance(keys, int)
            or (clustered and not isinstance(rest[0], str))
        ):
            return None
        info = read_info(info_text)
        replica = info.get("role") == "slave"
        offset = info.get("slave_repl_offset" if replica else "master_repl_offset", "0")
        own_id, peers = read_peers(rest[0]) if clustered else ("", {})
        primary = f"{info.get('master_host')} {info.get('master_port')}" if replica else ""
        return Voice(member.name, own_id, not replica, primary, int(offset or 0), keys, peers)

    async def sentinels(self) -> list[str]:
        """Names of the sentinels that answer."""

        async def answers(name: str) -> bool:
            with contextlib.suppress(HoldfastError):
                return bool(await self.ask(name, "PING", timeout_s=0.5))
            return False

        names = [member.name for member in self.record.members if member.kind is Kind.SENTINEL]
        replies = await asyncio.gather(*(answers(name) for name in names))
        return [name for name, reply in zip(names, replies, strict=True) if reply]

    async def close(self) -> None:
        """Close all."""
        for name in list(self._open):
            await self._drop(name)

    async def _drop(self, name: str) -> None:
        node = self._open.pop(name, None)
        if node is not None:
            await node.close()
