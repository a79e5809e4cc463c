"""A million keys of every type, field TTLs and writers at work, by the commands that docs/migrate.md names, with their figures;
and values that are larger than what the job may have in memory."""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import Any

import pytest
from tests.live.conftest import Bench, need, until
from tests.live.migrate.applications import Applications
from tests.live.migrate.journey import benched, folder, in_step, status
from tests.live.migrate.plain import Plain, plain

KEYS = 1_000_000
HASHES_WITH_TTLS = 25_000
MEMORY_MAX_BYTES = 300_000_000
BATCH = 5_000
BACKLOG = "repl-backlog-size 64mb"


def fill(server: Plain) -> None:
    """Half of the keys are strings, a third of these with a TTL; a tenth each of hashes, sorted sets, lists, sets, streams or more hashes."""
    pipe: Any = server.client.pipeline(transaction=False)
    for number in range(KEYS):
        kind = number % 10
        if kind < 5:
            pipe.set(f"s:{number}", b"v" * (10 + number % 50), px=9_000_000 if number % 3 == 0 else None)
        elif kind == 5:
            pipe.hset(f"h:{number}", mapping={"a": number, "b": "text", "c": 3})
            if number < HASHES_WITH_TTLS * 10:
                pipe.execute_command("HPEXPIRE", f"h:{number}", 8_000_000, "FIELDS", 1, "b")
        elif kind == 6:
            pipe.zadd(f"z:{number}", {"a": 1, "b": 2.5})
        elif kind == 7:
            pipe.rpush(f"l:{number}", 1, 2, "three")
        elif kind == 8:
            pipe.sadd(f"i:{number}", 1, 2, 3)
        else:
            pipe.xadd(f"x:{number}", {"a": number}, id="1-1")
        if number % BATCH == BATCH - 1:
            pipe.execute()
    pipe.execute()


def memory_bytes(bench: Bench) -> int:
    """The most that the migration's process has had in memory."""
    lines = (Path("/proc") / str(folder(bench).worker_pid()) / "status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) * 1024


def _written(work: Applications, count: int) -> bool:
    return work.count > count


@pytest.mark.long
@pytest.mark.timeout(580)
def test_a_million_keys_there_and_back(capsys: pytest.CaptureFixture[str]) -> None:
    told: dict[str, str] = {}
    with (
        benched() as bench,
        plain(need("redis-8.0"), BACKLOG) as source,
        plain(need("valkey-9.1"), BACKLOG) as target,
    ):
        fill(source)
        ends = ("--from", source.url, "--to", target.url)
        bench.run("migrate", "assess", *ends, check=True)
        with Applications([source, target], threads=2, field_ttls=True) as work:
            time.sleep(0.5)
            began = time.monotonic()
            bench.run("migrate", "start", "m", *ends, check=True, bound_s=200)
            in_step(bench, bound_s=120)
            told["start, whole command"] = f"{time.monotonic() - began:.1f} s"
            seen = bench.run("migrate", "verify", "m", "--json", check=True, bound_s=200).facts
            assert seen["different"] == seen["changing"] == 0
            assert seen["keys"] >= KEYS
            told["verify"] = (
                f"{seen['keys']} keys, {seen['keys'] / seen['took_s']:.0f}/s, slowed {seen['slowed']}x"
            )
            facts = status(bench)
            told["lag"] = f"{facts['progress']['lag_ms']} ms, {facts['progress']['lag_bytes']} bytes"
            for verb in ("cutover", "rollback", "cutover"):
                before = work.count
                done = bench.run("migrate", verb, "m", "--json", check=True).facts
                told[f"{verb} {len(done['switches'])}"] = (
                    f"{done['switches'][-1]['write_pause_ms']:.0f} ms write pause"
                )
                until(functools.partial(_written, work, before + 50), 20)
                in_step(bench)
        told["memory of the job"] = f"{memory_bytes(bench) / 1e6:.0f} MB"
        assert memory_bytes(bench) < MEMORY_MAX_BYTES
        work.settle(target.client)
        in_step(bench)
        seen = bench.run("migrate", "verify", "m", "--json", check=True, bound_s=200).facts
        assert seen["different"] == seen["changing"] == 0
        told["verify, at rest"] = f"{seen['keys'] / seen['took_s']:.0f} keys/s"
        for number in range(5, HASHES_WITH_TTLS * 10, 9_990):
            left, none = target.client.execute_command("HPTTL", f"h:{number}", "FIELDS", 2, "b", "a")
            assert left > 0
            assert none == -1
        facts = status(bench)
        assert len(facts["full_syncs"]) == 1
        assert facts["losses"] == {}
        ended = bench.run("migrate", "finish", "m", "--yes", "--json", check=True).facts
        assert ended["stage"] == "finished"
        told["written meanwhile"] = (
            f"{work.count} units, longest gap of a writer {work.longest_gap_s * 1000:.0f} ms"
        )
    with capsys.disabled():
        print("".join(f"\n  {name}: {value}" for name, value in told.items()))


@pytest.mark.long
@pytest.mark.timeout(300)
def test_values_of_hundreds_of_megabytes_pass_in_little_memory() -> None:
    with (
        benched() as bench,
        plain(need("redis-8.0"), BACKLOG) as source,
        plain(need("valkey-9.1"), BACKLOG) as target,
    ):
        pipe: Any = source.client.pipeline(transaction=False)
        for number in range(200):  # a hash of 160 MB, whose form is another one in the target's dialect
            pipe.hset("hash", mapping={f"field {number} {place}": b"v" * 120 for place in range(5_000)})
            if number % 10 == 9:
                pipe.execute()
        source.client.execute_command(
            "HPEXPIRE", "hash", 8_000_000, "FIELDS", 2, "field 0 0", "field 199 4999"
        )
        source.client.setrange("string", 200_000_000, "end")
        for _ in range(100):
            source.client.rpush("list", *(b"x" * 100 for _ in range(10_000)))
        bench.run("migrate", "start", "m", "--from", source.url, "--to", target.url, check=True, bound_s=120)
        in_step(bench, bound_s=60)
        source.client.append("string", b"y" * 30_000_000)  # and in the stream
        in_step(bench, bound_s=60)
        until(lambda: target.client.strlen("string") == source.client.strlen("string"), 60)
        seen = bench.run("migrate", "verify", "m", "--json", check=True, bound_s=200).facts
        assert seen["different"] == seen["changing"] == 0
        assert target.client.hlen("hash") == 1_000_000
        left = target.client.execute_command(
            "HPTTL", "hash", "FIELDS", 3, "field 0 0", "field 199 4999", "field 5 5"
        )
        assert min(left[:2]) > 7_000_000
        assert left[2] == -1
        assert memory_bytes(bench) < MEMORY_MAX_BYTES
        bench.run("migrate", "cutover", "m", check=True)
