"""Runs the tests: all that take seconds, or with --long those that take minutes; names the engines they run on.

Engines are fetched into build/test-state of this checkout; one that cannot be fetched is named, and what needs it is
skipped by name.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STATE = ROOT / "build" / "test-state"


def main() -> int:
    # Started in a shell's background, all below would ignore Ctrl-C, which some tests send.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    environ = os.environ | {"HOLDFAST_STATE": str(STATE), "HOLDFAST_REQUIRE_COMPILED": "1"}
    STATE.mkdir(mode=0o700, parents=True, exist_ok=True)
    holdfast = [sys.executable, "-m", "holdfast.cli.main"]
    subprocess.run([*holdfast, "engines", "add", "--all", "--best-effort"], env=environ, check=False)
    subprocess.run([*holdfast, "engines"], env=environ, check=False)
    chosen = ["-m", "long" if "--long" in sys.argv else "not long"]
    rest = [word for word in sys.argv[1:] if word != "--long"]
    # Several at a time: most of a live test is waiting for servers. Each has a state folder and ports of its own.
    workers = "3" if (os.cpu_count() or 1) > 1 else "2"
    at_once = [] if rest else ["-n", workers, "--dist", "worksteal", "--durations=25"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *at_once, *chosen, *rest], cwd=ROOT, env=environ, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
