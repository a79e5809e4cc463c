"""Comparing two keyspaces, and the writing way of a migration into three shards.

Targets: 100,000 keys/s compared; full sync by writing at 0.7 of what the same RESTORE commands reach when they are sent by
themselves; in the stream 100,000 commands/s, and the floor that checkpoints set (commands that must run once) beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.machine import this_machine
from benchmarks.migrate_servers import LOOPBACK, Bare, bare, fill_small
from benchmarks.results import Section, table
from benchmarks.workshop import CommandFailed, say
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
KEYS, COMMANDS, QUICK_SHARE = 1_000_000, 1_000_000, 50
SHARDS = 3
BOUND_S = 600.0
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
            first, last = number * 16384 // SHARDS, (number + 1) * 16384 // SHARDS - 1
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
    floor = await _restore_floor(here, Endpoint(LOOPBACK, target[0].port), min(keys, 100_000))
    say(f"RESTORE by itself: {floor:,.0f} keys/s")
    rows = [("RESTORE of the same keys by themselves, into one shard", f"{floor:,.0f} keys/s", "")]
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
            for name, words in (("SET", ("SET",)), ("INCR, each with its checkpoint", ("INCR",))):
                begun = writer.position
                await _send(here, words[0], commands)
                began = time.monotonic()
                await _tail(writer, begun + commands * 20)
                rate = commands / max(time.monotonic() - began + _sending_s[0], 1e-3)
                say(f"stream of {name}: {rate:,.0f} commands/s")
                target_said = "100,000: met" if rate >= 100_000 else "100,000: **not met**"
                rows.append((f"stream of {name}", f"{rate:,.0f} commands/s", target_said))
            rows.append(await _compared(here, there))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            relay.spool.close()
    return rows


_sending_s = [0.0]


async def _send(where: Endpoint, name: str, commands: int) -> None:
    """So many commands to keys spread over all slots, as fast as the source takes them; the time is kept."""
    began = time.monotonic()
    async with await Pipeline.connect(where) as pipe:
        for first in range(0, commands, 1000):
            keys = [f"bench:{name}:{number % 50_000}" for number in range(first, first + 1000)]
            blob = b"".join(
                pack(name, key, "0123456789") if name == "SET" else pack(name, key) for key in keys
            )
            await pipe.send(blob, 1000)
    _sending_s[0] = time.monotonic() - began


async def _tail(writer: Writer, least: int) -> None:
    """Until the writer has come so far, and has written all that is there."""
    async with asyncio.timeout(BOUND_S):
        while (
            writer.phase is not Phase.TAIL
            or writer.position < least
            or writer.position < writer.history.spool.end
        ):
            await asyncio.sleep(0.005)


async def _restore_floor(source: Endpoint, target: Endpoint, keys: int) -> float:
    """RESTORE of keys that one shard owns, packed beforehand, sent in pipelines: keys/s."""
    async with await Pipeline.connect(source) as one, await Pipeline.connect(target) as other:
        blobs: list[tuple[bytes, int]] = []
        payload = await one.ask("DUMP", (await one.ask("RANDOMKEY")))
        footer = payload[:-10] + b"\x0b\x00"
        from holdfast.codec.crc import crc64, key_slot

        payload = footer + crc64(footer).to_bytes(8, "little")
        names = [name for number in range(keys * 3) if key_slot(name := b"floor:%d" % number) < 5461][:keys]
        for first in range(0, len(names), 1000):
            part = names[first : first + 1000]
            blobs.append((b"".join(pack("RESTORE", name, 0, payload, "REPLACE") for name in part), len(part)))
        began = time.monotonic()
        flying = [other.begin(blob, count) for blob, count in blobs]
        await asyncio.gather(*flying)
        took_s = time.monotonic() - began
        await other.send(b"".join(pack("UNLINK", name) for name in names), len(names))
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
