"""What the supervisor decides by time it decides by the monotonic clock: the wall clock jumps, and machines sleep."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import holdfast.supervisor

FOLDER = Path(holdfast.supervisor.__file__).parent
STAMPS = {"events", "node"}
"""They write down for people when something was seen."""
ENDS_AT = {"homing"}
"""A maintenance ends at a time of day: that is what was asked for, and only the way home waits for it."""
WALL_CLOCKS = {
    "time.time",
    "time.time_ns",
    "datetime.now",
    "datetime.utcnow",
    "time.localtime",
    "time.gmtime",
}


def wall_clocks(source: str) -> set[str]:
    """Calls of the wall clock in a module's text."""
    return {
        ast.unparse(node.func)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in WALL_CLOCKS
    }


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.py")), ids=lambda file: file.stem)
def test_no_wall_clock_is_asked_but_to_write_down_when(file: Path) -> None:
    found = wall_clocks(file.read_text())
    assert not found or file.stem in STAMPS | ENDS_AT, f"{file.stem} asks {', '.join(sorted(found))}"


def test_the_search_finds_one() -> None:
    assert wall_clocks("import time\nnow = time.time()\n") == {"time.time"}
    assert wall_clocks("import time\nnow = time.monotonic()\n") == set()
