"""Sees to it that halted processes run on when whoever halted them dies, even by kill -9."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Sequence

END_BOUND_S = 10.0
_WATCHER = """
import os, signal, sys
sys.stdin.buffer.read()
for pid in map(int, sys.argv[1:]):
    try:
        os.kill(pid, signal.SIGCONT)
    except OSError:
        pass
"""


@contextlib.contextmanager
def lifeline(pids: Sequence[int]) -> Iterator[None]:
    """Within, a small process waits for the end of a pipe that only this process holds, and then has the others run on.

    To one that was never halted, and to another that has come to its pid, that is nothing.
    """
    watcher = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _WATCHER, *map(str, pids)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is not for it
    )
    try:
        yield
    finally:
        if watcher.stdin is not None:
            watcher.stdin.close()
        try:
            watcher.wait(END_BOUND_S)
        except subprocess.TimeoutExpired:
            watcher.kill()
            watcher.wait()
