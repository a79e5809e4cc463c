"""The limits that control groups, version 1 and 2, set to this process: the tightest on the way to the root holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

NO_LIMIT_FROM = 1 << 60
"""Version 1 writes 2**63 rounded down to a page for `no limit`."""


@dataclass(frozen=True)
class Limits:
    """What this process may use; None where nothing limits it."""

    memory_bytes: int | None
    memory_used_bytes: int | None
    """Of the group with that limit, without the page cache that the kernel would give back first."""
    cpus: float | None


def read_limits(mount: Path, membership: str) -> Limits:
    """Read the limits.
    Args: `mount`, where control groups are mounted (/sys/fs/cgroup); `membership`, the text of /proc/self/cgroup.
    """
    memory: tuple[int, int | None] | None = None
    cpus: float | None = None
    for line in membership.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not path.startswith("/") or ".." in PurePosixPath(path).parts:
            continue
        names = controllers.split(",")
        version2 = controllers == ""
        for group in _groups(mount, controllers, path):
            if version2 or "memory" in names:
                found = _memory(group, version2)
                if found is not None and (memory is None or found[0] < memory[0]):
                    memory = found
            if version2 or "cpu" in names:
                quota = _cpus(group, version2)
                if quota is not None and (cpus is None or quota < cpus):
                    cpus = quota
    return Limits(memory[0] if memory else None, memory[1] if memory else None, cpus)


def _groups(mount: Path, controllers: str, path: str) -> Iterator[Path]:
    """The process's group and all above it, wherever this system mounts the hierarchy."""
    tops = (
        [mount / controllers, *(mount / name for name in controllers.split(","))]
        if controllers
        else [mount, mount / "unified"]
    )
    inner = PurePosixPath(path.lstrip("/"))
    for top in dict.fromkeys(tops):
        for part in (inner, *inner.parents):
            if (group := top / part).is_dir():
                yield group


def _memory(group: Path, version2: bool) -> tuple[int, int | None] | None:
    limit = _number(group / ("memory.max" if version2 else "memory.limit_in_bytes"))
    if limit is None or limit >= NO_LIMIT_FROM:
        return None
    used = _number(group / ("memory.current" if version2 else "memory.usage_in_bytes"))
    if used is None:
        return limit, None
    return limit, max(0, used - _inactive_file_bytes(group / "memory.stat", version2))


def _inactive_file_bytes(stat: Path, version2: bool) -> int:
    wanted = "inactive_file" if version2 else "total_inactive_file"
    for line in _text(stat).splitlines():
        name, _, value = line.partition(" ")
        if name == wanted and value.isdigit():
            return int(value)
    return 0


def _cpus(group: Path, version2: bool) -> float | None:
    if version2:
        words = _text(group / "cpu.max").split()
        if len(words) != 2 or not all(word.isdigit() for word in words) or int(words[1]) == 0:
            return None
        return int(words[0]) / int(words[1])
    quota, period = _number(group / "cpu.cfs_quota_us"), _number(group / "cpu.cfs_period_us")
    return quota / period if quota is not None and quota > 0 and period else None


def _number(file: Path) -> int | None:
    text = _text(file).strip()
    return int(text) if text.lstrip("-").isdigit() and len(text) < 21 else None


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
