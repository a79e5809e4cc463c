"""Whether a machine has room for a cache: memory, disk, open files, cores."""

from __future__ import annotations

from holdfast.host.finding import Finding, Verdict, not_read, readable_size
from holdfast.host.machine import RESERVED_FILES, UNLIMITED, Demand, Machine

DEFAULT_MAXCLIENTS = 10_000
"""`maxclients` of both engines, for a check-up without a spec."""
SMALL_DISK_BYTES = 1 << 30
SMALL_MEMORY_BYTES = 512 << 20
LARGER_DISK = "export HOLDFAST_STATE=/path/on/a/larger/disk"
COPIED_SHARE = 0.5
"""The part of the data that is taken to be written, and so copied, while a fork saves it. The worst case is 1."""


def memory(machine: Machine, demand: Demand | None) -> Finding:
    """All nodes full, and what a snapshot copies while clients write, must fit.

    Held against all the memory that this machine or its control group has, not against what is free this moment: a
    cache that is up already holds its own share.
    """
    usable_bytes = machine.usable_memory_bytes
    if usable_bytes is None:
        return not_read(machine, "memory", "memory_total_bytes")
    limit = machine.memory_limit_bytes
    whose = "control group's limit" if limit is not None and limit == usable_bytes else "memory"
    seen = f"{readable_size(usable_bytes)} {whose}"
    if machine.free_memory_bytes is not None:
        seen += f", {readable_size(machine.free_memory_bytes)} free now"
    if demand is None:
        if usable_bytes < SMALL_MEMORY_BYTES:
            return Finding("memory", Verdict.WARN, seen, "too little for more than a trial cache")
        return Finding("memory", Verdict.OK, seen)
    seen += f"; {demand.nodes} nodes of {readable_size(demand.maxmemory_bytes)} hold {readable_size(demand.data_bytes)} when full"
    fits_bytes = usable_bytes // max(1, demand.nodes)
    if demand.data_bytes > usable_bytes:
        return Finding(
            "memory",
            Verdict.ERROR,
            seen,
            "the kernel kills nodes before they reach maxmemory, and evicts nothing first",
            f"set memory.maxmemory to {int(fits_bytes / (1 + COPIED_SHARE)) >> 20}mb or less in the spec",
        )
    needed_bytes = (
        int(demand.data_bytes * (1 + COPIED_SHARE)) if demand.rdb or demand.aof else demand.data_bytes
    )
    if needed_bytes > usable_bytes:
        return Finding(
            "memory",
            Verdict.WARN,
            f"{seen}, {readable_size(needed_bytes)} while snapshots are taken",
            "a snapshot or rewrite under load copies what is written meanwhile (all of it at worst): nodes may be killed",
            f"set memory.maxmemory to {int(fits_bytes / (1 + COPIED_SHARE)) >> 20}mb or less in the spec",
        )
    return Finding("memory", Verdict.OK, seen)


def disk(machine: Machine, demand: Demand | None) -> Finding:
    """Snapshots and append-only files of full nodes must fit beside those that they replace."""
    folder = machine.folder
    if folder is None:
        return not_read(machine, "disk", "folder")
    seen = f"{readable_size(folder.free_bytes)} free at {folder.path}"
    if demand is None:
        if folder.free_bytes < SMALL_DISK_BYTES:
            return Finding("disk", Verdict.WARN, seen, "too little for more than a trial cache", LARGER_DISK)
        return Finding("disk", Verdict.OK, seen)
    if demand.disk_bytes == 0:
        return Finding("disk", Verdict.OK, f"{seen}; {demand.cache} keeps nothing on disk")
    seen += f"; full nodes write up to {readable_size(demand.disk_bytes)}"
    if folder.free_bytes >= demand.disk_bytes:
        return Finding("disk", Verdict.OK, seen)
    full_bytes = demand.data_bytes
    verdict = Verdict.ERROR if folder.free_bytes < full_bytes else Verdict.WARN
    return Finding(
        "disk",
        verdict,
        seen,
        "a snapshot that does not fit is given up and the node then refuses writes; "
        "an append-only file that cannot grow stops them at once",
        LARGER_DISK,
    )


def open_files(machine: Machine, demand: Demand | None) -> Finding:
    """Each client is a descriptor; the engine lowers maxclients by itself where they do not suffice."""
    hard, soft = machine.open_files_hard, machine.open_files_soft
    if hard is None or soft is None:
        return not_read(machine, "open-files", "open_files_hard")
    needed = demand.open_files if demand else DEFAULT_MAXCLIENTS + RESERVED_FILES
    nodes = demand.nodes + demand.sentinels if demand else 1
    limit_text = f"{_limit_text(soft)} soft, {_limit_text(hard)} hard"
    seen = f"limit {limit_text}; a node needs {needed} (maxclients + {RESERVED_FILES})"
    ceiling = machine.open_files_ceiling or UNLIMITED
    reachable = ceiling if machine.may_raise_limits else min(hard, ceiling)
    if machine.open_files_system is not None and machine.open_files_system < needed * nodes:
        return Finding(
            "open-files",
            Verdict.WARN,
            f"fs.file-max is {machine.open_files_system}, {nodes} nodes need {needed * nodes} together",
            "with many clients accept() fails on every program of this machine",
            f"sudo sysctl -w fs.file-max={needed * nodes * 2}",
        )
    if needed <= reachable:  # an engine raises its own soft limit up to the hard one
        return Finding("open-files", Verdict.OK, seen)
    return Finding(
        "open-files",
        Verdict.ERROR if demand else Verdict.WARN,
        seen,
        f"the engine lowers maxclients to {max(0, reachable - RESERVED_FILES)} at start and refuses clients beyond it",
        f"sudo prlimit --pid $$ --nofile={needed}:{needed}",
    )


def cores(machine: Machine, demand: Demand | None) -> Finding:
    """A throttled node stands still in the middle of a command, and looks dead to the others."""
    seen = f"{machine.cpus} cores"
    if machine.cpu_quota is not None and machine.cpu_quota < machine.cpus:
        seen += f", of which the control group grants {machine.cpu_quota:g}"
    if demand:
        seen += f"; {demand.nodes} nodes here, each busy on one"
    if machine.cpu_quota is not None and machine.cpu_quota < 1:
        return Finding(
            "cores",
            Verdict.WARN,
            seen,
            "the kernel stops every process of the group for the rest of each 100 ms period: "
            "latency of tens of milliseconds, and with a short node timeout false failovers",
            "raise the CPU limit of this container or unit to 1 core or more",
        )
    return Finding("cores", Verdict.OK, seen)


def _limit_text(limit: int) -> str:
    return "unlimited" if limit >= UNLIMITED else str(limit)
