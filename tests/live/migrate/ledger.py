"""Writers that count: every acknowledged write is entered, and has to be found, exactly once, wherever the data ends."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from holdfast.compare.side import Side
from holdfast.engine.connection import CommandRefused, Endpoint
from holdfast.engine.pipeline import Raw, Word, refusal
from holdfast.errors import HoldfastError

KEYS = 40
FAR_MS = 4_000_000_000_000
SCRIPT = "redis.call('INCRBY', KEYS[1], 2); redis.call('RPUSH', KEYS[2], ARGV[1]); return 1"


class Refused(Exception):
    """An end that is fenced takes no writes."""


@dataclass
class Ledger:
    """What was acknowledged."""

    counters: Counter[bytes] = field(default_factory=Counter)
    lists: dict[bytes, set[bytes]] = field(default_factory=dict)
    fields: Counter[tuple[bytes, bytes]] = field(default_factory=Counter)
    entries: Counter[bytes] = field(default_factory=Counter)
    values: dict[bytes, bytes] = field(default_factory=dict)
    popped: dict[bytes, set[bytes]] = field(default_factory=dict)
    added: dict[bytes, set[bytes]] = field(default_factory=dict)
    acknowledged: int = 0
    unsure: set[bytes] = field(default_factory=set)
    """Keys with a write that failed: it may or may not have been done."""


@dataclass
class Writers:
    """Tasks that write to a keyspace until they are stopped."""

    seeds: Sequence[Endpoint]
    tasks: int = 4
    field_ttls: bool = False
    pause_s: float = 0.0
    other: Sequence[Endpoint] = ()
    """Where they go on when they are refused: the other end of a migration."""
    refused: int = 0
    longest_gap_s: float = 0.0
    """Between two acknowledged writes of one of them."""
    ledger: Ledger = field(default_factory=Ledger)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _running: list[asyncio.Task[None]] = field(default_factory=list)
    _sides: list[Side] = field(default_factory=list)
    _turns: Counter[int] = field(default_factory=Counter)
    _last_s: dict[int, float] = field(default_factory=dict)
    _there: bool = False
    """Whether the other end was the last to take writes."""

    async def start(self) -> None:
        self._stop.clear()
        for number in range(self.tasks):
            self._sides.append(await self._open(self._there))
            self._running.append(asyncio.create_task(self._write(number)))

    async def _open(self, there: bool) -> Side:
        return await Side.open(self.other if there else self.seeds, patience_s=20, timeout_s=10)

    async def stop(self) -> None:
        self._stop.set()
        await asyncio.gather(*self._running)
        for side in self._sides:
            side.close()
        self._running, self._sides = [], []

    async def _write(self, writer: int) -> None:
        there = self._there
        while not self._stop.is_set():
            self._turns[writer] += 1
            try:
                await self._turn(writer, self._turns[writer])
            except Refused:
                self.refused += 1
                there = not there
                self._sides[writer].close()
                self._sides[writer] = await self._open(there)
                await asyncio.sleep(0.005)
            else:
                self._there = there
            await asyncio.sleep(self.pause_s)

    async def _turn(self, writer: int, turn: int) -> None:
        # Every key has one writer, so that a write which failed leaves only this writer's keys in doubt.
        tag = b"{%d.%d}" % (writer, turn % KEYS)
        unique = b"%d:%d" % (writer, turn)
        ledger = self.ledger

        def key(name: bytes) -> bytes:
            return b"%b:%b" % (name, tag)

        async def done(name: bytes, *commands: Sequence[Word]) -> list[Raw] | None:
            return await self._done(writer, name, commands)

        if await done(key(b"counter"), ("INCR", key(b"counter"))):
            ledger.counters[key(b"counter")] += 1
        if await done(key(b"list"), ("LPUSH", key(b"list"), unique)):
            ledger.lists.setdefault(key(b"list"), set()).add(unique)
        if await done(key(b"hash"), ("HINCRBY", key(b"hash"), "f", 3)):
            ledger.fields[key(b"hash"), b"f"] += 3
        if await done(key(b"stream"), ("XADD", key(b"stream"), "*", "id", unique)):
            ledger.entries[key(b"stream")] += 1
        if await done(key(b"value"), ("SETEX", key(b"value"), 3600, unique)):
            ledger.values[key(b"value")] = unique
        transaction = (
            ("MULTI",),
            ("INCR", key(b"counter")),
            ("LPUSH", key(b"list"), unique + b"t"),
            ("EXEC",),
        )
        if await done(key(b"counter"), *transaction):
            ledger.counters[key(b"counter")] += 1
            ledger.lists.setdefault(key(b"list"), set()).add(unique + b"t")
        if await done(key(b"scripted"), ("EVAL", SCRIPT, 2, key(b"scripted"), key(b"log"), unique)):
            ledger.counters[key(b"scripted")] += 2
            ledger.lists.setdefault(key(b"log"), set()).add(unique)
        if await done(key(b"set"), ("SADD", key(b"set"), unique)):
            ledger.added.setdefault(key(b"set"), set()).add(unique)
        if turn % 3 == 0 and (replies := await done(key(b"set"), ("SPOP", key(b"set")))) and replies[0]:
            ledger.popped.setdefault(key(b"set"), set()).add(replies[0])
        if turn % 5 == 0:
            moved = (("SET", key(b"before"), unique), ("RENAME", key(b"before"), key(b"after")))
            if await done(key(b"after"), *moved):
                ledger.values[key(b"after")] = unique
            if await done(key(b"copy"), ("COPY", key(b"value"), key(b"copy"), "REPLACE")):
                ledger.values[key(b"copy")] = ledger.values.get(key(b"value"), b"")
        if self.field_ttls and await done(
            key(b"fields"), ("HSETEX", key(b"fields"), "PXAT", FAR_MS, "FIELDS", 1, "f", unique)
        ):
            ledger.values[key(b"fields")] = unique

    async def _done(self, writer: int, key: bytes, commands: Sequence[Sequence[Word]]) -> list[Raw] | None:
        """The replies; None when it is not known whether the commands ran. Raises: Refused when they did not."""
        side = self._sides[writer]
        began = time.monotonic()
        try:
            replies = await side.ask_all(0, key, commands)
        except CommandRefused:
            raise
        except HoldfastError:
            self.ledger.unsure.add(key)
            while not self._stop.is_set():
                try:
                    await side.read_map()
                    break
                except HoldfastError:
                    await asyncio.sleep(0.1)
            return None
        said = [each for reply in replies for each in (reply if isinstance(reply, list) else [reply])]
        if any(words := refusal(each) for each in said):
            assert self.other, words
            assert any(sign in words for sign in ("NOPERM", "ACL", "no permission", "can't run this")), words
            if len(commands) > 1 and commands[0][0] != "MULTI" and not refusal(replies[0]):
                self.ledger.unsure.add(key)  # refused between the two
            raise Refused
        self.ledger.acknowledged += len(commands)
        now = time.monotonic()
        self.longest_gap_s = max(self.longest_gap_s, now - self._last_s.get(writer, began))
        self._last_s[writer] = now
        return replies


async def account(ledger: Ledger, seeds: Sequence[Endpoint]) -> list[str]:
    """What of the ledger is not exactly once in the keyspace; empty when all is."""
    side = await Side.open(seeds)
    wrong: list[str] = []

    def check(key: bytes, what: str, found: object, wanted: object) -> None:
        if found != wanted and key not in ledger.unsure:
            wrong.append(f"{key!r} {what}: {found} instead of {wanted}")

    try:
        for key, count in ledger.counters.items():
            check(key, "counts", int(await side.ask(0, key, "GET", key) or 0), count)
        for key, members in ledger.lists.items():
            found = await side.ask(0, key, "LRANGE", key, 0, -1)
            check(key, "has", (len(found), len(set(found) ^ members)), (len(members), 0))
        for (key, name), count in ledger.fields.items():
            check(key, "field counts", int(await side.ask(0, key, "HGET", key, name) or 0), count)
        for key, count in ledger.entries.items():
            check(key, "has entries", await side.ask(0, key, "XLEN", key), count)
        for key, value in ledger.values.items():
            words: tuple[Word, ...] = ("HGET", key, "f") if key.startswith(b"fields") else ("GET", key)
            check(key, "is", await side.ask(0, key, *words), value)
        for key, members in ledger.added.items():
            left = members - ledger.popped.get(key, set())
            check(key, "has members", len(set(await side.ask(0, key, "SMEMBERS", key)) ^ left), 0)
    finally:
        side.close()
    return wrong
