"""One server process: started so that it outlives us, watched by the kernel, stopped in bounded time, found again.

A server is in a session of its own and writes to files, never to us, so neither Ctrl-C nor our death reaches it. Its
end is seen within a millisecond through a pidfd, which also makes every signal safe: a pid that was given to
another program meanwhile is never hit.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from holdfast.engine.connection import NodeGone, NodeLoading, NodeSilent
from holdfast.engine.log import read_from, size_bytes
from holdfast.engine.refusal import Cause, Refusal, last_words, left_out, why, why_not_started
from holdfast.errors import HoldfastError

LOG_NAME = "server.log"
READY_TIMEOUT_S = 15.0
LOADING_TIMEOUT_S = 3600.0
STOP_PATIENCE_S = 30.0
"""Longer than the servers' own shutdown-timeout, so that a primary can still hand over its last writes."""
KILL_PATIENCE_S = 10.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.004, 0.1
_LOG_READ_BYTES = 256 * 1024
_PROC = Path("/proc")
_STATE_FIELD, _STARTED_FIELD = 0, 19
"""Places in /proc/PID/stat after the program's name: its state, and its start in clock ticks since boot."""

_PATTERN_SIGNS = frozenset("*?[")
_PATH_IS_A_PATTERN = Refusal(
    Cause.CONFIG_REFUSED,
    "the path of its folder holds '*', '?' or '[', and servers from 7.0 on would look for files that match it, find none, and "
    "start without any configuration",
    "",
    "It was not started. Use a state folder without these signs (HOLDFAST_STATE).",
)

Ping = Callable[[], Awaitable[object]]
"""Asks the server for a sign of life; raises NodeGone, NodeSilent or NodeLoading while there is none."""


@dataclass(eq=False)
class NodeRefusedToStart(HoldfastError):
    """A server ended before it answered."""

    node: str
    refusal: Refusal
    log: str

    def __str__(self) -> str:
        return f"{self.node} did not start: {self.refusal} Its log: {self.log}"

    @property
    def cause(self) -> Cause:
        return self.refusal.cause


@dataclass(eq=False)
class NodeNotReady(HoldfastError):
    """A server runs and has not answered in time; it was left running."""

    node: str
    waited_s: float
    loading: bool
    engine_words: str
    log: str

    def __str__(self) -> str:
        busy = "is still loading its data set" if self.loading else "does not answer"
        said = f" Its last words: {self.engine_words!r}." if self.engine_words else ""
        return (
            f"{self.node} {busy} after {self.waited_s:.0f} s and was left running.{said} Its log: {self.log}"
        )


@dataclass(eq=False)
class NodeWillNotDie(HoldfastError):
    """A server is still there after SIGKILL; the kernel holds it, mostly for a disk that does not answer."""

    node: str
    pid: int
    waited_s: float

    def __str__(self) -> str:
        return (
            f"{self.node} (pid {self.pid}) is still there {self.waited_s:.0f} s after it was killed: the system is waiting "
            "for a disk or a network file system on its behalf. It takes no commands any more; look at the machine."
        )


@dataclass(frozen=True)
class ProcessIdentity:
    """A process as nobody else ever was: its pid, when it began, and since which boot that is counted."""

    pid: int
    started_ticks: int
    boot_id: str

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` takes them back."""
        return {"pid": self.pid, "started_ticks": self.started_ticks, "boot_id": self.boot_id}

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Self:
        """Raises: KeyError, TypeError or ValueError when `facts` is something else."""
        return cls(int(facts["pid"]), int(facts["started_ticks"]), str(facts["boot_id"]))

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """The identity of whoever has this pid now; None when nobody has, or only a dead one."""
        fields = _stat_fields(pid)
        if not fields or fields[_STATE_FIELD] in ("Z", "X"):
            return None
        return cls(pid, int(fields[_STARTED_FIELD]), _boot_id())


@dataclass(frozen=True)
class Launch:
    """What is needed to start one server."""

    node: str
    command: tuple[str, ...]
    """The build's: a program, or a loader and a program."""
    folder: Path
    """Its working folder; the log is kept there."""
    config_name: str = "server.conf"
    sentinel: bool = False

    @property
    def log_path(self) -> Path:
        return self.folder / LOG_NAME

    @property
    def arguments(self) -> list[str]:
        return [
            *self.command,
            str(self.folder / self.config_name),
            *(["--sentinel"] if self.sentinel else []),
        ]


class StopOutcome(StrEnum):
    """How a server came to its end."""

    GONE_BEFORE = "gone before"
    STOPPED = "stopped"
    KILLED = "killed"
    """It did not stop in time: what it had not written to disk by its own rules is lost."""


class ServerProcess:
    """A running server that we started or found again. Made and used inside one event loop."""

    def __init__(
        self, launch: Launch, identity: ProcessIdentity, pidfd: int, child: subprocess.Popen[bytes] | None
    ) -> None:
        self.launch = launch
        self.identity = identity
        self._child = child
        self._pidfd = pidfd
        self._log_offset = 0
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int | None] = self._loop.create_future()
        self._loop.add_reader(pidfd, self._on_end)

    @classmethod
    async def start(cls, launch: Launch) -> Self:
        """Start it; it need not be ready, nor live long.

        Raises: NodeRefusedToStart when the system cannot run the program at all.
        """
        if _PATTERN_SIGNS & set(str(launch.folder)):
            raise NodeRefusedToStart(launch.node, _PATH_IS_A_PATTERN, str(launch.log_path))
        offset = size_bytes(launch.log_path)
        try:
            log = os.open(
                launch.log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
            )
            try:
                # Not asyncio's: its child watchers would reap the server, or warn when we leave it behind.
                child = subprocess.Popen(  # noqa: ASYNC220
                    launch.arguments,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=launch.folder,
                    env={"PATH": os.defpath, "LC_ALL": "C", "HOME": str(launch.folder)},
                    start_new_session=True,
                    umask=0o077,
                )
            finally:
                os.close(log)
        except OSError as failed:
            about = f"{failed.strerror or failed}" + (f": {failed.filename}" if failed.filename else "")
            refusal = why_not_started(about, launch.command[0])
            raise NodeRefusedToStart(launch.node, refusal, str(launch.log_path)) from failed
        # A child that ended at once keeps its pid until it is reaped, so both lines are about this one.
        pidfd = os.pidfd_open(child.pid)
        started_ticks = int(_stat_fields(child.pid)[_STARTED_FIELD])
        process = cls(launch, ProcessIdentity(child.pid, started_ticks, _boot_id()), pidfd, child)
        process._log_offset = offset
        return process

    @classmethod
    def adopt(cls, launch: Launch, identity: ProcessIdentity) -> Self | None:
        """Find a server of an earlier life again; None when it has ended, even if its pid is another's by now."""
        if identity.pid <= 0:
            return None
        try:
            pidfd = os.pidfd_open(identity.pid)
        except (ProcessLookupError, OverflowError):
            return None
        if ProcessIdentity.of(identity.pid) != identity:  # asked after the pidfd holds whoever it is
            os.close(pidfd)
            return None
        return cls(launch, identity, pidfd, None)

    @property
    def pid(self) -> int:
        return self.identity.pid

    @property
    def running(self) -> bool:
        return not self._ended.done()

    @property
    def exit_code(self) -> int | None:
        """Negative for a signal; None while it runs, and for a server that somebody else had started."""
        return self._ended.result() if self._ended.done() and not self._ended.cancelled() else None

    async def ended(self, timeout_s: float | None = None) -> bool:
        """Wait for its end, at most `timeout_s`; whether it has come. Whoever waits is cancelled by `let_go`."""
        if not self.running:
            return not self._ended.cancelled()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._ended), timeout_s)
        return not self.running

    async def wait_ready(
        self, ping: Ping, *, timeout_s: float = READY_TIMEOUT_S, loading_timeout_s: float = LOADING_TIMEOUT_S
    ) -> None:
        """Ask until it answers. While it says that it is loading, the longer bound counts.

        Raises: NodeRefusedToStart when it ends first, NodeNotReady when the time is up, and what `ping` raises
            beyond silence, such as NodeDenied.
        """
        began_s, pause_s, loading = self._loop.time(), _FIRST_PAUSE_S, False
        while self.running:
            left_s = began_s + (loading_timeout_s if loading else timeout_s) - self._loop.time()
            if left_s <= 0:
                words = last_words(read_from(self.launch.log_path, self._log_offset))
                waited_s = self._loop.time() - began_s
                raise NodeNotReady(self.launch.node, waited_s, loading, words, str(self.launch.log_path))
            try:
                async with asyncio.timeout(left_s):
                    await ping()
                    return
            except NodeLoading:
                loading = True
            except (NodeGone, NodeSilent, TimeoutError):
                pass
            await self.ended(min(pause_s, left_s))
            pause_s = min(_LONGEST_PAUSE_S, pause_s * 1.5)
        raise NodeRefusedToStart(self.launch.node, self.why_it_ended(), str(self.launch.log_path))

    def why_it_ended(self) -> Refusal:
        """The cause, from its last words in this life."""
        return why(self._newest_words(), self.exit_code)

    def left_out(self) -> str:
        """What it could not load of its data in this life, and went on without; empty when nothing."""
        return left_out(self._newest_words())

    def _newest_words(self) -> str:
        newest = max(self._log_offset, size_bytes(self.launch.log_path) - _LOG_READ_BYTES)
        return read_from(self.launch.log_path, newest)

    async def stop(self, patience_s: float = STOP_PATIENCE_S) -> StopOutcome:
        """Ask it to end (SIGTERM: it saves if it has save rules), and kill it when it has not in `patience_s`.

        A server that is halted (SIGSTOP) cannot hear and is killed at once: waking it would let it acknowledge what
        its clients had sent meanwhile.
        Raises: NodeWillNotDie.
        """
        if not self.running:
            return StopOutcome.GONE_BEFORE
        if not self._is_halted():
            self._signal(signal.SIGTERM)
            if await self.ended(patience_s):
                return StopOutcome.STOPPED
        await self.kill()
        return StopOutcome.KILLED

    async def kill(self) -> None:
        """End it now and wait until that is certain.

        Raises: NodeWillNotDie.
        """
        self._signal(signal.SIGKILL)
        if not await self.ended(KILL_PATIENCE_S):
            raise NodeWillNotDie(self.launch.node, self.pid, KILL_PATIENCE_S)

    def let_go(self) -> None:
        """Stop watching; the server runs on and can be adopted by its identity. This object is of no more use."""
        if self.running:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._ended.cancel()
            if self._child is not None:
                _LEFT_BEHIND.append(self._child)

    def _signal(self, number: signal.Signals) -> None:
        if self.running:
            with contextlib.suppress(ProcessLookupError):  # ended, and its end is about to be seen
                signal.pidfd_send_signal(self._pidfd, number)

    def _is_halted(self) -> bool:
        fields = _stat_fields(self.pid)
        return bool(fields) and fields[_STATE_FIELD] in ("T", "t")

    def _on_end(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        code = self._child.wait() if self._child is not None else None  # it has ended: this only reaps it
        if not self._ended.done():
            self._ended.set_result(code)


_LEFT_BEHIND: list[subprocess.Popen[bytes]] = []
"""Children that run on without us; kept, for a forgotten one would be warned about."""


def _stat_fields(pid: int) -> list[str]:
    """/proc/PID/stat after the program's name (which may hold anything, spaces and brackets too)."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rpartition(")")[2].split()


def _boot_id() -> str:
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
