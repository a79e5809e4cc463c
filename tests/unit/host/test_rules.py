"""Findings by table: what each machine draws, and that each names its cost and a command."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.host.finding import Finding, Verdict, readable_size, worst
from holdfast.host.machine import UNLIMITED, Clock, Demand, Folder, Machine
from holdfast.host.rules import RULES, examine

GB = 1 << 30

GOOD = Machine(
    platform="linux",
    kernel="6.1.0",
    user="ops",
    cpus=8,
    overcommit_memory=1,
    commit_free_bytes=64 * GB,
    transparent_hugepages="madvise",
    somaxconn=4096,
    open_files_soft=1024,
    open_files_hard=524288,
    open_files_system=UNLIMITED,
    open_files_ceiling=1048576,
    memory_total_bytes=64 * GB,
    memory_available_bytes=60 * GB,
    swap_total_bytes=0,
    swap_used_bytes=0,
    swappiness=60,
    clock=Clock(True, "chrony", 12.0, 0.0, 0.2),
    folder=Folder(
        "/home/ops/.local/state/holdfast", "/home", "ext4", 500 * GB, noexec=False, read_only=False
    ),
    ipv4_loopback=True,
    ipv6_loopback=True,
    systemd=True,
    linger=True,
    nftables=True,
    may_filter=True,
    python_headers=True,
    compiler="cc",
)
PHONEBILL = Demand(
    cache="phonebill",
    nodes=6,
    sentinels=0,
    maxmemory_bytes=5 * GB,
    maxclients=10000,
    backlog=511,
    rdb=True,
    aof=True,
    bind=("0.0.0.0",),
    allow=("10.0.1.0/24",),
)
FOLDER = GOOD.folder
assert FOLDER is not None


def finding(id: str, machine: Machine, demand: Demand | None = PHONEBILL) -> Finding:
    return next(found for found in examine(machine, demand) if found.id == id)


def test_a_good_machine_is_passed_with_and_without_a_spec() -> None:
    for demand in (None, PHONEBILL):
        assert {found.verdict for found in examine(GOOD, demand)} == {Verdict.OK}


@pytest.mark.parametrize(
    ("id", "machine", "verdict", "says"),
    [
        ("overcommit", replace(GOOD, overcommit_memory=0), Verdict.WARN, "refuse the fork"),
        ("overcommit", replace(GOOD, overcommit_memory=2), Verdict.WARN, "strict"),
        ("overcommit", replace(GOOD, overcommit_memory=2, commit_free_bytes=59 * GB), Verdict.ERROR, "60.0 GB"),
        ("hugepages", replace(GOOD, transparent_hugepages="always"), Verdict.WARN, "2 MiB"),
        ("hugepages", replace(GOOD, transparent_hugepages="never"), Verdict.OK, "never"),
        ("backlog", replace(GOOD, somaxconn=128), Verdict.WARN, "128, the nodes' backlog 511"),
        ("backlog", replace(GOOD, somaxconn=511), Verdict.OK, "511"),
        ("swap", replace(GOOD, swap_total_bytes=GB), Verdict.WARN, "swappiness 60"),
        ("swap", replace(GOOD, swap_total_bytes=GB, swappiness=10), Verdict.OK, "swappiness 10"),
        ("clock", replace(GOOD, clock=Clock(False, "chrony", 0.0, 0.0, 0.2)), Verdict.WARN, "not synchronised"),
        ("clock", replace(GOOD, clock=Clock(True, "chrony", 0.0, -1.5, 0.2)), Verdict.ERROR, "-1.500 s"),
        ("clock", replace(GOOD, clock=Clock(None, "", 399.5, 0.0, 0.2)), Verdict.OK, "steered by +399.5 ppm"),
        ("clock", replace(GOOD, clock=Clock(None, "", 0.5, 0.0, 0.2)), Verdict.UNKNOWN, "no time service"),
        ("clock", replace(GOOD, clock=Clock(None, "", None, 0.0, 0.0)), Verdict.UNKNOWN, "no time service"),
        ("memory", replace(GOOD, memory_total_bytes=30 * GB - 1), Verdict.ERROR, "kills nodes"),
        ("memory", replace(GOOD, memory_total_bytes=30 * GB), Verdict.WARN, "45.0 GB while snapshots"),
        ("memory", replace(GOOD, memory_total_bytes=45 * GB), Verdict.OK, "30.0 GB when full"),
        ("memory", replace(GOOD, memory_limit_bytes=8 * GB), Verdict.ERROR, "control group's limit"),
        ("disk", replace(GOOD, folder=replace(FOLDER, free_bytes=90 * GB)), Verdict.OK, "90.0 GB"),
        ("disk", replace(GOOD, folder=replace(FOLDER, free_bytes=90 * GB - 1)), Verdict.WARN, "refuses writes"),
        ("disk", replace(GOOD, folder=replace(FOLDER, free_bytes=30 * GB - 1)), Verdict.ERROR, "refuses writes"),
        ("open-files", replace(GOOD, open_files_hard=10032), Verdict.OK, "10032"),
        ("open-files", replace(GOOD, open_files_hard=4096), Verdict.ERROR, "lowers maxclients to 4064"),
        ("open-files", replace(GOOD, open_files_hard=4096, may_raise_limits=True), Verdict.OK, "4096 hard"),
        ("open-files", replace(GOOD, open_files_ceiling=4096), Verdict.ERROR, "lowers maxclients to 4064"),
        ("open-files", replace(GOOD, open_files_system=60000), Verdict.WARN, "6 nodes need 60192"),
        ("cores", replace(GOOD, cpu_quota=0.5), Verdict.WARN, "grants 0.5"),
        ("cores", replace(GOOD, cpu_quota=2.0), Verdict.OK, "grants 2"),
        ("state-folder", replace(GOOD, folder=replace(FOLDER, noexec=True)), Verdict.WARN, "noexec"),
        ("state-folder", replace(GOOD, folder=replace(FOLDER, read_only=True)), Verdict.ERROR, "read-only"),
        ("state-folder", replace(GOOD, folder=replace(FOLDER, filesystem="tmpfs")), Verdict.WARN, "in memory"),
        ("state-folder", replace(GOOD, folder=replace(FOLDER, filesystem="nfs4")), Verdict.WARN, "network"),
        ("loopback", replace(GOOD, ipv6_loopback=False), Verdict.OK, "IPv4"),
        ("loopback", replace(GOOD, ipv4_loopback=False), Verdict.ERROR, "0.0.0.0"),
        ("loopback", replace(GOOD, ipv4_loopback=False, ipv6_loopback=False), Verdict.ERROR, "nothing"),
        ("firewall", replace(GOOD, may_filter=False), Verdict.WARN, "not enforced"),
        ("firewall", replace(GOOD, nftables=False), Verdict.WARN, "not installed"),
        ("boot", replace(GOOD, linger=False), Verdict.WARN, "logout"),
        ("boot", replace(GOOD, systemd=False, linger=None), Verdict.OK, "no systemd"),
        ("boot", replace(GOOD, linger=False, root=True), Verdict.OK, "keeps"),
        ("build-tools", replace(GOOD, python_headers=False), Verdict.WARN, "Python.h"),
        ("build-tools", replace(GOOD, compiler="", compiled_codec=True), Verdict.OK, "compiled"),
    ],
)  # fmt: skip
def test_each_fact_is_weighed_against_the_cache(
    id: str, machine: Machine, verdict: Verdict, says: str
) -> None:
    found = finding(id, machine)
    assert found.verdict is verdict
    assert says in f"{found.seen} {found.cost}"
    if verdict in {Verdict.WARN, Verdict.ERROR}:
        assert found.cost


@pytest.mark.parametrize(
    ("id", "fields"),
    [
        ("overcommit", {"overcommit_memory": None}),
        ("hugepages", {"transparent_hugepages": None}),
        ("backlog", {"somaxconn": None}),
        ("swap", {"swap_total_bytes": None}),
        ("clock", {"clock": None}),
        ("memory", {"memory_total_bytes": None}),
        ("disk", {"folder": None}),
        ("state-folder", {"folder": None}),
        ("open-files", {"open_files_hard": None}),
        ("loopback", {"ipv4_loopback": None, "ipv6_loopback": None}),
        ("boot", {"linger": None}),
    ],
)
def test_what_could_not_be_read_is_never_passed(id: str, fields: dict[str, None]) -> None:
    machine = replace(GOOD, unread=dict.fromkeys(fields, "/proc/x: Permission denied"), **fields)  # type: ignore[arg-type]
    found = finding(id, machine)
    assert found.verdict is Verdict.UNKNOWN
    assert found.cost


def test_a_command_mends_what_settings_break() -> None:
    bad = replace(
        GOOD, overcommit_memory=0, transparent_hugepages="always", somaxconn=128, swap_total_bytes=GB,
        open_files_hard=1024, clock=Clock(False, "timedatectl", 0.0, 0.0, 0.2), linger=False,
    )  # fmt: skip
    mends = {found.id: found.mend for found in examine(bad, PHONEBILL) if found.verdict is not Verdict.OK}
    assert mends["overcommit"] == (
        "sudo sh -c 'echo vm.overcommit_memory=1 > /etc/sysctl.d/60-holdfast-overcommit-memory.conf"
        " && sysctl -p /etc/sysctl.d/60-holdfast-overcommit-memory.conf'"
    )
    assert mends["open-files"] == "sudo prlimit --pid $$ --nofile=10032:10032"
    assert all("\n" not in mend and mend for mend in mends.values())
    assert set(mends) == {"overcommit", "hugepages", "backlog", "swap", "open-files", "clock", "boot"}


def test_without_a_spec_no_finding_speaks_of_one() -> None:
    for found in examine(replace(GOOD, may_filter=False, open_files_hard=1024), None):
        assert found.verdict is not Verdict.ERROR
        assert "phonebill" not in found.seen


def test_a_cache_that_keeps_nothing_needs_no_disk() -> None:
    assert finding("disk", GOOD, replace(PHONEBILL, rdb=False, aof=False)).verdict is Verdict.OK
    assert replace(PHONEBILL, aof=False).disk_bytes == 60 * GB
    assert PHONEBILL.disk_bytes == 90 * GB


def test_ids_are_those_of_the_table_and_told_once() -> None:
    ids = [found.id for found in examine(GOOD, PHONEBILL)]
    assert len(ids) == len(set(ids)) == len(RULES)


def test_the_gravest_verdict_counts() -> None:
    def all_of(*verdicts: Verdict) -> tuple[Finding, ...]:
        return tuple(Finding("x", verdict, "") for verdict in verdicts)

    assert worst(()) is Verdict.OK
    assert worst(all_of(Verdict.WARN, Verdict.OK, Verdict.UNKNOWN)) is Verdict.WARN
    assert worst(all_of(Verdict.ERROR, Verdict.WARN)) is Verdict.ERROR


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KB"), (5 * GB, "5.0 GB"), (5000 * GB, "4.9 TB")],
)
def test_sizes_for_people(count: int, text: str) -> None:
    assert readable_size(count) == text


def test_the_documentation_names_every_rule_and_no_other() -> None:
    page = (Path(__file__).parents[3] / "docs" / "doctor.md").read_text(encoding="utf-8")
    rows = page.partition("## What is looked at")[2].partition("##")[0]
    named = re.findall(r"^\| `([a-z-]+)` \|", rows, re.MULTILINE)
    assert named == [found.id for found in examine(GOOD)]
