"""Steps that restart nodes one after the other for what only a restart can change. Pure.

Replicas first, then a switchover, then the old primary; sentinels last. A primary is restarted in its role only where
it has no replica, and only when that was allowed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from holdfast.engine.build import parse_version
from holdfast.engine.dialects import EngineVersion, can_copy
from holdfast.engine.drift import changed_directives
from holdfast.errors import Refused
from holdfast.spec.persistence import WritePromise
from holdfast.spec.topology import Mode
from holdfast.topology.record import Kind, number_of
from holdfast.topology.seen import Role, SeenCache, SeenNode
from holdfast.topology.steps import AddNode, AttachReplica, AwaitSettled, Step
from holdfast.topology.steps_rolling import ChangeEngine, RestartNode, SwitchPrimary
from holdfast.topology.wanted import Wanted

START_S = 0.3
"""A server that holds nothing ends and answers again within this."""
SAVED_BYTES_PER_S, LOADED_BYTES_PER_S = 60e6, 35e6
"""Of data in memory, small keys: the slower of what was measured on two shared cores."""


@dataclass(frozen=True)
class Stale:
    """A node that runs with what only a restart changes."""

    node: SeenNode
    why: tuple[str, ...]
    engine: bool
    """Whether it runs another engine or version than the one wanted."""


def engine_of(node: SeenNode) -> EngineVersion:
    """What the node says it runs."""
    return EngineVersion(node.engine, parse_version(node.version))


def stale_nodes(wanted: Wanted, seen: SeenCache) -> dict[str, Stale]:
    """Nodes that answer and must be restarted, by name."""
    build = EngineVersion.of(wanted.build)
    found = {}
    for node in seen.nodes:
        if not node.is_up or not node.version:
            continue
        why = []
        other = engine_of(node) != build
        if other:
            why.append(f"{engine_of(node)} -> {build}")
        elif node.config is not None:
            differing = changed_directives(wanted.directives.get(node.name, ()), node.config)
            why += [
                f"{each.name} {each.seen or '(empty)'} -> {each.wanted}"
                for each in differing
                if not each.live
            ]
        if why:
            found[node.name] = Stale(node, tuple(why), other)
    return found


def as_it_stands(wanted: Wanted, seen: SeenCache) -> Wanted:
    """The wish for as long as nodes are restarted: nothing is given up and no slot moves; what is lacking is added,
    with a spare replica for each shard where one was asked for.
    """
    most = max((len(shard.replicas) for shard in seen.shards), default=0)
    asked = wanted.topology.replicas
    kept = {"replicas": max(asked + wanted.manner.surge, most)}
    if wanted.topology.mode is Mode.CLUSTER and seen.shards:
        kept["shards"] = len(seen.shards)
    topology = wanted.topology.model_copy(update=kept)
    return replace(wanted, spec=wanted.spec.model_copy(update={"topology": topology}))


def rolling_steps(
    wanted: Wanted, seen: SeenCache, stale: Mapping[str, Stale], before: Sequence[Step]
) -> Iterator[Step]:
    """The restarts, in order. Args: `before`, steps that come first and add replicas. Raises: Refused."""
    added = _added(before)
    refuse_unsafe(wanted, seen, stale, added)
    build = EngineVersion.of(wanted.build)
    if any(each.engine for each in stale.values()) and wanted.record.engine != wanted.build.key:
        ran = sorted({str(engine_of(each.node)) for each in stale.values() if each.engine})
        yield ChangeEngine(", ".join(ran), str(build), wanted.build.key)
    if not before and any(not node.link_up for node in seen.servers if node.role is Role.REPLICA):
        yield AwaitSettled("every replica in sync before a node is restarted")
    heads = Counter(shard.primary.zone for shard in seen.shards)
    finish: list[Step] = []
    for shard in seen.shards:
        primary, behind = shard.primary, [node for node in shard.replicas if node.name in stale]
        ready = [node for node in shard.replicas if node.name not in stale and node.link_up]
        restarts = [
            RestartNode(node.name, node.kind, f"replica of {primary.name}", stale[node.name].why)
            for node in sorted(behind, key=lambda each: number_of(each.name))
        ]
        if primary.name not in stale:
            yield from restarts
            continue
        if not can_copy(build, engine_of(primary)) and ready:
            # Going back: what is restarted could not copy from this primary, so its role goes first.
            heir = _heir(ready, (), heads)
            yield SwitchPrimary(primary.name, heir)
            yield from (replace(step, role=f"replica of {heir}") for step in restarts)
            yield RestartNode(primary.name, primary.kind, f"replica of {heir}", stale[primary.name].why)
            continue
        yield from restarts
        spares = added.get(primary.name, ())
        if not shard.replicas and not spares:
            pause_s = expected_pause_s(wanted, primary)
            finish.append(
                RestartNode(
                    primary.name, primary.kind, "primary without a replica", stale[primary.name].why, pause_s
                )
            )
            continue
        heir = _heir(shard.replicas, spares, heads)
        zones = {node.name: node.zone for node in shard.replicas}
        heads[primary.zone] -= 1
        heads[zones.get(heir, "")] += 1
        finish.append(SwitchPrimary(primary.name, heir))
        finish.append(RestartNode(primary.name, primary.kind, f"replica of {heir}", stale[primary.name].why))
    yield from _placeless(seen, stale)
    yield from finish
    for node in sorted(seen.sentinels, key=lambda each: number_of(each.name)):
        if node.name in stale:
            yield RestartNode(node.name, node.kind, "sentinel", stale[node.name].why)


def _placeless(seen: SeenCache, stale: Mapping[str, Stale]) -> Iterator[Step]:
    """Nodes that belong to no shard: they hold nothing that anybody asks for."""
    placed = {node.name for shard in seen.shards for node in (shard.primary, *shard.replicas)}
    for node in seen.servers:
        if node.name in stale and node.name not in placed:
            yield RestartNode(node.name, node.kind, "without a place", stale[node.name].why)


def _added(before: Iterable[Step]) -> dict[str, tuple[str, ...]]:
    """Primary -> replicas that the steps give it."""
    found: dict[str, tuple[str, ...]] = {}
    for step in before:
        if isinstance(step, AddNode) and step.follows and step.kind is Kind.SERVER:
            found[step.follows] = (*found.get(step.follows, ()), step.node)
        if isinstance(step, AttachReplica):
            found[step.primary] = (*found.get(step.primary, ()), step.node)
    return found


def _heir(replicas: Sequence[SeenNode], spares: Sequence[str], heads: Counter[str]) -> str:
    """Who takes over: in the zone with the fewest primaries; a spare only where there is nobody else, for it leaves."""
    if not replicas:
        return min(spares, key=number_of)
    return min(replicas, key=lambda node: (heads[node.zone], node.lag_bytes, number_of(node.name))).name


def expected_pause_s(wanted: Wanted, node: SeenNode) -> float:
    """About how long a lone primary's clients wait while it is restarted: it writes its data, and reads it again."""
    if wanted.spec.persistence.aof.enabled:
        return round(START_S + node.used_bytes / LOADED_BYTES_PER_S, 1)
    return round(START_S + node.used_bytes / SAVED_BYTES_PER_S + node.used_bytes / LOADED_BYTES_PER_S, 1)


def refuse_unsafe(
    wanted: Wanted, seen: SeenCache, stale: Mapping[str, Stale], added: Mapping[str, Sequence[str]]
) -> None:
    """Raise Refused when the restarts would cost more than was allowed, or cannot be done in this direction."""
    build = EngineVersion.of(wanted.build)
    cache = wanted.record.name
    if wanted.manner.surge and wanted.topology.mode is Mode.STANDALONE:
        raise Refused(
            f"a spare replica for {cache}",
            "clients of a standalone cache know one address, which a replica in its place does not have",
            "Leave --surge out and allow the pause (--allow-pause), or make it replicated first",
        )
    for shard in seen.shards:
        primary = shard.primary
        spares = added.get(primary.name, ())
        restarted = [node for node in (primary, *shard.replicas) if node.name in stale]
        if not restarted:
            continue
        ready = [node for node in shard.replicas if node.name not in stale and node.link_up]
        if primary.name in stale and not can_copy(build, engine_of(primary)) and not ready:
            raise Refused(
                f"moving {', '.join(node.name for node in restarted)} to {build}",
                f"{build} cannot copy from {primary.name}, which runs {engine_of(primary)}, and no replica of it runs "
                f"{build} yet",
                f"Go on to {engine_of(primary)} (holdfast up), or move the data to a new cache: holdfast migrate",
            )
        if primary.name in stale and not shard.replicas and not spares and not wanted.manner.allow_pause:
            pause_s = expected_pause_s(wanted, primary)
            instead = (
                "or declare a replica first" if wanted.topology.mode is Mode.STANDALONE else "or add --surge"
            )
            raise Refused(
                f"restarting {primary.name} ({', '.join(stale[primary.name].why)})",
                f"it has no replica that could stand in for it, so its clients would wait about {pause_s:.1f} s (reckoned "
                f"from its {primary.used_bytes / (1 << 20):.0f} MB)",
                f"Say that they may wait: add --allow-pause; {instead}",
            )
        promised = wanted.spec.persistence.durability
        if promised.writes is WritePromise.MIN_REPLICAS and not wanted.manner.allow_pause:
            left = len(shard.replicas) + len(spares) - 1
            if shard.replicas and left < promised.replicas:
                raise Refused(
                    f"restarting {', '.join(node.name for node in restarted)}",
                    f"{primary.name} would have {left} replicas for that time, and takes no writes with fewer than "
                    f"{promised.replicas} (persistence.durability)",
                    "Add a spare replica first: --surge; or say that writers may wait: --allow-pause",
                )
