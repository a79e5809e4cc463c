"""What a server that does not run would come back with: whether its data files hold keys, and whom it would follow.

Only heads of files are read, so this takes microseconds however large the data set is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from holdfast.engine.config import APPEND_ONLY_FOLDER, APPEND_ONLY_NAME, CLUSTER_STATE_NAME, SNAPSHOT_NAME

HEAD_BYTES = 4096
"""Far more than the fields that stand before the first key."""
RDB_MAGICS = (b"REDIS", b"VALKEY")
RDB_VERSION_END = 9
RDB_AUX, RDB_END = 0xFA, 0xFF
RDB_CHECKSUM_BYTES = 8


@dataclass(frozen=True)
class DataFiles:
    """A node's data as it lies on disk."""

    holds_keys: bool = False
    """Whether a start would load any key."""
    appended: bool = False
    """Whether it loads the append-only file, which is never older than a second or two."""
    saved_offset: int = -1
    """Replication offset at which its snapshot was taken; -1 where the snapshot does not say."""
    written_at: str = ""
    """When the newest of the files was last written, UTC, ISO 8601; empty where there is none."""
    follows: str = ""
    """Whom it would follow: "address port", in a cluster a node id; empty for a primary."""
    node_id: str = ""
    """In a cluster, its own id."""


@dataclass(frozen=True)
class SnapshotHead:
    """What stands before the keys of an RDB file."""

    keys_follow: bool
    end_at: int
    """Where the file ends when no key follows, in bytes from its beginning."""
    offset: int
    """Replication offset; -1 where the file does not say."""


def look_at_files(folder: Path, config: str) -> DataFiles:
    """Look at the files of a node that does not run. Args: `config`, the name of its configuration file.

    Files that cannot be read are taken to hold keys: whoever asks is about to throw data away.
    """
    settings = _settings(folder / config)
    appended = settings.get("appendonly") == "yes"
    files = _append_only_files(folder) if appended else [folder / SNAPSHOT_NAME]
    present = [file for file in files if file.is_file()]
    offset = -1 if appended or not present else _snapshot_head(present[0]).offset
    node_id, follows = "", settings.get("replicaof", settings.get("slaveof", ""))
    if settings.get("cluster-enabled") == "yes":
        node_id, follows = _place_in_cluster(folder / CLUSTER_STATE_NAME)
    newest = max((written for file in present if (written := _written_at(file)) is not None), default=None)
    return DataFiles(
        holds_keys=any(_holds_keys(file) for file in present),
        appended=appended,
        saved_offset=offset,
        written_at=""
        if newest is None
        else datetime.fromtimestamp(newest, UTC).isoformat(timespec="seconds"),
        follows=follows,
        node_id=node_id,
    )


def read_snapshot_head(head: bytes) -> SnapshotHead:
    """Read the fields before the first key.

    Args: `head`, the beginning of an RDB file; one that ends too soon or is no RDB counts as followed by keys.
    Source: rdbSaveInfoAuxFields and rdbLoadRio in src/rdb.c, Redis 6.2 to 8.0 and Valkey 8.0 to 9.1.
    """
    unknown = SnapshotHead(keys_follow=True, end_at=-1, offset=-1)
    if not head.startswith(RDB_MAGICS):
        return unknown
    at, offset = RDB_VERSION_END, -1
    try:
        while head[at] == RDB_AUX:
            name, at = _text(head, at + 1)
            value, at = _text(head, at)
            if name == b"repl-offset" and value.lstrip(b"-").isdigit():
                offset = int(value)
        if head[at] == RDB_END:
            return SnapshotHead(keys_follow=False, end_at=at + 1 + RDB_CHECKSUM_BYTES, offset=offset)
    except (IndexError, ValueError):
        return unknown
    return SnapshotHead(keys_follow=True, end_at=-1, offset=offset)


def _text(data: bytes, at: int) -> tuple[bytes, int]:
    """A short text, or a number, as RDB has it. Raises: IndexError, ValueError."""
    first = data[at]
    kind, low = first >> 6, first & 0x3F
    if kind == 3 and low <= 2:
        width = 1 << low
        return str(
            int.from_bytes(data[at + 1 : at + 1 + width], "little", signed=True)
        ).encode(), at + 1 + width
    if kind == 0:
        length, at = low, at + 1
    elif kind == 1:
        length, at = low << 8 | data[at + 1], at + 2
    else:
        raise ValueError("no field of a head is this long")
    if at + length > len(data):
        raise IndexError("the head ends inside a field")
    return data[at : at + length], at + length


def _written_at(file: Path) -> float | None:
    """Seconds since the epoch; None for one that is gone by now: a server that ends deletes and renames its files."""
    try:
        return file.stat().st_mtime
    except OSError:
        return None


def _holds_keys(file: Path) -> bool:
    try:
        size = file.stat().st_size
        if not size:
            return False
        head = _snapshot_head(file)
    except OSError:
        return True
    return head.keys_follow or size > head.end_at  # commands follow an empty snapshot


def _snapshot_head(file: Path) -> SnapshotHead:
    try:
        with file.open("rb") as opened:
            return read_snapshot_head(opened.read(HEAD_BYTES))
    except OSError:
        return SnapshotHead(keys_follow=True, end_at=-1, offset=-1)


def _append_only_files(folder: Path) -> list[Path]:
    """The append-only file of engines before 7.0, or the parts of later ones without their manifest."""
    parts = folder / APPEND_ONLY_FOLDER
    return [folder / APPEND_ONLY_NAME, *sorted(parts.glob("*.rdb")), *sorted(parts.glob("*.aof"))]


def _settings(file: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in _lines(file):
        name, _, value = line.strip().partition(" ")
        if name and not name.startswith("#"):
            found[name.lower()] = value.replace('"', "").strip()
    return found


def _place_in_cluster(file: Path) -> tuple[str, str]:
    """Its own id by its own memory of the cluster, and that of the node it follows; empty for a primary."""
    for line in _lines(file):
        words = line.split()
        if len(words) > 3 and "myself" in words[2].split(","):
            return words[0], "" if words[3] == "-" else words[3]
    return "", ""


def _lines(file: Path) -> Iterable[str]:
    try:
        return file.read_text(errors="replace").splitlines()
    except OSError:
        return ()


def put_aside(folder: Path, label: str, *, snapshot_only: bool = False) -> str:
    """Move a node's data files into a folder beside them, by renaming only. Args: `label`, for its name;
    `snapshot_only`, for a node that runs and goes on writing to the others.

    Returns: the new folder; empty when there was nothing to move.
    """
    names = (SNAPSHOT_NAME,) if snapshot_only else (SNAPSHOT_NAME, APPEND_ONLY_NAME, APPEND_ONLY_FOLDER)
    there = [folder / name for name in names]
    present = [file for file in there if file.exists()]
    if not present:
        return ""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    aside = folder / f"aside-{stamp}-{label}"
    aside.mkdir(mode=0o700)
    for file in present:
        file.rename(aside / file.name)
    return str(aside)


def drop_snapshot(folder: Path, config: str) -> bool:
    """Delete the snapshot of a node that saves none and appends to no file; False, and nothing done, for any other."""
    settings = _settings(folder / config)
    if settings.get("appendonly") == "yes" or settings.get("save", "") not in {"", '""'}:
        return False
    (folder / SNAPSHOT_NAME).unlink(missing_ok=True)
    return True
