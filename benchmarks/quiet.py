"""What the supervisor does when nothing is wrong: no failover under full load, and next to no work.

Full load: on each primary pipelines of SETs without pause, so that both cores are taken, and a BGSAVE again and again.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass

import psutil
import redis

from benchmarks.failover import ENGINES, NotAtHand
from benchmarks.failover_rig import CACHE, Rig, Shard, keys_in
from benchmarks.machine import this_machine
from benchmarks.results import Section, table
from benchmarks.workshop import ROOT, CommandFailed, say, workshop
from holdfast.engine.build import EngineBuild

NAME = "quiet"
LOAD_S, QUICK_LOAD_S = 600.0, 10.0
IDLE_S, QUICK_IDLE_S = 60.0, 5.0
SAVE_EVERY_S = 30.0
TARGET_PERCENT = 0.5
NEEDLESS = frozenset({"killed", "ended", "failover", "lost", "refused", "restarted", "failed", "not started"})
"""Kinds of events that nothing but a fault may cause."""


@dataclass(frozen=True)
class Measured:
    """One engine."""

    engine: str
    version: str
    idle_percent: float
    """Of one core, taken by the supervisor while no client worked."""
    busy_percent: float
    """The same under full load."""
    load_s: float
    requests: int
    saves: int
    events: tuple[str, ...]
    """Kinds of what happened under load and should not have."""


def run(at_hand: dict[str, EngineBuild], wanted: Sequence[str], *, engine: str, quick: bool) -> Section:
    """Measure one engine. Raises: NotAtHand when it is not there, or not among those wanted."""
    if engine not in at_hand or engine not in (wanted or ENGINES):
        raise NotAtHand(engine)
    machine = this_machine()
    load_s = QUICK_LOAD_S if quick else LOAD_S
    idle_s = QUICK_IDLE_S if quick else IDLE_S
    version = at_hand[engine].version_text
    with workshop() as shop, closing(Rig.made(shop, engine, "cluster")) as rig:
        measured = _measure(rig, engine, version, idle_s, load_s)
    say(
        f"{engine}: idle {measured.idle_percent:.2f} %, under load {measured.busy_percent:.2f} %, {measured.events}"
    )
    text = [
        f"{machine}.",
        "",
        f"The supervisor of a cluster of 3 shards x 2 nodes, {idle_s:g} s without clients, then {load_s:g} s with pipelines of "
        f"SETs without pause on every primary and a BGSAVE on each all {SAVE_EVERY_S:g} s. *Events*: nodes taken for dead, "
        "failovers and restarts in that time, of which there should be none.",
        "",
        table(
            ["engine", "idle, % of a core", f"target < {TARGET_PERCENT} %", "under load, %", "requests/s", "BGSAVEs", "events (target: none)"],
            [_cells(measured)],
        ),
    ]  # fmt: skip
    title = f"The supervisor when nothing is wrong: {engine} ({version})"
    return Section(f"{NAME}-{engine}", title, "\n".join(text))


def _cells(each: Measured) -> list[str]:
    return [
        f"{each.engine} ({each.version})",
        f"{each.idle_percent:.2f}",
        "met" if each.idle_percent < TARGET_PERCENT else "**not met**",
        f"{each.busy_percent:.2f}",
        f"{each.requests / each.load_s:,.0f}",
        str(each.saves),
        ", ".join(each.events) or "none",
    ]


def _measure(rig: Rig, engine: str, version: str, idle_s: float, load_s: float) -> Measured:
    rig.await_whole()
    shards = rig.shards()
    supervisor = psutil.Process(rig.supervisor_pid())
    idle = _percent(supervisor, idle_s)
    before = len(_events(rig))
    saves = 0
    with _load(rig, shards) as requests:
        began_s, used_s = time.monotonic(), _cpu_s(supervisor)
        while time.monotonic() - began_s < load_s:
            for shard in shards:
                with suppress(redis.RedisError), rig.operator(shard) as node:  # one is under way already
                    node.bgsave()
                    saves += 1
            time.sleep(min(SAVE_EVERY_S, load_s / 2))
        took_s = time.monotonic() - began_s
        busy = (_cpu_s(supervisor) - used_s) / took_s * 100
        count = requests()
    found = tuple(kind for kind in _events(rig)[before:] if kind in NEEDLESS)
    return Measured(engine, version, idle, busy, took_s, count, saves, found)


def _events(rig: Rig) -> list[str]:
    return [each["kind"] for each in rig.shop.holdfast("events", CACHE, "--json", "--last", "1000").facts]


def _percent(process: psutil.Process, for_s: float) -> float:
    began_s, used_s = time.monotonic(), _cpu_s(process)
    time.sleep(for_s)
    return (_cpu_s(process) - used_s) / (time.monotonic() - began_s) * 100


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


class _Requests:
    """The load's processes; called, it ends them and returns how many requests were answered."""

    def __init__(self, processes: list[subprocess.Popen[str]]) -> None:
        self._processes = processes

    def __call__(self) -> int:
        for process in self._processes:
            process.terminate()
        total = 0
        for process in self._processes:
            out, _ = process.communicate(timeout=60)
            if process.returncode:
                raise CommandFailed("the load ended with a failure; its words are above")
            total += int(out)
        return total


@contextmanager
def _load(rig: Rig, shards: Sequence[Shard]) -> Iterator[_Requests]:
    processes = []
    try:
        for shard in shards:
            _, host, port = shard.nodes[0]
            (prefix,) = keys_in(shard.slots, 1)
            words = [host, str(port), rig.profile.user, str(rig.profile.password_file), prefix]
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "benchmarks.failover_load", *words],
                    cwd=ROOT,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
        yield _Requests(processes)
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
            process.wait(timeout=30)
