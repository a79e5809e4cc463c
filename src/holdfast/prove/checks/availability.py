"""Failures of every kind, made on purpose while patient clients write: what they saw, and what became of their writes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from holdfast.codec.crc import key_slot
from holdfast.errors import HoldfastError
from holdfast.load.workload import MARK
from holdfast.prove.check import Measured
from holdfast.prove.experiment import GAPS, SWITCHED, Do, NotWhole, experiment, kill, live_of, victim, whole
from holdfast.prove.lifeline import lifeline
from holdfast.prove.stage import Stage
from holdfast.supervisor.launch import ensure_running
from holdfast.topology.apply import watch_all
from holdfast.topology.seen import SeenCache, SeenNode, SeenShard
from holdfast.topology.switchover import NotSwitched, switch_over

MIN_REPLICAS = "min-replicas-to-write 1"
Fails = Callable[[SeenCache], Sequence[SeenShard]]


async def _by_every_durability(
    stage: Stage, kind: str, failures: tuple[tuple[Do, Fails], tuple[Do, Fails]]
) -> Measured:
    """The same failure twice: with clients that wait for a replica beside clients that do not, and then with primaries that
    take no write without a replica. Args: `failures`, what is done each time, and the shards whose primaries fail by it.
    """
    (do, fails), (again, fails_again) = failures
    first = await experiment(stage, kind, do, fails=fails)
    await whole(stage)
    await _min_replicas(stage)
    second = await experiment(
        stage, f"{kind}, {MIN_REPLICAS}", again, fails=fails_again, setting=MIN_REPLICAS
    )
    return {**first, "min_replicas": second}


def _no_primary(_: SeenCache) -> Sequence[SeenShard]:
    return ()


async def primary_killed(stage: Stage) -> Measured:
    """kill -9 of a primary."""

    def killing(place: int) -> tuple[Do, Fails]:
        async def do(seen: SeenCache) -> dict[str, Any]:
            shard = victim(seen, place)
            stage.tell(f"kills primary {shard.primary.name}")
            return {"killed": kill([shard.primary]), "shards": [shard.primary.name]}

        return do, lambda seen: [victim(seen, place)]

    return await _by_every_durability(stage, "a primary is killed", (killing(0), killing(1)))


async def _min_replicas(stage: Stage) -> None:
    """Have primaries refuse writes without a replica, and put back what was there afterwards."""
    before: dict[str, str] = {}
    for member in stage.record.servers:
        async with stage.at(member) as node:
            found = await node.ask("CONFIG", "GET", "min-replicas-to-write")
            before[member.name] = str(found["min-replicas-to-write"] if isinstance(found, dict) else found[1])

    async def back() -> None:
        for name, value in before.items():
            async with stage.at(name) as node:
                await node.ask("CONFIG", "SET", "min-replicas-to-write", value)

    stage.restoring.later("min-replicas-to-write is what it was", back)
    for member in stage.record.servers:
        async with stage.at(member) as node:
            await node.ask("CONFIG", "SET", "min-replicas-to-write", 1)


async def replica_killed(stage: Stage) -> Measured:
    """kill -9 of a replica."""

    async def do(seen: SeenCache) -> dict[str, Any]:
        shard = victim(seen)
        stage.tell(f"kills replica {shard.replicas[0].name}")
        return {"killed": kill([shard.replicas[0]]), "shards": [shard.primary.name]}

    return await _by_every_durability(stage, "a replica is killed", ((do, _no_primary), (do, _no_primary)))


async def supervisor_killed(stage: Stage) -> Measured:
    """kill -9 of the supervisor: nodes and clients must not notice, and the next one must take the same nodes up."""
    live = live_of(stage)
    state = stage.state

    async def do(seen: SeenCache) -> dict[str, Any]:
        before = {node.name: node.process.pid for node in seen.nodes}
        host = next(iter(stage.hosts.values()))
        pid = (await host.facts()).pid
        stage.tell(f"kills the supervisor (pid {pid})")
        os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(1.0)
        began_s = time.monotonic()
        if state is not None:
            await ensure_running(state)
            stage.restoring.later("the supervisor runs", lambda: ensure_running(state))
        after = {node.name: node.process.pid for node in (await stage.look()).nodes}
        return {
            "killed": {"supervisor": pid},
            "same_processes": before == after,
            "back_after_s": round(time.monotonic() - began_s, 2),
        }

    facts = await experiment(stage, "the supervisor is killed", do)
    watched = victim(await stage.look()).replicas[0]
    kill([watched])  # whether the new supervisor watches: a replica that dies must come back
    facts = {**facts, "watches_again": True}
    await asyncio.sleep(0.3)
    try:
        await whole(stage, 20.0)
    except NotWhole:
        facts["watches_again"] = False
        await watch_all(live)
    return facts


async def primary_hung(stage: Stage) -> Measured:
    """SIGSTOP of a primary: it answers nothing and is not dead."""

    def halting(place: int) -> tuple[Do, Fails]:
        async def do(seen: SeenCache) -> dict[str, Any]:
            shard = victim(seen, place)
            pid = shard.primary.process.pid
            stage.tell(f"halts primary {shard.primary.name}")
            stage.restoring.later(f"{shard.primary.name} is not halted", lambda: _resume([pid]))
            return {"halted": kill([shard.primary], signal.SIGSTOP), "shards": [shard.primary.name]}

        return do, lambda seen: [victim(seen, place)]

    return await _by_every_durability(stage, "a primary hangs", (halting(2), halting(0)))


async def _resume(pids: Iterable[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # the supervisor has ended it: it is dead, not halted
            os.kill(pid, signal.SIGCONT)


async def zone_lost(stage: Stage) -> Measured:
    """kill -9 of every node of one zone at once; each time of another, for the engine votes about a primary once in a while."""

    def losing(place: int) -> tuple[Do, Fails]:
        async def do(seen: SeenCache) -> dict[str, Any]:
            zone = zone_to_lose(seen, place)
            nodes = [node for node in seen.nodes if node.zone == zone]
            stage.tell(f"kills all {len(nodes)} nodes of zone {zone}")
            return {
                "zone": zone,
                "killed": kill(nodes),
                "shards": [each.primary.name for each in led_from(seen, zone)],
            }

        return do, lambda seen: led_from(seen, zone_to_lose(seen, place))

    return await _by_every_durability(stage, "a zone is lost", (losing(1), losing(2)))


def led_from(seen: SeenCache, zone: str) -> list[SeenShard]:
    """The shards whose primaries are in that zone."""
    return [shard for shard in seen.shards if shard.primary.zone == zone]


def zone_to_lose(seen: SeenCache, place: int) -> str:
    """One of the zones with the most primaries. Raises: NotWhole where there is one zone only."""
    zones = sorted({node.zone for node in seen.nodes})
    if len(zones) < 2:
        raise NotWhole("all nodes are in one zone")
    most = max(len(led_from(seen, zone)) for zone in zones)
    fit = [zone for zone in zones if len(led_from(seen, zone)) == most]
    return fit[place % len(fit)]


async def cold_start(stage: Stage) -> Measured:
    """kill -9 of every node at once."""

    async def do(seen: SeenCache) -> dict[str, Any]:
        stage.tell(f"kills all {len(seen.nodes)} nodes at once")
        return {"killed": kill(seen.nodes)}

    return await experiment(stage, "all nodes are killed at once", do)


async def switchover(stage: Stage) -> Measured:
    """A planned change of primary while clients write."""
    live = live_of(stage)

    async def do(seen: SeenCache) -> dict[str, Any]:
        shard = victim(seen)
        stage.tell(f"hands over from {shard.primary.name}")
        try:
            done = await switch_over(live, shard.primary.name)
        except NotSwitched as refused:
            return {"from": shard.primary.name, "not_switched": str(refused), "shards": [shard.primary.name]}
        stage.shared.setdefault(SWITCHED, {})[done.old] = datetime.now(UTC).timestamp()
        return {
            "from": done.old,
            "to": done.new,
            "by": done.by,
            "took_ms": done.took_ms,
            "shards": [done.old],
        }

    return await experiment(stage, "a planned switchover", do, fails=lambda seen: [victim(seen)])


async def minority(stage: Stage) -> Measured:
    """A primary that sees no other node any more (all of them are halted): how long it goes on taking writes."""
    live = live_of(stage)
    await whole(stage)
    seen = await stage.look()
    alone = victim(seen).primary
    others = [node for node in seen.nodes if node.name != alone.name]
    for host in stage.hosts.values():
        await host.unwatch(stage.record.name)  # else the halted are taken for dead and replaced
    stage.restoring.later("the supervisor watches again", lambda: watch_all(live))
    pids = [node.process.pid for node in others if node.process.pid]
    stage.restoring.later(f"{len(pids)} nodes run on", lambda: _resume(pids))
    timeout_s = stage.spec.topology.node_timeout_ms / 1000
    key = stage_key(stage, alone)
    with lifeline(pids):
        kill(others, signal.SIGSTOP)
        stage.tell(f"leaves {alone.name} alone, for {timeout_s:g} s and some")
        accepted, words = await _writes_until_refused(stage, alone, key, 2 * timeout_s + 10)
    restored = await stage.restoring.now()
    whole_s = await whole(stage)
    with contextlib.suppress(HoldfastError):
        async with stage.at(await _owner(stage, key)) as node:
            await node.ask("UNLINK", key)
    return {
        "alone": alone.name,
        "node_timeout_s": timeout_s,
        "writes_taken": len(accepted),
        "stopped_after_s": accepted[-1] if words and accepted else (0.0 if words else None),
        "refused_with": words,
        "restored": restored,
        "whole_after_s": whole_s,
    }


async def _writes_until_refused(
    stage: Stage, node: SeenNode, key: str, bound_s: float
) -> tuple[list[float], str]:
    """When the node took a write, in seconds from now, and the words that it refused the next with; empty for none."""
    accepted: list[float] = []
    began_s = time.monotonic()
    async with stage.at(node.name, timeout_s=2.0) as door:
        while time.monotonic() - began_s < bound_s:
            try:
                await door.ask("SET", key, "x", "EX", 60)
            except HoldfastError as refused:
                return accepted, str(refused)
            accepted.append(round(time.monotonic() - began_s, 3))
            await asyncio.sleep(0.05)
    return accepted, ""


def stage_key(stage: Stage, node: SeenNode) -> str:
    """A key of this run that lies on the node."""
    return next(
        key
        for number in range(1_000_000)
        if key_slot((key := f"holdfast:{MARK}-{stage.run}:alone-{number}").encode()) in node.slots
    )


async def _owner(stage: Stage, key: str) -> str:
    slot = key_slot(key.encode())
    return next(shard.primary.name for shard in (await stage.look()).shards if slot in shard.primary.slots)


async def promise(stage: Stage) -> Measured:
    """The gaps that this run has measured, side by side."""
    return {"gaps_ms": dict(stage.shared.get(GAPS, {}))}
