"""Reads one machine's facts from /proc, /sys and the file system; a fact that is not there is told, never guessed."""

from __future__ import annotations

import getpass
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.host.capability import CAP_SYS_RESOURCE, holds_capability
from holdfast.host.control_group import Limits, read_limits
from holdfast.host.firewall import may_filter, nft_program
from holdfast.host.machine import UNLIMITED, Clock, Folder, Machine

WATCH_S = 0.2
"""How long the two clocks are watched: a jump in that time is seen, one before it is not."""
ASK_BOUND_S = 3.0


@dataclass
class _Reader:
    """Reads small kernel files below `root` and notes why one could not be read."""

    root: Path
    unread: dict[str, str] = field(default_factory=dict)

    def text(self, name: str, path: str) -> str | None:
        """The file's text; None where it cannot be read, and then `unread[name]` says why."""
        try:
            return (self.root / path.lstrip("/")).read_text(encoding="utf-8", errors="replace")
        except OSError as failed:
            self.unread[name] = f"{path}: {failed.strerror or failed}"
            return None

    def number(self, name: str, path: str) -> int | None:
        """The file's first word as a number."""
        text = self.text(name, path)
        if text is None:
            return None
        word = text.split()[:1]
        if word and re.fullmatch(r"-?\d{1,20}", word[0]):
            return min(int(word[0]), UNLIMITED)
        self.unread[name] = f"{path} says {text.strip()[:40]!r}, which is no number"
        return None

    def table(self, name: str, path: str) -> dict[str, int]:
        """Lines such as `MemTotal:  24684092 kB` as name -> bytes."""
        found = re.findall(r"^(\w+)(?:\([^)]*\))?:\s+(\d+) kB$", self.text(name, path) or "", re.MULTILINE)
        return {key: int(value) * 1024 for key, value in found}


def read_machine(state_folder: Path, *, root: Path = Path("/"), watch_s: float = WATCH_S) -> Machine:
    """Look at this machine once.

    Args: `state_folder` need not exist yet: the nearest folder above it that does is looked at, and nothing is made;
        `root`, the folder that holds `proc`, `sys` and `run`; what is not a file there is asked of the running system.
    Takes about `watch_s` seconds. Never raises for a fact that cannot be read.
    """
    reader = _Reader(root)
    memory = reader.table("memory_total_bytes", "/proc/meminfo")
    if not memory:
        reader.unread.setdefault("memory_total_bytes", "/proc/meminfo has no such lines")
        reader.unread["swap_total_bytes"] = reader.unread["memory_total_bytes"]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limits = _limits(reader)
    systemd = (root / "run/systemd/system").is_dir()
    user = _user()
    commit_limit = memory.get("CommitLimit")
    commit_free_bytes = None if commit_limit is None else max(0, commit_limit - memory.get("Committed_AS", 0))
    swap_total_bytes = memory.get("SwapTotal")
    status_file = root / "proc/self/status"
    return Machine(
        platform=sys.platform,
        kernel=platform.release(),
        root=os.geteuid() == 0,
        user=user,
        cpus=_cpus(),
        cpu_quota=limits.cpus,
        overcommit_memory=reader.number("overcommit_memory", "/proc/sys/vm/overcommit_memory"),
        commit_free_bytes=commit_free_bytes,
        transparent_hugepages=_hugepages(reader),
        somaxconn=reader.number("somaxconn", "/proc/sys/net/core/somaxconn"),
        open_files_soft=_limit(soft),
        open_files_hard=_limit(hard),
        open_files_system=reader.number("open_files_system", "/proc/sys/fs/file-max"),
        open_files_ceiling=reader.number("open_files_ceiling", "/proc/sys/fs/nr_open"),
        may_raise_limits=holds_capability(CAP_SYS_RESOURCE, status_file),
        memory_total_bytes=memory.get("MemTotal"),
        memory_available_bytes=memory.get("MemAvailable"),
        memory_limit_bytes=limits.memory_bytes,
        memory_limit_used_bytes=limits.memory_used_bytes,
        swap_total_bytes=swap_total_bytes,
        swap_used_bytes=None if swap_total_bytes is None else swap_total_bytes - memory.get("SwapFree", 0),
        swappiness=reader.number("swappiness", "/proc/sys/vm/swappiness"),
        clock=read_clock(root, watch_s),
        folder=_folder(reader, state_folder),
        ipv4_loopback=_has_loopback(reader, "loopback", "/proc/net/fib_trie", r"\b127\.0\.0\.1\b"),
        ipv6_loopback=_has_loopback(reader, "ipv6_loopback", "/proc/net/if_inet6", r"^0{31}1 .* lo$"),
        systemd=systemd,
        linger=(root / "var/lib/systemd/linger" / user).exists() if systemd and user else None,
        nftables=nft_program() is not None,
        may_filter=may_filter(status_file),
        python_headers=Path(sysconfig.get_path("include"), "Python.h").is_file(),
        compiler=next((name for name in ("cc", "gcc", "clang") if shutil.which(name)), ""),
        compiled_codec=_codec_is_compiled(),
        unread=dict(reader.unread),
    )


def read_clock(root: Path, watch_s: float, ask: Callable[[list[str]], str] | None = None) -> Clock:
    """What is known of the wall clock. `ask` runs a program and returns what it said, empty where it cannot."""
    run = ask or _ask
    start = _steered_and_raw_ns()
    wall_start_ns, steady_start_ns = _same_moment_ns(time.CLOCK_REALTIME, time.CLOCK_MONOTONIC)
    synchronised, source = _time_service(root, run)
    time.sleep(max(0.0, watch_s - (time.monotonic_ns() - steady_start_ns) / 1e9))
    wall_ns, steady_ns = _same_moment_ns(time.CLOCK_REALTIME, time.CLOCK_MONOTONIC)
    jump_ns = (wall_ns - wall_start_ns) - (steady_ns - steady_start_ns)
    return Clock(
        synchronised=synchronised,
        source=source,
        correction_ppm=_correction_ppm(start, _steered_and_raw_ns()),
        jump_s=round(jump_ns / 1e9, 6),
        watched_s=round((steady_ns - steady_start_ns) / 1e9, 3),
    )


def _time_service(root: Path, ask: Callable[[list[str]], str]) -> tuple[bool | None, str]:
    """What a time service says of itself, and which; each is asked only where it runs."""
    if (root / "run/systemd/timesync/synchronized").exists():
        return True, "systemd-timesyncd"
    if (root / "run/chrony").is_dir():
        said = ask(["chronyc", "-n", "tracking"])
        leap = re.search(r"^Leap status\s*:\s*(.+)$", said, re.MULTILINE)
        if leap:
            return leap.group(1).strip() != "Not synchronised", "chrony"
    if (root / "run/systemd/system").is_dir():
        said = ask(["timedatectl", "show", "--property=NTPSynchronized", "--value"]).strip()
        if said in {"yes", "no"}:
            return said == "yes", "timedatectl"
    return None, ""


def _ask(command: list[str]) -> str:
    program = shutil.which(command[0])
    if program is None:
        return ""
    try:
        said = subprocess.run(
            [program, *command[1:]], capture_output=True, text=True, timeout=ASK_BOUND_S, check=False,
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return said.stdout if said.returncode == 0 else ""


def _same_moment_ns(clock: int, held_against: int) -> tuple[float, float]:
    """Two clocks read at the same moment as nearly as can be.

    The tightest of several readings, so that a process that is put aside between two of them does no harm: its error
    is about 50 ns.
    """
    readings = []
    for _ in range(50):
        before_ns = time.clock_gettime_ns(held_against)
        seen_ns = time.clock_gettime_ns(clock)
        after_ns = time.clock_gettime_ns(held_against)
        readings.append((after_ns - before_ns, seen_ns, (before_ns + after_ns) / 2))
    _, tightest_ns, middle_ns = min(readings)
    return tightest_ns, middle_ns


def _steered_and_raw_ns() -> tuple[float, float] | None:
    """The clock that a time service steers, and the bare oscillator."""
    if not hasattr(time, "CLOCK_MONOTONIC_RAW"):
        return None
    return _same_moment_ns(time.CLOCK_MONOTONIC, time.CLOCK_MONOTONIC_RAW)


def _correction_ppm(
    start: tuple[float, float] | None, end: tuple[float, float] | None, shortest_s: float = 0.1
) -> float | None:
    """How much faster than the oscillator the clock ran between two readings, in millionths.

    What it ran ahead since boot says nothing of now: a machine that is woken from an image is set forward once.
    """
    if start is None or end is None or end[1] - start[1] < shortest_s * 1e9:
        return None
    return ((end[0] - start[0]) / (end[1] - start[1]) - 1) * 1e6


def _hugepages(reader: _Reader) -> str | None:
    memory_settings = "/sys/kernel/mm"
    if (reader.root / memory_settings.lstrip("/")).is_dir() and not (
        reader.root / memory_settings.lstrip("/") / "transparent_hugepage"
    ).exists():
        return "never"  # a kernel that is built without them has no such folder
    text = reader.text("transparent_hugepages", f"{memory_settings}/transparent_hugepage/enabled") or ""
    chosen = re.search(r"\[(\w+)\]", text)
    return chosen.group(1) if chosen else None


def _has_loopback(reader: _Reader, name: str, path: str, pattern: str) -> bool | None:
    text = reader.text(name, path)
    if text is None:
        # without IPv6 in the kernel its file is missing while the other family's is there
        return False if (reader.root / "proc/net").is_dir() else None
    return re.search(pattern, text, re.MULTILINE) is not None


def _limits(reader: _Reader) -> Limits:
    """The control groups' limits; where the files cannot be found there is none that could be held against."""
    membership = reader.text("control_group", "/proc/self/cgroup")
    return read_limits(reader.root / "sys/fs/cgroup", membership or "")


def _folder(reader: _Reader, state_folder: Path) -> Folder | None:
    """The disk below the state folder, or below the nearest folder above it that is there."""
    standing = state_folder.absolute()
    try:
        while not standing.exists() and standing != standing.parent:
            standing = standing.parent
        room = os.statvfs(standing)
    except OSError as failed:
        reader.unread["folder"] = f"{standing}: {failed.strerror or failed}"
        return None
    mount, filesystem = mount_of(standing.resolve(), reader.text("mounts", "/proc/self/mountinfo") or "")
    return Folder(
        path=str(state_folder),
        mount=mount,
        filesystem=filesystem,
        free_bytes=room.f_bavail * room.f_frsize,
        noexec=bool(room.f_flag & os.ST_NOEXEC),
        read_only=bool(room.f_flag & os.ST_RDONLY),
    )


def mount_of(path: Path, mountinfo: str) -> tuple[str, str]:
    """Mount point and file system type of `path`. Source: proc_pid_mountinfo(5); blanks are written as \\040."""
    best, kind = Path("/"), "unknown"
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split()
        if len(fields) < 5 or not after:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal.group(1), 8)), fields[4]))
        if path.is_relative_to(point) and len(point.parts) >= len(best.parts):
            best, kind = point, after.split()[0]  # a later mount on the same point hides the earlier
    return str(best), kind


def _cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _limit(value: int) -> int:
    return UNLIMITED if value == resource.RLIM_INFINITY else value


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in many containers
        return ""


def _codec_is_compiled() -> bool:
    """Whether a module of the codec lies here as an extension."""
    folder = Path(__file__).parent.parent / "codec"
    return any(folder.rglob("*.so"))
