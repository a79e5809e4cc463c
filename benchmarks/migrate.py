"""Moving live data: full synchronisation and tail by relay, beside native replication and SCAN + RESTORE.

Targets: full sync 1.3 x the keys/s of the source engine's own same-version replication on small keys, 1.0 x on large ones, under
1 s of own processor time for a million small keys; tail 95 % of the write rate with a native replica.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import multiprocessing
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import redis

from benchmarks.machine import this_machine
from benchmarks.migrate_servers import LOOPBACK, Bare, bare, fill_large, fill_small, until_linked
from benchmarks.results import Section, Spread, table
from benchmarks.workshop import CommandFailed, say
from holdfast.codec.rdb.dialect import dialect_of_engine
from holdfast.compare.judge import FOOTER_BYTES
from holdfast.compare.options import Options
from holdfast.compare.report import Report
from holdfast.compare.run import Comparison
from holdfast.compare.side import Side
from holdfast.engine.build import EngineBuild
from holdfast.engine.connection import Endpoint
from holdfast.engine.pipeline import Pipeline, pack
from holdfast.migrate.relay.commands import TargetCommands
from holdfast.migrate.relay.relay import Relay, Settings
from holdfast.migrate.relay.serve import Door, TargetServer
from holdfast.migrate.relay.spool import Spool
from holdfast.migrate.relay.translation import rewriting_for

NAME = "migrate"
SOURCE, TARGETS = "redis-8.0", ("valkey-8.1", "valkey-9.1")
SMALL_KEYS, LARGE_KEYS, QUICK_SHARE = 1_000_000, 200_000, 50
FASTER = "repl-diskless-load on-empty-db"
"""What `holdfast migrate` sets at a target that is empty; one that holds data takes the RDB over its disk, and keeps its data until then."""
COPIED_SHARE = 5
"""SCAN + DUMP + RESTORE goes on at one rate: a part of the keys tells it."""
TAIL_S, QUICK_TAIL_S, TAIL_ROUNDS = 5.0, 1.0, 3
TAIL_TARGET = 0.95
VERIFY_TARGET = 100_000
FLOOR_BATCH, FLOOR_WINDOW = 1000, 4


_HOW = (
    "From REPLICAOF to the link that is up, one run of each, source and target on the same machine without persistence. An empty "
    "target is set to `repl-diskless-load on-empty-db` by `holdfast migrate start`; one that holds data loads over its disk. The "
    "judged figure is the ratio to the source engine's own replication as it comes; in brackets, to that with the same setting. "
    "What the target's engine needs by itself for the same data, from one of its own version, is the floor that it sets. *RDB "
    "through*: when the source had sent all of it and the relay had passed it on; a target that loads over its disk begins to load "
    "then, and Valkey 9, which has another thread fetch the file, looks once a second whether that is done."
)


@dataclass(frozen=True)
class Timed:
    """One full synchronisation."""

    path: str
    took_s: float
    keys: int
    bytes_through: int
    own_cpu_s: float | None = None
    through_s: float | None = None
    """When the last byte of the RDB had come from the source and gone through the relay."""


DATA = {
    "small": ("A, small keys", fill_small, SMALL_KEYS, 1.3),
    "large": ("B, 1 to 4 KB", fill_large, LARGE_KEYS, 1.0),
}
PARTS = (*DATA, "tail")


def run(at_hand: dict[str, EngineBuild], wanted: Sequence[str], *, quick: bool, part: str) -> Section:
    """One part of the relay's figures: a data set's full synchronisation and comparison, or the tail."""
    if SOURCE not in at_hand:
        raise CommandFailed(f"{SOURCE} is not at hand")
    targets = [name for name in TARGETS if name in at_hand and (not wanted or name in wanted)]
    name = f"{NAME}-{part}"
    if part not in DATA:
        told = _tail(at_hand, targets[-1], QUICK_TAIL_S if quick else TAIL_S)
        return Section(name, "Moving live data: the stream", f"{this_machine()}.\n\n{told}")
    title, fill, all_keys, goal = DATA[part]
    keys = all_keys // (QUICK_SHARE if quick else 1)
    head = f"{this_machine()}. Data set {title}, {keys:,} keys. {_HOW}"
    return Section(
        name, f"Moving live data: {title[3:]}", f"{head}\n\n{_syncs(at_hand, targets, fill, keys, goal)}"
    )


def _syncs(
    at_hand: dict[str, EngineBuild],
    targets: list[str],
    fill: Callable[[Bare, int], None],
    keys: int,
    goal: float,
) -> str:
    rows = []
    with bare(at_hand[SOURCE]) as source:
        fill(source, keys)
        native = [_native(source, SOURCE, at_hand[SOURCE], keys, extra) for extra in ("", FASTER)]
        relayed, floor = [], []
        for name, extra in itertools.product(targets, ("", FASTER)):
            one, itself = _relayed(source, at_hand[name], name, keys, extra)
            relayed.append(one)
            floor.append(itself)
        copied = [_scan_restore(source, at_hand[SOURCE], keys // COPIED_SHARE)]
        verified = _verified(source, at_hand[targets[-1]], targets[-1], keys)
    base = [each.keys / each.took_s for each in native]
    for each in (*native, *relayed, *floor, *copied):
        rate = each.keys / each.took_s
        cpu = f"{each.own_cpu_s:.2f}" if each.own_cpu_s is not None else ""
        judged = ""
        if each in relayed:
            like = base[1] if FASTER in each.path else base[0]
            met = "met" if rate >= goal * base[0] else "**not met**"
            judged = f"{rate / base[0]:.2f} x ({rate / like:.2f} x) of {goal} x: {met}"
        megabytes = f"{each.bytes_through / each.took_s / 1e6:.1f}" if each.bytes_through else ""
        through = f"{each.through_s:.2f}" if each.through_s is not None else ""
        rows.append([each.path, f"{each.took_s:.2f}", through, f"{rate:,.0f}", megabytes, cpu, judged])
    heads = ["path", "s", "RDB through after s", "keys/s", "MB/s", "own processor s", "target"]
    return f"{table(heads, rows)}\n\n{verified}"


def _native(source: Bare, name: str, build: EngineBuild, keys: int, extra: str) -> Timed:
    """The engine's own replication, to another of the same."""
    with bare(build, *([extra] if extra else [])) as target:
        began = time.perf_counter()
        target.client.execute_command("REPLICAOF", LOOPBACK, source.port)
        until_linked(target, keys)
        took_s = time.perf_counter() - began
    title = f"native {name} -> {name}{', ' + extra if extra else ''}"
    say(f"{title}: {took_s:.2f} s")
    return Timed(title, took_s, keys, 0)


def _relayed(source: Bare, build: EngineBuild, name: str, keys: int, extra: str) -> tuple[Timed, Timed]:
    """By relay; and what the target's engine needs for the same data by itself, which is the floor that it sets."""
    title = f"relay {SOURCE} -> {name}{', ' + extra if extra else ''}"
    with bare(build, *([extra] if extra else [])) as target:
        timed = asyncio.run(_relay_once(source, build, target, title, keys))
        say(f"{title}: {timed.took_s:.2f} s, own processor {timed.own_cpu_s:.2f} s")
        target.client.execute_command("REPLICAOF", "NO", "ONE")
        return timed, _native(target, name, build, keys, extra)


def _relay_of(source: Bare, build: EngineBuild, target: Bare, folder: Path) -> tuple[Relay, TargetServer]:
    names = frozenset(str(name).upper().encode() for name in target.client.execute_command("COMMAND"))
    dialect = dialect_of_engine(build.name, build.version[0], build.version[1])

    async def find() -> Endpoint:
        return Endpoint(LOOPBACK, source.port)

    settings = Settings(find, TargetCommands(names), lambda: rewriting_for(dialect, 16), accepts_losses=True)
    relay = Relay(Spool(folder), settings)
    server = TargetServer(Door(LOOPBACK, 0), relay)
    relay.on_new_history = server.drop_fed
    return relay, server


async def _relay_once(source: Bare, build: EngineBuild, target: Bare, title: str, keys: int) -> Timed:
    began, cpu_s = time.perf_counter(), time.process_time()
    ended: list[float] = []
    async with _relaying(source, build, target, keys, lambda: ended.append(time.perf_counter())) as relay:
        took_s = time.perf_counter() - began
        through_s = ended[0] - began
        return Timed(title, took_s, keys, relay.counts.rdb_bytes, time.process_time() - cpu_s, through_s)


def _verified(source: Bare, build: EngineBuild, name: str, keys: int) -> str:
    """Both ends compared as `holdfast migrate verify` does it, while the relay goes on."""
    with bare(build, FASTER) as target:
        report, cpu_s, floors = asyncio.run(_verify_once(source, build, target, keys))
    rate = report.keys / report.took_s
    say(f"verify: {rate:,.0f} keys/s")
    said = "met" if rate >= VERIFY_TARGET else "**not met**"
    return (
        f"Verify, {SOURCE} and {name} in step, with the limits that the command has by itself: {report.keys:,} keys compared and "
        f"{report.keys_back:,} looked for the other way in {report.took_s:.2f} s, {rate:,.0f} keys/s (target {VERIFY_TARGET:,}: {said}), "
        f"{report.different} differ; own processor {cpu_s:.2f} s; slowed {report.slowed} times for the source's sake. "
        f"What any comparison of full values needs, read from both and compared, no times to live, one way: {'; '.join(floors)}."
    )


async def _verify_once(
    source: Bare, build: EngineBuild, target: Bare, keys: int
) -> tuple[Report, float, list[str]]:
    async with _relaying(source, build, target, keys):
        one = await Side.open([Endpoint(LOOPBACK, source.port)], as_named=True)
        other = await Side.open([Endpoint(LOOPBACK, target.port)], as_named=True)
        cpu_s = time.process_time()
        try:
            report = await Comparison(one, other, Options()).run()
        finally:
            one.close()
            other.close()
        cpu_s = time.process_time() - cpu_s
        strings = all(source.client.type(source.client.randomkey()) == b"string" for _ in range(20))
        floors = [await _floor(source, target, word) for word in (("GET", "DUMP") if strings else ("DUMP",))]
        return report, cpu_s, floors


async def _floor(source: Bare, target: Bare, command: str) -> str:
    """The rate of the bare reading: one command for each key to both servers, deep in pipelines, and the replies compared."""
    names = list(source.client.scan_iter(count=FLOOR_BATCH))
    ends = [await Pipeline.connect(Endpoint(LOOPBACK, server.port)) for server in (source, target)]
    footer = FOOTER_BYTES if command == "DUMP" else 0
    began, cpu_s = time.perf_counter(), time.process_time()

    async def compared(batch: list[bytes]) -> int:
        packed = b"".join(pack(command, name) for name in batch)
        left, right = await asyncio.gather(*(end.send(packed, len(batch)) for end in ends))
        return sum(
            one[: len(one) - footer] == two[: len(two) - footer] for one, two in zip(left, right, strict=True)
        )

    same = 0
    batches = [names[at : at + FLOOR_BATCH] for at in range(0, len(names), FLOOR_BATCH)]
    for at in range(0, len(batches), FLOOR_WINDOW):
        same += sum(await asyncio.gather(*map(compared, batches[at : at + FLOOR_WINDOW])))
    took_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu_s
    for end in ends:
        end.close()
    return f"{command} {len(names) / took_s:,.0f} keys/s ({same:,} of the same bytes), own processor {cpu_s:.2f} s"


@contextlib.asynccontextmanager
async def _relaying(
    source: Bare, build: EngineBuild, target: Bare, keys: int, through: Callable[[], None] = lambda: None
) -> AsyncIterator[Relay]:
    """The relay between the two, from when the target is in step. Args: `through`, called when the whole RDB has passed."""
    with tempfile.TemporaryDirectory(prefix="hf-bench-") as folder:
        relay, server = _relay_of(source, build, target, Path(folder) / "spool")
        port = await server.start()
        taking = asyncio.create_task(relay.run())
        watching = asyncio.create_task(_when_whole(relay, through))
        try:
            await asyncio.to_thread(target.client.execute_command, "REPLICAOF", LOOPBACK, port)
            await asyncio.to_thread(until_linked, target, keys)
            yield relay
        finally:
            taking.cancel()
            watching.cancel()
            await asyncio.gather(taking, watching, return_exceptions=True)
            await server.stop()
            relay.spool.clear()


async def _when_whole(relay: Relay, through: Callable[[], None]) -> None:
    while not relay.spool.rdb_whole:
        await asyncio.sleep(0.002)
    through()


def _scan_restore(source: Bare, build: EngineBuild, keys: int) -> Timed:
    """The same-version peer: Valkey takes no payload of this source."""
    with bare(build) as target:
        began, moved = time.perf_counter(), 0
        cursor = 0
        while True:
            cursor, found = source.client.scan(cursor, count=500)
            reading = source.client.pipeline(transaction=False)
            for key in found:
                reading.dump(key)
                reading.pttl(key)
            told = reading.execute()
            writing = target.client.pipeline(transaction=False)
            for key, dump, ttl in zip(found, told[::2], told[1::2], strict=True):
                writing.restore(key, max(0, ttl), dump, replace=True)
            writing.execute()
            moved += len(found)
            if not cursor or moved >= keys:
                break
        took_s = time.perf_counter() - began
    say(f"SCAN + DUMP + RESTORE: {took_s:.2f} s")
    return Timed(
        f"SCAN + DUMP + RESTORE, redis-py, {SOURCE} -> {SOURCE}, {moved:,} of them", took_s, moved, 0
    )


def _write_for(port: int, seconds: float, total: object) -> None:
    client = redis.Redis(host=LOOPBACK, port=port)
    end, done = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        pipe = client.pipeline(transaction=False)
        for number in range(200):
            pipe.set(f"w:{os.getpid()}:{number}", b"v" * 32)
        pipe.execute()
        done += 200
    with total.get_lock():  # type: ignore[attr-defined]
        total.value += done  # type: ignore[attr-defined]


def _rate(port: int, seconds: float) -> float:
    """Commands a second that two processes get acknowledged."""
    context = multiprocessing.get_context("spawn")
    total = context.Value("q", 0)
    writers = [context.Process(target=_write_for, args=(port, seconds, total)) for _ in range(2)]
    for each in writers:
        each.start()
    for each in writers:
        each.join()
    return float(total.value) / seconds


def _tail(at_hand: dict[str, EngineBuild], name: str, seconds: float) -> str:
    native, relayed = [], []
    for _ in range(TAIL_ROUNDS):
        with bare(at_hand[SOURCE]) as source, bare(at_hand[SOURCE]) as replica:
            replica.client.execute_command("REPLICAOF", LOOPBACK, source.port)
            until_linked(replica, 0)
            native.append(_rate(source.port, seconds))
        with bare(at_hand[SOURCE]) as source, bare(at_hand[name]) as target:
            relayed.append(asyncio.run(_tail_relayed(source, at_hand[name], target, seconds)))
        say(f"tail: {relayed[-1].rate:,.0f}/s by relay, {native[-1]:,.0f}/s with a native replica")
    base, ours = Spread(tuple(native)), Spread(tuple(each.rate for each in relayed))
    ratio = ours.median / base.median
    return (
        f"{SOURCE} -> {name}, {TAIL_ROUNDS} rounds of {seconds:g} s in turn, medians (and extremes): two writers get {_shown(ours)} SETs/s "
        f"acknowledged while the relay follows, {_shown(base)} with a native replica ({ratio:.2f} x of {TAIL_TARGET} x: "
        f"{'met' if ratio >= TAIL_TARGET else '**not met**'}). Equal offsets at most {max(each.drained_s for each in relayed) * 1000:.0f} ms "
        f"after the last write; {sum(each.resyncs for each in relayed)} further full synchronisations. The relay itself takes "
        f"{max(each.own_cpu for each in relayed) * 100:.0f} % of a core of the two that writers, source and target share with it."
    )


def _shown(spread: Spread) -> str:
    return f"{spread.median:,.0f} ({spread.lowest:,.0f} to {spread.highest:,.0f})"


@dataclass(frozen=True)
class Followed:
    """One round of writes that the relay followed."""

    rate: float
    drained_s: float
    resyncs: int
    own_cpu: float
    """Share of a core."""


async def _tail_relayed(source: Bare, build: EngineBuild, target: Bare, seconds: float) -> Followed:
    async with _relaying(source, build, target, 0) as relay:
        cpu_s, began = time.process_time(), time.perf_counter()
        rate = await asyncio.to_thread(_rate, source.port, seconds)
        ended = time.perf_counter()
        own_cpu = (time.process_time() - cpu_s) / (ended - began)
        while await asyncio.to_thread(_apart, source, target):
            await asyncio.sleep(0.002)
        return Followed(rate, time.perf_counter() - ended, relay.counts.full_syncs - 1, own_cpu)


def _apart(source: Bare, target: Bare) -> bool:
    ours = source.client.info("replication")["master_repl_offset"]
    return bool(target.client.info("replication")["slave_repl_offset"] < ours)
