"""A Redis 8.0 with keys of every type, field TTLs and applications at work into a Valkey 8.1 cluster and back, by the commands that
docs/migrate.md names; with their figures where there are a million keys."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.live.conftest import need
from tests.live.migrate.journey import benched, folder, status
from tests.live.migrate.ledger import Writers, account
from tests.live.migrate.test_write_switch import ACCEPTED, in_step, run
from tests.live.plain import Plain, plain, plain_cluster

from holdfast.engine.pipeline import pack, refusal

MEMORY_MAX_BYTES = 300_000_000
BATCH = 10_000
ENDS_MS = 4_000_000_000_000


def commands(keys: int) -> Iterator[bytes]:
    """Half of the keys are strings, a third of these with a TTL; a tenth each of hashes, sorted sets, lists, sets and streams."""
    for number in range(keys):
        kind = number % 10
        if kind < 5:
            ends = ("PXAT", ENDS_MS) if number % 3 == 0 else ()
            yield pack("SET", f"s:{number}", b"v" * (10 + number % 50), *ends)
        elif kind == 5:
            yield pack("HSET", f"h:{number}", "a", number, "b", "text", "c", 3)
            if number % 40 == 5:
                yield pack("HPEXPIREAT", f"h:{number}", ENDS_MS, "FIELDS", 1, "b")
        elif kind == 6:
            yield pack("ZADD", f"z:{number}", 1, "a", "2.5", "b")
        elif kind == 7:
            yield pack("RPUSH", f"l:{number}", 1, 2, "three")
        elif kind == 8:
            yield pack("SADD", f"i:{number}", 1, 2, 3)
        else:
            yield pack("XADD", f"x:{number}", "1-1", "a", number)


async def fill(server: Plain, keys: int) -> None:
    async with server.link() as pipe:
        batch: list[bytes] = []
        for command in commands(keys):
            batch.append(command)
            if len(batch) == BATCH:
                replies, batch = await pipe.send(batch, BATCH), []
                assert not any(map(refusal, replies))
        await pipe.send(batch, len(batch))


def memory_bytes(pid: int) -> int:
    """The most that the migration's process has had in memory."""
    lines = (Path("/proc") / str(pid) / "status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) * 1024


async def journey(keys: int) -> dict[str, str]:
    told: dict[str, str] = {}
    async with (
        plain(need("redis-8.0"), "--repl-backlog-size", "64mb") as (source,),
        plain_cluster(need("valkey-8.1"), 3) as target,
    ):
        await fill(source, keys)
        with benched() as bench:
            ends = ("--from", f"redis://{source.endpoint}", "--to", f"redis://{target.primaries[0].endpoint}")
            await run(bench, "migrate", "assess", *ends, "--mode", "write", *ACCEPTED)
            writers = Writers([source.endpoint], tasks=2, other=target.endpoints, pause_s=0.002)
            await writers.start()
            try:
                began = time.monotonic()
                await run(bench, "migrate", "start", "m", *ends, "--mode", "write", *ACCEPTED)
                await in_step(bench, 200)
                took_s = time.monotonic() - began
                told["start until in step"] = f"{took_s:.1f} s, {keys / took_s:.0f} keys/s"
                seen = (await run(bench, "migrate", "verify", "m", "--json")).facts
                assert (seen["different"], seen["changing"]) == (0, 0), seen
                assert seen["keys"] >= keys
                told["verify"] = f"{seen['keys']} keys, {seen['keys'] / seen['took_s']:.0f} keys/s"
                facts = status(bench)["progress"]
                told["lag"] = f"{facts['lag_ms']} ms, {facts['lag_bytes']} bytes"
                for verb in ("cutover", "rollback", "cutover"):
                    before = writers.ledger.acknowledged
                    began = time.monotonic()
                    done = (await run(bench, "migrate", verb, "m", "--json")).facts["switches"]
                    told[f"{verb} {len(done)}"] = (
                        f"{done[-1]['write_pause_ms']:.0f} ms write pause, {time.monotonic() - began:.1f} s in all, "
                        f"{done[-1]['took_ms']}"
                    )
                    async with asyncio.timeout(20):
                        while writers.ledger.acknowledged < before + 100:
                            await asyncio.sleep(0.05)
                    await in_step(bench)
            finally:
                await writers.stop()
            used = memory_bytes(folder(bench).worker_pid())
            told["memory of the job"] = f"{used / 1e6:.0f} MB"
            assert used < MEMORY_MAX_BYTES
            await in_step(bench)
            seen = (await run(bench, "migrate", "verify", "m", "--json")).facts
            assert (seen["different"], seen["changing"]) == (0, 0), seen
            assert await account(writers.ledger, target.endpoints) == []
            assert await account(writers.ledger, [source.endpoint]) == []
            assert len(status(bench)["full_syncs"]) == 1
            ended = (await run(bench, "migrate", "finish", "m", "--yes", "--json")).facts
            assert (ended["stage"], ended["words"]) == ("finished", "")
            told["written meanwhile"] = (
                f"{writers.ledger.acknowledged} commands, longest gap {writers.longest_gap_s * 1000:.0f} ms"
            )
    return told


@pytest.mark.long
@pytest.mark.timeout(590)
@pytest.mark.parametrize("keys", [20_000, 1_000_000])
async def test_keys_of_every_type_there_and_back(keys: int, capsys: pytest.CaptureFixture[str]) -> None:
    told = await journey(keys)
    with capsys.disabled():
        print("".join(f"\n  {name}: {value}" for name, value in told.items()))
