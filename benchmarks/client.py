"""What the applications' library costs, against every peer that is installed, all in turn within one run.

`make peers` installs the peers. Each figure is the median of its rounds; the rounds of all candidates alternate, so that
a busy moment of the machine falls on all of them. A candidate that fails is named with its error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.client_hits import HITS
from benchmarks.client_rounds import Candidate, Measured, in_rounds
from benchmarks.client_servers import (
    ASYNC_L2,
    BATCH_OURS,
    BATCH_OURS_JSON,
    BATCH_RAW,
    BATCH_RAW_JSON,
    MANY,
    SYNC_L2,
)
from benchmarks.client_two_tiers import GET_OR_LOAD, LAG
from benchmarks.machine import this_machine
from benchmarks.results import Section, table
from benchmarks.workshop import CommandFailed, say
from holdfast.engine.build import EngineBuild
from holdfast.testing import private_server

NAME = "client"
ENGINES = ("valkey-9.1", "redis-7.0")
ROUNDS = 5
Columns = Mapping[str, Mapping[str, Measured]]
"""By engine and candidate."""


@dataclass(frozen=True)
class Target:
    """What is asked of one of our rows. `than`: the peers that it is compared with, the best of them; none: `bound` is absolute."""

    row: str
    bound: float
    than: tuple[str, ...] = ()
    high: bool = False
    """Whether the 99th percentile is meant, not the value."""


@dataclass(frozen=True)
class Group:
    """Candidates for one task, and what is asked of ours."""

    name: str
    title: str
    unit: str
    candidates: tuple[Candidate, ...]
    operations: int
    """In one round."""
    targets: tuple[Target, ...]
    smaller_is_better: bool = True


GROUPS = {
    group.name: group
    for group in (
        Group(
            "hits",
            "a hit in the process's own memory",
            "ns",
            HITS,
            20_000,
            (
                Target("holdfast, ready key", 150),
                Target("holdfast, key built from its fields", 400),
                Target("holdfast asyncio, ready key", 250),
            ),
        ),
        Group(
            "get",
            "GET from the server, one blocking caller",
            "us",
            SYNC_L2,
            2_000,
            (Target("holdfast", 1.15, ("redis-py",)),),
        ),
        Group(
            "callers",
            "GET from the server, 50 asyncio callers",
            "/s",
            ASYNC_L2,
            20_000,
            (
                Target("holdfast", 7, ("redis-py, pool of 50",)),
                Target("holdfast", 3.5, ("valkey-glide",)),
            ),
            False,
        ),
        Group(
            "batch",
            "100 keys at once",
            "us",
            MANY,
            300,
            (Target(BATCH_OURS, 1.2, (BATCH_RAW,)), Target(BATCH_OURS_JSON, 1.2, (BATCH_RAW_JSON,))),
        ),
        Group(
            "get-or-load",
            "get-or-load with 99 % hits",
            "/s",
            GET_OR_LOAD,
            20_000,
            (
                Target("holdfast, two tiers, coherent", 200_000),
                Target(
                    "holdfast, two tiers, coherent",
                    5,
                    ("dogpile.cache on redis", "cashews client-side", "aiocache redis"),
                ),
            ),
            False,
        ),
        Group(
            "lag",
            "from another client's write to the value being gone here",
            "us, p50 / p99",
            LAG,
            400,
            (Target("holdfast", 1000, high=True),),
        ),
    )
}


def run(at_hand: dict[str, EngineBuild], wanted: Sequence[str], *, quick: bool, part: str) -> Section:
    """Measure one group on each engine, and write its table and what became of its targets."""
    machine = this_machine()
    names = [name for name in (wanted or ENGINES) if name in at_hand]
    if not names:
        raise CommandFailed("no engine is at hand")
    group, rounds = GROUPS[part], 2 if quick else ROUNDS
    columns: dict[str, dict[str, Measured]] = {}
    with _pinned():
        for name in names:
            with private_server(at_hand[name].command) as server:
                _pin_server(server.pid)
                say(f"{group.title}, {name}")
                operations = max(50, group.operations // (10 if quick else 1))
                columns[name] = in_rounds(group.candidates, server.url, operations, rounds, group.unit)
    rows = [
        [candidate.name, *(_cell(columns[name], candidate, group) for name in names)]
        for candidate in group.candidates
    ]
    text = [
        f"{machine}. Server on one core, clients on another where the machine has two. {rounds} rounds, all candidates in "
        f"turn in each; medians of {group.unit}, and in brackets how many times worse than the first row. Values of 100 "
        "bytes, 1,000 keys.",
        "",
        table(["candidate", *names], rows),
        "",
        table(["target", *names], [_verdicts(target, group, columns, names) for target in group.targets]),
    ]
    return Section(f"{NAME}-{part}", f"The applications' library: {group.title}", "\n".join(text))


def _verdicts(target: Target, group: Group, columns: Columns, names: Sequence[str]) -> list[str]:
    told = f"{target.row}: "
    if target.than:
        best = target.than[0] if len(target.than) == 1 else "the best of the others"
        told += f"{target.bound:g} x {best}" + (" or less" if group.smaller_is_better else " or more")
    else:
        told += f"{target.bound:,g} {'us' if 'p99' in group.unit else group.unit}{' by p99' if target.high else ''}"
    return [told, *(_verdict(target, group, columns[name]) for name in names)]


def _verdict(target: Target, group: Group, measured: Mapping[str, Measured]) -> str:
    own = measured[target.row]
    value = own.high if target.high else own.value
    peers = [measured[name].value for name in target.than if not measured[name].failed]
    if own.failed or value is None or (target.than and not peers):
        return "not measured"
    best: Callable[[list[float]], float] = min if group.smaller_is_better else max
    reached = value / best(peers) if peers else value
    met = reached <= target.bound if group.smaller_is_better else reached >= target.bound
    return f"{'met' if met else '**not met**'} ({reached:,.{2 if peers else 0}f})"


def _cell(measured: Mapping[str, Measured], candidate: Candidate, group: Group) -> str:
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


@contextmanager
def _pinned() -> Iterator[None]:
    """Clients on the first core, so that no candidate's threads help it more than another's."""
    cores = os.sched_getaffinity(0) if sys.platform == "linux" else set()
    try:
        if len(cores) > 1:
            os.sched_setaffinity(0, {min(cores)})
        yield
    finally:
        if len(cores) > 1:
            os.sched_setaffinity(0, cores)


def _pin_server(pid: int) -> None:
    count = os.cpu_count() or 1
    if count > 1:
        os.sched_setaffinity(pid, {count - 1})
