"""Comparing two keyspaces, and the writing way of a migration into three shards.

Targets: 100,000 keys/s compared; full sync by writing at 0.7 of what the same RESTORE commands reach when they are sent by
themselves; in the stream 100,000 commands/s, and the floor that checkpoints set (commands that must run once) beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import this_machine
from benchmarks.migrate_servers import LOOPBACK, Bare, bare, fill_small
from benchmarks.results import Section, table
from benchmarks.workshop import CommandFailed, say
from holdfast.codec.crc import SLOTS, crc64, key_slot
from holdfast.codec.rdb.dialect import dialect_of_engine
from holdfast.compare.options import Options
from holdfast.compare.pace import PaceLimits
from holdfast.compare.run import Comparison
from holdfast.compare.side import Side
from holdfast.engine.build import EngineBuild
from holdfast.engine.connection import Endpoint
from holdfast.engine.pipeline import Pipeline, pack
from holdfast.migrate.relay.commands import TargetCommands
from holdfast.migrate.relay.relay import Relay, Settings
from holdfast.migrate.relay.spool import Spool
from holdfast.migrate.relay.translation import rewriting_for
from holdfast.migrate.write.checkpoint import PREFIX, Marks
from holdfast.migrate.write.history import Phase, WriterSettings
from holdfast.migrate.write.target import Target
from holdfast.migrate.write.writer import Writer

NAME = "compare"
SOURCE, TARGET = "redis-8.0", "valkey-8.1"
KEYS, COMMANDS, QUICK_SHARE = 1_000_000, 500_000, 50
SHARDS = 3
BOUND_S = 600.0
FLOOR_KEYS = 300_000
STREAM_TARGET = 100_000
UNBOUND = PaceLimits(added_ms=1e6)


def run(at_hand: dict[str, EngineBuild], wanted: Sequence[str], *, quick: bool) -> Section:
    """All figures."""
    if SOURCE not in at_hand or TARGET not in at_hand:
        raise CommandFailed(f"{SOURCE} and {TARGET} are not both at hand")
    share = QUICK_SHARE if quick else 1
    keys, commands = KEYS // share, COMMANDS // share
    rows: list[tuple[str, str, str]] = []
    with bare(at_hand[SOURCE]) as source, cluster(at_hand[TARGET]) as target:
        fill_small(source, keys)
        rows += asyncio.run(_measured(source, target, at_hand[TARGET], keys, commands))
    return Section(
        NAME,
        "Comparing, and migrating by writing",
        f"{this_machine()}. {SOURCE}, one server with {keys:,} small keys of all types, and {TARGET}, {SHARDS} shards on the same "
        f"machine.\n\n{table(('what', 'measured', 'target'), rows)}",
    )


@contextlib.contextmanager
def cluster(build: EngineBuild) -> Iterator[list[Bare]]:
    """So many primaries that make a cluster."""
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(bare(build, "cluster-enabled yes")) for _ in range(SHARDS)]
        for number, server in enumerate(servers):
            first, last = -(-number * SLOTS // SHARDS), -(-(number + 1) * SLOTS // SHARDS) - 1
            server.client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            server.client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
            server.client.execute_command("CLUSTER", "MEET", LOOPBACK, servers[0].port)
        end = time.monotonic() + BOUND_S
        while any("cluster_state:ok" not in _info(server) for server in servers):
            if time.monotonic() > end:
                raise CommandFailed("the cluster did not form")
            time.sleep(0.1)
        yield servers


def _info(server: Bare) -> str:
    said = server.client.execute_command("CLUSTER", "INFO")
    return said.decode() if isinstance(said, bytes) else str(said)


async def _measured(
    source: Bare, target: list[Bare], build: EngineBuild, keys: int, commands: int
) -> list[tuple[str, str, str]]:
    here = Endpoint(LOOPBACK, source.port)
    there = tuple(Endpoint(LOOPBACK, server.port) for server in target)
    floor = await _restore_floor(here, there, min(keys, FLOOR_KEYS))
    say(f"RESTORE by itself: {floor:,.0f} keys/s")
    rows = [
        (
            "RESTORE of such keys by themselves, packed before, into the same shards",
            f"{floor:,.0f} keys/s",
            "",
        )
    ]
    async with await Pipeline.connect(there[0]) as pipe:
        names = frozenset(each[0].upper() for each in await pipe.ask("COMMAND"))
    dialect = dialect_of_engine(build.name, build.version[0], build.version[1])

    async def find() -> Endpoint:
        return here

    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            find, TargetCommands(names), lambda: rewriting_for(dialect, 1), accepts_losses=True
        )
        relay = Relay(Spool(Path(folder) / "spool"), settings)
        writer = Writer(relay, Target(there), WriterSettings(Marks("bench", "s0")))
        began = time.monotonic()
        tasks = [asyncio.create_task(relay.run()), asyncio.create_task(writer.run())]
        try:
            await _tail(writer, 0)
            rate = keys / (time.monotonic() - began)
            say(f"full sync by writing: {rate:,.0f} keys/s")
            goal = f"0.7 of RESTORE: {'met' if rate >= 0.7 * floor else '**not met**'}"
            rows.append(("full sync by writing, three shards", f"{rate:,.0f} keys/s", goal))
            for name, word in (("SET", "SET"), ("INCR, each with its checkpoint", "INCR")):
                rows += await _streamed(writer, source.port, name, word, commands)
            rows.append(await _compared(here, there))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            relay.spool.close()
    return rows


async def _streamed(
    writer: Writer, port: int, name: str, word: str, commands: int
) -> list[tuple[str, str, str]]:
    """As many commands a second as get through, and how far the target is behind when they come at the wanted rate."""
    rows = []
    for rate in (0, STREAM_TARGET):
        begun = writer.position
        with sender(port, word, commands, rate) as go:
            began = time.monotonic()
            await asyncio.to_thread(go)
            sent_s = time.monotonic() - began
            await _tail(writer, begun + commands * 20)
            took_s = time.monotonic() - began
        if not rate:
            got = commands / took_s
            said = f"{STREAM_TARGET:,}: {'met' if got >= STREAM_TARGET else '**not met**'}"
            rows.append((f"stream of {name}, as fast as it goes", f"{got:,.0f} commands/s", said))
            continue
        lag_ms = (took_s - sent_s) * 1000
        said = f"lag under 100 ms: {'met' if lag_ms < 100 else '**not met**'}"
        what = f"{commands / sent_s:,.0f} commands/s; the last was in the target {lag_ms:.0f} ms later"
        rows.append((f"stream of {name}, {rate:,} a second", what, said))
    for row in rows:
        say(" ".join(row))
    return rows


@contextlib.contextmanager
def sender(port: int, name: str, commands: int, rate: int) -> Iterator[Callable[[], None]]:
    """A process that has so many commands to keys spread over all slots packed; what is given has it send them, and waits.

    Args: `rate`, commands a second; 0 for as many as the source takes.
    """
    context = multiprocessing.get_context("spawn")
    ready, go, sent = context.Event(), context.Event(), context.Event()
    process = context.Process(target=_send, args=(port, name, commands, rate, (ready, go, sent)))
    process.start()

    def send() -> None:
        go.set()
        if not sent.wait(BOUND_S):
            raise CommandFailed("the source did not take the commands")

    try:
        if not ready.wait(BOUND_S):
            raise CommandFailed("the sender did not start")
        yield send
    finally:
        process.kill()
        process.join()


def _send(port: int, name: str, commands: int, rate: int, events: tuple[Any, Any, Any]) -> None:
    ready, go, sent = events
    blobs = []
    for first in range(0, commands, 1000):
        keys = [f"bench:{name}:{number % 50_000}" for number in range(first, first + 1000)]
        packed = [pack(name, key, "0123456789") if name == "SET" else pack(name, key) for key in keys]
        blobs.append(b"".join(packed))

    async def all_of_them() -> None:
        async with await Pipeline.connect(Endpoint(LOOPBACK, port)) as pipe:
            began = time.monotonic()
            for at in range(0, len(blobs), 4):
                await asyncio.gather(*(pipe.begin(blob, 1000) for blob in blobs[at : at + 4]))
                if rate:
                    await asyncio.sleep(max(0.0, began + (at + 4) * 1000 / rate - time.monotonic()))

    ready.set()
    go.wait(BOUND_S)
    asyncio.run(all_of_them())
    sent.set()


async def _tail(writer: Writer, least: int) -> None:
    """Until the writer has come so far, and has written all that is there."""
    async with asyncio.timeout(BOUND_S):
        while (
            writer.phase is not Phase.TAIL
            or writer.position < least
            or writer.position < writer.history.spool.end
        ):
            await asyncio.sleep(0.005)


async def _restore_floor(source: Endpoint, target: Sequence[Endpoint], keys: int) -> float:
    """RESTORE of keys of the source, packed beforehand, sent in deep pipelines to the shards that own them: keys/s."""
    owned: list[list[bytes]] = [[] for _ in target]
    async with contextlib.AsyncExitStack() as stack:
        one = await stack.enter_async_context(await Pipeline.connect(source))
        pipes = [await stack.enter_async_context(await Pipeline.connect(each)) for each in target]
        cursor, names = 0, list[bytes]()
        while len(names) < keys:
            answer = await one.ask("SCAN", cursor, "COUNT", 1000)
            cursor, found = int(answer[0]), answer[1]
            payloads = await one.send(b"".join(pack("DUMP", name) for name in found), len(found))
            for name, payload in zip(found, payloads, strict=True):
                body = payload[:-10] + b"\x0b\x00"
                whole = body + crc64(body).to_bytes(8, "little")
                shard = key_slot(name) * len(target) // SLOTS
                owned[shard].append(pack("RESTORE", name, 0, whole, "REPLACE"))
            names += found
            if not cursor:
                break
        began = time.monotonic()
        flying = [
            pipe.begin(b"".join(commands[first : first + 1000]), len(commands[first : first + 1000]))
            for pipe, commands in zip(pipes, owned, strict=True)
            for first in range(0, len(commands), 1000)
        ]
        replies = await asyncio.gather(*flying)
        took_s = time.monotonic() - began
        if refused := next((each for part in replies for each in part if each != b"OK"), None):
            raise CommandFailed(f"RESTORE was refused: {refused}")
        for pipe in pipes:
            await pipe.ask("FLUSHALL")
    return len(names) / took_s


async def _compared(source: Endpoint, target: Sequence[Endpoint]) -> tuple[str, str, str]:
    one, other = await Side.open([source]), await Side.open(target)
    cpu_s = time.process_time()
    try:
        report = await Comparison(one, other, Options(pace=UNBOUND, ignore=(PREFIX,))).run()
    finally:
        one.close()
        other.close()
    rate = report.keys / report.took_s
    say(f"compared: {rate:,.0f} keys/s, {report.different} differ")
    if report.different:
        raise CommandFailed(f"{report.different} keys differ after the migration: {report.listed[:3]}")
    return (
        f"{report.keys:,} keys compared, both ways ({report.decoded:,} decoded); own processor time "
        f"{(time.process_time() - cpu_s) / report.keys * 1e6:.1f} us a key",
        f"{rate:,.0f} keys/s",
        "100,000: met" if rate >= 100_000 else "100,000: **not met**",
    )
