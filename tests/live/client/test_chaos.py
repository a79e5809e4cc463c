"""What an application may do to the library and nodes to it: forks, threads, cancellation, kills, stops, moved names."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.live.client.servers import cluster, engine_server, namespaces, raw, replicated, until

from holdfast.client import AsyncCache, Cache, CacheError, CacheUnavailable, declare
from holdfast.client.errors import NodeUnreached
from holdfast.client.layout import Address
from holdfast.client.login import Login
from holdfast.client.stream_door import StreamDoor
from holdfast.testing import PrivateServer

DECLARED = {"bill": declare("bill:{no}", ttl_s=600), "near": declare("near:{no}", ttl_s=600, tier="l1+l2")}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def server() -> Iterator[PrivateServer]:
    with engine_server("valkey-9.1") as started:
        yield started


def clients(server: PrivateServer) -> int:
    """Connections that carry our name."""
    return sum(each["name"].startswith("holdfast") for each in raw(server).client_list())


def test_a_forked_child_begins_anew_and_the_parent_goes_on(server: PrivateServer) -> None:
    """As under a prefork server: opened and used before, used after in parent and children at once."""
    code = f"""
        import os, sys, time
        from holdfast.client import Cache, declare
        cache = Cache({server.url!r}, namespaces={{"near": declare("near:{{no}}", ttl_s=60, tier="l1+l2")}})
        near = cache.namespace("near")
        near.put("parent", no=1)
        while not cache.shared.l1.entries: near.get(no=1)
        children = []
        for index in range(3):
            pid = os.fork()
            if pid == 0:
                assert not cache.shared.l1.entries, "nobody listens for the parent's copy here"
                for n in range(200):
                    near.put(f"{{index}}-{{n}}", no=100 + index)
                    assert near.get(no=100 + index) == f"{{index}}-{{n}}", (index, n)
                while not cache.shared.l1.entries: near.get(no=100 + index); time.sleep(0.005)
                assert cache.health().nodes[0].coherent
                cache.close()
                os._exit(0)
            children.append(pid)
        for n in range(400):
            near.put(n, no=50)
            assert near.get(no=50) == n
        codes = [os.waitpid(pid, 0)[1] for pid in children]
        assert near.get(no=1) == "parent" and cache.health().nodes[0].coherent
        cache.close()
        print(codes)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "[0, 0, 0]", done.stderr
    until(lambda: clients(server) == 0, 5)


def test_an_asyncio_cache_of_before_a_fork_says_so_in_the_child(server: PrivateServer) -> None:
    """What a child would share with its parent is a connection: both would read each other's replies."""
    code = f"""
        import asyncio, os
        from holdfast.client import AsyncCache, CacheClosed, declare
        def opened():
            return AsyncCache({server.url!r}, namespaces={{"near": declare("near:{{no}}", ttl_s=60, tier="l1+l2")}})
        async def work(cache, word):
            near = cache.namespace("near")
            await near.put(word, no=word)
            while not cache.shared.l1.entries: await near.get(no=word)
            assert await near.get(no=word) == word
            return near
        cache = opened()
        loop = asyncio.new_event_loop()
        near = loop.run_until_complete(work(cache, "parent"))
        pid = os.fork()
        if pid == 0:
            try:
                assert not cache.shared.l1.entries, "nobody listens for the parent's copy here"
                asyncio.run(near.get(no="parent"))
            except CacheClosed as told:
                assert "forked" in str(told), told
                asyncio.run(work(opened(), "child"))
                os._exit(7)
            os._exit(1)
        for n in range(200):
            assert loop.run_until_complete(near.get(no="parent", read="primary")) == "parent"
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        assert loop.run_until_complete(near.get(no="parent")) == "parent"
        loop.run_until_complete(cache.close())
        print("all right")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "all right", done.stderr
    until(lambda: clients(server) == 0, 5)


def test_many_threads_share_few_connections_and_never_each_others_replies(server: PrivateServer) -> None:
    with Cache(f"{server.url}?max_total=4", namespaces=DECLARED) as cache:
        bills, wrong = cache.namespace("bill"), list[object]()

        def work(index: int) -> None:
            try:
                for n in range(150):
                    bills.put({"who": index, "n": n}, no=index)
                    if bills.get(no=index) != {"who": index, "n": n}:
                        wrong.append(index)
            except CacheError as failed:
                wrong.append(failed)

        threads = [threading.Thread(target=work, args=(index,)) for index in range(32)]
        for thread in threads:
            thread.start()
        most = clients(server)
        for thread in threads:
            thread.join(60)
        assert not wrong, wrong[:3]
        assert most <= 5, "four, and the watcher's"
    until(lambda: clients(server) == 0, 5)


async def test_ten_thousand_cancelled_calls_mix_nothing_and_leak_nothing(server: PrivateServer) -> None:
    async with AsyncCache(server.url, namespaces=DECLARED) as cache:
        bills, near = cache.namespace("bill"), cache.namespace("near")
        for n in range(100):
            await bills.put({"n": n}, no=n)
            await near.put({"n": n}, no=n)
        wrong: list[Any] = []

        async def check(n: int) -> None:
            for kind in (bills, near):
                found = await kind.get(no=n % 100)
                if found != {"n": n % 100}:
                    wrong.append((n, found))

        cancelled = batch = 0
        while cancelled < 10_000:
            batch += 1
            tasks = [asyncio.create_task(check(n)) for n in range(100)]
            if batch % 3:
                await asyncio.sleep(0)
            if batch % 3 == 2:
                await asyncio.sleep(0.0002)
            for task in tasks:
                cancelled += task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await check(batch)
        assert batch < 300, "most were cancelled before they were done"
        assert not wrong, wrong[:3]
        await asyncio.gather(*(check(n) for n in range(500)))
        assert not wrong
        assert clients(server) <= 2
        assert not any(node.door._links[False].waiting for node in cache.shared.nodes.values())
    await asyncio.to_thread(until, lambda: clients(server) == 0, 5)


async def test_a_cancelled_write_is_whole_or_not_there(server: PrivateServer) -> None:
    async with AsyncCache(server.url, namespaces=DECLARED) as cache:
        server.flush()
        bills = cache.namespace("bill")
        big = {"x": "y" * 300_000}
        for n in range(60):
            task = asyncio.create_task(bills.put(big, no=n))
            await asyncio.sleep(0.0003 * (n % 5))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert await bills.get(no=n) in (None, big)


async def test_callers_that_connect_to_a_node_that_leaves_are_told_and_never_cancelled() -> None:
    """After a failover the old primary's door is closed, whoever may just be waiting for a connection to it."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        login = Login("demo", "holdfast", lambda: ("", ""), None, 10.0)
        door = StreamDoor(login, Address(*silent.getsockname()), 10)
        until_s = time.monotonic() + 10
        callers = [asyncio.create_task(door.send(b"PING\r\n", 1, False, until_s)) for _ in range(3)]
        await asyncio.sleep(0.05)  # connected, and never answered
        callers[0].cancel()
        await asyncio.sleep(0.05)
        assert [each.done() for each in callers] == [True, False, False], "the others wait on"
        door.close()
        ended = await asyncio.wait_for(asyncio.gather(*callers, return_exceptions=True), 5)
        assert [type(each) for each in ended] == [asyncio.CancelledError, NodeUnreached, NodeUnreached]


async def test_a_slow_server_fails_calls_in_time_and_later_replies_go_to_nobody(
    server: PrivateServer,
) -> None:
    async with AsyncCache(f"{server.url}?command_timeout_ms=150", namespaces=DECLARED) as cache:
        bills = cache.namespace("bill")
        for n in range(20):
            await bills.put(n, no=n)
        os.kill(server.pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            got = await asyncio.gather(*(bills.get(no=n) for n in range(20)), return_exceptions=True)
            assert all(isinstance(each, CacheUnavailable) for each in got), got
            assert time.monotonic() - began < 2
        finally:
            os.kill(server.pid, signal.SIGCONT)

        async def answers() -> bool:
            try:
                return [await bills.get(no=n) for n in range(20)] == list(range(20))
            except CacheUnavailable:
                return False

        async with asyncio.timeout(10):
            while not await answers():
                await asyncio.sleep(0.05)


async def test_a_call_that_gets_no_answer_takes_its_time_once(server: PrivateServer) -> None:
    """A read that was joined with others and failed leaves the policy what is left of its time, not all of it anew."""
    async with AsyncCache(f"{server.url}?command_timeout_ms=1000", namespaces=DECLARED) as cache:
        bills = cache.namespace("bill")
        await bills.put(1, no=1)
        assert await bills.get(no=1) == 1
        os.kill(server.pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            with pytest.raises(CacheUnavailable, match="did not answer in time"):
                await bills.get(no=1)
            assert 0.9 < time.monotonic() - began < 1.7
        finally:
            os.kill(server.pid, signal.SIGCONT)


def test_recovery_follows_the_servers_within_a_tenth_of_a_second(tmp_path: Path) -> None:
    """A server that is killed and started again on its port, again and again, under calls."""
    with engine_server("valkey-9.1") as first:
        port, command = first.port, first.engine
        with Cache(f"valkey://127.0.0.1:{port}?command_timeout_ms=200", namespaces=DECLARED) as cache:
            bills = cache.namespace("bill")
            bills.put(1, no=1)
            os.kill(first.pid, signal.SIGKILL)
            gaps = []
            for _ in range(3):
                for _ in range(12):  # the breaker opens
                    with pytest.raises(CacheUnavailable):
                        bills.put(2, no=1)
                server = subprocess.Popen(
                    [*_command(command), "--port", str(port), "--save", "", "--dir", str(tmp_path)],
                    stdout=subprocess.DEVNULL,
                )
                try:
                    until(lambda: _answers(port))
                    began = time.monotonic()
                    until(lambda: _works(bills), 5)
                    gaps.append(time.monotonic() - began)
                finally:
                    server.kill()
                    server.wait(10)
            assert min(gaps) < 0.1, gaps
            assert max(gaps) < 2, gaps


def _command(program: str) -> list[str]:
    return [program]


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as link:
            link.sendall(b"PING\r\n")
            return link.recv(10).startswith(b"+PONG")
    except OSError:
        return False


def _works(values: Any) -> bool:
    try:
        values.put(3, no=1)
    except CacheUnavailable:
        return False
    return True


def test_a_name_whose_address_changes_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is looked up again for each new connection, nothing is remembered beyond that."""
    real = socket.getaddrinfo
    with engine_server("valkey-9.1") as one, engine_server("valkey-9.1") as two:
        target = {"port": one.port}

        def lookup(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
            if host == "cache.example":
                return real("127.0.0.1", target["port"], *rest, **more)
            return real(host, port, *rest, **more)

        monkeypatch.setattr(socket, "getaddrinfo", lookup)
        with Cache("valkey://cache.example:6379", namespaces=DECLARED) as cache:
            bills = cache.namespace("bill")
            bills.put("one", no=1)
            raw(two).set("bill:1", '"two"')
            target["port"] = two.port
            os.kill(one.pid, signal.SIGKILL)

            def moved() -> bool:
                try:
                    return bool(bills.get(no=1) == "two")
                except CacheUnavailable:
                    return False

            until(moved, 10)


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("engine", ["redis-7.0", "valkey-8.0", "valkey-9.1"])
@pytest.mark.parametrize("shape", ["replicated", "cluster"])
def test_nodes_that_are_stopped_and_killed_bring_no_wrong_value_and_no_other_error(
    engine: str, shape: str
) -> None:
    stage = replicated(engine, 2) if shape == "replicated" else cluster(engine, 3, 1)
    with stage as servers:
        url = "valkey://" + ",".join(f"127.0.0.1:{each.port}" for each in servers) + "?command_timeout_ms=500"
        declared = namespaces(read="replica_preferred", lease_ms=500, serve_stale_s=60)
        with Cache(url, namespaces=declared) as cache:
            bills = cache.namespace("bill.inquiry")
            stop, wrong, loads, served = threading.Event(), list[object](), [0], [0]

            def load(customerId: str, month: str) -> dict[str, str]:
                loads[0] += 1
                return {"customer": customerId}

            def work(index: int) -> None:
                n = index
                while not stop.is_set():
                    n += 1
                    name = f"C{n % 200}"
                    try:
                        if n % 50 == 0:
                            bills.delete(customerId=name, month="1")
                        found = bills.get_or_load(load, customerId=name, month="1")
                        if found != {"customer": name}:
                            wrong.append((name, found))
                        served[0] += 1
                    except CacheUnavailable:
                        pass
                    except BaseException as failed:
                        wrong.append(failed)

            threads = [threading.Thread(target=work, args=(index * 31,)) for index in range(8)]
            for thread in threads:
                thread.start()
            try:
                replicas = servers[1:] if shape == "replicated" else servers[3:]
                for victim in (*replicas, servers[0]):
                    os.kill(victim.pid, signal.SIGSTOP)
                    time.sleep(0.7)
                    os.kill(victim.pid, signal.SIGCONT)
                    time.sleep(0.5)
                os.kill(replicas[0].pid, signal.SIGKILL)
                time.sleep(1.0)
                before = served[0]
                until(lambda: served[0] > before + 500, 20)
            finally:
                stop.set()
                for thread in threads:
                    thread.join(20)
            assert not wrong, wrong[:3]
            assert served[0] > 300
            assert loads[0] < served[0] / 2
