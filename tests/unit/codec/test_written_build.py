"""Both builds run the same tests: the compiled one here, and the written one in a process of its own."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
COMPILED = sorted((ROOT / "src" / "holdfast" / "codec").glob("**/*.pxd"))
MODULES = [".".join(pxd.relative_to(ROOT / "src").with_suffix("").parts) for pxd in COMPILED]
IS_WRITTEN = "tests.unit.codec.written" in sys.modules


@pytest.mark.skipif(
    os.environ.get("HOLDFAST_REQUIRE_COMPILED") != "1" or IS_WRITTEN,
    reason="the compiled build is not demanded",
)
@pytest.mark.parametrize("module", MODULES)
def test_every_module_with_a_pxd_is_compiled(module: str) -> None:
    assert not str(importlib.import_module(module).__file__).endswith(".py")


@pytest.mark.skipif(not IS_WRITTEN, reason="this is the compiled build's turn")
@pytest.mark.parametrize("module", MODULES)
def test_the_written_build_is_the_written_one(module: str) -> None:
    assert str(importlib.import_module(module).__file__).endswith(".py")


QUICK = (
    "test_crc.py",
    "test_replies.py",
    "test_rdb_parser.py",
    "test_rdb_rewrite.py",
    "test_written_build.py",
)
# Products of every file with every target or size take minutes where nothing is compiled: they join in the long test.
PRODUCTS = (
    "pieces_of_any_size or every_target or same_to_the_byte or cut_anywhere or damage or without_being_held"
)


def run_written(*chosen: str, bound_s: float) -> None:
    environ = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PYTEST_XDIST") and name != "HOLDFAST_REQUIRE_COMPILED"
    }
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tests.unit.codec.written", *chosen],
        cwd=ROOT,
        env=environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=bound_s,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


@pytest.mark.skipif(IS_WRITTEN, reason="it is running")
def test_the_written_build_passes_the_quick_tests() -> None:
    files = [f"tests/unit/codec/{name}" for name in QUICK]
    run_written("-m", "not long", "-k", f"not ({PRODUCTS})", *files, bound_s=110)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.skipif(IS_WRITTEN, reason="it is running")
def test_the_written_build_passes_every_test() -> None:
    run_written("-m", "not long", "tests/unit/codec", bound_s=800)
