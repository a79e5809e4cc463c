"""Ends of every topology that a relay may lead to: one server, one with a replica, or such a pair watched by Sentinels."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from tests.live.conftest import until
from tests.live.migrate.plain import Plain, plain
from tests.live.ports import LOOPBACK, free_port

from holdfast.engine.build import EngineBuild
from holdfast.engine.facts import TlsFiles

SHAPES = ("standalone", "replicated", "sentinel")
WATCHED = "cart"
DOWN_AFTER_MS = 3000
"""As short as an operator would dare: a Sentinel that was not told to be patient fails over within a test."""


@dataclass
class Watcher:
    """One Sentinel."""

    port: int
    process: subprocess.Popen[bytes]
    client: Any = field(repr=False)

    def facts(self) -> dict[str, Any]:
        return dict(self.client.sentinel_master(WATCHED))


@dataclass
class Made:
    """An end and what it is made of."""

    shape: str
    primary: Plain
    """Who was the primary when it was made."""
    replica: Plain | None = None
    watchers: list[Watcher] = field(default_factory=list)

    @property
    def url(self) -> str:
        if not self.watchers:
            return self.primary.url
        return f"{self.primary.url.partition(':')[0]}://{LOOPBACK}:{self.watchers[0].port}"

    def settled(self, bound_s: float = 30.0) -> None:
        """Wait until the replica has what the primary has, and its Sentinels see no more and no less than these two."""
        if self.replica is not None:
            replica = self.replica
            until(lambda: replica.info().get("master_link_status") == "up", bound_s)
            until(lambda: replica.client.dbsize() == self.primary.client.dbsize(), bound_s)
        end = time.monotonic() + bound_s
        while wrong := [each for watcher in self.watchers if (each := self._odd(watcher))]:
            assert time.monotonic() < end, wrong
            time.sleep(0.1)

    def _odd(self, watcher: Watcher) -> dict[str, Any]:
        """What a Sentinel sees otherwise than it should."""
        facts, others = watcher.facts(), len(self.watchers) - 1
        wanted = {
            "port": self.primary.port,
            "flags": "master",
            "num-slaves": 1,
            "num-other-sentinels": others,
            "down-after-milliseconds": DOWN_AFTER_MS,
        }
        return {name: facts[name] for name, value in wanted.items() if facts[name] != value}


@contextlib.contextmanager
def an_end(
    shape: str,
    build: EngineBuild,
    password: str = "",
    tls: TlsFiles | None = None,
    of_watchers: str | None = None,
) -> Iterator[Made]:
    """The end, in step; its processes are killed afterwards, each by its own pid.

    Args: `of_watchers`, the Sentinels' own password, where it is not that of the servers; empty for none.
    """
    with contextlib.ExitStack() as stack:
        made = Made(shape, stack.enter_context(plain(build, password=password, tls=tls)))
        if shape != "standalone":
            made.replica = stack.enter_context(plain(build, password=password, tls=tls))
            made.replica.client.execute_command("REPLICAOF", LOOPBACK, made.primary.port)
        if shape == "sentinel":
            for _ in range(2):
                made.watchers.append(
                    stack.enter_context(
                        _watching(made.primary, password if of_watchers is None else of_watchers)
                    )
                )
        made.settled()
        yield made


@contextlib.contextmanager
def _watching(primary: Plain, password: str) -> Iterator[Watcher]:
    folder, port = Path(tempfile.mkdtemp(prefix="hf-s-")), free_port()
    lines = [f"port {port}", f"bind {LOOPBACK}", f"dir {folder}", f"logfile {folder / 'log'}"]
    lines += [f"sentinel monitor {WATCHED} {LOOPBACK} {primary.port} 2"]
    lines += [f"sentinel down-after-milliseconds {WATCHED} {DOWN_AFTER_MS}"]
    if primary.password:
        lines += [f"sentinel auth-pass {WATCHED} {primary.password}"]
    if password:
        lines += [f"requirepass {password}"]
    if primary.tls:
        lines[0] = f"port 0\ntls-port {port}\ntls-replication yes\ntls-auth-clients no"
        lines += [f"tls-ca-cert-file {primary.tls.ca}", f"tls-cert-file {primary.tls.cert}"]
        lines += [f"tls-key-file {primary.tls.key}"]
    config = folder / "sentinel.conf"
    config.write_text("\n".join(lines) + "\n")
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(
        [*primary.build.command, str(config), "--sentinel"],
        stdin=quiet,
        stdout=quiet,
        stderr=quiet,
        cwd=folder,
    )
    words: dict[str, Any] = {"socket_timeout": 10.0, "retry": None, "decode_responses": True}
    if primary.tls:
        words |= {"ssl": True, "ssl_ca_certs": primary.tls.ca, "ssl_check_hostname": False}
    client = redis.Redis(host=LOOPBACK, port=port, password=password or None, **words)
    try:
        end = time.monotonic() + 15
        while not _answers(client):
            if process.poll() is not None or time.monotonic() > end:
                raise AssertionError((folder / "log").read_text()[-2000:])
            time.sleep(0.05)
        yield Watcher(port, process, client)
    finally:
        process.kill()
        process.wait(10)
        shutil.rmtree(folder, ignore_errors=True)


def _answers(client: Any) -> bool:
    try:
        return bool(client.ping())
    except redis.exceptions.RedisError:
        return False
