"""What is wrong with a cache as seen, in sentences a person on call can act on. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from holdfast.spec.topology import Mode, TopologySpec
from holdfast.topology.seen import ProcessState, Reach, Role, SeenCache, SeenNode
from holdfast.topology.slots import ALL_SLOTS


class Severity(StrEnum):
    """How bad it is."""

    WARNING = "warning"
    """Clients are served; a promise is in danger."""
    ERROR = "error"
    """Some clients are not served, or data is in danger."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong."""

    severity: Severity
    node: str
    """Empty when it is about the whole cache."""
    what: str
    mend: str


def problems(seen: SeenCache, wanted: TopologySpec) -> tuple[Problem, ...]:
    """Everything that keeps the cache from being whole; none when it is."""
    return tuple(_problems(seen, wanted))


def _problems(seen: SeenCache, wanted: TopologySpec) -> Iterator[Problem]:
    for node in seen.nodes:
        if not node.is_up:
            yield _away(seen.name, node)
        elif node.process.state is ProcessState.UNKNOWN and node.process.why:
            yield Problem(
                Severity.WARNING,
                node.name,
                f"runs and is kept by nobody: {node.process.why}",
                "holdfast down says what mends it",
            )
        elif node.persistence_error:
            yield Problem(
                Severity.WARNING,
                node.name,
                node.persistence_error,
                f"see its log: holdfast logs {seen.name} {node.name}; holdfast up has it written anew once it can be",
            )
    up = [node for node in seen.servers if node.is_up]
    if wanted.mode is Mode.CLUSTER and up:
        yield from _cluster(seen, up)
    elif up:
        primaries = [node.name for node in up if node.role is Role.PRIMARY]
        if len(primaries) != 1:
            told = f"has {len(primaries)} primaries ({', '.join(primaries) or 'none'})"
            yield Problem(Severity.ERROR, "", told, f"see what a plan would do: holdfast plan {seen.name}")
    for shard in seen.shards:
        for replica in shard.replicas:
            if not replica.link_up:
                what = f"is not in sync with {shard.primary.name}" + (" (copying)" if replica.syncing else "")
                yield Problem(
                    Severity.WARNING,
                    replica.name,
                    what,
                    f"see its log: holdfast logs {seen.name} {replica.name}",
                )
            if replica.zone == shard.primary.zone and len(wanted.zones) > 1:
                yield Problem(
                    Severity.WARNING,
                    replica.name,
                    f"is in zone {replica.zone}, as its primary {shard.primary.name} is",
                    f"holdfast plan {seen.name} shows what mends it",
                )
        alive = [replica for replica in shard.replicas if replica.is_up and replica.link_up]
        if len(alive) < wanted.replicas:
            yield Problem(
                Severity.WARNING,
                shard.primary.name,
                f"has {len(alive)} of {wanted.replicas} replicas in sync",
                "holdfast up starts those that do not run",
            )
    for node in up:
        if node.role is Role.REPLICA and not node.primary:
            yield Problem(
                Severity.WARNING,
                node.name,
                "replicates a server that is none of this cache's",
                f"holdfast plan {seen.name} shows what mends it",
            )
    heads = {node.name for node in seen.primaries}
    for node in seen.sentinels:
        if node.is_up and not node.monitored:
            yield Problem(
                Severity.WARNING, node.name, "watches no node of this cache", "holdfast up mends it"
            )
        elif node.is_up and heads and node.monitored not in heads:
            yield Problem(
                Severity.WARNING,
                node.name,
                f"takes {node.monitored} for the primary, which it is not",
                "wait a few seconds; if it stays so, holdfast up mends it",
            )


def _away(cache: str, node: SeenNode) -> Problem:
    told = {
        Reach.LOADING: ("is loading its data set", "wait; `holdfast logs` shows how far it is"),
        Reach.SILENT: (
            f"does not answer ({node.words})",
            f"if it hangs, kill -9 {node.process.pid} and run holdfast up"
            if node.process.pid
            else "see its machine",
        ),
        Reach.DENIED: (
            f"does not let Holdfast in ({node.words.rstrip('.')})",
            let_in_again(cache, node.name, node.process.pid),
        ),
        Reach.DOWN: (
            f"is down ({node.words.rstrip('.')})" if node.words else "is down",
            "holdfast up starts it",
        ),
    }
    what, mend = told.get(node.reach, ("is down", "holdfast up starts it"))
    if node.process.state is ProcessState.EXITED:
        what, mend = f"ended: {node.process.why.rstrip('.')}", "holdfast up starts it"
    elif node.process.state is ProcessState.STOPPED:
        what, mend = "is stopped", "holdfast up starts it"
    elif node.process.state is ProcessState.RUNNING and node.reach is Reach.DOWN and node.words:
        what = f"runs and cannot be reached ({node.words.rstrip('.')})"
        mend = "`holdfast logs` shows what it says; holdfast up renews a certificate that has ended"
    return Problem(Severity.ERROR, node.name, what, mend)


def let_in_again(cache: str, node: str, pid: int) -> str:
    """What makes a node let Holdfast in whose users were changed on it by somebody else; `up` cannot, for it is not let in
    either. Args: `pid`, 0 where it is not known.
    """
    again = (
        f"; if that is refused too, kill -9 {pid}: it is started again, and reads that file" if pid else ""
    )
    return (
        f"its users were changed on it: holdfast call --node {node} {cache} ACL LOAD has it read its file of users again"
        + again
    )


def _cluster(seen: SeenCache, up: list[SeenNode]) -> Iterator[Problem]:
    owned = frozenset().union(*(node.slots for node in up if node.role is Role.PRIMARY))
    if lacking := len(ALL_SLOTS) - len(owned):
        yield Problem(
            Severity.ERROR,
            "",
            f"{lacking} of {len(ALL_SLOTS)} slots are served by nobody",
            "holdfast up starts the nodes that own them",
        )
    for node in up:
        if not node.cluster_ok:
            yield Problem(
                Severity.ERROR,
                node.name,
                "says that the cluster is not ok",
                f"holdfast logs {seen.name} {node.name}",
            )
        if node.moving:
            yield Problem(
                Severity.WARNING,
                node.name,
                f"has {len(node.moving)} slots half moved",
                "holdfast up finishes the move, or takes it back where the other end is gone",
            )
    for node_id, address in seen.strangers.items():
        yield Problem(
            Severity.WARNING,
            "",
            f"the cluster knows a node that is none of ours: {node_id[:8]} at {address}",
            "find out who started it; CLUSTER FORGET removes it",
        )
