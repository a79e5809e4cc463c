"""Load protection on real servers: one load per key, per process and in all; early, stale and remembered absences."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.live.client.servers import engine_server, raw, until

from holdfast.client import AsyncCache, Cache, declare
from holdfast.testing import PrivateServer

CALLERS = 200


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module", params=["valkey-9.1", pytest.param("redis-7.0", marks=pytest.mark.long)])
def shared_server(request: pytest.FixtureRequest) -> Iterator[PrivateServer]:
    with engine_server(request.param) as started:
        yield started


@pytest.fixture
def server(shared_server: PrivateServer) -> PrivateServer:
    shared_server.flush()
    return shared_server


def opened(server: PrivateServer, **policy: Any) -> Cache:
    words: dict[str, Any] = {"ttl_s": 60} | policy
    return Cache(server.url, namespaces={"bill": declare("bill:{no}", **words)})


def at_once(count: int, work: Any) -> list[Any]:
    """What `count` threads get that begin together; what is raised is returned too."""
    gate, got = threading.Barrier(count), []

    def one() -> None:
        gate.wait(20)
        try:
            got.append(work())
        except Exception as failed:
            got.append(failed)

    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return got


def test_two_hundred_threads_make_one_load(server: PrivateServer) -> None:
    calls: list[str] = []

    def load(no: str) -> int:
        calls.append(no)
        time.sleep(0.1)
        return 7

    with opened(server) as cache:
        bills = cache.namespace("bill")
        assert at_once(CALLERS, lambda: bills.get_or_load(load, no="1")) == [7] * CALLERS
        assert calls == ["1"]


async def test_two_hundred_tasks_make_one_load(server: PrivateServer) -> None:
    calls: list[str] = []

    async def load(no: str) -> int:
        calls.append(no)
        await asyncio.sleep(0.05)
        return 7

    async with AsyncCache(server.url, namespaces={"bill": declare("bill:{no}", ttl_s=60)}) as cache:
        bills = cache.namespace("bill")
        assert (
            await asyncio.gather(*(bills.get_or_load(load, no="1") for _ in range(CALLERS))) == [7] * CALLERS
        )
        assert calls == ["1"]


_PROCESS = """
import sys, threading, time
from holdfast.client import Cache, declare
calls = []
def load(no):
    calls.append(no); time.sleep(0.3); return 7
with Cache(sys.argv[1], namespaces={"bill": declare("bill:{no}", ttl_s=60, lease_ms=5000)}) as cache:
    bills = cache.namespace("bill")
    bills.get(no="warm")
    print("ready", flush=True); sys.stdin.readline()
    got = []
    threads = [threading.Thread(target=lambda: got.append(bills.get_or_load(load, no="1"))) for _ in range(50)]
    [t.start() for t in threads]; [t.join() for t in threads]
    assert got == [7] * 50, got
    print(len(calls), flush=True)
"""


def test_four_processes_of_fifty_callers_make_one_load_with_a_lease(server: PrivateServer) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _PROCESS, server.url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    outs = [process.communicate(timeout=40)[0] for process in processes]
    assert sum(int(out) for out in outs) == 1, outs


def test_a_lease_that_died_with_its_holder_is_taken_over(server: PrivateServer) -> None:
    with opened(server, lease_ms=300) as dead, opened(server, lease_ms=300) as cache:
        bills = cache.namespace("bill")
        begun, over = threading.Event(), threading.Event()

        def hang(no: str) -> int:
            begun.set()
            assert over.wait(30)
            return 1

        thread = threading.Thread(target=lambda: dead.namespace("bill").get_or_load(hang, no="1"))
        thread.start()
        assert begun.wait(20)
        assert bills.get(no="1") is None, "a lease is no value"
        began = time.monotonic()
        assert bills.get_or_load(lambda no: 2, no="1") == 2
        assert 0.1 < time.monotonic() - began < 20
        over.set()
        thread.join()
        assert bills.get(no="1") == 2, "the one that was too late has not written over it"
        assert dead.shared.figures.stores_refused == 1


def test_a_delete_during_a_load_is_not_undone_by_it(server: PrivateServer) -> None:
    with opened(server, lease_ms=2000) as cache, opened(server, lease_ms=2000) as other:
        bills = cache.namespace("bill")

        def load(no: str) -> str:
            other.namespace("bill").delete(no=no)  # what was read is old by now
            return "old"

        assert bills.get_or_load(load, no="1") == "old"
        assert bills.get(no="1") is None
        assert cache.shared.figures.stores_refused == 1


def test_a_loader_that_fails_gives_its_lease_back(server: PrivateServer) -> None:
    with opened(server, lease_ms=60_000) as cache:
        bills = cache.namespace("bill")
        with pytest.raises(ZeroDivisionError):
            bills.get_or_load(lambda no: 1 // 0, no="1")
        began = time.monotonic()
        assert bills.get_or_load(lambda no: 3, no="1") == 3
        assert time.monotonic() - began < 5


def test_all_who_wait_get_the_loaders_error(server: PrivateServer) -> None:
    def load(no: str) -> int:
        time.sleep(0.1)
        raise LookupError(no)

    with opened(server) as cache:
        got = at_once(20, lambda: cache.namespace("bill").get_or_load(load, no="1"))
        assert [str(each) for each in got] == ["1"] * 20
        assert cache.shared.figures.loads < 20


async def test_a_cancelled_loader_hands_over(server: PrivateServer) -> None:
    calls = 0

    async def load(no: str) -> int:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0.2)
        return calls

    declared = {"bill": declare("bill:{no}", ttl_s=60, lease_ms=10_000)}
    async with AsyncCache(server.url, namespaces=declared) as cache:
        bills = cache.namespace("bill")
        first = asyncio.create_task(bills.get_or_load(load, no="1"))
        await asyncio.sleep(0.1)
        others = [asyncio.create_task(bills.get_or_load(load, no="1")) for _ in range(5)]
        await asyncio.sleep(0.02)
        first.cancel()
        async with asyncio.timeout(5):
            assert await asyncio.gather(*others) == [2] * 5
        assert calls == 2


def test_an_absence_is_remembered_and_ends(server: PrivateServer) -> None:
    calls: list[str] = []

    def load(no: str) -> None:
        calls.append(no)

    with opened(server, negative_ttl_s=0.3) as cache:
        bills = cache.namespace("bill")
        assert [bills.get_or_load(load, no="1") for _ in range(5)] == [None] * 5
        assert calls == ["1"]
        assert bills.get(no="1") is None
        until(lambda: not raw(server).exists("bill:1"), 3)
        assert bills.get_or_load(lambda no: 5, no="1") == 5
    with opened(server) as cache:
        for _ in range(3):
            cache.namespace("bill").get_or_load(load, no="2")
        assert calls == ["1", "2", "2", "2"], "without `negative` nothing is remembered"


def test_what_has_ended_is_served_while_the_loader_fails_and_not_for_ever(server: PrivateServer) -> None:
    with opened(server, ttl_s=0.2, serve_stale_s=1.0, jitter_percent=0, lease_ms=50) as cache:
        bills = cache.namespace("bill")
        bills.put("old", no="1")
        until(lambda: bills.get(no="1") is None, 3)

        def fail(no: str) -> str:
            raise ConnectionError("the system of record is away")

        assert bills.get_or_load(fail, no="1") == "old"
        assert cache.shared.figures.stale_serves >= 1
        until(lambda: not raw(server).exists("bill:1"), 5)
        with pytest.raises(ConnectionError):
            bills.get_or_load(fail, no="1")


def test_what_has_ended_is_loaded_by_one_process_while_others_serve_it(server: PrivateServer) -> None:
    policy = {"ttl_s": 0.2, "serve_stale_s": 30.0, "jitter_percent": 0, "lease_ms": 2000}
    with opened(server, **policy) as one, opened(server, **policy) as two:
        one.namespace("bill").put("old", no="1")
        time.sleep(0.25)
        begun, go_on = threading.Event(), threading.Event()

        def load(no: str) -> str:
            begun.set()
            go_on.wait(10)
            return "new"

        got: list[Any] = []
        thread = threading.Thread(target=lambda: got.append(one.namespace("bill").get_or_load(load, no="1")))
        thread.start()
        assert begun.wait(5)
        assert two.namespace("bill").get_or_load(lambda no: "unwanted", no="1") == "old"
        go_on.set()
        thread.join(10)
        assert got == ["new"]
        assert two.namespace("bill").get_or_load(lambda no: "unwanted", no="1") == "new"


def test_hot_values_are_loaded_early_behind_the_callers(server: PrivateServer) -> None:
    calls: list[float] = []

    def load(no: str) -> int:
        calls.append(time.monotonic())
        time.sleep(0.05)
        return len(calls)

    with opened(server, ttl_s=0.6, early_refresh=2.0, jitter_percent=0, lease_ms=300) as cache:
        bills = cache.namespace("bill")
        end, slowest = time.monotonic() + 2.0, 0.0
        assert bills.get_or_load(load, no="1") == 1
        while time.monotonic() < end:
            began = time.monotonic()
            assert bills.get_or_load(load, no="1")
            slowest = max(slowest, time.monotonic() - began)
            time.sleep(0.005)
        assert 2 <= len(calls) <= 40, "never more than one at a time"
        assert cache.shared.figures.early_refreshes >= 1


def test_the_application_goes_on_without_the_cache_at_a_bounded_cost() -> None:
    with engine_server("valkey-9.1") as server:
        cache = Cache(
            f"{server.url}?command_timeout_ms=300", namespaces={"bill": declare("bill:{no}", ttl_s=60)}
        )
        bills = cache.namespace("bill")
        bills.put(1, no="0")
    with cache:
        took = []
        for n in range(60):
            began = time.monotonic()
            assert bills.get_or_load(lambda no: int(no), no=str(n)) == n
            took.append(time.monotonic() - began)
        assert max(took) < 3.0
        assert sum(took[10:]) < 5.0, "after a few failures nobody waits any more"


def test_a_loader_that_asks_for_its_own_key_does_not_wait_for_itself(server: PrivateServer) -> None:
    with opened(server, lease_ms=500) as cache:
        bills = cache.namespace("bill")

        def load(no: str) -> int:
            return 1 + (bills.get_or_load(lambda no: 41, no=no) or 0)

        assert bills.get_or_load(load, no="1") == 42


def test_the_answer_of_every_path_is_typed(tmp_path: Path) -> None:
    """What users' own type checks see."""
    code = """
        from dataclasses import dataclass
        from holdfast.client import AsyncCache, Cache

        @dataclass
        class Bill:
            total: int

        def load(customerId: str, month: str) -> Bill:
            return Bill(1)

        def use(cache: Cache) -> None:
            bills = cache.namespace("bill.inquiry", Bill)
            reveal_type(bills.get(customerId="C1", month="1"))
            reveal_type(bills.get_or_load(load, customerId="C1", month="1"))
            reveal_type(bills.get_many([]))
            bills.put("no", customerId="C1", month="1")

        async def use_async(cache: AsyncCache) -> None:
            bills = cache.namespace("bill.inquiry", Bill)
            reveal_type(await bills.get(customerId="C1", month="1"))
    """
    (tmp_path / "app.py").write_text(textwrap.dedent(code))
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "app.py"],
        capture_output=True,
        text=True,
        timeout=110,
        cwd=tmp_path,
    )
    revealed = [line.split('"')[1] for line in done.stdout.splitlines() if "Revealed" in line]
    wanted = ["Bill | None", "Bill | None", "dict[str, Bill]", "Bill | None"]
    assert [each.replace("app.", "").replace("builtins.", "") for each in revealed] == wanted, done.stdout
    assert done.stdout.count("error:") == 1
    assert 'incompatible type "str"; expected "Bill"' in done.stdout
