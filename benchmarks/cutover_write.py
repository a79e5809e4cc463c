"""The write pause of switches between one server and a cluster (`--mode write`), there and back, under load; what each step takes
of it, and whether a write was lost.

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

from benchmarks.compare import cluster
from benchmarks.cutover import BACKLOG, end_migration, pauses_table
from benchmarks.machine import this_machine
from benchmarks.migrate_servers import LOOPBACK, bare, fill_small
from benchmarks.results import Section, percentile, table
from benchmarks.workshop import CommandFailed, workshop
from holdfast.engine.build import EngineBuild
from holdfast.migrate.journal import Step

NAME = "cutover-write"
SOURCE, TARGET = "redis-8.0", "valkey-8.1"
SWITCHES, QUICK_SWITCHES = 100, 4
KEYS, QUICK_KEYS = 200_000, 2_000
WRITERS = 2
LISTS = 50
"""Of each writer, so that every shard gets some of its writes."""
STEPS = (Step.HOLD, Step.SETTLE, Step.FENCE, Step.PROVE, Step.CHECK, Step.PROMOTE, Step.RELEASE)
IN_STEP_BOUND_S = 120.0


def run(at_hand: dict[str, EngineBuild], wanted: Sequence[str], *, quick: bool) -> Section:
    """All figures."""
    if SOURCE not in at_hand or TARGET not in at_hand:
        raise CommandFailed(f"{SOURCE} and {TARGET} are not both at hand")
    times, keys = (QUICK_SWITCHES, QUICK_KEYS) if quick else (SWITCHES, KEYS)
    context = multiprocessing.get_context("spawn")
    stop, told = context.Event(), context.Queue()
    switches: list[dict[str, Any]] = []
    with workshop() as shop, bare(at_hand[SOURCE], BACKLOG) as source, cluster(at_hand[TARGET]) as target:
        fill_small(source, keys)
        ports = (source.port, target[0].port)
        ends = [
            word
            for option, port in zip(("--from", "--to"), ports, strict=True)
            for word in (option, f"redis://{LOOPBACK}:{port}")
        ]
        shop.holdfast("migrate", "start", "bench", *ends, "--mode", "write")
        writers = [context.Process(target=_write, args=(n, ports, stop, told)) for n in range(WRITERS)]
        for each in writers:
            each.start()
        try:
            _until_in_step(shop)
            began = time.monotonic()
            for number in range(times):
                verb = "cutover" if number % 2 == 0 else "rollback"
                done = shop.holdfast("migrate", verb, "bench", "--json").facts["switches"][-1]
                switches.append(done)
            took_s = time.monotonic() - began
            stop.set()
            ids = dict(told.get(timeout=60) for _ in writers)
            facts = shop.holdfast("migrate", "status", "bench", "--json").facts
            lost, twice = _account(_client(ports, int(facts["primary"] == "target")), ids)
        finally:
            stop.set()
            for each in writers:
                each.join(30)
            end_migration(shop)
    written = sum(map(len, ids.values()))
    return Section(
        NAME,
        "The write pause of switches between one server and a cluster",
        f"{this_machine()}. `holdfast migrate cutover` and `rollback` in turn, `--mode write`, {SOURCE} with {keys:,} keys and three "
        f"shards of {TARGET}; {WRITERS} writers append unique ids to {LISTS} lists each, wherever they are accepted, "
        f"{written / took_s:,.0f} a second over all. The pause is what the command prints: from before the first write is held until after "
        f"the release. The first switch took {switches[0]['write_pause_ms']:.0f} ms.\n\n{pauses_table(switches)}\n\n{_steps(switches)}\n\n"
        f"Of {written:,} acknowledged writes {lost} were lost and {twice} there twice (target: none). "
        f"Full synchronisations: {len(facts['full_syncs'])}.",
    )


def _steps(switches: list[dict[str, Any]]) -> str:
    """What each step within the pause takes."""
    rows = []
    for step in STEPS:
        times = [float(each["took_ms"][step.value]) for each in switches]
        rows.append([step.value, *(f"{percentile(times, share):.1f}" for share in (50, 90, 99, 100))])
    return table(["step", "p50 ms", "p90 ms", "p99 ms", "max ms"], rows)


def _until_in_step(shop: Any) -> None:
    end_s = time.monotonic() + IN_STEP_BOUND_S
    while shop.holdfast("migrate", "status", "bench", "--json").facts["progress"].get("phase") != "tail":
        if time.monotonic() > end_s:
            raise CommandFailed("the target is not in step")
        time.sleep(0.2)


def _client(ports: tuple[int, ...], at: int) -> Any:
    once = Retry(NoBackoff(), 0)
    if at == 0:
        return redis.Redis(host=LOOPBACK, port=ports[0], socket_timeout=10, retry=once)
    return redis.RedisCluster(host=LOOPBACK, port=ports[1], socket_timeout=10, retry=once)


def _write(number: int, ports: tuple[int, ...], stop: Any, told: Any) -> None:
    """One writer that goes to the other end when it is refused; at the end it tells which ids were acknowledged."""
    at, turn, acknowledged = 0, 0, []
    clients = [_client(ports, each) for each in range(2)]
    while not stop.is_set():
        turn += 1
        try:
            clients[at].rpush(f"ids:{number}:{turn % LISTS}", turn)
            acknowledged.append(turn)
        except redis.exceptions.RedisError:
            at = 1 - at
            time.sleep(0.001)
    told.put((number, acknowledged))


def _account(client: Any, ids: dict[int, list[int]]) -> tuple[int, int]:
    """Of the acknowledged ids, how many are not there, and how many are there more than once."""
    lost = twice = 0
    for number, acknowledged in ids.items():
        there = [
            int(each) for place in range(LISTS) for each in client.lrange(f"ids:{number}:{place}", 0, -1)
        ]
        lost += len(set(acknowledged) - set(there))
        twice += len(there) - len(set(there))
    return lost, twice
