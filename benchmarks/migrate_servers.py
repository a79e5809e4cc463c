"""Bare servers for the migration's figures, the two data sets, and full synchronisations timed from the order to the link that is up."""

from __future__ import annotations

import contextlib
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from holdfast.engine.build import EngineBuild
from holdfast.supervisor.ports import free_ports

LOOPBACK = "127.0.0.1"
FIRST_PORT = 11_000
"""Ports from here to 10,000 above, and their bus ports another 10,000 above: below those that the system gives to connections
that go out (32768 and up), of which one may take a port between the look and the start."""
PORT_TRIES = 5
START_S = 20.0
BATCH = 5_000
BOUND_S = 300.0


@dataclass
class Bare:
    """A server that runs, and a client of it."""

    port: int
    client: Any
    process: subprocess.Popen[bytes]

    def cpu_s(self) -> float:
        """Processor time it has used."""
        info = self.client.info("cpu")
        return float(info["used_cpu_sys"]) + float(info["used_cpu_user"])


@contextlib.contextmanager
def bare(build: EngineBuild, *settings: str) -> Iterator[Bare]:
    """One server without persistence; ended at the end by its own pid."""
    folder = Path(tempfile.mkdtemp(prefix="hf-bench-"))
    server = _started(build, folder, settings)
    try:
        yield server
    finally:
        server.process.kill()
        server.process.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


def _started(build: EngineBuild, folder: Path, settings: Sequence[str]) -> Bare:
    """A server that answers. One that ends at once, for somebody took its port or its bus port, is started on another."""
    clustered = "cluster-enabled yes" in settings
    log = folder / "log"
    for _ in range(PORT_TRIES):
        (port,) = free_ports([LOOPBACK], 1, FIRST_PORT + random.randrange(9_000), (), cluster=clustered)
        words = [
            f"port {port}", f"bind {LOOPBACK}", f"dir {folder}", 'save ""', f"logfile {log}",
            "repl-diskless-sync yes", "repl-diskless-sync-delay 0", *settings,
        ]  # fmt: skip
        config = folder / "server.conf"
        config.write_text("\n".join(words) + "\n")
        process = subprocess.Popen([*build.command, str(config)], cwd=folder, stdout=subprocess.DEVNULL)
        client = redis.Redis(host=LOOPBACK, port=port, socket_timeout=60)
        end = time.monotonic() + START_S
        while process.poll() is None and time.monotonic() < end:
            with contextlib.suppress(redis.exceptions.RedisError):
                client.ping()
                return Bare(port, client, process)
            time.sleep(0.02)
        process.kill()
        process.wait(20)
    last = log.read_text(errors="replace")[-500:] if log.exists() else "it wrote no log"
    raise RuntimeError(f"{build.name} does not start: {last}")


def fill_small(server: Bare, keys: int) -> None:
    """Data set A: mixed small keys of every type, a tenth of each kind but strings."""
    pipe = server.client.pipeline(transaction=False)
    for number in range(keys):
        kind = number % 10
        if kind < 5:
            pipe.set(f"s:{number}", b"v" * (10 + number % 50), px=9_000_000 if number % 3 == 0 else None)
        elif kind == 5:
            pipe.hset(f"h:{number}", mapping={"a": number, "b": "text", "c": 3})
        elif kind == 6:
            pipe.zadd(f"z:{number}", {"a": 1, "b": 2.5})
        elif kind == 7:
            pipe.rpush(f"l:{number}", 1, 2, "three")
        elif kind == 8:
            pipe.sadd(f"i:{number}", 1, 2, 3)
        else:
            pipe.hset(f"p:{number}", mapping={f"f{place}": place for place in range(8)})
        if number % BATCH == BATCH - 1:
            pipe.execute()
    pipe.execute()


def fill_large(server: Bare, keys: int) -> None:
    """Data set B: strings of 1 to 4 KB that do not compress."""
    dice = random.Random(7)
    pipe = server.client.pipeline(transaction=False)
    for number in range(keys):
        pipe.set(f"b:{number}", dice.randbytes(1024 + number % 3072))
        if number % 500 == 499:
            pipe.execute()
    pipe.execute()


def until_linked(target: Bare, keys: int) -> None:
    """Wait until the target has its primary's data and the link is up."""
    end = time.monotonic() + BOUND_S
    while True:
        with contextlib.suppress(redis.exceptions.BusyLoadingError):
            info = target.client.info("replication")
            if info.get("master_link_status") == "up" and target.client.dbsize() >= keys:
                return
        if time.monotonic() > end:
            raise RuntimeError(f"not linked after {BOUND_S:g} s")
        time.sleep(0.01)
