"""Servers for these tests: one or several plain ones on free ports, replicas, clusters, and a relay that can go silent."""

from __future__ import annotations

import contextlib
import functools
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import redis
from tests.live.conftest import need
from tests.live.ports import LOOPBACK, free_port

from holdfast.client import declare
from holdfast.profile import NamespaceProfile
from holdfast.testing import PrivateServer, private_server

ENGINES = ("redis-7.0", "valkey-8.0", "valkey-8.1", "valkey-9.1")


def namespaces(**changes: Any) -> dict[str, NamespaceProfile]:
    """What the phonebill's bill service uses, with short times."""
    near: dict[str, Any] = {"ttl_s": 3600, "tier": "l1+l2"} | changes
    return {
        "bill.inquiry": declare("bill:inquiry:{customerId}:{month}", **near),
        "bill.kos": declare("bill:kos:{requestId}", ttl_s=3600),
        "product.info": declare("product:info:{productCode}", **near),
        "auth.session": declare(
            "auth:session:{userId}:{sessionId}", ttl_s=86400, tier="l1+l2", kind="session"
        ),
        "auth.attempts": declare("auth:attempts:{userId}", ttl_s=1800, kind="counter"),
        "system.breaker": declare("system:cb:{serviceName}", ttl_s=300, tier="l1+l2", kind="breaker"),
        "cart": declare("cart:{{userId}}:{item}", ttl_s=600),
        "read.only": declare("report:{day}", ttl_s=600, writes=False),
    }


def raw(server: PrivateServer, **settings: Any) -> Any:
    """Another client's connection to it."""
    return redis.Redis(host=server.host, port=server.port, socket_timeout=5, **settings)


@contextmanager
def engine_server(engine: str, **settings: str) -> Iterator[PrivateServer]:
    """A server of that engine."""
    with private_server(
        need(engine).command, settings={k.replace("_", "-"): v for k, v in settings.items()}
    ) as server:
        yield server


@contextmanager
def replicated(engine: str, replicas: int = 1) -> Iterator[list[PrivateServer]]:
    """A primary, first, and replicas that have caught up."""
    with ExitStack() as stack:
        quick = {"repl_diskless_sync_delay": "0", "repl_ping_replica_period": "1"}
        servers = [stack.enter_context(engine_server(engine, **quick)) for _ in range(1 + replicas)]
        for server in servers[1:]:
            raw(server).replicaof(LOOPBACK, str(servers[0].port))
        for server in servers[1:]:
            until(functools.partial(_linked, server))
        yield servers


@contextmanager
def cluster(engine: str, primaries: int = 3, replicas: int = 0) -> Iterator[list[PrivateServer]]:
    """A cluster: its primaries first, each with equal shares of the slots, then its replicas in the same order."""
    with ExitStack() as stack:
        servers = []
        for _ in range(primaries * (1 + replicas)):
            bus = free_port()
            servers.append(
                stack.enter_context(
                    engine_server(
                        engine,
                        cluster_enabled="yes",
                        cluster_config_file="nodes.conf",
                        cluster_node_timeout="2000",
                        cluster_port=str(bus),
                        repl_diskless_sync_delay="0",
                    )
                )
            )
        first = raw(servers[0])
        for index, server in enumerate(servers):
            raw(server).execute_command("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
        for server in servers[1:]:
            bus = raw(server).config_get("cluster-port")["cluster-port"]
            first.execute_command("CLUSTER", "MEET", LOOPBACK, server.port, bus)
        share = 16_384 // primaries
        for index, server in enumerate(servers[:primaries]):
            last = 16_383 if index == primaries - 1 else (index + 1) * share - 1
            raw(server).execute_command("CLUSTER", "ADDSLOTSRANGE", index * share, last)
        until(lambda: all(_knows(server, len(servers)) for server in servers))
        for index, server in enumerate(servers[primaries:]):
            identity = raw(servers[index % primaries]).execute_command("CLUSTER", "MYID")
            until(functools.partial(_quietly, functools.partial(_follow, server, identity)))
        until(
            lambda: all(
                b"cluster_state:ok" in _bytes(raw(server).execute_command("CLUSTER", "INFO"))
                for server in servers
            )
        )
        if replicas:
            until(
                lambda: all(
                    raw(server).info("replication").get("master_link_status") == "up"
                    for server in servers[primaries:]
                )
            )
            until(lambda: all(_slots_with_replicas(server, 2) for server in servers))
        yield servers


def _linked(server: PrivateServer) -> bool:
    return bool(raw(server).info("replication")["master_link_status"] == "up")


def _follow(server: PrivateServer, identity: Any) -> None:
    raw(server).execute_command("CLUSTER", "REPLICATE", identity)


def _slots_with_replicas(server: PrivateServer, nodes: int) -> bool:
    slots = raw(server).execute_command("CLUSTER", "SHARDS")
    return all(len(shard[b"nodes"] if isinstance(shard, dict) else shard[3]) >= nodes for shard in slots)


def _knows(server: PrivateServer, nodes: int) -> bool:
    info = _bytes(raw(server).execute_command("CLUSTER", "INFO"))
    return f"cluster_known_nodes:{nodes}".encode() in info


def _bytes(value: Any) -> bytes:
    return (
        value.encode()
        if isinstance(value, str)
        else str(value).encode()
        if isinstance(value, dict)
        else value
    )


def _quietly(call: Callable[[], Any]) -> bool:
    try:
        call()
    except redis.RedisError:
        return False
    return True


def until(look: Callable[[], Any], bound_s: float = 40.0) -> Any:
    """What `look` returns once that is true; fails when it is not in time."""
    end = time.monotonic() + bound_s
    while not (found := look()):
        assert time.monotonic() < end, f"not reached within {bound_s:g} s"
        time.sleep(0.01)
    return found


@dataclass
class Relay:
    """A TCP relay to one server; it can fall silent without closing anything, as a cut cable does."""

    target: int
    port: int = 0
    silent: threading.Event = field(default_factory=threading.Event)
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def running(self) -> Iterator[Relay]:
        with socket.socket() as listener:
            listener.bind((LOOPBACK, 0))
            listener.listen(64)
            self.port = listener.getsockname()[1]
            thread = threading.Thread(target=self._work, args=(listener,), daemon=True)
            thread.start()
            try:
                yield self
            finally:
                self._stop.set()
                thread.join(5)

    def _work(self, listener: socket.socket) -> None:
        other: dict[socket.socket, socket.socket] = {}
        with contextlib.ExitStack() as stack:
            while not self._stop.is_set():
                readable, _, _ = select.select([listener, *other], [], [], 0.02)
                if self.silent.is_set():
                    time.sleep(0.01)
                    continue
                for each in readable:
                    if each is listener:
                        near = stack.enter_context(listener.accept()[0])
                        far = stack.enter_context(socket.create_connection((LOOPBACK, self.target), 5))
                        other[near], other[far] = far, near
                        continue
                    if each not in other:
                        continue
                    try:
                        data = each.recv(65536)
                        if data:
                            other[each].sendall(data)
                            continue
                    except OSError:
                        pass
                    twin = other.pop(each)
                    other.pop(twin, None)
                    each.close()
                    twin.close()
