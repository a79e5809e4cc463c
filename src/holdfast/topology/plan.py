"""The steps from a cache as seen to the cache as wanted. Pure.

A plan is made afresh from what is seen each time; it may be stopped after any step, and the plan made then leads
to the same end. Where the steps that follow depend on what a step brings to light, the plan ends in `LookAgain`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from holdfast.spec.topology import Mode
from holdfast.topology import plan_cluster, plan_replication
from holdfast.topology.changes import change_steps, written_anew
from holdfast.topology.plan_rolling import Stale, as_it_stands, rolling_steps, stale_nodes
from holdfast.topology.record import Kind
from holdfast.topology.restarts import restarts
from holdfast.topology.rules import refuse_impossible
from holdfast.topology.seen import ProcessState, SeenCache
from holdfast.topology.steps import (
    AddNode,
    AwaitSuccessor,
    Guard,
    LookAgain,
    RemoveNode,
    RenewCertificates,
    SaveSpec,
    StartNodes,
    Step,
)
from holdfast.topology.wanted import Wanted


def topology_steps(wanted: Wanted, seen: SeenCache, *, guarded: bool = True) -> tuple[Step, ...]:
    """The steps from `seen` to `wanted`; none when all is as it should be.

    Args: `guarded`, whether the firewall already is what the spec asks for.
    Raises: Refused, TwoPrimaries, and others of `rules` when the wish cannot be followed; nothing is to be done then.
    """
    refuse_impossible(wanted, seen)
    return tuple(_steps(wanted, seen, guarded))


def _filtered_first(steps: Sequence[Step]) -> Iterator[Step]:
    """The same with the filter renewed after nodes got their ports and before they listen there."""
    added = False
    for step in steps:
        if added and isinstance(step, StartNodes):
            yield Guard()
            added = False
        added = added or isinstance(step, AddNode)
        yield step


def _steps(wanted: Wanted, seen: SeenCache, guarded: bool) -> Iterator[Step]:
    known = {node.name: node for node in seen.nodes}
    running = [
        name for name, node in known.items() if node.process.state is ProcessState.RUNNING or node.is_up
    ]
    if stale := tuple(sorted(wanted.stale_certificates & set(running))):
        yield RenewCertificates(stale)
    if away := [node for node in seen.nodes if not node.is_up]:
        judged = restarts(seen, wanted.topology.mode)
        if judged.start:
            if not guarded:
                yield Guard()  # no node listens before the filter is there
            yield StartNodes(judged.start, judged.notes if wanted.record.spec_digest else ())
        for dead, replica in judged.await_successor:
            files = dead.process.files
            yield AwaitSuccessor(dead.name, replica.name, holds_data=files is not None and files.holds_keys)
        if judged.await_successor:
            return
        waiting = ", ".join(node.name for node in away)
        yield LookAgain(f"{waiting} must answer before roles and data can be seen")
        return
    if behind := stale_nodes(wanted, seen):
        yield from _one_after_the_other(wanted, seen, behind)
        return
    topology = _topology(wanted, seen)
    if topology and isinstance(topology[-1], LookAgain):
        yield from topology
        return
    leaving = {step.node for step in topology if isinstance(step, RemoveNode)}
    changes = tuple(change_steps(wanted, seen, leaving))
    # New sentinels must find their user on the nodes they watch; those that leave keep theirs until they are gone.
    watched_from = next(
        (at for at, step in enumerate(topology) if isinstance(step, AddNode) and step.kind is Kind.SENTINEL),
        len(topology),
    )
    steps = (*topology[:watched_from], *changes, *topology[watched_from:])
    yield from _filtered_first(steps) if wanted.filtered else steps
    if not guarded:
        yield Guard()
    yield from written_anew(wanted, seen)
    if wanted.record.spec_digest != wanted.digest or wanted.record.engine_before:
        yield SaveSpec(wanted.digest)


def _topology(wanted: Wanted, seen: SeenCache) -> list[Step]:
    if wanted.topology.mode is Mode.CLUSTER:
        return list(plan_cluster.cluster_steps(wanted, seen))
    return list(plan_replication.replication_steps(wanted, seen))


def _one_after_the_other(wanted: Wanted, seen: SeenCache, stale: Mapping[str, Stale]) -> Iterator[Step]:
    """What is lacking is added first, then nodes are restarted; all else waits until they run as asked."""
    first = _topology(as_it_stands(wanted, seen), seen)
    if first and isinstance(first[-1], LookAgain):
        yield from first
        return
    rolled = tuple(rolling_steps(wanted, seen, stale, first))  # refused, it is refused before the first step
    yield from _filtered_first(first) if wanted.filtered else first
    yield from rolled
    yield LookAgain("what else differs is seen when every node runs as asked")
