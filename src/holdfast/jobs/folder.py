"""What a job leaves on disk: its journal, what the operator wishes of it, how far it is, and who works on it.

Layout of a job's folder (0700, files 0600), `jobs/KIND/NAME/` in the state folder:

    journal.json     facts that a restart goes on from; replaced whole, on disk before what it announces is done
    wish.json        what the operator asked for last; written by commands, read by the worker
    progress.json    how far it is; a glance, lost without harm
    events.jsonl     what happened, one line each, append-only
    secrets.json     passwords that the work needs again after a restart
    lock             held by the one process that works on it
    log              what the worker's process says
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.state import StateFolder, only_one, private_folder, write_private

EVENT_BYTES_MAX = 64 * 1024 * 1024
"""Past this the events' file is set aside as events.jsonl.1, so that years of reconnections fill no disk."""


@dataclass(eq=False)
class JobUnknown(HoldfastError):
    """No job of that kind and name is known here."""

    kind: str
    name: str
    known: tuple[str, ...]

    def __str__(self) -> str:
        known = f"known here: {', '.join(self.known)}" if self.known else "none is known here"
        return (
            f"there is no {self.kind} called {self.name} ({known}): start one, or set HOLDFAST_STATE to the folder "
            "it was started with"
        )


@dataclass(eq=False)
class JobExists(HoldfastError):
    """A job of that name is there already."""

    kind: str
    name: str

    def __str__(self) -> str:
        return (
            f"there is a {self.kind} called {self.name} already: nothing was changed; choose another name, or look at "
            f"it first: holdfast {_verb(self.kind)} status {self.name}"
        )


@dataclass(eq=False)
class JournalUnreadable(HoldfastError):
    """A job's file is not one that this Holdfast wrote."""

    path: str
    why: str

    def __str__(self) -> str:
        return (
            f"{self.path} cannot be used: {self.why}; nothing was changed: restore the file from a copy, or start anew "
            "under another name"
        )


def _verb(kind: str) -> str:
    return {"migration": "migrate"}.get(kind, kind)


def jobs_of(state: StateFolder, kind: str) -> tuple[str, ...]:
    """Names of the jobs of that kind, sorted."""
    return tuple(sorted(found.parent.name for found in (state.path / "jobs" / kind).glob("*/journal.json")))


@dataclass(frozen=True)
class JobFolder:
    """One job's folder; every write is whole or not at all."""

    path: Path

    @classmethod
    def make(cls, state: StateFolder, kind: str, name: str) -> JobFolder:
        """A new job's folder. Raises: JobExists, NotWritten."""
        folder = cls(state.path / "jobs" / kind / name)
        if (folder.path / "journal.json").exists():
            raise JobExists(kind, name)
        private_folder(folder.path)
        return folder

    @classmethod
    def find(cls, state: StateFolder, kind: str, name: str) -> JobFolder:
        """The folder of a job that was made. Raises: JobUnknown."""
        folder = cls(state.path / "jobs" / kind / name)
        if not (folder.path / "journal.json").exists():
            raise JobUnknown(kind, name, jobs_of(state, kind))
        return folder

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def log(self) -> Path:
        return self.path / "log"

    def read(self, name: str) -> Mapping[str, Any]:
        """`NAME.json` as it was last written; empty when it never was. Raises: JournalUnreadable."""
        file = self.path / f"{name}.json"
        try:
            value = json.loads(file.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as failed:
            raise JournalUnreadable(str(file), str(failed)) from failed
        if not isinstance(value, dict):
            raise JournalUnreadable(str(file), "it is no JSON object")
        return value

    def write(self, name: str, facts: Mapping[str, Any]) -> None:
        """Replace `NAME.json`; it is on disk when this returns. Raises: NotWritten."""
        write_private(self.path / f"{name}.json", json.dumps(facts, indent=1, ensure_ascii=False))

    def glance(self, facts: Mapping[str, Any]) -> None:
        """Replace progress.json, without waiting for the disk."""
        temporary = self.path / ".progress.json"
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w") as file:
            json.dump(facts, file)
        temporary.replace(self.path / "progress.json")

    def tell(self, what: str, **facts: object) -> None:
        """Append one event; never secrets or values of keys."""
        line = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), "what": what, **facts}
        file = self.path / "events.jsonl"
        with contextlib.suppress(FileNotFoundError):
            if file.stat().st_size > EVENT_BYTES_MAX:
                file.replace(self.path / "events.jsonl.1")
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(handle, (json.dumps(line, ensure_ascii=False, default=str) + "\n").encode())
        finally:
            os.close(handle)

    def events(self, last: int = 0) -> tuple[Mapping[str, Any], ...]:
        """What happened, oldest first. Args: `last`, only so many of the newest; 0 for all."""
        try:
            lines = (self.path / "events.jsonl").read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return ()
        found = []
        for line in lines[-last:] if last else lines:
            with contextlib.suppress(
                ValueError
            ):  # the last line of a process that was killed in the middle of it
                found.append(json.loads(line))
        return tuple(found)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Be the one process that works on it. Raises: Busy."""
        with only_one(self.path / "lock", f"the job {self.name}"):
            yield

    def worker_pid(self) -> int:
        """The process that works on it; 0 when none does."""
        try:
            handle = os.open(self.path / "lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return 0
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.pread(handle, 20, 0).decode(errors="replace").strip()
            return int(text) if text.isdigit() else -1
        finally:
            os.close(handle)
        return 0

    def delete(self) -> None:
        """Forget the job and all its files."""
        shutil.rmtree(self.path)
