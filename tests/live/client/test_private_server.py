"""A private server is gone with the tests that had it, however they end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from tests.live.client.servers import until
from tests.live.conftest import need

TESTS = """
    import os, sys, time
    from pathlib import Path
    from holdfast.testing import private_server

    with private_server(sys.argv[2:]) as server:
        keeper = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()[1]
        folder = os.readlink(f"/proc/{server.pid}/cwd")
        if sys.argv[1] == "forks" and os.fork() == 0:
            os.closerange(0, 3)
            time.sleep(60)
            os._exit(0)
        print(server.pid, keeper, folder, flush=True)
        time.sleep(60)
"""


def gone(pid: int) -> bool:
    """Ended; a zombie that nobody has collected yet has ended too."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize(
    "end",
    [
        "killed",
        "group ended",
        "forks",
        *(pytest.param(end, marks=pytest.mark.long) for end in ("group killed", "keeper killed")),
    ],
)
def test_however_the_tests_end_their_server_ends(end: str) -> None:
    tests = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(TESTS), end, *need("valkey-9.1").command],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        assert tests.stdout is not None
        server, keeper, folder = tests.stdout.readline().split()
        assert not gone(int(server))
        match end:
            case "group killed":
                os.killpg(tests.pid, signal.SIGKILL)
            case "group ended":
                os.killpg(tests.pid, signal.SIGTERM)
            case "keeper killed":
                os.kill(int(keeper), signal.SIGKILL)
            case _:
                os.kill(tests.pid, signal.SIGKILL)
        until(lambda: gone(int(server)), 10)
        if end != "keeper killed":
            until(lambda: gone(int(keeper)) and not Path(folder).exists(), 10)
    finally:
        os.killpg(tests.pid, signal.SIGKILL)
        tests.communicate(timeout=10)
        if end == "keeper killed":  # and the tests too: nobody is left to clear it away
            shutil.rmtree(folder)
