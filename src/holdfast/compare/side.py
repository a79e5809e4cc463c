"""One of the two keyspaces, connected: its shards, its keys listed one by one, and any command sent to a key's owner."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

from holdfast.codec.crc import key_slot
from holdfast.engine.connection import CommandRefused, Endpoint, NodeGone, NodeSilent
from holdfast.engine.pipeline import Pipeline, Raw, Word, pack, refusal
from holdfast.engine.spans import SpanPipeline, value_of
from holdfast.errors import HoldfastError
from holdfast.topology.observe import read_info
from holdfast.topology.shards import Keyspace, Shard, discover

_OK = b"+OK\r\n"
PASSING = ("MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "READONLY")
"""Errors that say: ask again in a moment, perhaps somewhere else."""


class ReadFrom(StrEnum):
    """Whom a side is read from."""

    PRIMARY = "primary"
    REPLICA = "replica"
    """A replica of each shard that has one in sync; spares the primary, and lags it."""


@dataclass(eq=False)
class SideLost(HoldfastError):
    """A server of one side stayed away for longer than the bound."""

    address: str
    waited_s: float
    why: str

    def __str__(self) -> str:
        return (
            f"{self.address} could not be read for {self.waited_s:g} s ({self.why}); what was compared is kept: "
            "run the same comparison again to go on"
        )


@dataclass
class Node:
    """A server of the side and the connections to it: one for commands, one for reading very much."""

    pipe: Pipeline
    spans: SpanPipeline
    run_id: str

    @property
    def usable(self) -> bool:
        """Whether both connections are as they were made."""
        return self.pipe.usable and self.spans.usable

    def close(self) -> None:
        """Close both; always safe."""
        self.pipe.close()
        self.spans.close()


@dataclass
class Side:
    """A connected keyspace."""

    keyspace: Keyspace
    read_from: ReadFrom = ReadFrom.PRIMARY
    timeout_s: float = 30.0
    patience_s: float = 60.0
    """How long a server may be away before the comparison stops."""
    big_bytes: int = 1 << 20
    """Values that the engine reckons larger are never asked for whole."""
    knows_sizes: bool = True
    """Whether the user may ask MEMORY USAGE."""
    _nodes: dict[int, Node] = field(default_factory=dict)
    _owners: list[int] = field(default_factory=list)
    _mending: asyncio.Lock = field(default_factory=asyncio.Lock)
    _generation: int = 0

    @classmethod
    async def open(
        cls,
        seeds: Sequence[Endpoint],
        *,
        read_from: ReadFrom = ReadFrom.PRIMARY,
        timeout_s: float = 30.0,
        patience_s: float = 60.0,
        as_named: bool = False,
    ) -> Self:
        """Find the keyspace's shards and connect to each. Args: `as_named`, as for `discover`. Raises: NodeGone, NodeSilent, NodeDenied, NotOneKeyspace."""
        side = cls(await discover(seeds, as_named=as_named), read_from, timeout_s, patience_s)
        try:
            await side._connect()
        except BaseException:
            side.close()
            raise
        return side

    async def _connect(self) -> None:
        for index, shard in enumerate(self.keyspace.shards):
            self._nodes[index] = await self._node(shard)
        self._owners = self.keyspace.owners()
        probe = self._nodes[0].pipe
        (said,) = await probe.ask_all([("MEMORY", "USAGE", "holdfast:no-such-key")])
        self.knows_sizes = not refusal(said).startswith(("NOPERM", "ERR unknown"))

    async def _node(self, shard: Shard) -> Node:
        wanted = shard.primary
        if self.read_from is ReadFrom.REPLICA and shard.replicas:
            wanted = shard.replicas[0]
        pipe = await Pipeline.connect(wanted, timeout_s=self.timeout_s, name="holdfast-compare")
        try:
            spans = await SpanPipeline.connect(wanted, timeout_s=self.timeout_s, name="holdfast-compare")
        except BaseException:
            pipe.close()
            raise
        node = Node(pipe, spans, "")
        try:
            if self.keyspace.cluster and wanted is not shard.primary:
                await pipe.ask("READONLY")
                await spans.ask("READONLY")
            node.run_id = read_info((await pipe.ask("INFO")).decode(errors="replace")).get("run_id", "")
        except BaseException:
            node.close()
            raise
        return node

    def close(self) -> None:
        """Close every connection."""
        for node in self._nodes.values():
            node.close()
        self._nodes.clear()

    @property
    def shards(self) -> tuple[Shard, ...]:
        return self.keyspace.shards

    @property
    def tells_absolute_ttl(self) -> bool:
        """Whether PEXPIRETIME exists (Redis 7.0; every Valkey)."""
        return self.keyspace.version >= (7, 0, 0)

    @property
    def tells_field_ttl(self) -> bool:
        """Whether fields of hashes can have a TTL (Redis 7.4, Valkey 9.0)."""
        return self.keyspace.version >= ((9, 0, 0) if self.keyspace.engine == "valkey" else (7, 4, 0))

    def owner(self, key: bytes) -> int:
        """The index of the shard that holds `key`."""
        return self.owner_of_slot(key_slot(key)) if self.keyspace.cluster else 0

    def owner_of_slot(self, slot: int) -> int:
        """The index of the shard that holds the slot; the first where the map has a hole."""
        return max(0, self._owners[slot])

    def node(self, shard: int) -> Node:
        """The server that the shard is read from."""
        return self._nodes[shard]

    def node_of(self, key: bytes) -> Node:
        """The server that `key` is read from. Shards change places when slots move: nodes are held on to, not numbers."""
        return self._nodes[self.owner(key)]

    def known(self, run_id: str) -> Node | None:
        """The server of that run, while it is one of those that are read."""
        return next((node for node in self._nodes.values() if node.run_id == run_id and run_id), None)

    async def databases(self) -> tuple[int, ...]:
        """Those that have keys."""
        found: set[int] = set()
        for node in self._nodes.values():
            info = read_info((await node.pipe.ask("INFO", "keyspace")).decode())
            found |= {int(name[2:]) for name in info if name.startswith("db") and name[2:].isdigit()}
        return tuple(sorted(found))

    async def scan(self, node: Node, database: int, cursor: int, count: int) -> tuple[int, list[bytes]]:
        """One step of SCAN on a server: the next cursor, 0 at the end, and keys."""
        (reply,) = await self.raw(node, database, pack("SCAN", cursor, "COUNT", count), 1)
        if said := refusal(reply):
            raise CommandRefused(str(node.pipe.endpoint), "SCAN", said)
        return int(reply[0]), reply[1]

    async def keys_in_slot(self, slot: int) -> list[bytes]:
        """All keys of one slot of a cluster."""
        pipe = self._nodes[self.owner_of_slot(slot)].pipe
        count = await pipe.ask("CLUSTER", "COUNTKEYSINSLOT", slot)
        found: list[bytes] = await pipe.ask("CLUSTER", "GETKEYSINSLOT", slot, count) if count else []
        return found

    async def raw(self, node: Node, database: int, packed: bytes, count: int) -> list[Raw]:
        """Commands to one server in one database; their replies."""
        pipe = node.pipe
        if self.keyspace.cluster and database == 0:
            return await pipe.send(packed, count)
        first, *replies = await pipe.send(pack("SELECT", database) + packed, count + 1)
        if said := refusal(first):
            raise CommandRefused(str(pipe.endpoint), f"SELECT {database}", said)
        return replies

    async def read(self, node: Node, database: int, packed: bytes, count: int) -> tuple[bytes, int]:
        """The same, but the replies as they came, and where in them those to the commands begin."""
        if self.keyspace.cluster and database == 0:
            return await node.spans.read(packed, count), 0
        came = await node.spans.read(pack("SELECT", database) + packed, count + 1)
        if not came.startswith(_OK):
            said = refusal(value_of(came[: came.index(b"\n") + 1]))
            raise CommandRefused(str(node.pipe.endpoint), f"SELECT {database}", said)
        return came, len(_OK)

    async def ask(self, database: int, key: bytes, *words: Word) -> Raw:
        """One command about one key, sent to its owner; redirections are followed once the map is read again.

        Raises: CommandRefused; NodeGone and NodeSilent after the side's patience.
        """
        (reply,) = await self.ask_all(database, key, [words])
        if said := refusal(reply):
            raise CommandRefused(str(self.node_of(key).pipe.endpoint), str(words[0]), said)
        return reply

    async def ask_all(self, database: int, key: bytes, commands: Sequence[Sequence[Word]]) -> list[Raw]:
        """Several commands about one key; refusals among the replies as values, but for passing ones, which are waited out."""
        packed = b"".join(pack(*words) for words in commands)
        end = time.monotonic() + self.patience_s
        while True:
            replies = await self.raw(self.node_of(key), database, packed, len(commands))
            passing = next((said for each in replies if (said := refusal(each)).startswith(PASSING)), "")
            if not passing:
                return replies
            if time.monotonic() > end:
                raise SideLost(str(self.node_of(key).pipe.endpoint), self.patience_s, passing)
            await asyncio.sleep(0.05)
            await self.read_map()

    async def read_map(self) -> None:
        """Ask again which shard owns what, and connect to servers that are new."""
        async with self._mending:
            found = await discover(self.keyspace.seeds, as_named=self.keyspace.as_named)
            kept = {str(node.pipe.endpoint): node for node in self._nodes.values() if node.usable}
            nodes: dict[int, Node] = {}
            for index, shard in enumerate(found.shards):
                known = next((kept.pop(str(each)) for each in self._wanted(shard) if str(each) in kept), None)
                nodes[index] = known or await self._node(shard)
            for left in kept.values():
                left.close()
            self.keyspace, self._nodes, self._owners = found, nodes, found.owners()

    def _wanted(self, shard: Shard) -> tuple[Endpoint, ...]:
        return shard.replicas if self.read_from is ReadFrom.REPLICA and shard.replicas else (shard.primary,)

    async def mend(self, broken: HoldfastError) -> None:
        """After a lost connection: wait until every shard can be read again. Raises: SideLost after the side's patience."""
        began = time.monotonic()
        while True:
            try:
                await self.read_map()
                return
            except (NodeGone, NodeSilent, CommandRefused) as still:
                waited_s = time.monotonic() - began
                if waited_s > self.patience_s:
                    address = str(self.keyspace.seeds[0])
                    raise SideLost(address, self.patience_s, str(still)) from broken
                await asyncio.sleep(min(1.0, 0.05 + waited_s / 4))
