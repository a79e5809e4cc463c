"""Without a compiler the library does the same: what it promises is tried on both builds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
NOT_EACH_ENGINE = "not redis and not valkey-8 and not kill"
CHOSEN = (
    "tests/unit/client/test_kept.py",
    "tests/unit/client/test_many.py",
    "tests/unit/client/test_parts.py",
    "tests/live/client/test_basics.py",
    "tests/live/client/test_coherence.py",
)


def test_the_written_build_passes_the_same_tests() -> None:
    environ = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PYTEST_XDIST") and name != "HOLDFAST_REQUIRE_COMPILED"
    }
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-m",
            "not long",
            "-k",
            NOT_EACH_ENGINE,
            "-p",
            "tests.unit.codec.written",
            *CHOSEN,
        ],
        cwd=ROOT,
        env=environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
