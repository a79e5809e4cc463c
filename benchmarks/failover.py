"""How long a shard takes no writes when its primary dies, hangs or is switched, as its clients see it.

One benchmark for each topology and engine: `python -m benchmarks failover-cluster-valkey-9.1 --kills 300`. The engine
alone, without Holdfast's supervisor, is measured beside it on the same nodes.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.failover_rig import CACHE, CLIENTS, REPLICAS, Rig, Shard
from benchmarks.machine import this_machine
from benchmarks.results import Section, percentile, table
from benchmarks.workshop import CommandFailed, say, workshop
from holdfast.engine.build import EngineBuild
from holdfast.spec.topology import TopologySpec

MODES = tuple(REPLICAS)
ENGINES = ("valkey-9.1", "valkey-8.0", "redis-7.0", "redis-8.0")
KILLS, QUICK_KILLS = 30, 2
HALTS_IN_KILLS, SWITCHES_IN_KILLS, ALONE = 10, 2, 3
"""One halt for so many kills, one switchover for so many; runs of the engine alone."""
MOST_HALTS, MOST_SWITCHES = 20, 100
BEFORE_S, AFTER_S = 0.4, 0.2
"""How long clients write before and after."""
BACK_BOUND_S = 60.0
HALT_TARGET_MS = 2000.0
NODE_TIMEOUT_S = TopologySpec().node_timeout_ms / 1000


class NotAtHand(RuntimeError):
    """There is nothing to measure."""


@dataclass(frozen=True)
class Pause:
    """What the clients of one shard saw of one event, in milliseconds from it."""

    first_ms: float
    """Until the first of them had a write acknowledged by another node; of a switchover, the shortest pause."""
    last_ms: float
    """Until the last of them had; of a switchover, the longest pause."""
    acknowledged: int
    lost: int


@dataclass
class Row:
    """All events of one kind on one engine."""

    engine: str
    version: str
    what: str
    target_ms: float | None
    pauses: list[Pause] = field(default_factory=list)
    not_back: int = 0
    """Events after which not every client was served again within the bound."""
    by_last: bool = False
    """Judged by the client that waited longest, as a pause without a fault is; else by the first that was served."""

    def cells(self) -> list[str]:
        """The row of the table."""
        first = [pause.first_ms for pause in self.pauses]
        last = [pause.last_ms for pause in self.pauses]
        judged = last if self.by_last else first
        lost = sum(pause.lost for pause in self.pauses)
        return [
            self.what,
            str(len(self.pauses) + self.not_back),
            *(
                f"{percentile(first, each):.0f}" if first and not self.by_last else ""
                for each in (50, 99, 100)
            ),
            *(f"{percentile(last, each):.0f}" if last else "" for each in (50, 99, 100)),
            f"{lost} of {sum(pause.acknowledged for pause in self.pauses):,}",
            _judged(judged, self.target_ms, self.not_back),
        ]


def _judged(values: Sequence[float], target_ms: float | None, not_back: int) -> str:
    if not_back:
        return f"**{not_back} not served again in {BACK_BOUND_S:g} s**"
    if target_ms is None or not values:
        return ""
    met = percentile(values, 99) < target_ms
    return f"p99 < {target_ms:g} ms: {'met' if met else '**not met**'}"


def kill_target_ms(engine: str, mode: str) -> float:
    """What the 99th percentile is to stay under."""
    if mode == "sentinel":
        return 400.0
    return 300.0 if mode == "cluster" and engine.startswith("redis") else 100.0


def run(
    at_hand: dict[str, EngineBuild],
    wanted: Sequence[str],
    *,
    mode: str,
    engine: str,
    quick: bool,
    kills: int | None = None,
) -> Section:
    """Measure one engine in one topology.

    Raises: NotAtHand when the engine is not there, or not among those wanted.
    """
    if engine not in at_hand or engine not in (wanted or ENGINES):
        raise NotAtHand(engine)
    machine = this_machine()
    rows: list[Row] = []
    failed: list[str] = []
    version = at_hand[engine].version_text
    try:
        with workshop() as shop, contextlib.closing(Rig.made(shop, engine, mode)) as rig:
            _measure(
                rig, engine, version, kills or (QUICK_KILLS if quick else KILLS), 1 if quick else ALONE, rows
            )
    except CommandFailed as broken:  # what was measured before it stands
        say(f"{engine}: {broken}")
        failed.append(f"- **broken off**: {broken}")
    return Section(
        f"failover-{mode}-{engine}",
        f"Failover: {mode}, {engine} ({version})",
        "\n".join([*_head(str(machine), mode), _table(rows), *failed]),
    )


def _measure(rig: Rig, engine: str, version: str, kills: int, alone: int, rows: list[Row]) -> None:
    def row(what: str, target_ms: float | None, *, by_last: bool = False) -> Row:
        rows.append(Row(engine, version, what, target_ms, by_last=by_last))
        return rows[-1]

    switch_target_ms = 50.0 if rig.mode == "cluster" else 100.0
    for made, count, act in (
        (row("kill -9", kill_target_ms(engine, rig.mode)), kills, _kill),
        (row("SIGSTOP", HALT_TARGET_MS), _one_in(kills, HALTS_IN_KILLS, MOST_HALTS), _halt),
        (row("`holdfast switchover`", switch_target_ms, by_last=True), _one_in(kills, SWITCHES_IN_KILLS, MOST_SWITCHES), _switch),
    ):  # fmt: skip
        for number in range(count):
            _one(rig, made, number, act)
            rig.await_whole()
    if rig.mode == "replicated":
        return  # alone, nobody promotes anybody
    made = row("kill -9, the engine alone", None)
    for number in range(alone):
        _one(rig, made, number, _kill_alone)
        rig.shop.holdfast("up", CACHE)
        rig.await_whole()


def _one(rig: Rig, row: Row, number: int, act: Callable[[Rig, Shard], float]) -> None:
    shards = rig.shards()
    shard = shards[number % len(shards)]
    rig.await_steady(shard)
    working = rig.clients
    with working.at_work(shard):
        time.sleep(BEFORE_S)
        at_s = act(rig, shard)
        back = working.await_all(BACK_BOUND_S)
        time.sleep(AFTER_S)
        seen = working.ended()
    firsts = [each.first_after(at_s, not_by=shard.primary) for each in seen]
    if not back or None in firsts:
        row.not_back += 1
        say(f"{row.engine} {row.what}: not every client was served again within {BACK_BOUND_S:g} s")
        return
    lost = working.lost(seen)
    if row.by_last:
        waited = [each.longest_gap_s for each in seen]
    else:
        waited = [first - at_s for first in firsts if first is not None]
    acknowledged = sum(len(each.acknowledged) for each in seen)
    row.pauses.append(Pause(min(waited) * 1000, max(waited) * 1000, acknowledged, lost))
    pause = row.pauses[-1]
    say(
        f"{row.engine} {row.what} {number + 1}, {shard.primary}: first {pause.first_ms:.0f} ms, last {pause.last_ms:.0f} ms"
        + (f", {lost} lost" if lost else "")
    )


def _one_in(kills: int, each: int, most: int) -> int:
    return min(most, max(1, kills // each))


def _kill(rig: Rig, shard: Shard) -> float:
    at_s = time.monotonic()
    os.kill(shard.pid, signal.SIGKILL)
    return at_s


def _kill_alone(rig: Rig, shard: Shard) -> float:
    pid = rig.supervisor_pid()
    rig.shop.holdfast("supervisor", "stop")
    _gone(pid)
    return _kill(rig, shard)


def _halt(rig: Rig, shard: Shard) -> float:
    at_s = time.monotonic()
    os.kill(shard.pid, signal.SIGSTOP)
    return at_s


def _switch(rig: Rig, shard: Shard) -> float:
    at_s = time.monotonic()
    rig.shop.holdfast("switchover", CACHE, shard.primary)
    return at_s


def _gone(pid: int, bound_s: float = 10.0) -> None:
    end = time.monotonic() + bound_s
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)
    raise CommandFailed(f"the supervisor (pid {pid}) did not end within {bound_s:g} s")


def _head(machine: str, mode: str) -> list[str]:
    asked = "the node that sentinels name" if mode == "sentinel" else "the shard's next node"
    shape = "3 shards x 2 nodes" if mode == "cluster" else f"1 primary, {REPLICAS[mode]} replicas"
    return [
        f"{machine}.",
        "",
        f"A cache of {shape} on one machine (AOF everysec, no TLS, the node timeout of {NODE_TIMEOUT_S:g} s that a spec has by itself); "
        f"{CLIENTS} clients in a process of their own, each with one connection, append unique ids to the shard's lists all "
        f"4 ms, and where a write fails try {asked} at once. Milliseconds from the signal to a write that "
        "another node acknowledged: *first*, of the first client; *last*, of the last. Of a switchover: the longest gap "
        "between two acknowledged writes of the client that had the longest. *Lost*: acknowledged writes (without WAIT) that "
        "were not in the lists afterwards. Before each, the cache was whole, and the node had run for more than 5 s. *The engine "
        "alone*: the same nodes without the supervisor"
        + (
            "; nobody promotes a replica of a replicated cache then, so there is nothing to measure."
            if mode == "replicated"
            else "."
        ),
        "",
    ]


def _table(rows: Sequence[Row]) -> str:
    columns = [
        "what",
        "runs",
        "first p50",
        "p99",
        "max",
        "last p50",
        "p99",
        "max",
        "lost",
        "target",
    ]
    return table(columns, [row.cells() for row in rows])
