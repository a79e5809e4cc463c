"""A migration that is switched there and back under load: the switches, the writers' ledger, and the table of write pauses."""

from __future__ import annotations

import multiprocessing
import time
from dataclasses import dataclass
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from benchmarks.migrate_servers import LOOPBACK
from benchmarks.results import percentile, table, verdict
from benchmarks.workshop import CommandFailed, Workshop, say

SWITCHES, QUICK_SWITCHES = 100, 4
WRITERS = 2
PAUSE_TARGET_MS = 250.0
BACKLOG = "repl-backlog-size 64mb"
IN_STEP_BOUND_S = 120.0


@dataclass(frozen=True)
class Ends:
    """Where a migration goes from and to."""

    source: int
    """Port of a server."""
    target: int
    clustered: bool
    """Whether the target is a cluster; its port is any node's."""
    lists: int
    """Of each writer: several, so that every shard gets some of its writes."""

    def client(self, at: int) -> Any:
        """A client of the source (0) or the target (1) that tries once."""
        once = Retry(NoBackoff(), 0)
        if at and self.clustered:
            return redis.RedisCluster(host=LOOPBACK, port=self.target, socket_timeout=10, retry=once)
        port = self.target if at else self.source
        return redis.Redis(host=LOOPBACK, port=port, socket_timeout=10, retry=once)


@dataclass(frozen=True)
class Switched:
    """What was measured."""

    switches: list[dict[str, Any]]
    """As `--json` tells each."""
    took_s: float
    written: int
    lost: int
    twice: int
    full_syncs: int

    @property
    def ledger(self) -> str:
        """What became of the writes, in a sentence or two."""
        return (
            f"Of {self.written:,} acknowledged writes {self.lost} were lost and {self.twice} there twice (target: none). "
            f"Full synchronisations: {self.full_syncs}."
        )


def switched(shop: Workshop, ends: Ends, times: int, *words: str) -> Switched:
    """Migrate, and switch so often while writers work. Args: `words`, for `migrate start`."""
    context = multiprocessing.get_context("spawn")
    stop, told = context.Event(), context.Queue()
    where = ("--from", f"redis://{LOOPBACK}:{ends.source}", "--to", f"redis://{LOOPBACK}:{ends.target}")
    shop.holdfast("migrate", "start", "bench", *where, *words)
    writers = [context.Process(target=_write, args=(n, ends, stop, told)) for n in range(WRITERS)]
    for each in writers:
        each.start()
    switches: list[dict[str, Any]] = []
    try:
        _until_in_step(shop)
        began = time.monotonic()
        for number in range(times):
            verb = "cutover" if number % 2 == 0 else "rollback"
            switches.append(shop.holdfast("migrate", verb, "bench", "--json").facts["switches"][-1])
        took_s = time.monotonic() - began
        stop.set()
        ids = dict(told.get(timeout=60) for _ in writers)
        facts = shop.holdfast("migrate", "status", "bench", "--json").facts
        lost, twice = _account(ends, int(facts["primary"] == "target"), ids)
    finally:
        stop.set()
        for each in writers:
            each.join(30)
        _end_migration(shop)
    return Switched(switches, took_s, sum(map(len, ids.values())), lost, twice, len(facts["full_syncs"]))


def pauses_table(switches: list[dict[str, Any]]) -> str:
    """The write pauses, by direction and of all."""
    rows = []
    for to in ("target", "source"):
        pauses = [float(each["write_pause_ms"]) for each in switches if each["to"] == to]
        rows.append([f"to the {to}", str(len(pauses)), *_spread(pauses)])
    pauses = [float(each["write_pause_ms"]) for each in switches]
    rows.append(["all", str(len(pauses)), *_spread(pauses), verdict(percentile(pauses, 99), PAUSE_TARGET_MS)])
    for row in rows:
        row.extend([""] * (7 - len(row)))
    say(f"write pause: median {percentile(pauses, 50):.1f} ms, p99 {percentile(pauses, 99):.1f} ms")
    heads = ["switch", "runs", "p50 ms", "p90 ms", "p99 ms", "max ms", f"p99 < {PAUSE_TARGET_MS:.0f} ms"]
    return table(heads, rows)


def _spread(pauses: list[float]) -> list[str]:
    return [f"{percentile(pauses, share):.1f}" for share in (50, 90, 99, 100)]


def _end_migration(shop: Workshop) -> None:
    """End the migration, whichever end is the primary."""
    for words in (("finish", "bench", "--yes"), ("stop", "bench", "--yes")):
        try:
            shop.holdfast("migrate", *words)
            return
        except CommandFailed:
            continue


def _until_in_step(shop: Workshop) -> None:
    end_s = time.monotonic() + IN_STEP_BOUND_S
    while shop.holdfast("migrate", "status", "bench", "--json").facts["progress"].get("phase") != "tail":
        if time.monotonic() > end_s:
            raise CommandFailed("the target is not in step")
        time.sleep(0.2)


def _write(number: int, ends: Ends, stop: Any, told: Any) -> None:
    """One writer that goes to the other end when it is refused; at the end it tells which ids were acknowledged."""
    at, turn, acknowledged = 0, 0, []
    clients = [ends.client(each) for each in range(2)]
    while not stop.is_set():
        turn += 1
        try:
            clients[at].rpush(f"ids:{number}:{turn % ends.lists}", turn)
            acknowledged.append(turn)
        except redis.exceptions.RedisError:
            at = 1 - at
            time.sleep(0.001)
    told.put((number, acknowledged))


def _account(ends: Ends, at: int, ids: dict[int, list[int]]) -> tuple[int, int]:
    """Of the acknowledged ids, how many are not there, and how many are there more than once."""
    client = ends.client(at)
    lost = twice = 0
    for number, acknowledged in ids.items():
        there = [
            int(each) for place in range(ends.lists) for each in client.lrange(f"ids:{number}:{place}", 0, -1)
        ]
        lost += len(set(acknowledged) - set(there))
        twice += len(there) - len(set(there))
    return lost, twice
