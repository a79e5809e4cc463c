"""The machine's check-up: facts in, findings out.

A rule is a function of the machine and of what a cache asks of it (None without a spec, and then the rule speaks of
what is general). Rules about room (memory, disk, files, cores) are in `room`; those here are about settings.
"""

from __future__ import annotations

from collections.abc import Callable

from holdfast.host import room
from holdfast.host.finding import Finding, Verdict, not_read, readable_size
from holdfast.host.machine import Demand, Machine
from holdfast.host.nftables import loopback_only

DEFAULT_BACKLOG = 511
"""`tcp-backlog` of both engines, for a check-up without a spec."""
JUMP_S = 0.05
"""More than scheduling noise between two clock readings, less than any time-to-live people notice."""
STEERED_PPM = 1.0
"""Several times what reading the clocks errs by; an oscillator is seldom so good that a time service corrects it by less."""

Rule = Callable[[Machine, Demand | None], Finding]


def sysctl_command(name: str, value: int) -> str:
    """The command that sets a kernel value now and at every boot."""
    file = f"/etc/sysctl.d/60-holdfast-{name.rpartition('.')[2].replace('_', '-')}.conf"
    return f"sudo sh -c 'echo {name}={value} > {file} && sysctl -p {file}'"


def overcommit(machine: Machine, demand: Demand | None) -> Finding:
    """Snapshots, AOF rewrites and full syncs fork the whole process; the kernel must grant that."""
    mode = machine.overcommit_memory
    mend = sysctl_command("vm.overcommit_memory", 1)
    if mode is None:
        return not_read(machine, "overcommit", "overcommit_memory")
    if mode == 1:
        return Finding("overcommit", Verdict.OK, "vm.overcommit_memory is 1")
    if mode == 2:
        free_bytes = machine.commit_free_bytes
        needed_bytes = 2 * demand.data_bytes if demand else None
        seen = "vm.overcommit_memory is 2 (strict accounting)"
        cost = (
            "a fork is charged the whole data set once more, so a full node cannot save or feed a new replica"
        )
        if free_bytes is not None and needed_bytes is not None:
            seen += f", {readable_size(free_bytes)} left to grant; full nodes and their forks want {readable_size(needed_bytes)}"
            if needed_bytes > free_bytes:
                return Finding("overcommit", Verdict.ERROR, seen, cost, mend)
        return Finding("overcommit", Verdict.WARN, seen, cost, mend)
    return Finding(
        "overcommit",
        Verdict.WARN,
        f"vm.overcommit_memory is {mode}, 1 is wanted",
        "when memory is short the kernel may refuse the fork: no snapshot, no AOF rewrite, no full sync of a replica, "
        "and with stop-writes-on-bgsave-error no writes either",
        mend,
    )


def hugepages(machine: Machine, demand: Demand | None) -> Finding:
    """After a fork every first write to a page copies it: 4 KiB, or 2 MiB with huge pages."""
    mode = machine.transparent_hugepages
    if mode is None:
        return not_read(machine, "hugepages", "transparent_hugepages")
    if mode != "always":
        return Finding("hugepages", Verdict.OK, f"transparent huge pages are on '{mode}'")
    return Finding(
        "hugepages",
        Verdict.WARN,
        "transparent huge pages are on 'always', 'madvise' or 'never' is wanted",
        "each write during a snapshot may copy 2 MiB instead of 4 KiB: latency peaks and up to twice the memory; "
        "engines from 6.2 on opt out for themselves (disable-thp), where the kernel lets them",
        "sudo sh -c 'echo madvise > /sys/kernel/mm/transparent_hugepage/enabled'",
    )


def backlog(machine: Machine, demand: Demand | None) -> Finding:
    """The kernel cuts a listening socket's queue to somaxconn without a word."""
    wanted = demand.backlog if demand else DEFAULT_BACKLOG
    if machine.somaxconn is None:
        return not_read(machine, "backlog", "somaxconn")
    seen = f"net.core.somaxconn is {machine.somaxconn}, the nodes' backlog {wanted}"
    if machine.somaxconn >= wanted:
        return Finding("backlog", Verdict.OK, seen)
    return Finding(
        "backlog",
        Verdict.WARN,
        seen,
        f"when all clients come back at once, as after a failover, those beyond {machine.somaxconn} "
        "wait for a retransmitted SYN: 1 s, then 3 s",
        sysctl_command("net.core.somaxconn", max(1024, wanted)),
    )


def swap(machine: Machine, demand: Demand | None) -> Finding:
    """A page of the data set on disk is a command that waits for the disk, and everyone behind it."""
    total_bytes = machine.swap_total_bytes
    if total_bytes is None:
        return not_read(machine, "swap", "swap_total_bytes")
    if total_bytes == 0:
        return Finding(
            "swap", Verdict.OK, "no swap: where memory runs out, the kernel kills a process at once"
        )
    swappiness = 60 if machine.swappiness is None else machine.swappiness
    seen = f"{readable_size(total_bytes)} of swap, {readable_size(machine.swap_used_bytes or 0)} used, vm.swappiness {swappiness}"
    if swappiness <= 10:
        return Finding("swap", Verdict.OK, seen)
    return Finding(
        "swap",
        Verdict.WARN,
        f"{seen}, 10 and less is wanted",
        "idle keys go to disk though memory is free; the command that touches one waits milliseconds, "
        "and all commands behind it",
        sysctl_command("vm.swappiness", 1),
    )


def clock(machine: Machine, demand: Demand | None) -> Finding:
    """Expiry times, certificates and records of failovers are all in wall-clock time."""
    seen = machine.clock
    mend = "sudo timedatectl set-ntp true" if machine.systemd else "sudo apt-get install chrony"
    if seen is None:
        return not_read(machine, "clock", "clock")
    if abs(seen.jump_s) > JUMP_S:
        return Finding(
            "clock",
            Verdict.ERROR,
            f"the wall clock moved {seen.jump_s:+.3f} s against the monotonic one within {seen.watched_s:.1f} s",
            "keys expire early or late by every jump, and a certificate may be refused as not yet valid",
            mend,
        )
    if seen.synchronised:
        return Finding("clock", Verdict.OK, f"synchronised ({seen.source})")
    if (
        seen.synchronised is None
        and seen.correction_ppm is not None
        and abs(seen.correction_ppm) > STEERED_PPM
    ):
        return Finding(
            "clock",
            Verdict.OK,
            f"steered by {seen.correction_ppm:+.1f} ppm, as a time service outside this system or the host does",
        )
    cost = (
        "a replica expires keys by the primary's clock and a promoted one by its own: "
        "keys live longer or shorter by the difference"
    )
    if seen.synchronised is None:
        return Finding(
            "clock", Verdict.UNKNOWN, "no time service was found and nothing steers the clock", cost, mend
        )
    return Finding(
        "clock", Verdict.WARN, f"{seen.source} says that the clock is not synchronised", cost, mend
    )


def state_folder(machine: Machine, demand: Demand | None) -> Finding:
    """The state folder holds engines, data and sockets: it must take all three."""
    folder = machine.folder
    if folder is None:
        return not_read(machine, "state-folder", "folder")
    seen = f"{folder.path} on {folder.mount} ({folder.filesystem})"
    elsewhere = "export HOLDFAST_STATE=$HOME/.holdfast"
    if folder.read_only:
        return Finding(
            "state-folder", Verdict.ERROR, f"{seen} is read-only", "nothing can be kept or started", elsewhere
        )
    if folder.noexec:
        return Finding(
            "state-folder",
            Verdict.WARN,
            f"{seen} is mounted noexec",
            "engines that `holdfast engines add` fetches cannot start from it; those of the system still can",
            f"sudo mount -o remount,exec {folder.mount}",
        )
    if folder.filesystem in {"tmpfs", "ramfs"}:
        return Finding(
            "state-folder",
            Verdict.WARN,
            f"{seen} is in memory",
            "snapshots and backups go with a reboot",
            elsewhere,
        )
    if folder.filesystem.startswith(("nfs", "cifs", "smb", "fuse.sshfs")):
        return Finding(
            "state-folder",
            Verdict.WARN,
            f"{seen} is on a network",
            "an fsync of the append-only file waits for the network, and writes wait for the fsync",
            elsewhere,
        )
    return Finding("state-folder", Verdict.OK, seen)


def loopback(machine: Machine, demand: Demand | None) -> Finding:
    """Nodes listen where the spec says; the family must be there."""
    have = [
        name for name, there in (("IPv4", machine.ipv4_loopback), ("IPv6", machine.ipv6_loopback)) if there
    ]
    if machine.ipv4_loopback is None and machine.ipv6_loopback is None:
        return not_read(machine, "loopback", "loopback")
    bind = [address.lstrip("-") for address in demand.bind] if demand else []
    seen = f"loopback speaks {' and '.join(have) or 'nothing'}"
    missing = [
        a for a in bind if (machine.ipv6_loopback is False if ":" in a else machine.ipv4_loopback is False)
    ]
    if not have:
        return Finding("loopback", Verdict.ERROR, seen, "no node can be reached", "sudo ip link set lo up")
    if missing:
        return Finding(
            "loopback",
            Verdict.ERROR,
            f"{seen}, and network.bind asks for {', '.join(missing)}",
            "the nodes do not start: their address cannot be bound",
            "sudo sysctl -w net.ipv6.conf.all.disable_ipv6=0"
            if ":" in missing[0]
            else "sudo ip address add 127.0.0.1/8 dev lo",
        )
    return Finding("loopback", Verdict.OK, seen)


def firewall(machine: Machine, demand: Demand | None) -> Finding:
    """`network.allow` holds only where a packet filter may be set."""
    if demand and loopback_only(demand.bind):
        return Finding(
            "firewall", Verdict.OK, "the cache listens on loopback only: there is nothing to filter"
        )
    if machine.nftables and machine.may_filter:
        return Finding("firewall", Verdict.OK, "nftables is here and may be used")
    lacks = (
        "nftables is not installed" if not machine.nftables else "packet filters need root (CAP_NET_ADMIN)"
    )
    mend = "sudo apt-get install nftables" if not machine.nftables else ""
    if demand is None:
        return Finding(
            "firewall", Verdict.OK, f"{lacks}: network.allow would not be enforced outside loopback"
        )
    return Finding(
        "firewall",
        Verdict.WARN,
        f"{lacks}, and {demand.cache} listens on {', '.join(demand.bind) or 'every address'}",
        "network.allow is not enforced: passwords and TLS alone keep others out",
        mend,
    )


def survives_logout(machine: Machine, demand: Demand | None) -> Finding:
    """What starts the cache again at boot, and keeps it when its user logs out."""
    if not machine.systemd:
        return Finding("boot", Verdict.OK, "no systemd: after a reboot, `holdfast up` starts the cache again")
    if machine.root or machine.linger:
        return Finding("boot", Verdict.OK, "systemd keeps what this user runs after logout")
    if machine.linger is None:
        return not_read(machine, "boot", "linger")
    return Finding(
        "boot",
        Verdict.WARN,
        f"lingering is off for {machine.user}",
        "where logind is set to kill a session's processes, the cache goes down at logout",
        f"sudo loginctl enable-linger {machine.user}",
    )


def build_tools(machine: Machine, demand: Demand | None) -> Finding:
    """The compiled codec needs a compiler once; without it the same code runs interpreted."""
    if machine.compiled_codec:
        return Finding("build-tools", Verdict.OK, "the codec is compiled")
    missing = [
        name
        for name, there in (("Python.h", machine.python_headers), ("a C compiler", machine.compiler))
        if not there
    ]
    if not missing:
        return Finding("build-tools", Verdict.OK, f"Python.h and {machine.compiler} are here")
    return Finding(
        "build-tools",
        Verdict.WARN,
        f"{' and '.join(missing)} not found, and the codec is not compiled",
        "the codec runs interpreted: the same results, many times slower",
        "sudo apt-get install python3-dev gcc",
    )


RULES: tuple[Rule, ...] = (
    room.memory,
    room.disk,
    room.open_files,
    room.cores,
    overcommit,
    hugepages,
    backlog,
    swap,
    clock,
    state_folder,
    loopback,
    firewall,
    survives_logout,
    build_tools,
)


def examine(machine: Machine, demand: Demand | None = None) -> tuple[Finding, ...]:
    """All findings on `machine`, in the table's order; exact figures where `demand` is given."""
    return tuple(rule(machine, demand) for rule in RULES)
