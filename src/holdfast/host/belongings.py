"""What Holdfast has put on this machine, who is still using it, and how it goes away.

Only what Holdfast itself makes in its state folder is ever removed. What else lies there is told and stays.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.state import OWN_FILES, OWN_FOLDERS


@dataclass(eq=False)
class NotEmptied(HoldfastError):
    """Something in the state folder could not be removed."""

    path: str
    why: str
    removed: int
    wanted: int

    def __str__(self) -> str:
        return (
            f"{self.path} could not be removed: {self.why}; {self.removed} of {self.wanted} things are gone, "
            "the others are as they were: mend that and run holdfast uninstall again"
        )


@dataclass(eq=False)
class StillInUse(HoldfastError):
    """Processes work in the state folder, so nothing may be removed."""

    users: tuple[FolderUser, ...]
    caches: tuple[str, ...]

    def __str__(self) -> str:
        shown = ", ".join(f"{user.program} (pid {user.pid})" for user in self.users[:8])
        more = f" and {len(self.users) - 8} more" if len(self.users) > 8 else ""
        down = "; ".join(f"holdfast down {cache}" for cache in self.caches)
        return (
            f"the state folder is in use by {shown}{more}: nothing was removed; "
            f"stop the caches first{f': {down}' if down else ''}"
        )


@dataclass(frozen=True)
class Belonging:
    """One thing in the state folder that Holdfast made."""

    kind: str
    """`engine`, `engine notes`, `cache`, `node`, `nodes' file`, `job`, `evidence`, `supervisor`, `audit log` or `layout version`."""
    name: str
    path: Path
    size_bytes: int


@dataclass(frozen=True)
class FolderUser:
    """A process that works in the state folder: a node, a supervisor, or somebody who reads a log."""

    pid: int
    program: str
    path: str

    def is_supervisor_of(self, folder: Path) -> bool:
        """Whether it was found by the supervisor's own files; a node is found by its folder."""
        return Path(self.path).is_relative_to(folder.resolve() / "supervisor")


@dataclass(frozen=True)
class Belongings:
    """All of it."""

    folder: Path
    own: tuple[Belonging, ...]
    foreign: tuple[Path, ...]
    """Entries of the folder that Holdfast did not make."""

    @property
    def size_bytes(self) -> int:
        return sum(each.size_bytes for each in self.own)

    @property
    def caches(self) -> tuple[str, ...]:
        """Names of the caches whose records or nodes are here."""
        return tuple(
            sorted({each.name.partition("/")[0] for each in self.own if each.kind in {"cache", "node"}})
        )


def belongings_in(folder: Path) -> Belongings:
    """Look at the state folder; nothing is made or changed.

    A folder without Holdfast's `version` file is nobody's state folder: nothing in it is ours.
    """
    if not (folder / "version").is_file() or (folder / "version").is_symlink():
        return Belongings(folder, (), tuple(sorted(folder.iterdir())) if folder.is_dir() else ())
    foreign = tuple(
        sorted(entry for entry in folder.iterdir() if entry.name not in {*OWN_FOLDERS, *OWN_FILES})
    )
    return Belongings(folder, tuple(_own(folder)), foreign)


def users_of(folder: Path, proc: Path = Path("/proc")) -> tuple[FolderUser, ...]:
    """Processes of this user that run from, stand in or hold open anything below `folder`, this one excepted.

    Judged by what the kernel says of each process, not by files that processes leave behind.
    """
    real = folder.resolve()
    found = []
    for entry in sorted(
        (each for each in proc.iterdir() if each.name.isdigit()), key=lambda each: int(each.name)
    ):
        if int(entry.name) == os.getpid():
            continue
        used = next((path for path in _paths_of(entry) if Path(path).is_relative_to(real)), None)
        if used is not None:
            found.append(FolderUser(int(entry.name), _program(entry), used))
    return tuple(found)


def remove(belongings: Belongings) -> None:
    """Remove what is ours, and the folder itself where nothing else lies in it. Links are removed, not followed.
    Raises: StillInUse, before anything is touched; NotEmptied.
    """
    users = users_of(belongings.folder)
    if users:
        raise StillInUse(users, belongings.caches)
    wanted = [belongings.folder / name for name in (*OWN_FOLDERS, *OWN_FILES)] if belongings.own else []
    there = [path for path in wanted if path.exists() or path.is_symlink()]
    for count, path in enumerate(there):
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        except OSError as failed:
            raise NotEmptied(
                failed.filename or str(path), failed.strerror or str(failed), count, len(there)
            ) from failed
    if belongings.own and not any(belongings.folder.iterdir()):
        belongings.folder.rmdir()


def _own(folder: Path) -> Iterator[Belonging]:
    for engine in _entries(folder / "engines"):
        kind = "engine notes" if engine.name.startswith(".") else "engine"
        yield Belonging(kind, engine.name, engine, _size_bytes(engine))
    for cache in _entries(folder / "caches"):
        yield Belonging("cache", cache.name, cache, _size_bytes(cache))
    for cache in _entries(folder / "nodes"):
        for node in _entries(cache) if cache.is_dir() and not cache.is_symlink() else ():
            kind = "node" if node.is_dir() else "nodes' file"
            yield Belonging(kind, f"{cache.name}/{node.name}", node, _size_bytes(node))
    for group in _entries(folder / "jobs"):
        for job in _entries(group) if group.is_dir() and not group.is_symlink() else ():
            yield Belonging("job", f"{group.name}/{job.name}", job, _size_bytes(job))
    for kind, name in (
        ("evidence", "evidence"),
        ("supervisor", "supervisor"),
        ("audit log", "audit.log"),
        ("layout version", "version"),
    ):
        if (folder / name).exists():
            yield Belonging(kind, name, folder / name, _size_bytes(folder / name))


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() and not folder.is_symlink() else []


def _size_bytes(path: Path) -> int:
    """What removing `path` gives back, sparse files counted as they lie on the disk."""
    total = 0
    pending = [path]
    while pending:
        at = pending.pop()
        try:
            seen = at.lstat()
            total += seen.st_blocks * 512
            if at.is_dir() and not at.is_symlink():
                pending.extend(at.iterdir())
        except OSError:  # gone meanwhile, or not ours to read
            continue
    return total


def _paths_of(process: Path) -> Iterator[str]:
    """Program, working folder and open files, as far as this user may see them."""
    for name in ("exe", "cwd"):
        try:
            yield str((process / name).readlink())
        except OSError:
            continue
    try:
        descriptors = list((process / "fd").iterdir())
    except OSError:
        return
    for descriptor in descriptors:
        try:
            yield str(descriptor.readlink())
        except OSError:
            continue


def _program(process: Path) -> str:
    try:
        return (process / "comm").read_text(errors="replace").strip()
    except OSError:
        return "a process"
