"""Applications at work during a migration: each write has an id of its own, and every one that was acknowledged has to be found
exactly once at the end, wherever that is."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import redis
from tests.live.migrate.plain import Plain

REFUSALS = ("READONLY", "read only", "NOREPLICAS", "LOADING", "MASTERDOWN")
SCRIPT = "redis.call('RPUSH', KEYS[1], ARGV[1]); redis.call('INCR', KEYS[2]); return 1"


@dataclass
class Applications:
    """Threads that write to whichever of the servers takes writes."""

    servers: list[Plain]
    threads: int = 3
    field_ttls: bool = False
    acknowledged: dict[str, set[str]] = field(default_factory=dict)
    """List -> ids."""
    counted: Counter[str] = field(default_factory=Counter)
    """Counter -> acknowledged increments."""
    unsure: Counter[str] = field(default_factory=Counter)
    """Counter -> increments whose answer never came."""
    refused: int = 0
    longest_gap_s: float = 0.0
    """Between two acknowledged writes of one thread."""
    flushed: bool = False
    _stop: threading.Event = field(default_factory=threading.Event)
    _running: list[threading.Thread] = field(default_factory=list)
    _faults: list[BaseException] = field(default_factory=list)

    def __enter__(self) -> Applications:
        for number in range(self.threads):
            thread = threading.Thread(target=self._guarded, args=(number,), daemon=True)
            thread.start()
            self._running.append(thread)
        return self

    def __exit__(self, *failure: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._running:
            thread.join(20)
        assert not self._faults, self._faults

    @property
    def count(self) -> int:
        return sum(len(ids) for ids in self.acknowledged.values())

    def _guarded(self, number: int) -> None:
        try:
            self._write(number)
        except BaseException as fault:
            self._faults.append(fault)

    def _write(self, number: int) -> None:
        at, client = 0, self.servers[0].connect(socket_timeout=5.0, decode_responses=True)
        last_s = time.monotonic()
        turn = 0
        mine = self.acknowledged.setdefault(f"app:{number}:list", set())
        while not self._stop.is_set():
            turn += 1
            try:
                self._one(client, number, turn, mine)
                now = time.monotonic()
                self.longest_gap_s = max(self.longest_gap_s, now - last_s)
                last_s = now
            except redis.exceptions.ResponseError as refused:
                if not any(sign in str(refused) for sign in REFUSALS):
                    raise
                self.refused += 1
                at = (at + 1) % len(self.servers)
                client.close()
                client = self.servers[at].connect(socket_timeout=5.0, decode_responses=True)
                time.sleep(0.002)
            except (redis.exceptions.RedisError, OSError):
                self.unsure[f"app:{number}:count"] += 1
                at = (at + 1) % len(self.servers)
                with contextlib.suppress(Exception):
                    client.close()
                client = self.servers[at].connect(socket_timeout=5.0, decode_responses=True)
                time.sleep(0.02)
        client.close()

    def _one(self, client: Any, number: int, turn: int, mine: set[str]) -> None:
        """One unit of work: its id and its increment are entered together, in one transaction or script."""
        name, counter, word = f"app:{number}:list", f"app:{number}:count", f"{number}:{turn}"
        kind = turn % 10
        if kind < 4:
            pipe = client.pipeline(transaction=True)
            pipe.rpush(name, word)
            pipe.incr(counter)
            if kind == 0:
                pipe.hincrby(f"app:{number}:hash", f"f{turn % 7}", 1)
                pipe.xadd(f"app:{number}:stream", {"id": word}, maxlen=500)
            if kind == 1:
                pipe.set(f"app:{number}:copy:{turn % 50}", word, px=600_000)
                pipe.zadd(f"app:{number}:zset", {word: turn})
            if kind == 2 and self.field_ttls:
                pipe.hset(f"app:{number}:ttl", f"f{turn % 9}", word)
                pipe.execute_command("HPEXPIRE", f"app:{number}:ttl", 900_000, "FIELDS", 1, f"f{turn % 9}")
            if kind == 3:
                pipe.sadd(f"app:{number}:set", word)
                pipe.spop(f"app:{number}:set")
                pipe.expire(f"app:{number}:copy:{turn % 50}", 700)
            pipe.execute()
        else:
            client.eval(SCRIPT, 2, name, counter, word)
        mine.add(word)
        self.counted[counter] += 1

    def settle(self, client: Any) -> None:
        """Check the account against what `client` holds."""
        for name, ids in self.acknowledged.items():
            there = [word.decode() for word in client.lrange(name, 0, -1)]
            doubled = [word for word, count in Counter(there).items() if count > 1]
            assert not doubled, f"{name}: {len(doubled)} written twice, {doubled[:3]}"
            lost = ids - set(there)
            assert not lost, f"{name}: {len(lost)} of {len(ids)} acknowledged writes lost, {sorted(lost)[:3]}"
        for counter, count in self.counted.items():
            value = int(client.get(counter))
            assert count <= value <= count + self.unsure[counter], (
                counter,
                count,
                value,
                self.unsure[counter],
            )
            listed = client.llen(counter.replace("count", "list"))
            assert value == listed, f"{counter} is {value}, its list has {listed}"
