"""What the relay has taken from the source and the target has not yet acknowledged, on disk, within a bound.

A spool holds one history of writes: the (translated) RDB at an offset, and the stream from there on, in segments. The
source never waits for the target as long as there is room, a target that comes back goes on where it was, and so does a
relay that was killed. Nothing here is synced to the disk: after a crash of the machine (another boot id) the spool is
not used again, and the ends' own offsets say where to go on.

Layout: `meta.json`, `rdb` while it is needed, and `stream-OFFSET-DB` where OFFSET is that of its first byte and DB the
database that was selected there.
"""

from __future__ import annotations

import errno
import json
import os
from dataclasses import dataclass
from pathlib import Path

from holdfast.codec import stream
from holdfast.errors import HoldfastError
from holdfast.state import private_folder, write_private

SEGMENT_BYTES = 32 * 1024 * 1024
BACKLOG_BYTES = 128 * 1024 * 1024
"""How much of the stream is kept behind what the target has acknowledged: for a target that comes back with less."""
DEFAULT_BOUND_BYTES = 16 * 1024**3
"""RDB and stream together, unless the operator says otherwise."""
ROOM_SHARE = 0.8
"""Share of the disk's free room that the spool takes at most."""


LEAST_BOUND_BYTES = 64 * 1024 * 1024
"""Less is not worth having: what is written in a second may be more."""
ROOM_BYTES = 4 * 1024 * 1024
"""With less room than this nothing more is taken: one piece of what a source sends, rewritten, finds place in it."""
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass(eq=False)
class SpoolFull(HoldfastError):
    """The disk took nothing more, in spite of the room that it had shown; what was there before is whole."""

    path: str
    held_bytes: int

    def __str__(self) -> str:
        return (
            f"the disk of the spool {self.path} is full, with {self.held_bytes / 1e9:.2f} GB of the migration's on it; it goes on "
            "from there once there is room"
        )


@dataclass(eq=False)
class SpoolTooSmall(HoldfastError):
    """The data set as an RDB does not find room, and nothing that the target does would make any."""

    path: str
    held_bytes: int
    most_bytes: int

    def __str__(self) -> str:
        return (
            f"the source's data set does not fit into the spool {self.path}: {self.held_bytes / 1e9:.2f} GB of it came, and there "
            f"is room for {self.most_bytes / 1e9:.2f} GB; the source is as it was. Start again with a larger --spool-bytes, or "
            "free room on that disk"
        )


@dataclass
class _Segment:
    start: int
    db: int
    path: Path
    size: int
    handle: int

    @property
    def end(self) -> int:
        return self.start + self.size


class Spool:
    """One history on disk; for one event loop. Offsets are the source's: `end` is what has been taken from it."""

    def __init__(self, folder: Path, bound_bytes: int = DEFAULT_BOUND_BYTES) -> None:
        self.folder = private_folder(folder)
        self.bound_bytes = bound_bytes
        # In shares of a small bound, so that what is kept behind the target never takes all of it.
        self.segment_bytes = min(SEGMENT_BYTES, bound_bytes // 8)
        self.backlog_bytes = min(BACKLOG_BYTES, bound_bytes // 4)
        self._least_room_bytes = min(ROOM_BYTES, bound_bytes // 8)
        self.replid = ""
        self.base = 0
        """Offset at which the RDB stands."""
        self.rdb_bytes = 0
        self.rdb_whole = False
        self.end = 0
        self.db = 0
        """Database selected at `end`."""
        self._rdb_handle = -1
        self._segments: list[_Segment] = []

    @property
    def start(self) -> int:
        """Oldest offset of the stream that is still held."""
        return self._segments[0].start if self._segments else self.end

    @property
    def has_rdb(self) -> bool:
        """Whether a full sync can be (or is being) served from here: the RDB is there, and all of the stream since."""
        return self._rdb_handle >= 0 and self.start == self.base

    @property
    def held_bytes(self) -> int:
        return (self.rdb_bytes if self._rdb_handle >= 0 else 0) + sum(each.size for each in self._segments)

    @property
    def most_bytes(self) -> int:
        """How much it may hold now: its bound, or less where the disk has less room."""
        facts = os.statvfs(self.folder)
        return min(self.bound_bytes, self.held_bytes + int(facts.f_bavail * facts.f_frsize * ROOM_SHARE))

    @property
    def has_room(self) -> bool:
        """Whether more may come; else the source has to wait."""
        return self.most_bytes - self.held_bytes >= self._least_room_bytes

    def begin_full(self, replid: str, offset: int) -> None:
        """Forget everything; an RDB at `offset` is about to come."""
        self.clear()
        self.replid, self.base, self.end, self.db = replid, offset, offset, 0
        self._rdb_handle = _open(self.folder / "rdb")
        self._save()

    def begin_at(self, replid: str, offset: int, db: int = 0) -> None:
        """Forget everything; the stream goes on from `offset`, and no full sync can be served from here.

        Args: `db`, what is selected there; unknown counts as 0, for a primary selects anew after a promotion.
        """
        self.clear()
        self.replid, self.base, self.end, self.db = replid, offset, offset, db
        self._save()

    def append_rdb(self, data: bytes) -> None:
        """Add translated bytes of the RDB. Raises: SpoolFull."""
        self._write(self._rdb_handle, data, self.rdb_bytes)
        self.rdb_bytes += len(data)

    def end_rdb(self, db: int) -> None:
        """The RDB is whole. Args: `db`, what the stream begins in (its repl-stream-db)."""
        self.rdb_whole = True
        self.db = db
        self._save()

    def drop_rdb(self) -> None:
        """Give its room back; a target that needs it again makes a new full sync necessary."""
        if self._rdb_handle >= 0:
            os.close(self._rdb_handle)
            self._rdb_handle = -1
            (self.folder / "rdb").unlink(missing_ok=True)
            self._save()

    def read_rdb(self, at: int, length: int) -> bytes:
        """Bytes of the RDB that have come."""
        return os.pread(self._rdb_handle, length, at)

    def renamed(self, replid: str) -> None:
        """The history goes on under another id: the source has a new primary, or was promoted itself."""
        self.replid = replid
        self._save()

    def append(self, data: bytes, db: int, *, at_command: bool) -> None:
        """Add translated bytes of the stream.

        Args: `db`, what is selected behind them; `at_command`, whether they end where a command ends and none of a
            transaction is open, so that a new segment may begin there.
        Raises: SpoolFull.
        """
        if not data:
            return
        if not self._segments or (self._segments[-1].size >= self.segment_bytes and self._may_begin):
            self._begin_segment()
        segment = self._segments[-1]
        self._write(segment.handle, data, segment.size)
        segment.size += len(data)
        self.end += len(data)
        self.db = db
        self._may_begin = at_command

    def _write(self, handle: int, data: bytes, size: int) -> None:
        """All of it behind the `size` bytes that are there, or nothing."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(handle, view) :]
        except OSError as failed:
            os.ftruncate(handle, size)
            if failed.errno in _NO_ROOM:
                raise SpoolFull(str(self.folder), self.held_bytes) from failed
            raise

    _may_begin = True

    def _begin_segment(self) -> None:
        path = self.folder / f"stream-{self.end:020d}-{self.db}"
        self._segments.append(_Segment(self.end, self.db, path, 0, _open(path)))

    def read(self, at: int, length: int) -> bytes:
        """Bytes of the stream from offset `at` on, at most `length`; empty at its end.

        Raises: KeyError when they are no longer, or never were, held.
        """
        if at == self.end:
            return b""
        for segment in reversed(self._segments):
            if segment.start <= at < segment.end:
                return os.pread(segment.handle, min(length, segment.end - at), at - segment.start)
        raise KeyError(at)

    def trim(self, acknowledged: int, keep_bytes: int | None = None) -> None:
        """Drop whole segments that lie further back than `keep_bytes` (`backlog_bytes`) before `acknowledged`."""
        kept = self.backlog_bytes if keep_bytes is None else keep_bytes
        while len(self._segments) > 1 and self._segments[0].end <= acknowledged - kept:
            self._close_segment(self._segments.pop(0))

    def _close_segment(self, segment: _Segment) -> None:
        os.close(segment.handle)
        segment.path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Forget everything, on disk too."""
        for segment in self._segments:
            self._close_segment(segment)
        self._segments = []
        if self._rdb_handle >= 0:
            os.close(self._rdb_handle)
            self._rdb_handle = -1
        for file in (*self.folder.glob("stream-*"), self.folder / "rdb"):
            file.unlink(missing_ok=True)
        self.replid, self.base, self.end, self.db = "", 0, 0, 0
        self.rdb_bytes, self.rdb_whole, self._may_begin = 0, False, True
        (self.folder / "meta.json").unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the files; they stay."""
        for segment in self._segments:
            os.close(segment.handle)
        if self._rdb_handle >= 0:
            os.close(self._rdb_handle)
        self._segments, self._rdb_handle = [], -1

    def _save(self) -> None:
        facts = {
            "boot_id": _boot_id(),
            "replid": self.replid,
            "base": self.base,
            "db": self.db,
            "rdb_whole": self.rdb_whole,
            "has_rdb": self._rdb_handle >= 0,
        }
        write_private(self.folder / "meta.json", json.dumps(facts))

    def reopen(self) -> bool:
        """Take up what an earlier process left; whether there was something of use.

        What it was writing when it was killed is cut back to the last whole command.
        """
        try:
            facts = json.loads((self.folder / "meta.json").read_bytes())
            usable = facts["boot_id"] == _boot_id() and bool(facts["replid"])
            usable = usable and (facts["rdb_whole"] or not facts["has_rdb"])
        except (OSError, ValueError, KeyError, TypeError):
            usable = False
        if not usable:
            self.clear()
            return False
        self.replid, self.base, self.db = facts["replid"], facts["base"], facts["db"]
        self.rdb_whole = facts["rdb_whole"]
        self.end = self.base
        if facts["has_rdb"]:
            self._rdb_handle = _open(self.folder / "rdb")
            self.rdb_bytes = os.fstat(self._rdb_handle).st_size
        for path in sorted(self.folder.glob("stream-*")):
            _, start, db = path.name.split("-")
            handle = _open(path)
            self._segments.append(_Segment(int(start), int(db), path, os.fstat(handle).st_size, handle))
        if self._segments:
            self._cut_back(self._segments[-1])
            self.end = self._segments[-1].end
        return True

    def _cut_back(self, segment: _Segment) -> None:
        """To the end of its last command that is whole and of a whole transaction.

        Fillers (`PING`) at its end are cut too: one may belong to a command whose rest was not written.
        """
        whole = os.pread(segment.handle, segment.size, 0)
        at, db, safe, safe_db, in_transaction = 0, segment.db, 0, segment.db, False
        while True:
            after, why = stream.walk_to(whole, at, len(whole), _STATE)
            while after > at and whole[after - 1 : after] == b"\n" and whole[after - 2 : after - 1] != b"\r":
                after -= 1  # newlines are fillers as well
            if after > at and not in_transaction:
                safe, safe_db = after, db
            if why == stream.INCOMPLETE:
                break
            words, at = stream.read_command(whole, _after_newlines(whole, after))
            name = words[0].upper()
            if name == b"SELECT":
                db = int(words[1])
            elif name != b"PING":
                in_transaction = name == b"MULTI"
            if name != b"PING" and not in_transaction:
                safe, safe_db = at, db
        self.db = safe_db
        if safe < segment.size:
            os.ftruncate(segment.handle, safe)
            segment.size = safe


_STATE = frozenset(form for name in (b"SELECT", b"MULTI", b"EXEC", b"PING") for form in (name, name.lower()))


def _after_newlines(buf: bytes, at: int) -> int:
    while buf[at : at + 1] == b"\n":
        at += 1
    return at


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
