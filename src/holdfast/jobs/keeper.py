"""Keeps one job's worker running: one that was killed or fell over is started again, ever more slowly."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from types import FrameType

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 30.0
HEALTHY_AFTER_S = 60.0
"""A worker that lived this long did not fall over for the reason of the one before."""
LEAVE_BOUND_S = 30.0


def keep(module: str, folder: str) -> int:
    """Run `python -m MODULE FOLDER` until it ends with 0, or this process is told to end (SIGTERM).

    Returns: the worker's last exit code.
    """
    told: list[int] = []
    worker: subprocess.Popen[bytes] | None = None

    def leave(number: int, _frame: FrameType | None) -> None:
        told.append(number)
        if worker is not None and worker.poll() is None:
            worker.send_signal(signal.SIGTERM)

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pause_s = FIRST_PAUSE_S
    while True:
        began = time.monotonic()
        worker = subprocess.Popen([sys.executable, "-m", module, folder], stdin=subprocess.DEVNULL)
        code = worker.wait(LEAVE_BOUND_S) if told else worker.wait()
        if code == 0 or told:
            return code
        if time.monotonic() - began > HEALTHY_AFTER_S:
            pause_s = FIRST_PAUSE_S
        sys.stderr.write(f"the worker ended with {code}; the next one starts in {pause_s:g} s\n")
        sys.stderr.flush()
        time.sleep(pause_s)
        pause_s = min(LONGEST_PAUSE_S, pause_s * 2)
