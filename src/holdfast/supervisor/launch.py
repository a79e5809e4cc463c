"""Starts this machine's supervisor where none runs, detached from whoever asks."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.host.systemd import SystemdRefused
from holdfast.state import StateFolder, write_private
from holdfast.supervisor import service
from holdfast.supervisor.client import SupervisorClient
from holdfast.supervisor.protocol import SPOKEN, HostUnreachable
from holdfast.topology.seen import ProcessState

SOCKET = "socket"
LOG = "log"
USERS = "users"
START_BOUND_S = 15.0
AGAIN_S = 0.3
SERVICE_BOUND_S = 10.0
LEAVE_BOUND_S = 10.0
ROOM_BYTES = 16 * 1024


@dataclass(eq=False)
class NodesChanged(HoldfastError):
    """While the supervisor was replaced, nodes ended or were started again."""

    nodes: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"the supervisor was replaced, and meanwhile {', '.join(self.nodes)} ended or were started again: "
            "`holdfast events` says what happened to them"
        )


@dataclass(eq=False)
class SupervisorHangs(HoldfastError):
    """A supervisor has the state folder's lock and answers nobody."""

    pid: str

    def __str__(self) -> str:
        return (
            f"the supervisor (pid {self.pid or 'unknown'}) runs and answers nobody: end it with `kill -9 {self.pid or 'PID'}` "
            "(its nodes run on) and run this again"
        )


@dataclass(eq=False)
class SupervisorFailed(HoldfastError):
    """The supervisor process did not come up."""

    log: str
    words: str

    def __str__(self) -> str:
        return f"the supervisor did not start: {self.words or 'it said nothing'}; its log is {self.log}"


def local_client(state: StateFolder, name: str = "local") -> SupervisorClient:
    """A client of this state folder's supervisor, running or not."""
    return SupervisorClient(name, state.supervisor / SOCKET)


async def is_running(state: StateFolder) -> bool:
    """Whether a supervisor answers for this state folder."""
    return bool(await _spoken(state))


async def _spoken(state: StateFolder) -> str:
    """What the supervisor that answers speaks; empty when none does."""
    try:
        async with local_client(state) as client:
            return (await client.facts()).version
    except HostUnreachable:
        return ""


async def ensure_running(state: StateFolder) -> None:
    """Start the supervisor unless one answers; several at once may ask.

    One of another version is replaced: its nodes run on, and the new one adopts them.
    Raises: SupervisorFailed, NotWritten.
    """
    spoken = await _spoken(state)
    if spoken == SPOKEN:
        return
    if spoken:
        await leave(state)
    await _start(state)


@dataclass(frozen=True)
class Replaced:
    """What `replace` did."""

    before: str
    """What the one before spoke; empty where none ran."""
    after: str
    unwatched_s: float
    """How long nobody watched over the nodes: from the old one's leave to the new one's answer."""
    nodes: int
    """Nodes that ran before and run on, the same processes."""


async def replace(state: StateFolder) -> Replaced:
    """End the supervisor that runs and start this program's, without touching a node.

    Raises: SupervisorFailed (nodes run on, watched by nobody), NodesChanged.
    """
    before = await _spoken(state)
    running = await _running(state) if before else {}
    began_s = time.monotonic()
    if before:
        await leave(state)
    await _start(state)
    unwatched_s = time.monotonic() - began_s
    after = await _running(state)
    if gone := sorted(name for name, pid in running.items() if after.get(name) != pid):
        raise NodesChanged(tuple(gone))
    return Replaced(before, await _spoken(state), unwatched_s, len(running))


async def _running(state: StateFolder) -> dict[str, int]:
    """Cache/node -> pid, of the nodes that run."""
    async with local_client(state) as client:
        return {
            f"{cache}/{node}": process.pid
            for cache, nodes in (await client.nodes()).items()
            for node, process in nodes.items()
            if process.state is ProcessState.RUNNING
        }


async def leave(state: StateFolder) -> None:
    """End the supervisor that runs and wait until it is gone; its nodes run on. Raises: HostUnreachable, SupervisorHangs."""
    async with local_client(state) as client:
        await client.leave()
    await _left(state)


async def _start(state: StateFolder) -> None:
    """Start one, by the service manager where it was registered there, and wait until it answers.

    Raises: SupervisorFailed, NotWritten.
    """
    log = state.supervisor / LOG
    probe = state.supervisor / "room"
    write_private(probe, bytes(ROOM_BYTES))  # on a full disk the supervisor could not even say what it lacks
    probe.unlink(missing_ok=True)
    if (registered := service.registered(state)) is not None:
        with contextlib.suppress(SystemdRefused):  # then it is started as where no service is
            await asyncio.to_thread(service.start, registered)
            if await _answers(state, SERVICE_BOUND_S):
                return
    process = _spawn(state, log)
    held = False
    began = time.monotonic()
    while time.monotonic() - began < START_BOUND_S:
        if await is_running(state):
            return
        if (code := process.poll()) == 0:
            # Another one has the lock: it will answer soon, or it is just ending and this one is needed after all.
            held = True
            await asyncio.sleep(AGAIN_S)
            process = _spawn(state, log)
        elif code is not None:
            held = False
            break
        await asyncio.sleep(0.03)
    if held:
        raise SupervisorHangs(_holder(state))
    said = log.read_text(errors="replace").strip().splitlines()
    raise SupervisorFailed(str(log), said[-1] if said else "")


def _holder(state: StateFolder) -> str:
    with contextlib.suppress(OSError):
        return (state.supervisor / "lock").read_text().strip()
    return ""


async def _answers(state: StateFolder, bound_s: float) -> bool:
    began = time.monotonic()
    while time.monotonic() - began < bound_s:
        if await is_running(state):
            return True
        await asyncio.sleep(0.03)
    return False


def _spawn(state: StateFolder, log: Path) -> subprocess.Popen[bytes]:
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "ab") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "holdfast.supervisor"],
            env={**os.environ, "HOLDFAST_STATE": str(state.path)},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd="/",
            start_new_session=True,  # Ctrl-C at whoever asked is not for it
            umask=0o077,
        )


@contextlib.asynccontextmanager
async def using(state: StateFolder) -> AsyncIterator[None]:
    """Have this state folder's supervisor run, and nobody end it for idleness, for the length of the block.

    Without that, the end of one cache could take the supervisor from another that has just found it running.
    Raises: SupervisorFailed, NotWritten.
    """
    with _users(state) as handle:
        await _lock(handle, fcntl.LOCK_SH)
        await ensure_running(state)
        yield


async def leave_if_idle(state: StateFolder) -> bool:
    """End this state folder's supervisor when no node of any cache runs under it and no command uses it; whether it
    was ended.

    Returns when it answers no more, so that the next command does not take it for one that stays.
    """
    if service.registered(state) is not None:
        return False  # the machine's service manager has it running
    with _users(state) as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        try:
            if await _running(state):
                return False
            await leave(state)
        except HostUnreachable:
            return False
        return True


@contextlib.contextmanager
def _users(state: StateFolder) -> Iterator[int]:
    """The file that commands lock while they use the supervisor; let go when this process ends, however."""
    handle = os.open(state.supervisor / USERS, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield handle
    finally:
        os.close(handle)


async def _lock(handle: int, how: int) -> None:
    """Wait, bounded, for whoever is ending an idle supervisor; then go on without, for no command is to hang."""
    end_s = time.monotonic() + LEAVE_BOUND_S
    while time.monotonic() < end_s:
        try:
            fcntl.flock(handle, how | fcntl.LOCK_NB)
        except BlockingIOError:
            await asyncio.sleep(0.02)
            continue
        return


async def _left(state: StateFolder) -> None:
    """Wait until it answers no more and its process has let go of its lock, within its bound."""
    began = time.monotonic()
    while time.monotonic() - began < LEAVE_BOUND_S:
        if not await is_running(state) and _lock_is_free(state):
            return
        await asyncio.sleep(0.03)


def _lock_is_free(state: StateFolder) -> bool:
    try:
        with (state.supervisor / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return True
    except BlockingIOError:
        return False
    return True
