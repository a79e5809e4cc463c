"""Comparing two keyspaces, and the writing way of a migration into three shards.

Targets: 100,000 keys/s compared; full sync by writing at 0.7 of what the same RESTORE commands reach by the
engine's own `--pipe`; in the stream 100,000 commands/s, and the floor that checkpoints set (commands that must run once) beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.engine_cli import EngineCli, cli_for
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
    packed = await _restores(here, min(keys, FLOOR_KEYS))
    cli = cli_for(TARGET)
    if cli is None:
        raise CommandFailed(f"{TARGET} has no tool of its own at hand")
    piped = await asyncio.to_thread(_piped, packed, build, cli)
    at_once = await _restored(packed, there)
    del packed
    rows = [
        (
            f"peer: RESTORE of such keys by `{cli.title} --pipe`, packed before, into one server",
            f"{piped:,.0f} keys/s",
            "",
        ),
        ("the same commands into all shards at once, packed before", f"{at_once:,.0f} keys/s", ""),
    ]
    for row in rows:
        say(" ".join(row))
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
        began, cpu_s = time.monotonic(), time.process_time()
        servers_s = _servers_cpu_s(source, target)
        tasks = [asyncio.create_task(relay.run()), asyncio.create_task(writer.run())]
        try:
            await _tail(writer, 0)
            rate = keys / (time.monotonic() - began)
            ours = (time.process_time() - cpu_s) / keys * 1e6
            theirs = (_servers_cpu_s(source, target) - servers_s) / keys * 1e6
            goal = f"0.7 of `--pipe`: {'met' if rate >= 0.7 * piped else '**not met**'}"
            used = f"processor time: own {ours:.1f} us a key, source and shards {theirs:.1f} us"
            rows.append((f"full sync by writing, {SHARDS} shards ({used})", f"{rate:,.0f} keys/s", goal))
            say(" ".join(rows[-1]))
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


def _servers_cpu_s(source: Bare, target: Sequence[Bare]) -> float:
    """Of the source, the child that it saves with, and all shards."""
    child = source.client.info("cpu")
    return (
        source.cpu_s()
        + sum(each.cpu_s() for each in target)
        + sum(float(child[name]) for name in ("used_cpu_sys_children", "used_cpu_user_children"))
    )


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


async def _restores(source: Endpoint, keys: int) -> list[tuple[int, bytes]]:
    """RESTORE of so many keys of the source, in the target's dialect: the slot and the packed command of each."""
    packed: list[tuple[int, bytes]] = []
    async with await Pipeline.connect(source) as pipe:
        cursor = 0
        while len(packed) < keys:
            answer = await pipe.ask("SCAN", cursor, "COUNT", 1000)
            cursor, found = int(answer[0]), answer[1]
            payloads = await pipe.send(b"".join(pack("DUMP", name) for name in found), len(found))
            for name, payload in zip(found, payloads, strict=True):
                body = payload[:-10] + b"\x0b\x00"
                whole = body + crc64(body).to_bytes(8, "little")
                packed.append((key_slot(name), pack("RESTORE", name, 0, whole, "REPLACE")))
            if not cursor:
                break
    return packed


async def _restored(packed: Sequence[tuple[int, bytes]], target: Sequence[Endpoint]) -> float:
    """Those commands in deep pipelines to all shards at once, each to its owner: keys/s."""
    owned: list[list[bytes]] = [[] for _ in target]
    for slot, command in packed:
        owned[slot * len(target) // SLOTS].append(command)
    async with contextlib.AsyncExitStack() as stack:
        pipes = [await stack.enter_async_context(await Pipeline.connect(each)) for each in target]
        blobs = [
            (pipe, b"".join(part), len(part))
            for pipe, commands in zip(pipes, owned, strict=True)
            for first in range(0, len(commands), 1000)
            if (part := commands[first : first + 1000])
        ]
        began = time.monotonic()
        replies = await asyncio.gather(*(pipe.begin(blob, count) for pipe, blob, count in blobs))
        took_s = time.monotonic() - began
        if refused := next((each for part in replies for each in part if each != b"OK"), None):
            raise CommandFailed(f"RESTORE was refused: {refused}")
        for pipe in pipes:
            await pipe.ask("FLUSHALL")
    return len(packed) / took_s


def _piped(packed: Sequence[tuple[int, bytes]], build: EngineBuild, cli: EngineCli) -> float:
    """The same through the engine's own tool, `--pipe`, into one server: keys/s."""
    with bare(build) as server, tempfile.TemporaryFile() as file:
        file.write(b"".join(command for _, command in packed))
        file.seek(0)
        began = time.monotonic()
        done = subprocess.run(
            [*cli.command, "-h", LOOPBACK, "-p", str(server.port), "--pipe"],
            stdin=file, capture_output=True, text=True, timeout=BOUND_S, check=False,
        )  # fmt: skip
        took_s = time.monotonic() - began
        if server.client.dbsize() != len(packed):
            raise CommandFailed(f"{cli.title} --pipe: {done.stdout}{done.stderr}")
    return len(packed) / took_s


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
