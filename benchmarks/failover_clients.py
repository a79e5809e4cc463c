"""The clients of one failover: `python -m benchmarks.failover_clients JOB.json` until SIGTERM.

Each has one connection and one list, and appends ids to it, one after the other: what was acknowledged can be counted
afterwards. Where a write fails it goes to the next node of the shard at once, which is all that a client can do that
knows the shard's nodes and has nobody to ask. Not a cluster client of a library: its own pauses would be measured.
"""

from __future__ import annotations

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


@dataclass(frozen=True)
class Job:
    """What the clients of one shard are to do."""

    nodes: tuple[tuple[str, str, int], ...]
    """Name, address and port; the primary first."""
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
        return cls(**{**facts, "nodes": nodes, "keys": tuple(facts["keys"])})

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))

    def connect(self, at: int) -> redis.Redis:
        """One connection to one of the nodes, which tries nothing twice."""
        _, host, port = self.nodes[at % len(self.nodes)]
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
            at += 1
            if node is not None:
                node.close()
            node = None
            time.sleep(AGAIN_S)
            continue
        seen.acknowledged.append(next_id)
        seen.at_s.append(time.monotonic())
        seen.by.append(job.nodes[at % len(job.nodes)][0])
        if failing:
            failing = False
            print("acknowledged", flush=True)
        time.sleep(PACE_S)
    if node is not None:
        node.close()


def main() -> int:
    job = Job.read(Path(sys.argv[1]))
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the parent, which then ends us
    seen = [Seen() for _ in job.keys]
    threads = [threading.Thread(target=work, args=(job, n, seen[n], stop)) for n in range(len(job.keys))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told: list[dict[str, Any]] = [asdict(each) for each in seen]
    Path(job.report).write_text(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
