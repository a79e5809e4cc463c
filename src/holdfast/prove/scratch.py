"""A server of the cache's own build and settings, in a folder and on a socket of its own, for what would harm its nodes."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.engine.build import EngineBuild
from holdfast.engine.connection import Endpoint, EngineNode
from holdfast.errors import HoldfastError
from holdfast.prove.stage import Stage

READY_BOUND_S = 10.0


@dataclass(eq=False)
class ScratchFailed(HoldfastError):
    """The scratch server did not do what it is there for."""

    words: str

    def __str__(self) -> str:
        return f"a server of the same build, started beside the cache to try this on, {self.words}"


class Scratch:
    """The server; nothing of the cache is in it."""

    def __init__(self, build: EngineBuild, folder: Path, settings: Mapping[str, str]) -> None:
        self._build = build
        self.folder = folder
        self._socket = folder / "s"
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "scratch.conf").write_text(
            f'port 0\nunixsocket "{self._socket}"\ndir "{folder}"\nsave ""\nauto-aof-rewrite-percentage 0\n'
            f'logfile "{folder}/scratch.log"\ndaemonize no\n'
            + "".join(f"{name} {value}\n" for name, value in settings.items())
        )

    async def start(self) -> None:
        """Raises: ScratchFailed in the server's own words."""
        self._socket.unlink(missing_ok=True)
        # Python ignores SIGXFSZ and what it starts does too: a file size limit then is an error, not an end.
        self._process = subprocess.Popen(  # noqa: ASYNC220 - a fork, nothing to wait for
            [*self._build.command, str(self.folder / "scratch.conf")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.folder,
            restore_signals=False,
            start_new_session=True,
        )
        end_s = time.monotonic() + READY_BOUND_S
        while time.monotonic() < end_s:
            if self._process.poll() is not None:
                raise ScratchFailed(f"did not start: {self._last_words()}")
            with contextlib.suppress(HoldfastError):
                await self.ask("PING")
                return
            await asyncio.sleep(0.02)
        raise ScratchFailed(f"did not answer within {READY_BOUND_S:g} s: {self._last_words()}")

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    async def ask(self, *words: str) -> Any:
        """One command. Raises: HoldfastError."""
        async with await EngineNode.connect(Endpoint("", 0, socket=str(self._socket)), timeout_s=3.0) as node:
            return await node.ask(*words)

    def limit_files(self, largest_bytes: int | None) -> None:
        """Let it write no file beyond that size, as on a full disk; None takes the limit away."""
        if self._process is not None:
            _, hard = resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE)
            soft = hard if largest_bytes is None else largest_bytes
            resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (soft, hard))

    async def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
            await asyncio.to_thread(self._process.wait, 10)

    def cut_aof_tail(self, count: int) -> int:
        """Take the last bytes off its append-only file. Returns: how many; 0 where it wrote no such file."""
        found = sorted(
            (path for path in self.folder.rglob("*.aof") if path.stat().st_size), key=lambda path: path.name
        )
        grown = [path for path in found if ".incr." in path.name or path.name == "appendonly.aof"]
        if not grown:
            return 0
        size = grown[-1].stat().st_size
        cut = min(count, size)
        with grown[-1].open("r+b") as file:
            file.truncate(size - cut)
        return cut

    def _last_words(self) -> str:
        log = self.folder / "scratch.log"
        lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
        return lines[-1] if lines else "it said nothing"


@asynccontextmanager
async def scratch_server(stage: Stage, settings: Mapping[str, str]) -> AsyncIterator[Scratch]:
    """A started server, ended and removed afterwards. Args: `settings`, as nodes of the cache have them.

    Raises: ScratchFailed.
    """
    if stage.live is None:
        raise ScratchFailed("needs a cache whose engine is on this machine")
    with tempfile.TemporaryDirectory(prefix="hf-prove-") as name:
        server = Scratch(stage.live.build, Path(name), settings)
        try:
            await server.start()
            yield server
        finally:
            await server.kill()
