"""The target as the writer sees it: a connection to each shard's primary, units sent to all of them at once, redirections and
slots in motion followed. A lost connection or a failover is told, not mended here: what was written is then not known.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import hiredis

from holdfast.codec.crc import SLOTS, key_slot
from holdfast.engine.connection import CommandRefused, Endpoint, NodeGone, NodeSilent
from holdfast.engine.pipeline import Pipeline, Raw, pack, refusal
from holdfast.errors import HoldfastError
from holdfast.migrate.write.errors import CheckpointLost, TargetStuck
from holdfast.migrate.write.units import Fate, Mark, Told, Unit, packed, read_replies
from holdfast.topology.observe import read_info
from holdfast.topology.shards import Keyspace, discover

CLIENT_NAME = "holdfast-migrate"
WAIT_MS = 500
LOOK_S = 1.0
"""For a server that is only asked for its role."""
_SELECT = b"*2\r\n$6\r\nSELECT\r\n"


@dataclass(eq=False)
class TargetBroke(HoldfastError):
    """A connection to the target was lost, or a primary was replaced: its checkpoints must be read again."""

    address: str
    why: str

    def __str__(self) -> str:
        return f"the target {self.address} was lost ({self.why})"


@dataclass
class Target:
    """A connected target; for one source's writer."""

    seeds: tuple[Endpoint, ...]
    timeout_s: float = 60.0
    patience_s: float = 300.0
    """How long it may take no writes before the job stops."""
    importing: bool = False
    """Whether it has been told to expire nothing by itself (import-mode), and our connections are its source."""
    refused: Callable[[bytes, str], None] = lambda command, words: None
    """Called for each command that the target refused for good."""
    keyspace: Keyspace | None = None
    _pipes: list[Pipeline] = field(default_factory=list)
    _owners: list[int] = field(default_factory=list)

    async def connect(self) -> Self:
        """Find its shards and connect to each primary. Raises: NodeGone, NodeSilent, NodeDenied, NotOneKeyspace."""
        self.close()
        found = await discover(self.seeds)
        if not found.cluster:
            await self._no_other_primary(found)
        self.seeds = tuple(dict.fromkeys((*found.seeds, *self.seeds)))
        pipes: list[Pipeline] = []
        try:
            for shard in found.shards:
                pipe = await Pipeline.connect(shard.primary, timeout_s=self.timeout_s, name=CLIENT_NAME)
                pipes.append(pipe)
                info = read_info((await pipe.ask("INFO", "replication")).decode())
                if info.get("role") != "master":
                    raise NodeGone(str(shard.primary), "it is no primary")
                if self.importing:
                    await pipe.ask("CLIENT", "IMPORT-SOURCE", "ON")
        except BaseException:
            for pipe in pipes:
                pipe.close()
            raise
        self.keyspace, self._pipes, self._owners = found, pipes, found.owners()
        return self

    async def _no_other_primary(self, found: Keyspace) -> None:
        """A primary that was restarted before it was told of its successor would be filled in vain. Raises: NodeGone."""
        for seed in self.seeds:
            try:
                async with await Pipeline.connect(seed, timeout_s=LOOK_S, name=CLIENT_NAME) as pipe:
                    info = read_info((await pipe.ask("INFO")).decode())
            except HoldfastError:
                continue
            if info.get("role") == "master" and info.get("run_id") != found.run_id:
                raise NodeGone(
                    str(found.shards[0].primary),
                    f"{seed} says as well that it is the primary; waiting until one is",
                )

    async def reconnect(self) -> None:
        """Connect again, for as long as patience lasts. Raises: TargetStuck."""
        began = time.monotonic()
        while True:
            try:
                await self.connect()
                return
            except HoldfastError as failed:
                waited_s = time.monotonic() - began
                if waited_s > self.patience_s:
                    raise TargetStuck(self._address, self.patience_s, str(failed)) from failed
                await asyncio.sleep(min(1.0, 0.02 + waited_s / 5))

    def close(self) -> None:
        """Close every connection."""
        for pipe in self._pipes:
            pipe.close()
        self._pipes = []

    @property
    def cluster(self) -> bool:
        return self.keyspace is not None and self.keyspace.cluster

    @property
    def version(self) -> tuple[int, int, int]:
        return self.keyspace.version if self.keyspace else (0, 0, 0)

    @property
    def cells(self) -> range:
        """All cells: the slots of a cluster; one, outside of a cluster."""
        return range(SLOTS) if self.cluster else range(1)

    def cell_of(self, key: bytes) -> int:
        """The cell that `key` lies in."""
        return key_slot(key) if self.cluster else 0

    @property
    def pipes(self) -> tuple[Pipeline, ...]:
        """One to each shard's primary."""
        return tuple(self._pipes)

    def pipe_of(self, cell: int) -> Pipeline:
        """The connection to the owner of a cell."""
        return self._pipes[max(0, self._owners[cell]) if self.cluster else 0]

    @property
    def _address(self) -> str:
        return str(self.seeds[0])

    async def write(
        self, units: Sequence[Unit], mark_of: Callable[[int], Mark], expected: Mapping[int, bytes]
    ) -> None:
        """Have all units done, each in its cell's owner, all owners at the same time.

        Raises: TargetBroke when it is not known what was done; TargetStuck; CheckpointLost.
        """
        left = list(units)
        asked: dict[int, Pipeline] = {}
        began = time.monotonic()
        try:
            while left:
                left, words = await self._round(left, mark_of, expected, asked)
                if not left:
                    return
                waited_s = time.monotonic() - began
                if waited_s > self.patience_s:
                    raise TargetStuck(self._address, self.patience_s, words)
                if words.startswith("READONLY"):
                    raise TargetBroke(self._address, words)
                asked = await self._redirected(words, left)
                await asyncio.sleep(min(0.5, waited_s / 10))
        except (NodeGone, NodeSilent) as lost:
            raise TargetBroke(self._address, str(lost)) from lost
        finally:
            _close_strangers(asked, self._pipes)

    async def write_plain(self, commands: Sequence[tuple[int, bytes]]) -> None:
        """Have commands done that may run twice, each in its cell's owner, in any order. Args: cell and packed command of each.

        Raises: as `write`.
        """
        owners, cluster = self._owners, self.cluster
        shares: list[list[tuple[int, bytes]]] = [[] for _ in self._pipes]
        for each in commands:
            shares[max(0, owners[each[0]]) if cluster else 0].append(each)
        asked = [(pipe, share) for pipe, share in zip(self._pipes, shares, strict=True) if share]
        futures = [
            pipe.begin(b"".join([command for _, command in share]), len(share)) for pipe, share in asked
        ]
        units: dict[int, Unit] = {}
        results = await asyncio.gather(*futures, return_exceptions=True)
        for (_, share), replies in zip(asked, results, strict=True):
            if isinstance(replies, BaseException):
                if isinstance(replies, NodeGone | NodeSilent):
                    raise TargetBroke(self._address, str(replies)) from replies
                raise replies
            if hiredis.ReplyError not in map(type, replies):
                continue
            for (cell, command), reply in zip(share, replies, strict=True):
                if type(reply) is hiredis.ReplyError:
                    units.setdefault(cell, Unit(cell)).commands.append(command)
        if units:
            await self.write(list(units.values()), _no_mark, {})

    async def _round(
        self,
        units: Sequence[Unit],
        mark_of: Callable[[int], Mark],
        expected: Mapping[int, bytes],
        asked: Mapping[int, Pipeline],
    ) -> tuple[list[Unit], str]:
        """Send the units once; those that must be sent again come back, with one reason."""
        by_pipe: dict[int, tuple[Pipeline, list[tuple[Unit, int, bool]], list[bytes]]] = {}
        for unit in units:
            asking = unit.cell in asked
            pipe = asked[unit.cell] if asking else self.pipe_of(unit.cell)
            data, count = packed(unit, mark_of(unit.cell) if unit.marked else None, asking)
            _, sent, blobs = by_pipe.setdefault(id(pipe), (pipe, [], []))
            sent.append((unit, count, asking))
            blobs.append(data)
        futures = [
            pipe.begin(b"".join(blobs), sum(count for _, count, _ in sent))
            for pipe, sent, blobs in by_pipe.values()
        ]
        results = await asyncio.gather(*futures, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        again: list[Unit] = []
        why = ""
        for (_, sent, _), replies in zip(by_pipe.values(), results, strict=True):
            at = 0
            for unit, count, asking in sent:
                # A list, for nothing raised.
                told = read_replies(
                    unit,
                    replies[at : at + count],  # type: ignore[index]
                    expected.get(unit.cell) if unit.marked else None,
                    hiredis.ReplyError,
                    asking,
                )
                at += count
                if told.fate is not Fate.DONE or told.refused:
                    left, words = self._left_of(unit, told)
                    why = words or why
                    if left is not None:
                        again.append(left)
        return again, why

    def _left_of(self, unit: Unit, told: Told) -> tuple[Unit | None, str]:
        if told.fate is Fate.MARK_LOST:
            raise CheckpointLost(self._address, told.words)
        for place, words in told.refused:
            self.refused(unit.commands[place], words)
        if told.fate is Fate.DONE:
            return None, ""
        if told.fate is Fate.WITHOUT:
            gone = {place for place, _ in told.refused}
            kept = [command for place, command in enumerate(unit.commands) if place not in gone]
            return Unit(unit.cell, kept, unit.marked), told.words
        if unit.marked:
            return unit, told.words
        head = unit.commands[:1] if unit.commands[0].startswith(_SELECT) else []
        return Unit(
            unit.cell, head + [unit.commands[place] for place in told.again if place or not head]
        ), told.words

    async def follow(self, cell: int) -> None:
        """After a refusal that passes, outside of `write`: read the map again, after a moment. Raises: TargetBroke."""
        await asyncio.sleep(0.05)
        try:
            await self._redirected(f"MOVED {cell}", ())
        except (NodeGone, NodeSilent) as lost:
            raise TargetBroke(self._address, str(lost)) from lost

    async def _redirected(self, words: str, left: Sequence[Unit]) -> dict[int, Pipeline]:
        """Read the map again. A primary that is none any more means that writes may be lost: that is told.

        Returns: cells that an importing node is to be asked for, and the connection to it.
        """
        if not self.cluster:
            return {}
        assert self.keyspace is not None
        found = await discover(self.seeds)
        before = {shard.node_id for shard in self.keyspace.shards}
        now = {shard.node_id for shard in found.shards}
        if not before <= now and not _gave_all_away(self.keyspace, found):
            raise TargetBroke(self._address, "one of its primaries was replaced")
        pipes = {str(pipe.endpoint): pipe for pipe in self._pipes}
        for shard in found.shards:
            if str(shard.primary) not in pipes:
                pipes[str(shard.primary)] = await Pipeline.connect(
                    shard.primary, timeout_s=self.timeout_s, name=CLIENT_NAME
                )
                if self.importing:
                    await pipes[str(shard.primary)].ask("CLIENT", "IMPORT-SOURCE", "ON")
        self.keyspace = found
        self._pipes = [pipes[str(shard.primary)] for shard in found.shards]
        self._owners = found.owners()
        code, _, rest = words.partition(" ")
        if code != "ASK":
            return {}
        slot, _, address = rest.partition(" ")
        pipe = pipes.get(address)
        if pipe is None or not slot.isdigit() or int(slot) not in {unit.cell for unit in left}:
            return {}
        return {int(slot): pipe}

    async def ask_each(self, commands: Sequence[tuple[int, bytes]]) -> list[Raw]:
        """One reply for each command, sent to its cell's owner, in the order given; refusals as values.

        Raises: TargetBroke.
        """
        by_pipe: dict[int, tuple[Pipeline, list[int]]] = {}
        for place, (cell, _) in enumerate(commands):
            pipe = self.pipe_of(cell)
            by_pipe.setdefault(id(pipe), (pipe, []))[1].append(place)
        futures = [
            pipe.begin(b"".join([commands[place][1] for place in places]), len(places))
            for pipe, places in by_pipe.values()
        ]
        results = await asyncio.gather(*futures, return_exceptions=True)
        found: list[Raw] = [None] * len(commands)
        for (_, places), replies in zip(by_pipe.values(), results, strict=True):
            if isinstance(replies, BaseException):
                if isinstance(replies, NodeGone | NodeSilent):
                    raise TargetBroke(self._address, str(replies)) from replies
                raise replies
            for place, reply in zip(places, replies, strict=True):
                found[place] = reply
        return found

    async def ask_cell(self, cell: int, *words: bytes | str | int) -> Raw:
        """One command to a cell's owner. Raises: TargetBroke, CommandRefused."""
        (reply,) = await self.ask_each([(cell, pack(*words))])
        if said := refusal(reply):
            raise CommandRefused(self._address, str(words[0]), said)
        return reply

    async def replicated(self) -> bool:
        """Whether every replica that is connected has all that was written before; a target without replicas has nothing to ask.

        Raises: TargetBroke.
        """
        try:
            infos = await asyncio.gather(*(pipe.ask("INFO", "replication") for pipe in self._pipes))
            waits = []
            for pipe, info in zip(self._pipes, infos, strict=True):
                facts = read_info(info.decode())
                if facts.get("role") != "master":
                    raise TargetBroke(self._address, "one of its primaries is none any more")
                replicas = int(facts.get("connected_slaves", "0"))
                if replicas:
                    waits.append(
                        (replicas, pipe.ask("WAIT", replicas, WAIT_MS, timeout_s=WAIT_MS / 1000 + 30))
                    )
            reached = await asyncio.gather(*(wait for _, wait in waits))
        except (NodeGone, NodeSilent) as lost:
            raise TargetBroke(self._address, str(lost)) from lost
        return all(got >= wanted for (wanted, _), got in zip(waits, reached, strict=True))


def _no_mark(cell: int) -> Mark:
    raise AssertionError("what may run twice carries no mark")


def _gave_all_away(before: Keyspace, now: Keyspace) -> bool:
    """Whether primaries that are no longer listed still stand, without slots: a shard that was emptied, not replaced."""
    kept = {str(shard.primary) for shard in now.shards}
    replicas = {str(each) for shard in now.shards for each in shard.replicas}
    gone = [shard for shard in before.shards if str(shard.primary) not in kept]
    return all(str(shard.primary) not in replicas for shard in gone) and not any(
        str(replica) in kept for shard in gone for replica in shard.replicas
    )


def _close_strangers(asked: Mapping[int, Pipeline], pipes: Sequence[Pipeline]) -> None:
    for pipe in asked.values():
        if pipe not in pipes:
            pipe.close()
