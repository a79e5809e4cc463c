"""One client process of the reshard measurement: `python -m benchmarks.traffic JOB.json`, until it gets SIGTERM.

It works as an application does: redis-py's RedisCluster as it comes, on keys that are its own, 80 % reads and 20 %
writes, at a fixed rate. Being the only writer of its keys it knows what every read must answer. Latency counts from
the moment a request was due, so a stall is seen by all the requests that it held up. Every exception that reaches
the caller is kept; the write it belongs to may or may not have been done, and the ledger says so.
"""

from __future__ import annotations

import json
import random
import signal
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from redis.cluster import ClusterNode, RedisCluster

from benchmarks.dataset import client_key, loaded_key, value

COMMAND_TIMEOUT_S = 5.0
"""That of phonebill's own services."""
WRITES_IN_100 = 20
NEW_KEYS_IN_100 = 50
"""Of the writes; the others overwrite."""


@dataclass(frozen=True)
class Job:
    """What one client is to do."""

    client: int
    clients: int
    seeds: tuple[tuple[str, int], ...]
    user: str | None
    password_file: str | None
    keys: int
    """Loaded keys of all; this client's own are those whose number leaves the rest `client`."""
    rate_per_s: float
    report: str
    """File for what was seen."""

    @classmethod
    def read(cls, path: Path) -> Job:
        facts = json.loads(path.read_text())
        return cls(**{**facts, "seeds": tuple((host, port) for host, port in facts["seeds"])})

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))


@dataclass
class Seen:
    """What one client saw and did."""

    client: int
    due: list[float] = field(default_factory=list)
    """When each request was due, on the machine's monotonic clock."""
    took_s: list[float] = field(default_factory=list)
    versions: dict[int, int] = field(default_factory=dict)
    """Loaded keys it has overwritten: number -> version last acknowledged."""
    made: int = 0
    """New keys tried: those below it, without the unsure ones, were acknowledged."""
    unsure: dict[str, list[int]] = field(default_factory=dict)
    """Keys of writes that failed since the last that did not: key -> versions that may or may not be there."""
    errors: list[tuple[float, str]] = field(default_factory=list)
    wrong: list[tuple[float, str]] = field(default_factory=list)
    """Reads that answered something else than what was written last."""

    @classmethod
    def read(cls, path: Path) -> Seen:
        facts: dict[str, Any] = json.loads(path.read_text())
        facts["versions"] = {int(number): version for number, version in facts["versions"].items()}
        return cls(**facts)


def connect(seeds: tuple[tuple[str, int], ...], user: str | None, password_file: str | None) -> RedisCluster:
    """redis-py's cluster client with its own defaults, but for a bound on each command."""
    password = Path(password_file).read_text().strip() if password_file else None
    return RedisCluster(
        startup_nodes=[ClusterNode(host, port) for host, port in seeds],  # type: ignore[no-untyped-call]
        username=user,
        password=password,
        socket_timeout=COMMAND_TIMEOUT_S,
    )


def work(job: Job) -> Seen:
    """Requests at the job's rate until SIGTERM."""
    stopped = False

    def stop(number: int, frame: object) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the parent, which then ends us
    cache = connect(job.seeds, job.user, job.password_file)
    chance = random.Random(job.client)
    seen = Seen(job.client)
    cache.get(loaded_key(job.client))
    print("ready", flush=True)
    due = time.monotonic()
    while not stopped:
        due += 1 / job.rate_per_s
        time.sleep(max(0.0, due - time.monotonic()))
        try:
            if chance.randrange(100) < WRITES_IN_100:
                _write(cache, job, seen, chance)
            else:
                _read(cache, job, seen, chance)
        except Exception as failed:
            seen.errors.append((due, f"{type(failed).__name__}: {str(failed)[:200]}"))
        seen.due.append(due)
        seen.took_s.append(time.monotonic() - due)
    cache.close()
    return seen


def _own(job: Job, chance: random.Random) -> int:
    return chance.randrange(job.keys // job.clients) * job.clients + job.client


def _write(cache: RedisCluster, job: Job, seen: Seen, chance: random.Random) -> None:
    if chance.randrange(100) < NEW_KEYS_IN_100:
        key, version, number = client_key(job.client, seen.made), 0, -1
        seen.made += 1
    else:
        number = _own(job, chance)
        key = loaded_key(number)
        # Past a version that may be there: what is read later must tell the two apart.
        version = max(seen.versions.get(number, 0), *seen.unsure.get(key.decode(), [0])) + 1
    seen.unsure.setdefault(key.decode(), []).append(version)
    cache.set(key, value(key, version))
    del seen.unsure[key.decode()]
    if number >= 0:
        seen.versions[number] = version


def _read(cache: RedisCluster, job: Job, seen: Seen, chance: random.Random) -> None:
    number = _own(job, chance)
    key = loaded_key(number)
    answer = cache.get(key)
    expected = value(key, seen.versions.get(number, 0))
    if answer != expected and key.decode() not in seen.unsure:
        told = "nothing" if answer is None else repr(answer[:40])
        seen.wrong.append((time.monotonic(), f"{key.decode()} answered {told}, not {expected[:40]!r}"))


def main() -> int:
    job = Job.read(Path(sys.argv[1]))
    Path(job.report).write_text(json.dumps(asdict(work(job))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
