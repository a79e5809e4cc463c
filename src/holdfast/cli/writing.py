"""Files that a command writes for its user: whole or not at all, and never over another without being told to."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from holdfast.errors import HoldfastError, Refused


@dataclass(eq=False)
class NotWritten(HoldfastError):
    """A file could not be written; what was there is unchanged."""

    path: str
    why: str

    def __str__(self) -> str:
        return f"{self.path} could not be written ({self.why}) and is as it was; choose a folder that you may write to"


def write_files(files: Mapping[Path, bytes], *, replace: bool) -> None:
    """Write each file whole. Raises Refused, before anything is written, when one is there and `replace` is not set."""
    there = [str(path) for path in files if path.exists() or path.is_symlink()]
    if there and not replace:
        raise Refused(
            f"writing {' and '.join(there)}", "it is there already", "Use --force, or name another file."
        )
    for path, content in files.items():
        _write_whole(path, content, replace=replace)


def replace_keeping_old(path: Path, old: str, new: str) -> Path:
    """Write `new` into `path` and `old` into a file beside it, whose path is returned."""
    kept = path.with_name(f"{path.name}.old")
    number = 1
    while kept.exists():
        number += 1
        kept = path.with_name(f"{path.name}.old{number}")
    mode = path.stat().st_mode & 0o777
    _write_whole(kept, old.encode(), replace=False, mode=mode)
    _write_whole(path, new.encode(), replace=True, mode=mode)
    return kept


def _write_whole(path: Path, content: bytes, *, replace: bool, mode: int | None = None) -> None:
    """Through a temporary file in the same folder; without `replace`, a file that appeared meanwhile wins."""
    target = path.resolve() if replace else path
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(mode if mode is not None else 0o666 & ~_umask())
        if replace:
            Path(temporary).replace(target)
        else:
            os.link(temporary, target)
    except FileExistsError:
        raise Refused(
            f"writing {path}", "it is there already", "Use --force, or name another file."
        ) from None
    except OSError as failed:
        raise NotWritten(str(path), failed.strerror or str(failed)) from None
    finally:
        if temporary:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
