"""The state folder: where one user's Holdfast on one machine keeps engines, caches, nodes and secrets.

Layout, version 1 (all 0700, files 0600):

    version                   this layout's number
    engines/                  engines that were fetched
    caches/NAME/              the controller's side of a cache: record, secrets, authority, profiles
    nodes/CACHE/NODE/         the machine's side of a node: files, data, log
    jobs/KIND/NAME/           long work: journal, progress, events
    evidence/CACHE/RUN/       what `prove` measured
    supervisor/               socket, lock and log of this machine's supervisor
    audit.log                 operator actions, append-only
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import getpass
import json
import os
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from holdfast.errors import HoldfastError

LAYOUT_VERSION = 1
OWN_FOLDERS = ("engines", "caches", "nodes", "supervisor", "jobs", "evidence")
OWN_FILES = ("audit.log", "version")
"""What of the folder's content is Holdfast's; `version` goes last, for it is what says that the folder is ours."""
NEVER_IN_THE_WAY = {*OWN_FOLDERS, *OWN_FILES, "lost+found"}
FOREIGN_SHOWN = 3
PID_WRITTEN_S = 0.02
SOCKET_PATH_LIMIT = 107
"""Bytes a Unix socket's path may have (sun_path of 108 with its closing NUL)."""


@dataclass(eq=False)
class StateUnusable(HoldfastError):
    """The state folder cannot be used as it is; nothing in it was touched."""

    path: str
    why: str
    instead: str

    def __str__(self) -> str:
        return f"the state folder {self.path} {self.why}; {self.instead}"


@dataclass(eq=False)
class Busy(HoldfastError):
    """Another Holdfast command holds what this one needs."""

    what: str
    holder_pid: int | None

    def __str__(self) -> str:
        who = f" (pid {self.holder_pid})" if self.holder_pid else ""
        return f"another command{who} is changing {self.what}: wait until it is done and run this again; nothing was changed"


@dataclass(eq=False)
class NotWritten(HoldfastError):
    """The system did not take a file."""

    path: str
    code: int
    why: str

    def __str__(self) -> str:
        instead = {
            errno.ENOSPC: "free space on the disk that holds it",
            errno.EDQUOT: "free space within your quota there",
            errno.EROFS: "its disk is mounted read-only: mount it writable, or set HOLDFAST_STATE to another folder",
            errno.EACCES: "make its folder yours again (ls -ld shows whose it is)",
            errno.EPERM: "make its folder yours again (ls -ld shows whose it is)",
            errno.ENOENT: "make its folder first",
            errno.ENOTDIR: "name a file in a folder",
            errno.EISDIR: "name a file, not a folder",
            errno.ENAMETOOLONG: "take a shorter name",
        }.get(self.code, "see what is wrong with the disk that holds it")
        return (
            f"{self.path} could not be written ({self.why}); what was there before is whole. What was done stays done: "
            f"{instead}, then run the same command again"
        )


def locate(environ: Mapping[str, str]) -> Path:
    """Where the state folder is to be: HOLDFAST_STATE, or `holdfast` in the XDG state folder."""
    if named := environ.get("HOLDFAST_STATE"):
        return Path(named).expanduser().absolute()
    if xdg := environ.get("XDG_STATE_HOME"):
        return Path(xdg).absolute() / "holdfast"
    if home := environ.get("HOME"):
        return Path(home).absolute() / ".local" / "state" / "holdfast"
    raise StateUnusable(
        "~/.local/state/holdfast",
        "cannot be found, for neither HOLDFAST_STATE nor HOME is set",
        "set HOLDFAST_STATE to a folder of yours",
    )


@dataclass(frozen=True)
class StateFolder:
    """An opened state folder: ours, private, and of a version we know."""

    path: Path

    @classmethod
    def open(cls, environ: Mapping[str, str] | None = None) -> StateFolder:
        """Make the folder where it is missing, else check owner, mode and version.

        Raises: StateUnusable when it belongs to another user, is no folder, cannot be written, holds what Holdfast did
            not make and was never its own (a home, say, whose mode would be changed), or was written by a newer Holdfast.
        """
        path = locate(os.environ if environ is None else environ)
        if set("*?[") & set(str(path)):
            raise StateUnusable(
                str(path),
                "has *, ? or [ in its path, which engines read as a pattern of configuration files",
                "set HOLDFAST_STATE to a folder without them",
            )
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            seen = path.stat()
        except FileExistsError:
            raise StateUnusable(
                str(path), "is not a folder", "set HOLDFAST_STATE to a folder of yours"
            ) from None
        except OSError as failed:
            raise StateUnusable(
                str(path), f"cannot be made: {failed.strerror}", "set HOLDFAST_STATE to a folder of yours"
            ) from failed
        if seen.st_uid != os.geteuid():
            raise StateUnusable(
                str(path),
                f"belongs to user id {seen.st_uid}, and you are {os.geteuid()}",
                "run as its owner, or set HOLDFAST_STATE to a folder of yours",
            )
        state = cls(path)
        state._refuse_a_foreign_folder()
        if stat.S_IMODE(seen.st_mode) != 0o700:
            path.chmod(0o700)
        state._check_version()
        return state

    def _refuse_a_foreign_folder(self) -> None:
        # Looked at before and after the list: whoever made the folder at the same time writes the version first of all, into
        # `.version.*` at first.
        version = self.path / "version"
        if version.exists():
            return
        foreign = sorted(
            entry.name
            for entry in self.path.iterdir()
            if entry.name not in NEVER_IN_THE_WAY and not entry.name.startswith(f".{version.name}.")
        )
        if foreign and not version.exists():
            more = " and more" if len(foreign) > FOREIGN_SHOWN else ""
            raise StateUnusable(
                str(self.path),
                f"is no state folder, and holds what Holdfast did not make ({', '.join(foreign[:FOREIGN_SHOWN])}{more})",
                "set HOLDFAST_STATE to a new or empty folder; nothing was changed",
            )

    def _check_version(self) -> None:
        file = self.path / "version"
        try:
            text = file.read_text().strip()
        except FileNotFoundError:
            write_private(file, f"{LAYOUT_VERSION}\n")
            return
        except (OSError, UnicodeDecodeError) as failed:
            raise StateUnusable(
                str(self.path),
                f"has a version file that cannot be read ({failed})",
                "restore or remove that file",
            ) from failed
        if not text.isdigit() or int(text) < 1:
            raise StateUnusable(
                str(self.path), f"has a version file that says {text[:40]!r}", "restore or remove that file"
            )
        if int(text) > LAYOUT_VERSION:
            raise StateUnusable(
                str(self.path),
                f"was written by a newer Holdfast (layout {text}, this one knows {LAYOUT_VERSION})",
                "upgrade Holdfast, or set HOLDFAST_STATE to another folder",
            )

    @property
    def engines(self) -> Path:
        """Folder of fetched engines."""
        return private_folder(self.path / "engines")

    @property
    def audit_log(self) -> Path:
        """File of operator actions."""
        return self.path / "audit.log"

    def cache(self, name: str) -> Path:
        """The controller's folder of one cache; not made here."""
        return self.path / "caches" / name

    def cache_names(self) -> tuple[str, ...]:
        """Names of the caches that have a record here, sorted; a folder alone is left of one that never came up."""
        return tuple(sorted(record.parent.name for record in self.path.glob("caches/*/record.json")))

    @property
    def nodes(self) -> Path:
        """Folder of this machine's nodes."""
        return self.path / "nodes"

    @property
    def supervisor(self) -> Path:
        """Folder of this machine's supervisor."""
        return private_folder(self.path / "supervisor")


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """What the system refuses within is said of `path`. Raises: NotWritten."""
    try:
        yield
    except OSError as failed:
        raise NotWritten(str(path), failed.errno or 0, failed.strerror or str(failed)) from failed


def private_folder(path: Path) -> Path:
    """Make `path` (and what is above it) with mode 0700 where it is missing; return it. Raises: NotWritten."""
    if not path.is_dir():
        private_folder(path.parent)  # mkdir's own `parents` would give those the umask's mode
        with _writing(path):
            path.mkdir(mode=0o700, exist_ok=True)
    return path


def write_private(path: Path, content: str | bytes, mode: int = 0o600) -> None:
    """Replace the file at `path` whole or not at all, never readable by others on the way.

    Raises: NotWritten; then the old file is still there and no temporary one is left.
    """
    data = content.encode() if isinstance(content, str) else content
    with _writing(path):
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # made with mode 0600
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(mode)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def only_one(lock: Path, what: str) -> Iterator[None]:
    """Hold the lock file for the length of the block; it is free again when this process ends, however.

    Raises: Busy at once when another process holds it, NotWritten.
    """
    with _writing(lock):
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(PID_WRITTEN_S)  # whoever has just got it says so a moment later
            holder = os.pread(handle, 20, 0).decode(errors="replace").strip()
            raise Busy(what, int(holder) if holder.isdigit() else None) from None
        with _writing(lock):
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def socket_address(path: Path) -> Iterator[str]:
    """A name under which the Unix socket at `path` can be bound or reached for the length of the block.

    A path too long for the kernel is reached through the descriptor of its folder (/proc/self/fd/N/name).
    """
    if len(os.fsencode(path)) <= SOCKET_PATH_LIMIT:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def audit(state: StateFolder, action: str, facts: Mapping[str, object]) -> None:
    """Append one operator action to the audit log: when, who, what; never secrets or values of keys."""
    line = {
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "by": getpass.getuser(),
        "pid": os.getpid(),
        "action": action,
        **facts,
    }
    with _writing(state.audit_log):
        handle = os.open(state.audit_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        os.write(handle, (json.dumps(line, ensure_ascii=False, default=str) + "\n").encode())
    finally:
        os.close(handle)
