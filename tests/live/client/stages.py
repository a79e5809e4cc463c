"""Where the coherence experiment is played, and what is done to the servers meanwhile.

A stage is one shape of servers; experiments may be played on it again and again: each finds out for itself who leads.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from tests.live.client.coherence import SILENCE_S, hot_keys
from tests.live.client.servers import Relay, cluster, engine_server, raw, replicated, until
from tests.live.conftest import need
from tests.live.ports import LOOPBACK

from holdfast.client.keys import slot_of
from holdfast.testing import PrivateServer, private_server

LOAD_S = 0.7
SHAPES = ("standalone", "replicated", "sentinel", "cluster")


@dataclass
class Stage:
    """Servers of one shape. `relays`, by the port of the server behind them, where the client goes through them."""

    servers: list[PrivateServer]
    url: str
    shape: str
    sentinel: PrivateServer | None = None
    relays: dict[int, Relay] = field(default_factory=dict)
    turn: int = 0
    """How often something was done to it."""

    @property
    def ports(self) -> list[int]:
        return [server.port for server in self.servers]

    @property
    def remap(self) -> dict[int, int]:
        """From the ports that servers announce to their own."""
        return {relay.port: port for port, relay in self.relays.items()}

    @property
    def primary(self) -> PrivateServer:
        """Of one shard: who leads it now. Of a cluster: one who leads."""
        return until(lambda: next((s for s in self.servers if raw(s).role()[0] == b"master"), None))  # type: ignore[no-any-return]

    @property
    def primaries(self) -> list[PrivateServer]:
        return [server for server in self.servers if raw(server).role()[0] == b"master"]

    def truth(self, key: str) -> bytes | None:
        """What the servers hold, by another client."""
        if self.shape != "cluster":
            return raw(self.primary).get(key)  # type: ignore[no-any-return]
        link: Any = redis.cluster.RedisCluster(
            host=LOOPBACK,
            port=self.ports[0],
            address_remap=lambda at: (at[0], self.remap.get(at[1], at[1])),
        )
        found: bytes | None = link.get(key)
        link.close()
        return found


@contextmanager
def staged(shape: str, engine: str, *, relayed: bool = False) -> Iterator[Stage]:
    """A stage. Args: `relayed`, whether the client reaches its servers through relays."""
    with ExitStack() as stack:
        match shape:
            case "standalone":
                servers = [stack.enter_context(engine_server(engine))]
            case "cluster":
                servers = stack.enter_context(cluster(engine, 3, 1))
            case _:
                servers = stack.enter_context(replicated(engine, 1))
        relays = {}
        if relayed:
            relays = {s.port: stack.enter_context(Relay(s.port).running()) for s in servers}
            for server in servers if shape == "cluster" else ():
                raw(server).config_set("cluster-announce-port", relays[server.port].port)
        ports = [relays[s.port].port if relayed else s.port for s in servers]
        stage = Stage(
            servers, "valkey://" + ",".join(f"{LOOPBACK}:{port}" for port in ports), shape, relays=relays
        )
        if shape == "sentinel":
            stage.sentinel = stack.enter_context(sentinel(engine, servers[0]))
            stage.url = f"valkey+sentinel://{LOOPBACK}:{stage.sentinel.port}/demo"
        if relayed and shape == "cluster":
            until(lambda: all(_announces(server, ports) for server in servers))
        yield stage


@contextmanager
def sentinel(engine: str, primary: PrivateServer) -> Iterator[PrivateServer]:
    """One Sentinel that watches that primary under the name demo, and knows its replica."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "sentinel.conf"
        config.write_text("")
        with private_server((*need(engine).command, str(config), "--sentinel")) as server:
            link = raw(server)
            # Else it asks its nodes all 10 s only, and lets an old primary be one for 8 s (four publish periods).
            link.execute_command("SENTINEL", "DEBUG", "INFO-PERIOD", 500, "PUBLISH-PERIOD", 250)
            link.execute_command("SENTINEL", "MONITOR", "demo", LOOPBACK, primary.port, 1)
            link.execute_command("SENTINEL", "SET", "demo", "failover-timeout", 10_000)
            until(lambda: len(link.sentinel_slaves("demo")) == 1, 20)
            yield server


def _announces(server: PrivateServer, ports: list[int]) -> bool:
    seen = raw(server).execute_command("CLUSTER", "SLOTS")
    return all(int(node[1]) in ports for slots in seen for node in slots[2:])


def load(stage: Stage) -> None:
    time.sleep(LOAD_S)


def flush(stage: Stage) -> None:
    time.sleep(LOAD_S / 2)
    for primary in stage.primaries:
        raw(primary).flushdb()
    time.sleep(LOAD_S / 2)


def kill_links(stage: Stage) -> None:
    for _ in range(4):
        time.sleep(LOAD_S / 4)
        for server in stage.servers:
            raw(server).execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


def failover(stage: Stage) -> None:
    time.sleep(LOAD_S / 2)
    {"replicated": _by_hand, "sentinel": _by_sentinel, "cluster": _by_cluster}[stage.shape](stage)
    time.sleep(LOAD_S / 2)


def _by_hand(stage: Stage) -> None:
    """As the supervisor does it: the old primary is made a follower of the new one, with its data."""
    old_server = stage.primary
    new_server = next(server for server in stage.servers if server is not old_server)
    old, new = raw(old_server), raw(new_server)
    old.execute_command("CLIENT", "PAUSE", "2000", "WRITE")
    until(
        lambda: new.info("replication")["slave_repl_offset"] >= old.info("replication")["master_repl_offset"]
    )
    new.replicaof("NO", "ONE")
    old.replicaof(LOOPBACK, str(new_server.port))
    old.execute_command("CLIENT", "UNPAUSE")
    until(lambda: raw(old_server).info("replication").get("master_link_status") == "up")


def _by_sentinel(stage: Stage) -> None:
    assert stage.sentinel is not None
    old, link = stage.primary, raw(stage.sentinel)

    def asked() -> bool:
        try:
            link.execute_command("SENTINEL", "FAILOVER", "demo")
        except redis.ResponseError as refused:  # it has not yet asked its nodes again
            if any(word in str(refused) for word in ("NOGOODSLAVE", "INPROG")):
                return False
            raise
        return True

    until(asked, 30)
    until(lambda: raw(old).role()[0] == b"slave", 30)
    until(lambda: raw(old).info("replication").get("master_link_status") == "up", 30)


def _by_cluster(stage: Stage) -> None:
    """One shard after the other hands over."""
    replicas = [server for server in stage.servers if raw(server).role()[0] == b"slave"]
    chosen = sorted(replicas, key=lambda server: server.port)[stage.turn % len(replicas)]
    raw(chosen).execute_command("CLUSTER", "FAILOVER")
    until(lambda: raw(chosen).role()[0] == b"master")
    until(lambda: len(stage.primaries) == 3)


def reshard(stage: Stage) -> None:
    """Every third slot that holds a hot key moves to another primary, one by one."""
    ids = {
        raw(server).execute_command("CLUSTER", "MYID").decode(): server for server in sorted_primaries(stage)
    }
    for slot in sorted({slot_of(key.encode()) for key in hot_keys()})[stage.turn % 3 :: 3]:
        owner = _owner(stage, slot)
        target_id = next(each for each in list(ids) * 2 if each > owner or owner == max(ids))
        source, target = ids[owner], ids[target_id]
        raw(target).execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", owner)
        raw(source).execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
        while found := raw(source).execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100):
            words = ("MIGRATE", LOOPBACK, target.port, "", 0, 2000, "REPLACE", "KEYS", *found)
            raw(source).execute_command(*words)
        for server in (target, source, *(each for each in ids.values() if each not in (target, source))):
            raw(server).execute_command("CLUSTER", "SETSLOT", slot, "NODE", target_id)
    time.sleep(LOAD_S / 3)


def sorted_primaries(stage: Stage) -> list[PrivateServer]:
    return sorted(stage.primaries, key=lambda server: raw(server).execute_command("CLUSTER", "MYID"))


def _owner(stage: Stage, slot: int) -> str:
    """The id of the slot's owner, once all primaries agree on it."""

    def agreed() -> str | None:
        told = {_owner_by(server, slot) for server in stage.primaries}
        return told.pop() if len(told) == 1 else None

    return until(agreed)  # type: ignore[no-any-return]


def _owner_by(server: PrivateServer, slot: int) -> str:
    for first, last, primary, *_ in raw(server).execute_command("CLUSTER", "SLOTS"):
        if first <= slot <= last:
            return primary[2].decode()  # type: ignore[no-any-return]
    return ""


def silence(stage: Stage) -> None:
    """The cable to one server is cut, the servers go on without us, and it is mended later."""
    relay = stage.relays[stage.ports[stage.turn % len(stage.ports)]]
    time.sleep(LOAD_S / 2)
    relay.silent.set()
    time.sleep(SILENCE_S * 1.2)
    relay.silent.clear()
    time.sleep(LOAD_S / 2)


@dataclass(frozen=True)
class Experiment:
    """What is done during the load, and where that can be done. `read`: the declared way to read."""

    do: Callable[[Stage], None]
    shapes: tuple[str, ...]
    read: str = "primary"
    relayed: bool = False


EXPERIMENTS = {
    "load": Experiment(load, SHAPES),
    "flush": Experiment(flush, SHAPES),
    "kill": Experiment(kill_links, SHAPES),
    "failover": Experiment(failover, SHAPES[1:]),
    "reshard": Experiment(reshard, ("cluster",)),
    "silence": Experiment(silence, ("standalone", "cluster"), relayed=True),
    "replica": Experiment(load, SHAPES[1:], read="replica"),
    "replica-kill": Experiment(kill_links, SHAPES[1:], read="replica_preferred"),
}
