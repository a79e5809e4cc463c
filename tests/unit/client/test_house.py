"""The library stands alone: what it imports of Holdfast, what it imports at all, and how long that takes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import grimp

OF_HOLDFAST = ("holdfast.client", "holdfast.profile", "holdfast.errors")
HEAVY = (
    "pydantic",
    "msgspec",
    "lz4",
    "zstandard",
    "prometheus_client",
    "opentelemetry",
    "typer",
    "rich",
    "redis",
)


def test_it_imports_nothing_else_of_holdfast() -> None:
    graph = grimp.build_graph("holdfast")
    modules = {"holdfast.client"} | graph.find_descendants("holdfast.client")
    reached = {found for each in modules for found in graph.find_modules_directly_imported_by(each)}
    assert {each for each in reached if not each.startswith(OF_HOLDFAST)} == set()


def test_what_is_optional_is_not_imported() -> None:
    code = f"import sys, holdfast.client; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.strip() == "[]"


def test_importing_it_is_quick(tmp_path: Path) -> None:
    """60 ms beyond what redis-py takes: of the processor, by the best of several runs."""
    code = (
        "import redis, redis.asyncio, hiredis, orjson, time; t = time.process_time();"
        "import holdfast.client; print((time.process_time() - t) * 1000)"
    )
    # As where it is installed: compiled once, whatever the environment of the tests says about that.
    environ = {"PATH": os.defpath, "PYTHONPYCACHEPREFIX": str(tmp_path)}
    took_ms = [
        float(
            subprocess.run(
                [sys.executable, "-c", code],
                env=environ,
                capture_output=True,
                text=True,
                timeout=30,
                check=True,
            ).stdout
        )
        for _ in range(4)
    ]
    assert min(took_ms) < 60, took_ms
