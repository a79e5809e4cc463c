"""A C library put before a program's own, for what no setting of the program can do."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


def compiled(text: str, folder: Path) -> Path:
    """The library, for LD_PRELOAD. The C compiler is one of what the README asks of a machine: without it the test fails."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler is not None, "no C compiler is at hand to make a wrong clock with"
    source, library = folder / "preload.c", folder / "preload.so"
    source.write_text(text)
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True, timeout=60
    )
    return library
