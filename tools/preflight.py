"""Says in one sentence what this machine lacks that Holdfast's set-up cannot install without root."""

import shutil
import sys
import sysconfig
from pathlib import Path


def lacking() -> "list[str]":
    if sys.version_info < (3, 11):  # noqa: UP036 - this very file must run on the Python that is too old
        return [f"Python 3.11 or newer (this is {sys.version.split()[0]}; set PYTHON=/path/to/python3.11)"]
    missing = []
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        missing.append("Python's venv module (Debian, Ubuntu: apt-get install python3-venv)")
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").exists():
        missing.append("Python.h (Debian, Ubuntu: apt-get install python3-dev)")
    if not any(shutil.which(name) for name in ("cc", "gcc", "clang")):
        missing.append("a C compiler (Debian, Ubuntu: apt-get install gcc libc6-dev)")
    return missing


if __name__ == "__main__":
    missing = lacking()
    if missing:
        print("holdfast needs, and cannot install without root: " + "; ".join(missing) + ".", file=sys.stderr)
        sys.exit(1)
