"""Starts a job's process, detached from whoever asks, and waits until it has taken the job up."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass

from holdfast.errors import HoldfastError
from holdfast.jobs.folder import JobFolder

START_BOUND_S = 20.0
LOOK_EVERY_S = 0.03
WORDS_MAX = 300


@dataclass(eq=False)
class JobDidNotStart(HoldfastError):
    """The job's process ended before it had taken the job up."""

    name: str
    words: str
    log: str

    def __str__(self) -> str:
        return (
            f"the job {self.name} did not start: {self.words or 'its process said nothing'}; what was done before "
            f"stays done. Its log is {self.log}"
        )


def ensure_working(folder: JobFolder, module: str) -> bool:
    """Start the job's process unless one works on it; whether one was started.

    Args: `module`, whose `__main__` takes the folder's path and holds `folder.alone()` while it works.
    Raises: JobDidNotStart.
    """
    if folder.worker_pid():
        return False
    handle = os.open(folder.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "ab") as out:
        said_from = out.tell()
        keeper = subprocess.Popen(
            [sys.executable, "-m", "holdfast.jobs", module, str(folder.path)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd="/",
            start_new_session=True,  # Ctrl-C at whoever asked is not for it
            umask=0o077,
        )
    _LEFT_BEHIND.append(keeper)
    end_s = time.monotonic() + START_BOUND_S
    while time.monotonic() < end_s:
        if folder.worker_pid():
            return True
        if keeper.poll() is not None:
            if keeper.returncode == 0:  # it had nothing left to do
                return True
            break
        time.sleep(LOOK_EVERY_S)
    said = folder.log.read_bytes()[said_from:].decode(errors="replace").strip().splitlines()
    raise JobDidNotStart(folder.name, said[-1][:WORDS_MAX] if said else "", str(folder.log))


_LEFT_BEHIND: list[subprocess.Popen[bytes]] = []
"""Keepers that run on without us; kept, for a forgotten child would be warned about."""
