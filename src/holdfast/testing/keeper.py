"""Parents one private server and ends it with the tests: run by its path, in a session of its own, importing nothing.

    python keeper.py TESTS_PID FOLDER COMMAND...

It ends the server when it is told to by a byte of input; when its input ends, as it does with the tests; or when its
parent is no longer TESTS_PID (a child that they forked may still hold the input open). On Linux the kernel ends the
server when the keeper itself is killed.
"""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable

LOOK_EVERY_S = 0.2
PR_SET_PDEATHSIG = 1


def main(tests_pid: int, folder: str, command: list[str]) -> None:
    """Start the server, tell its pid, wait, end it. What the tests can no longer clear away goes with it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # meant for the tests, who tell us by their end
    server = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=sys.stderr, start_new_session=True, preexec_fn=_bound()
    )
    alone = False
    try:
        sys.stdout.write(f"{server.pid}\n")
        sys.stdout.flush()
        while server.poll() is None and not alone:
            if select.select([sys.stdin], [], [], LOOK_EVERY_S)[0]:
                alone = not os.read(sys.stdin.fileno(), 1)
                break
            alone = os.getppid() != tests_pid
    finally:
        server.kill()
        server.wait()
        if alone:
            shutil.rmtree(folder, ignore_errors=True)


def _bound() -> Callable[[], None] | None:
    """What ties the server to this process, to be called in it before it becomes the server."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    keeper = os.getpid()

    def bind() -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != keeper:  # it ended before the kernel knew
            os._exit(1)

    return bind


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
