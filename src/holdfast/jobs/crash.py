"""Points at which a test may have the process die as by kill -9, so that every one of them is tried, not the lucky few."""

from __future__ import annotations

import os
import signal
from pathlib import Path

CRASH_AT = "HOLDFAST_CRASH_AT"
"""Name of a point, and after a colon a file that is made when it is reached: each is died at once."""


def crash_point(name: str) -> None:
    """Die here if HOLDFAST_CRASH_AT=NAME:FILE names this point and FILE is not there yet; does nothing otherwise."""
    wanted, _, mark = os.environ.get(CRASH_AT, "").partition(":")
    if wanted != name or not mark or Path(mark).exists():
        return
    Path(mark).touch()
    os.kill(os.getpid(), signal.SIGKILL)
