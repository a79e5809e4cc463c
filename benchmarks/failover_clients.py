"""The clients of failovers, one after the other: `python -m benchmarks.failover_clients`.

It reads the name of a job's file, sets its clients to work until the next line, which is empty, writes what they saw into
the job's report, says `ended` and reads on; one process for all, for the start of an interpreter takes longer than a
failover.

Each has one connection and one list, and appends ids to it, one after the other: what was acknowledged can be counted
afterwards. Where a write fails it goes to the next node of the shard at once, or, where there are sentinels, to the node
that the first of them names which answers, asked each time anew: what a client does that knows the nodes, or the sentinels.
Not a client of a library: its own pauses would be measured.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

PACE_S = 0.004
"""Between a client's writes."""
AGAIN_S = 0.001
"""Between a failed try and the next."""
COMMAND_TIMEOUT_S = 0.5
ENDED = "ended"


@dataclass(frozen=True)
class Job:
    """What the clients of one shard are to do."""

    nodes: tuple[tuple[str, str, int], ...]
    """Name, address and port; the primary first."""
    sentinels: tuple[tuple[str, int], ...]
    """Address and port of those that clients ask; empty where there are none."""
    name: str
    """Of the cache, as sentinels know it."""
    keys: tuple[str, ...]
    """One for each client."""
    user: str | None
    password_file: str | None
    report: str
    """File for what was seen."""

    @classmethod
    def read(cls, path: Path) -> Job:
        facts = json.loads(path.read_text())
        nodes = tuple((name, host, port) for name, host, port in facts["nodes"])
        sentinels = tuple((host, port) for host, port in facts["sentinels"])
        return cls(**{**facts, "nodes": nodes, "sentinels": sentinels, "keys": tuple(facts["keys"])})

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))

    def connect(self, at: int) -> redis.Redis:
        """One connection to one of the nodes, which tries nothing twice."""
        _, host, port = self.nodes[at]
        return self._connection(host, port)

    def next_after(self, at: int) -> int:
        """The node to try when that one failed. Raises: redis.RedisError when no sentinel names one of the nodes."""
        if not self.sentinels:
            return (at + 1) % len(self.nodes)
        failed: redis.RedisError | None = None
        for host, port in self.sentinels:
            try:
                with self._connection(host, port) as sentinel:
                    named = sentinel.sentinel_get_master_addr_by_name(self.name)
            except redis.RedisError as reason:
                failed = reason
                continue
            for number, (_, address, node_port) in enumerate(self.nodes):
                if named == (address, node_port):
                    return number
        raise failed or redis.ConnectionError("no sentinel names a node of the shard")

    def _connection(self, host: str, port: int) -> redis.Redis:
        password = Path(self.password_file).read_text().strip() if self.password_file else None
        return redis.Redis(
            host=host,
            port=port,
            username=self.user,
            password=password,
            socket_timeout=COMMAND_TIMEOUT_S,
            socket_connect_timeout=COMMAND_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
            single_connection_client=True,
            decode_responses=True,
        )


@dataclass
class Seen:
    """What one client was told."""

    acknowledged: list[int] = field(default_factory=list)
    """Ids."""
    at_s: list[float] = field(default_factory=list)
    """When each was, on the machine's monotonic clock."""
    by: list[str] = field(default_factory=list)
    """And by which node."""
    errors: int = 0

    @property
    def longest_gap_s(self) -> float:
        """Longest time between two acknowledged writes."""
        return max((b - a for a, b in zip(self.at_s, self.at_s[1:], strict=False)), default=0.0)

    def first_after(self, moment_s: float, *, not_by: str) -> float | None:
        """When the first write after that moment was acknowledged, by another node than that one."""
        return next(
            (at for at, by in zip(self.at_s, self.by, strict=True) if at > moment_s and by != not_by), None
        )


def work(job: Job, number: int, seen: Seen, stop: threading.Event) -> None:
    """Write until told to stop; one line at the first acknowledged write, and at each that ends a row of failures."""
    at = next_id = 0
    failing = True
    node: redis.Redis | None = None
    while not stop.is_set():
        next_id += 1
        try:
            if node is None:
                node = job.connect(at)
            node.rpush(job.keys[number], next_id)
        except redis.RedisError:
            seen.errors += 1
            failing = True
            if node is not None:
                node.close()
            node = None
            time.sleep(AGAIN_S)
            with contextlib.suppress(redis.RedisError):
                at = job.next_after(at)
            continue
        seen.acknowledged.append(next_id)
        seen.at_s.append(time.monotonic())
        seen.by.append(job.nodes[at][0])
        if failing:
            failing = False
            print("acknowledged", flush=True)
        time.sleep(PACE_S)
    if node is not None:
        node.close()


def do(job: Job) -> None:
    """Have the job's clients work until the next line comes in."""
    stop = threading.Event()
    seen = [Seen() for _ in job.keys]
    threads = [threading.Thread(target=work, args=(job, n, seen[n], stop)) for n in range(len(job.keys))]
    for thread in threads:
        thread.start()
    sys.stdin.readline()
    stop.set()
    for thread in threads:
        thread.join()
    told: list[dict[str, Any]] = [asdict(each) for each in seen]
    Path(job.report).write_text(json.dumps(told))
    print(ENDED, flush=True)


def main() -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the parent, which then ends us
    while file := sys.stdin.readline().strip():
        do(Job.read(Path(file)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
