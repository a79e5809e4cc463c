"""Starts this machine's supervisor where none runs, detached from whoever asks."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.state import StateFolder, write_private
from holdfast.supervisor.client import SupervisorClient
from holdfast.supervisor.protocol import SPOKEN, HostUnreachable
from holdfast.topology.seen import ProcessState

SOCKET = "socket"
LOG = "log"
START_BOUND_S = 15.0
LEAVE_BOUND_S = 10.0
ROOM_BYTES = 16 * 1024


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
        async with local_client(state) as client:
            await client.leave()
        await _left(state)
    log = state.supervisor / LOG
    probe = state.supervisor / "room"
    write_private(probe, bytes(ROOM_BYTES))  # on a full disk the supervisor could not even say what it lacks
    probe.unlink(missing_ok=True)
    process = _spawn(state, log)
    began = time.monotonic()
    while time.monotonic() - began < START_BOUND_S:
        if await is_running(state):
            return
        if (code := process.poll()) == 0:
            # Another one has the lock: it will answer soon, or it is just ending and this one is needed after all.
            process = _spawn(state, log)
        elif code is not None:
            break
        await asyncio.sleep(0.03)
    said = log.read_text(errors="replace").strip().splitlines()
    raise SupervisorFailed(str(log), said[-1] if said else "")


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


async def leave_if_idle(state: StateFolder) -> bool:
    """End this state folder's supervisor when no node of any cache runs under it; whether it was ended.

    Returns when it answers no more, so that the next command does not take it for one that stays.
    """
    try:
        async with local_client(state) as client:
            running = [
                node
                for nodes in (await client.nodes()).values()
                for node, process in nodes.items()
                if process.state is ProcessState.RUNNING
            ]
            if running:
                return False
            await client.leave()
    except HostUnreachable:
        return False
    await _left(state)
    return True


async def _left(state: StateFolder) -> None:
    """Wait until it answers no more, within its bound."""
    began = time.monotonic()
    while time.monotonic() - began < LEAVE_BOUND_S:
        if not await is_running(state):
            return
        await asyncio.sleep(0.03)
