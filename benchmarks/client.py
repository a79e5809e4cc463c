"""What the applications' library costs, against every peer that is installed, all in turn within one run.

`make peers` installs the peers. Each figure is the median of its rounds; the rounds of all candidates alternate, so that
a busy moment of the machine falls on all of them. A candidate that fails is named with its error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.client_candidates import ASYNC_L2, GET_OR_LOAD, HITS, LAG, MANY, SYNC_L2
from benchmarks.client_rounds import Candidate, Measured, in_rounds
from benchmarks.machine import this_machine
from benchmarks.results import Section, table
from benchmarks.workshop import CommandFailed, say
from holdfast.engine.build import EngineBuild
from holdfast.testing import private_server

NAME = "client"
ENGINES = ("valkey-9.1", "redis-7.0")


@dataclass(frozen=True)
class Group:
    """Candidates for one task, and what is asked of ours."""

    title: str
    unit: str
    candidates: tuple[Candidate, ...]
    operations: int
    """In one round."""
    smaller_is_better: bool = True


GROUPS = (
    Group(
        "A hit in the process's own memory (target: 150 ns, asyncio 250 ns, key built from fields 400 ns)",
        "ns",
        HITS,
        20_000,
    ),
    Group("GET from the server, one blocking caller (target: within 15 % of redis-py)", "us", SYNC_L2, 2_000),
    Group(
        "GET from the server, 50 asyncio callers (target: 7 x redis-py's pool, 3.5 x glide)",
        "/s",
        ASYNC_L2,
        20_000,
        False,
    ),
    Group("100 keys at once (target: within 20 % of raw hiredis)", "us", MANY, 300),
    Group(
        "get-or-load with 99 % hits (target: 200,000/s, 5 x the best framework)",
        "/s",
        GET_OR_LOAD,
        5_000,
        False,
    ),
    Group(
        "From another client's write to the value being gone here (target: p99 1 ms)",
        "us, p50 / p99",
        LAG,
        400,
    ),
)


def run(at_hand: dict[str, EngineBuild], wanted: Sequence[str], *, quick: bool) -> Section:
    """Measure on each engine, and write one table per task."""
    machine = this_machine()
    names = [name for name in (wanted or ENGINES) if name in at_hand]
    if not names:
        raise CommandFailed("no engine is at hand")
    _pin()
    rounds = 2 if quick else 7
    text = [
        f"{machine}. Servers on one core, clients on another where the machine has two. {rounds} rounds, all candidates in "
        f"turn in each; medians, and in brackets the ratio to the first row. Values of 100 bytes, 1,000 keys."
    ]
    for group in GROUPS:
        columns: dict[str, dict[str, Measured]] = {}
        for name in names:
            with private_server(at_hand[name].command) as server:
                _pin_server(server.pid)
                say(f"{group.title.partition(' (')[0]}, {name}")
                operations = max(50, group.operations // (10 if quick else 1))
                columns[name] = in_rounds(group.candidates, server.url, operations, rounds, group.unit)
        rows = [
            [candidate.name, *(_cell(columns[name], candidate, group) for name in names)]
            for candidate in group.candidates
        ]
        text += ["", f"**{group.title}**, {group.unit}", "", table(["candidate", *names], rows)]
    return Section(NAME, "The applications' library", "\n".join(text))


def _cell(measured: dict[str, Measured], candidate: Candidate, group: Group) -> str:
    own = measured[candidate.name]
    if own.failed:
        return f"failed: {own.failed[:60]}"
    first = measured[group.candidates[0].name]
    digits = 0 if own.value >= 100 else 1
    shown = f"{own.value:,.{digits}f}" + (f" / {own.high:,.{digits}f}" if own.high is not None else "")
    if first.failed or not own.value or candidate is group.candidates[0]:
        return shown
    ratio = own.value / first.value if group.smaller_is_better else first.value / own.value
    return f"{shown} ({ratio:.1f})"


def _pin() -> None:
    """Clients on the first core, so that no candidate's threads help it more than another's."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1 and sys.platform == "linux":
        os.sched_setaffinity(0, {cores[0]})


def _pin_server(pid: int) -> None:
    count = os.cpu_count() or 1
    if count > 1:
        os.sched_setaffinity(pid, {count - 1})
