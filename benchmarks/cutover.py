"""The write pause of a migration's switches, there and back, under load, and whether a write was lost.

Target: p99 under 250 ms over 100 switches, every acknowledged write there once.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Sequence
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from benchmarks.machine import this_machine
from benchmarks.migrate_servers import LOOPBACK, bare, fill_small
from benchmarks.results import Section, percentile, table, verdict
from benchmarks.workshop import CommandFailed, Workshop, say, workshop
from holdfast.engine.build import EngineBuild

NAME = "cutover"
SOURCE, TARGET = "redis-8.0", "valkey-9.1"
SWITCHES, QUICK_SWITCHES = 100, 4
KEYS, QUICK_KEYS = 100_000, 2_000
WRITERS = 2
PAUSE_TARGET_MS = 250.0
BACKLOG = "repl-backlog-size 64mb"


def run(at_hand: dict[str, EngineBuild], wanted: Sequence[str], *, quick: bool) -> Section:
    """All figures."""
    if SOURCE not in at_hand or TARGET not in at_hand:
        raise CommandFailed(f"{SOURCE} and {TARGET} are not both at hand")
    times, keys = (QUICK_SWITCHES, QUICK_KEYS) if quick else (SWITCHES, KEYS)
    context = multiprocessing.get_context("spawn")
    stop, told = context.Event(), context.Queue()
    switches: list[dict[str, Any]] = []
    with (
        workshop() as shop,
        bare(at_hand[SOURCE], BACKLOG) as source,
        bare(at_hand[TARGET], BACKLOG) as target,
    ):
        fill_small(source, keys)
        ends = ("--from", f"redis://{LOOPBACK}:{source.port}", "--to", f"redis://{LOOPBACK}:{target.port}")
        shop.holdfast("migrate", "start", "bench", *ends)
        ports = (source.port, target.port)
        writers = [context.Process(target=_write, args=(n, ports, stop, told)) for n in range(WRITERS)]
        for each in writers:
            each.start()
        began = time.monotonic()
        try:
            for number in range(times):
                verb = "cutover" if number % 2 == 0 else "rollback"
                switches.append(shop.holdfast("migrate", verb, "bench", "--json").facts["switches"][-1])
            took_s = time.monotonic() - began
            stop.set()
            ids = dict(told.get(timeout=60) for _ in writers)
            facts = shop.holdfast("migrate", "status", "bench", "--json").facts
            primary = target if facts["primary"] == "target" else source
            lost, twice = _account(primary.client, ids)
        finally:
            stop.set()
            for each in writers:
                each.join(30)
            end_migration(shop)
    written = sum(map(len, ids.values()))
    return Section(
        NAME,
        "The write pause of a migration's switches",
        f"{this_machine()}. `holdfast migrate cutover` and `rollback` in turn, {SOURCE} and {TARGET}; {WRITERS} writers append unique "
        f"ids, one at a time, wherever they are accepted, {written / took_s:,.0f} a second over all. The pause is what the command prints: "
        f"from before the first write is held until after the release.\n\n{pauses_table(switches)}\n\nOf {written:,} acknowledged writes "
        f"{lost} were lost and {twice} there twice (target: none). Full synchronisations: {len(facts['full_syncs'])}.",
    )


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


def end_migration(shop: Workshop) -> None:
    """End the migration, whichever end is the primary."""
    for words in (("finish", "bench", "--yes"), ("stop", "bench", "--yes")):
        try:
            shop.holdfast("migrate", *words)
            return
        except CommandFailed:
            continue


def _write(number: int, ports: tuple[int, ...], stop: Any, told: Any) -> None:
    """One writer that goes to the other server when it is refused; at the end it tells which ids were acknowledged."""
    at, turn, acknowledged = 0, 0, []
    once = Retry(NoBackoff(), 0)
    clients = [redis.Redis(host=LOOPBACK, port=port, socket_timeout=10, retry=once) for port in ports]
    while not stop.is_set():
        turn += 1
        try:
            clients[at].rpush(f"ids:{number}", turn)
            acknowledged.append(turn)
        except redis.exceptions.RedisError:
            at = 1 - at
            time.sleep(0.001)
    told.put((number, acknowledged))


def _account(client: Any, ids: dict[int, list[int]]) -> tuple[int, int]:
    """Of the acknowledged ids, how many are not there, and how many are there more than once."""
    lost = twice = 0
    for number, acknowledged in ids.items():
        there = [int(each) for each in client.lrange(f"ids:{number}", 0, -1)]
        lost += len(set(acknowledged) - set(there))
        twice += len(there) - len(set(there))
    return lost, twice
