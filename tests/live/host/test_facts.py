"""Facts read from trees laid out like /proc and /sys, and from this machine itself."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from holdfast.host.control_group import read_limits
from holdfast.host.facts import mount_of, read_clock, read_machine
from holdfast.host.finding import Verdict
from holdfast.host.rules import examine

MEMINFO = "MemTotal:       24684092 kB\nMemAvailable:   24274504 kB\nSwapTotal:       1048576 kB\nSwapFree:         524288 kB\nHugePages_Total:       0\nCommitLimit:    12342044 kB\nCommitted_AS:    2342044 kB\n"
TREE = {
    "proc/meminfo": MEMINFO,
    "proc/sys/vm/overcommit_memory": "0\n",
    "proc/sys/vm/swappiness": "60\n",
    "proc/sys/net/core/somaxconn": "128\n",
    "proc/sys/fs/file-max": "9223372036854775807\n",
    "proc/sys/fs/nr_open": "1048576\n",
    "sys/kernel/mm/transparent_hugepage/enabled": "[always] madvise never\n",
    "proc/self/cgroup": "0::/user.slice/cache.scope\n",
    "sys/fs/cgroup/user.slice/memory.max": "4294967296\n",
    "sys/fs/cgroup/user.slice/memory.current": "1073741824\n",
    "sys/fs/cgroup/user.slice/memory.stat": "anon 5\ninactive_file 536870912\n",
    "sys/fs/cgroup/user.slice/cache.scope/memory.max": "max\n",
    "sys/fs/cgroup/user.slice/cache.scope/cpu.max": "50000 100000\n",
    "proc/self/status": "Name:\tpython\nCapEff:\t0000000000001000\n",
    "proc/self/mountinfo": "27 1 254:0 / / rw - ext4 /dev/vda rw\n",
    "proc/net/fib_trie": "           |-- 127.0.0.1\n              /32 host LOCAL\n",
    "proc/net/if_inet6": "00000000000000000000000000000001 01 80 10 80       lo\n",
    "run/systemd/system/x": "",
    "run/systemd/timesync/synchronized": "",
}


def lay_out(root: Path, tree: Mapping[str, str]) -> Path:
    for name, text in tree.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


def test_a_machine_is_read_from_its_files(tmp_path: Path) -> None:
    seen = read_machine(tmp_path / "state", root=lay_out(tmp_path, TREE), watch_s=0)
    assert seen.overcommit_memory == 0
    assert seen.transparent_hugepages == "always"
    assert seen.somaxconn == 128
    assert seen.memory_total_bytes == 24684092 * 1024
    assert (seen.swap_total_bytes, seen.swap_used_bytes) == (1 << 30, 1 << 29)
    assert seen.commit_free_bytes == 10_000_000 * 1024
    assert seen.memory_limit_bytes == 4 << 30, "a group above limits, its own does not"
    assert seen.memory_limit_used_bytes == 1 << 29, "the page cache is given back first"
    assert seen.free_memory_bytes == 3 * (1 << 30) + (1 << 29)
    assert seen.cpu_quota == 0.5
    assert (seen.may_filter, seen.may_raise_limits) == (True, False)
    assert (seen.ipv4_loopback, seen.ipv6_loopback) == (True, True)
    assert (seen.systemd, seen.linger) == (True, False)
    assert seen.clock is not None
    assert (seen.clock.synchronised, seen.clock.source) == (True, "systemd-timesyncd")
    assert seen.folder is not None
    assert seen.folder.filesystem == "ext4"
    assert not (tmp_path / "state").exists(), "looking makes nothing"


def test_an_empty_tree_is_told_as_unknown_and_never_passed(tmp_path: Path) -> None:
    seen = read_machine(tmp_path, root=tmp_path, watch_s=0)
    verdicts = {found.id: found.verdict for found in examine(seen)}
    for rule in ("overcommit", "hugepages", "backlog", "memory", "swap", "loopback"):
        assert verdicts[rule] is Verdict.UNKNOWN, rule
    assert "No such file" in seen.unread["overcommit_memory"]


@pytest.mark.parametrize("text", ["", "words\n", "9" * 400, "\x00\xff", "1.5"])
def test_nonsense_in_a_kernel_file_is_unknown_not_a_crash(tmp_path: Path, text: str) -> None:
    seen = read_machine(
        tmp_path, root=lay_out(tmp_path, {**TREE, "proc/sys/vm/overcommit_memory": text}), watch_s=0
    )
    assert seen.overcommit_memory is None
    assert "no number" in seen.unread["overcommit_memory"]


def test_without_ipv6_in_the_kernel_it_is_known_to_be_missing(tmp_path: Path) -> None:
    tree = {name: text for name, text in TREE.items() if name != "proc/net/if_inet6"}
    seen = read_machine(tmp_path, root=lay_out(tmp_path, tree), watch_s=0)
    assert (seen.ipv4_loopback, seen.ipv6_loopback) == (True, False)


def test_version_1_control_groups_are_read_too(tmp_path: Path) -> None:
    lay_out(
        tmp_path,
        {
            "memory/docker/abc/memory.limit_in_bytes": "536870912\n",
            "memory/docker/abc/memory.usage_in_bytes": "268435456\n",
            "memory/docker/abc/memory.stat": "inactive_file 1\ntotal_inactive_file 134217728\n",
            "memory/memory.limit_in_bytes": "9223372036854771712\n",
            "cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "150000\n",
            "cpu,cpuacct/docker/abc/cpu.cfs_period_us": "100000\n",
            "cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
            "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        },
    )
    limits = read_limits(tmp_path, "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n1:name=systemd:/\n")
    assert limits.memory_bytes == 512 << 20
    assert limits.memory_used_bytes == 128 << 20
    assert limits.cpus == 1.5


def test_a_group_path_that_climbs_out_is_left_alone(tmp_path: Path) -> None:
    lay_out(tmp_path, {"memory.max": "1\n", "mount/x": ""})
    assert read_limits(tmp_path / "mount", "0::/../\n").memory_bytes is None


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/home/ops/x", ("/home", "xfs")),
        ("/home/my disk/x", ("/home/my disk", "nfs4")),
        ("/homes", ("/", "ext4")),
        ("/tmp/x", ("/tmp", "tmpfs")),
    ],
)
def test_the_mount_of_a_path_is_the_deepest_and_last(path: str, wanted: tuple[str, str]) -> None:
    mountinfo = (
        "27 1 254:0 / / rw - ext4 /dev/vda rw\n"
        "28 27 0:25 / /home rw shared:1 - xfs /dev/vdb rw\n"
        "29 27 0:26 / /home/my\\040disk rw - nfs4 server:/x rw\n"
        "30 27 0:27 / /tmp rw - ext4 /dev/vdc rw\n"
        "31 27 0:28 / /tmp rw - tmpfs tmpfs rw\n"
        "garbage\n"
    )
    assert mount_of(Path(path), mountinfo) == wanted


@pytest.mark.parametrize(
    ("there", "said", "wanted"),
    [
        ("run/chrony/x", "Reference ID    : 50484330\nLeap status     : Normal\n", (True, "chrony")),
        ("run/chrony/x", "Leap status     : Not synchronised\n", (False, "chrony")),
        ("run/systemd/system/x", "yes\n", (True, "timedatectl")),
        ("run/systemd/system/x", "no\n", (False, "timedatectl")),
        ("run/systemd/system/x", "", (None, "")),
        ("run/nothing", "", (None, "")),
    ],
)
def test_a_time_service_is_asked_in_its_own_words(
    tmp_path: Path, there: str, said: str, wanted: tuple[bool | None, str]
) -> None:
    clock = read_clock(lay_out(tmp_path, {there: ""}), 0, ask=lambda command: said)
    assert (clock.synchronised, clock.source) == wanted


def test_this_machine_is_read_and_every_rule_answers(tmp_path: Path) -> None:
    seen = read_machine(tmp_path)
    assert seen.memory_total_bytes == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert seen.folder is not None
    assert seen.folder.free_bytes > 0
    assert seen.clock is not None
    assert abs(seen.clock.jump_s) < 1
    assert all(found.seen for found in examine(seen))


def test_the_clocks_rate_is_measured_while_it_is_watched(tmp_path: Path) -> None:
    clock = read_clock(tmp_path, 0.2)
    assert clock.correction_ppm is not None
    assert abs(clock.correction_ppm) < 600, "the kernel steers by 500 ppm at most"
    assert 0.2 <= clock.watched_s < 2
    assert read_clock(tmp_path, 0).correction_ppm is None, "too short to say"


def test_a_lowered_limit_is_seen(tmp_path: Path) -> None:
    code = (
        "import resource, sys; from pathlib import Path; resource.setrlimit(resource.RLIMIT_NOFILE, (200, 300));"
        "from holdfast.host.facts import read_machine; seen = read_machine(Path(sys.argv[1]), watch_s=0);"
        "print(seen.open_files_soft, seen.open_files_hard)"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60, check=True
    )
    assert said.stdout.split() == ["200", "300"]
