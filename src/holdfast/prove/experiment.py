"""An experiment of failure: a steady cache, patient clients, something done to it, and what they saw and kept of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from holdfast.errors import HoldfastError
from holdfast.load.patience import Ledger, patient_clients, settle_accounts
from holdfast.prove.check import Measured
from holdfast.prove.stage import Stage
from holdfast.prove.votes import voted_at, wait_s
from holdfast.spec.persistence import WritePromise
from holdfast.spec.topology import Mode
from holdfast.topology.health import problems
from holdfast.topology.live import LiveCache
from holdfast.topology.seen import SeenCache, SeenNode, SeenShard

WARM_UP_S = 1.0
AFTER_S = 1.0
"""Clients go on for so long once the cache is whole: whoever has no write acknowledged by then is not served."""
WHOLE_BOUND_S = 90.0
LOOK_EVERY_S = 0.1
STEADY_S = 0.6
HOMING_S = 4.5
"""Longer than the supervisor waits before it switches a primary home."""
STEADY_BOUND_S = 40.0
LONGEST_PAUSE_S = 120.0
SWITCHED = "switched"
"""Under this name: primaries that a check has switched away from, and when."""
GAPS = "gaps"
"""Under this name the worst gap of each kind of failure is shared with `promise`."""

Do = Callable[[SeenCache], Awaitable[dict[str, Any]]]


class NotWhole(HoldfastError):
    """The cache did not become whole again, or was not to begin with."""


def live_of(stage: Stage) -> LiveCache:
    """The cache that disruptive checks work on. Raises: HoldfastError for a URL."""
    if stage.live is None:
        raise HoldfastError("Holdfast did not start this cache, so nothing of it is killed")
    return stage.live


async def whole(stage: Stage, bound_s: float = WHOLE_BOUND_S) -> float:
    """Wait until nothing is wrong with the cache. Returns: how long that took, in seconds. Raises: NotWhole."""
    began_s = time.monotonic()
    words = ""
    while time.monotonic() - began_s < bound_s:
        seen = await stage.look()
        wrong = problems(seen, stage.spec.topology)
        if not wrong and len(seen.shards) == stage.spec.topology.shards:
            return round(time.monotonic() - began_s, 2)
        words = "; ".join(f"{each.node} {each.what}".strip() for each in wrong[:3])
        await asyncio.sleep(LOOK_EVERY_S)
    raise NotWhole(f"{stage.record.name} was not whole within {bound_s:g} s: {words}")


def roles(seen: SeenCache) -> dict[str, str]:
    """Node -> role and whom it follows."""
    return {node.name: f"{node.role} {node.primary}" for node in seen.nodes}


async def steady(stage: Stage) -> SeenCache:
    """The cache whole, with roles that stay: a zone that holds too many primaries has them switched home seconds later.

    Raises: NotWhole.
    """
    await whole(stage)
    before = await stage.look()
    since_s = time.monotonic()
    end_s = since_s + STEADY_BOUND_S
    zones = [shard.primary.zone for shard in before.shards]
    patience_s = STEADY_S if len(set(zones)) == len(zones) or len(zones) < 3 else HOMING_S
    while time.monotonic() < end_s:
        await asyncio.sleep(LOOK_EVERY_S)
        now = await stage.look()
        if roles(now) != roles(before) or len(now.shards) != stage.spec.topology.shards:
            before, since_s = now, time.monotonic()
        elif time.monotonic() - since_s >= patience_s:
            return now
    raise NotWhole(f"roles went on changing for {STEADY_BOUND_S:g} s")


async def votable(
    stage: Stage, seen: SeenCache, which: Callable[[SeenCache], Sequence[SeenShard]]
) -> SeenCache:
    """Wait until the engine would vote again about the primaries that are to fail. Returns: the cache as it is then."""
    if stage.record.mode != Mode.CLUSTER.value:
        return seen
    events: list[dict[str, Any]] = []
    for host in stage.hosts.values():
        events += await host.events(stage.record.name, 200)
    voted = voted_at(events)
    for name, at_s in stage.shared.get(SWITCHED, {}).items():
        voted[name] = max(at_s, voted.get(name, 0.0))
    names = [shard.primary.name for shard in which(seen)]
    pause_s = wait_s(names, voted, datetime.now(UTC).timestamp(), stage.spec.topology.node_timeout_ms / 1000)
    if pause_s <= 0:
        return seen
    stage.tell(f"waits {pause_s:.0f} s: the engine votes about {', '.join(names)} once in two node timeouts")
    await asyncio.sleep(min(pause_s, LONGEST_PAUSE_S))
    return await steady(stage)


async def experiment(
    stage: Stage,
    kind: str,
    do: Do,
    *,
    fails: Callable[[SeenCache], Sequence[SeenShard]] = lambda _: (),
    setting: str = "",
) -> Measured:
    """Clients write, `do` is done, the cache becomes whole again, the ledger is settled.

    Args: `fails`, the shards whose primaries will fail; `setting`, what was set for it that the spec does not ask for: then
        its gap is told, and no promise is held against it.
    """
    count = len(stage.shared.setdefault("runs", []))
    stage.shared["runs"].append(kind)
    seen = await votable(stage, await steady(stage), fails)
    async with patient_clients(stage.record, stage.access, seen, f"{stage.run}{count}") as patience:
        await asyncio.sleep(WARM_UP_S)
        now = await stage.look()
        if roles(now) != roles(
            seen
        ):  # a primary was just switched home: what is killed would not be what is told
            raise NotWhole("a primary changed by itself while the experiment was being set up: run it again")
        at_s = time.monotonic()
        facts = await do(now)
        stage.tell("waits until it is whole again")
        whole_s = await whole(stage)
        await asyncio.sleep(AFTER_S)
    ledger = await settle_accounts(patience, stage.record, stage.access, await stage.look(), since_s=at_s)
    shards = set(facts.get("shards", ()))
    hit = [group for group in ledger.groups if not shards or group.shard in shards]
    with_wait_ms = max((group.gap_ms for group in hit if group.wait), default=0.0)
    plain_ms = max((group.gap_ms for group in hit if not group.wait), default=0.0)
    by_wait = stage.spec.persistence.durability.writes is WritePromise.WAIT
    gap_ms = with_wait_ms if by_wait else plain_ms
    if not setting:
        stage.shared.setdefault(GAPS, {})[kind] = gap_ms
    return {
        "kind": kind,
        **facts,
        "at_s": round(at_s - ledger.began_s, 3),
        "gap_ms": gap_ms,
        "judged_by_wait": by_wait,
        "gap_with_wait_ms": with_wait_ms,
        "gap_without_wait_ms": plain_ms,
        "whole_after_s": whole_s,
        "ledger": ledger_facts(ledger),
        "events": await _events(stage, at_s),
    }


def ledger_facts(ledger: Ledger) -> dict[str, Any]:
    """As evidence."""
    return {
        "acknowledged": ledger.acknowledged,
        "lost_without_wait": ledger.lost(wait=False),
        "lost_with_wait": ledger.lost(wait=True),
        "doubled": sum(group.doubled for group in ledger.groups),
        "lost_span_s": max((group.lost_span_s for group in ledger.groups), default=0.0),
        "groups": [asdict(group) for group in ledger.groups],
        "bucket_s": ledger.bucket_s,
        "acks": ledger.acks,
    }


async def _events(stage: Stage, at_s: float) -> list[dict[str, Any]]:
    """What the supervisors have written down since."""
    since = datetime.now(UTC) - timedelta(seconds=time.monotonic() - at_s)
    found: list[dict[str, Any]] = []
    for host in stage.hosts.values():
        with contextlib.suppress(HoldfastError):
            found += [
                each
                for each in await host.events(stage.record.name, 50)
                if str(each.get("at", "")) >= since.isoformat(timespec="milliseconds")
            ]
    return found


def kill(nodes: Iterable[SeenNode], number: signal.Signals = signal.SIGKILL) -> dict[str, int]:
    """Send the signal to these nodes' processes. Returns: node -> pid."""
    done = {}
    for node in nodes:
        if node.process.pid:
            os.kill(node.process.pid, number)
            done[node.name] = node.process.pid
    return done


def victim(seen: SeenCache, place: int = 0) -> SeenShard:
    """A shard whose primary runs here and has a replica. Raises: NotWhole."""
    fit = [shard for shard in seen.shards if shard.replicas and shard.primary.process.pid]
    if not fit:
        raise NotWhole("no shard has a primary that runs here and a replica")
    return fit[place % len(fit)]
