"""Clients whose every write has an id of its own, so that a lost one is counted and not guessed.

A last-value-per-key check hides losses; here each writer appends to a list of its own, and what was acknowledged is
compared with what is in the list afterwards.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from tests.live.conftest import Bench

from holdfast.codec.crc import key_slot

ONCE = Retry(NoBackoff(), 0)
READ_BOUND_S = 5.0


@dataclass
class Way:
    """How a test reaches the nodes of a cache, as its operator."""

    bench: Bench
    cache: str
    members: dict[str, tuple[str, int]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        record = self.bench.record(self.cache)
        folder = self.bench.state / "caches" / self.cache
        self.members = {
            m["name"]: (m["address"], m["port"]) for m in record["members"] if m["kind"] == "server"
        }
        self.settings = {
            "username": "operator",
            "password": (folder / "passwords" / "operator").read_text(),
            "decode_responses": True,
            "socket_timeout": 1.0,
            "socket_connect_timeout": 1.0,
            "retry": ONCE,
        }
        if record["tls"]:
            self.settings |= {"ssl": True, "ssl_ca_certs": str(folder / "tls" / "ca.pem")}

    def node(self, name: str) -> redis.Redis:
        """A connection to one node."""
        host, port = self.members[name]
        return redis.Redis(host=host, port=port, **self.settings)

    def roles(self) -> dict[str, str]:
        """Node -> "master", "slave", or "" where it does not answer; what each says of itself."""
        found = {}
        for name in self.members:
            found[name] = ""
            with contextlib.suppress(redis.RedisError), self.node(name) as node:
                found[name] = str(node.info("replication")["role"])
        return found

    def primaries(self) -> list[str]:
        """Nodes that say they are a primary and, in a cluster, own slots."""
        found = []
        for name, role in self.roles().items():
            if role != "master":
                continue
            with contextlib.suppress(redis.RedisError), self.node(name) as node:
                if node.info("cluster").get("cluster_enabled") and not _owns(node):
                    continue
                found.append(name)
        return found


def _owns(node: redis.Redis) -> bool:
    """Whether the node of a cluster has slots, by its own CLUSTER NODES."""
    reply: Any = node.execute_command("CLUSTER NODES")  # type: ignore[no-untyped-call]
    own = [each for each in reply.values() if "myself" in each["flags"]]
    return bool(own and own[0]["slots"])


@dataclass
class Account:
    """What one writer knows."""

    acknowledged: list[str] = field(default_factory=list)
    at_s: list[float] = field(default_factory=list)
    errors: int = 0

    @property
    def longest_gap_s(self) -> float:
        """Longest time between two acknowledged writes."""
        return max((b - a for a, b in zip(self.at_s, self.at_s[1:], strict=False)), default=0.0)


class Writers:
    """Writers on chosen nodes' keys, each in a thread; a failed write goes to the next of its nodes at once."""

    def __init__(
        self, way: Way, nodes: list[str], slots: set[int] | None, count: int = 3, wait: int = 0
    ) -> None:
        self._way = way
        self._nodes = nodes
        self._wait = wait
        self.keys = _keys(slots, count)
        self.accounts = {key: Account() for key in self.keys}
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(key,), daemon=True) for key in self.keys]

    def __enter__(self) -> Writers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=20)

    @property
    def errors(self) -> int:
        """How often a command failed, or its connection did."""
        return sum(account.errors for account in self.accounts.values())

    @property
    def longest_gap_s(self) -> float:
        return max(account.longest_gap_s for account in self.accounts.values())

    @property
    def acknowledged(self) -> int:
        return sum(len(account.acknowledged) for account in self.accounts.values())

    def lost(self, *, before_s: float | None = None) -> int:
        """Acknowledged writes (those acknowledged before a moment, if one is given) that are not there any more."""
        lost = 0
        for key, account in self.accounts.items():
            kept = set(self._read(key))
            sure = [
                each
                for each, at_s in zip(account.acknowledged, account.at_s, strict=True)
                if before_s is None or at_s < before_s
            ]
            lost += len(set(sure) - kept)
        return lost

    def _read(self, key: str) -> list[str]:
        """From the primary; it may change its place between two looks, for primaries go home."""
        said: dict[str, str] = {}
        end_s = time.monotonic() + READ_BOUND_S
        while time.monotonic() < end_s:
            for name in self._nodes:
                try:
                    with self._way.node(name) as node:
                        said[name] = str(node.info("replication")["role"])
                        if said[name] == "master":
                            return list(node.lrange(key, 0, -1))
                except redis.RedisError as failed:
                    said[name] = repr(failed)
            time.sleep(0.1)
        raise AssertionError(
            f"no primary to read {key} from: {said}\n{self._way.bench.run('events', self._way.cache).out}"
        )

    def _write(self, key: str) -> None:
        account = self.accounts[key]
        at = number = 0
        node: redis.Redis | None = None
        while not self._stop.is_set():
            number += 1
            try:
                if node is None:
                    node = self._way.node(self._nodes[at % len(self._nodes)])
                node.rpush(key, str(number))
                if self._wait and int(node.execute_command("WAIT", self._wait, 1000)) < self._wait:  # type: ignore[no-untyped-call]
                    continue  # not acknowledged as this client understands it
            except redis.RedisError:
                account.errors += 1
                at += 1
                if node is not None:
                    node.close()
                node = None
                time.sleep(0.002)
                continue
            account.acknowledged.append(str(number))
            account.at_s.append(time.monotonic())
            time.sleep(0.0005)
        if node is not None:
            node.close()


def _keys(slots: set[int] | None, count: int) -> list[str]:
    found: list[str] = []
    number = 0
    while len(found) < count:
        key = f"ledger:{number}"
        if slots is None or key_slot(key.encode()) in slots:
            found.append(key)
        number += 1
    return found
