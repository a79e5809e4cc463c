"""What is broken in a way that only a person may decide, what each side has, and the steps that mend it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations

from holdfast.spec.topology import Mode
from holdfast.topology.record import number_of
from holdfast.topology.restarts import (
    RestartWouldLose,
    can_be_replaced,
    comes_back_whole,
    followers_of,
    restarts,
)
from holdfast.topology.seen import ProcessState, Role, SeenCache, SeenNode
from holdfast.topology.slots import ranges
from holdfast.topology.steps import StartNodes, Step
from holdfast.topology.steps_repair import GiveUp, GiveUpSlots, SaveAside, TakeOver


class Fault(StrEnum):
    """What a repair can find."""

    TWO_PRIMARIES = "two primaries"
    """Both may have taken writes."""
    TWO_OWNERS = "two owners of slots"
    SAME_ID = "two nodes with one id"
    """A node's folder was copied: the cluster takes both for one."""
    NO_PRIMARY = "no primary"
    """Every node follows another."""
    NO_MAJORITY = "no majority"
    """A primary is dead, its replica lives, and nobody can be elected."""
    NOT_REPLACED = "a primary was not replaced"
    """The same where a vote could be won."""
    WOULD_LOSE = "a restart would lose data"
    """A dead primary would come back with less than another node holds."""
    DOWN = "nodes are down"


@dataclass(frozen=True)
class Side:
    """One of those that could be kept."""

    node: str
    has: str
    """For people: role, keys, offset, or what its files hold."""
    keys: int | None
    """None where it does not run."""
    offset: int
    written_at: str = ""
    """Of a node that does not run: when its newest file was written."""


@dataclass(frozen=True)
class Finding:
    """One thing that is broken, and how it would be mended."""

    fault: Fault
    what: str
    sides: tuple[Side, ...]
    keep: str
    """The side that is kept: the one named, else the one that seems to hold most."""
    steps: tuple[Step, ...]
    loses: str = ""
    """What is given up by it, one sentence; empty when nothing."""
    choice: bool = False
    """Whether somebody must name the side that is kept."""


def diagnose(seen: SeenCache, mode: Mode, keep: str = "") -> tuple[Finding, ...]:
    """What is broken, the worst first. Args: `keep`, the node whose data is to stay, where two sides could."""
    return tuple(_findings(seen, mode, keep))


def _findings(seen: SeenCache, mode: Mode, keep: str) -> Iterator[Finding]:
    if mode is Mode.CLUSTER:
        yield from _same_ids(seen)
        yield from _two_owners(seen, keep)
    else:
        yield from _two_primaries(seen, keep)
        yield from _no_primary(seen, keep)
    yield from _dead(seen, mode)


def _side(node: SeenNode, seen: SeenCache) -> Side:
    if not node.is_up:
        files = node.process.files
        if files is None:
            return Side(node.name, f"is {node.reach}, what its files hold is not known", None, -1)
        if not files.holds_keys:
            return Side(node.name, "is down and has no data on disk", None, -1, files.written_at)
        kind = "append-only file" if files.appended else "snapshot"
        return Side(
            node.name,
            f"is down and has its {kind} of {files.written_at}",
            None,
            files.saved_offset,
            files.written_at,
        )
    followers = [each.name for each in seen.servers if each.primary == node.name]
    told = (
        "primary" if node.role is Role.PRIMARY else f"replica of {node.primary or 'a node outside the cache'}"
    )
    followed = f", followed by {', '.join(followers)}" if followers else ""
    watched = sum(sentinel.monitored == node.name for sentinel in seen.sentinels)
    watch = f", watched by {watched} of {len(seen.sentinels)} sentinels" if seen.sentinels else ""
    has = f"is up: {told}, {node.keys} keys, offset {node.offset}{followed}{watch}"
    return Side(node.name, has, node.keys, node.offset)


def _two_primaries(seen: SeenCache, keep: str) -> Iterator[Finding]:
    followers = {
        node.name: [each for each in seen.servers if each.primary == node.name] for node in seen.servers
    }
    serious = [
        node
        for node in seen.servers
        if node.is_up
        and node.role is Role.PRIMARY
        and (node.keys or any(each.keys for each in followers[node.name]))
    ]
    if len(serious) < 2:
        return
    watched = [node.monitored for node in seen.sentinels]

    def likely(node: SeenNode) -> tuple[int, int, int, int]:
        return watched.count(node.name), len(followers[node.name]), node.keys, node.offset

    best = next((node for node in serious if node.name == keep), None) or max(serious, key=likely)
    losers = [node for node in serious if node.name != best.name]
    steps: list[Step] = []
    for node in losers:
        steps += [SaveAside(node.name), GiveUp(node.name, best.name)]
    names = ", ".join(node.name for node in losers)
    yield Finding(
        Fault.TWO_PRIMARIES,
        f"{' and '.join(node.name for node in serious)} both take writes as the primary",
        tuple(_side(node, seen) for node in serious),
        best.name,
        tuple(steps),
        f"what only {names} holds leaves the cache; it is in the snapshot saved aside",
        choice=True,
    )


def _no_primary(seen: SeenCache, keep: str) -> Iterator[Finding]:
    up = [node for node in seen.servers if node.is_up]
    if not up or len(up) < len(seen.servers) or any(node.role is Role.PRIMARY for node in up):
        return
    best = next((node for node in up if node.name == keep), None) or max(
        up, key=lambda node: (node.offset, node.keys, -number_of(node.name)[0])
    )
    lost = [node.name for node in up if node.name != best.name and node.keys]
    yield Finding(
        Fault.NO_PRIMARY,
        "every node follows another one, so nobody takes writes",
        tuple(_side(node, seen) for node in up),
        best.name,
        (TakeOver(best.name, "nobody"),),
        f"{', '.join(lost)} then copy {best.name}: what only they hold is lost" if lost else "",
        choice=len({(node.offset, node.keys) for node in up}) > 1,
    )


def _two_owners(seen: SeenCache, keep: str) -> Iterator[Finding]:
    owners = [node for node in seen.servers if node.is_up and node.role is Role.PRIMARY and node.slots]
    for one, other in combinations(owners, 2):
        contested = one.slots & other.slots
        if not contested:
            continue

        def likely(node: SeenNode) -> tuple[int, int, int]:
            knowing = sum(node.node_id in each.known - each.failed for each in seen.servers)
            return knowing, node.keys, node.offset

        named = next((node for node in (one, other) if node.name == keep), None)
        best = named or max((one, other), key=likely)
        loser = other if best.name == one.name else one
        told = ",".join(str(span) for span in ranges(contested))
        yield Finding(
            Fault.TWO_OWNERS,
            f"{one.name} and {other.name} both claim slots {told}",
            (_side(one, seen), _side(other, seen)),
            best.name,
            (SaveAside(loser.name), GiveUpSlots(loser.name, best.name, contested)),
            f"what only {loser.name} holds in these slots leaves the cache; it is in the snapshot saved aside",
            choice=True,
        )


def _same_ids(seen: SeenCache) -> Iterator[Finding]:
    for one, other in combinations([node for node in seen.servers if node.is_up and node.node_id], 2):
        if one.node_id == other.node_id:
            yield Finding(
                Fault.SAME_ID,
                f"{one.name} and {other.name} both have the id {one.node_id[:8]}: the folder of one was copied from the "
                "other's. Stop the copy and delete its nodes.conf, then run holdfast up",
                (_side(one, seen), _side(other, seen)),
                "",
                (),
            )


def _dead(seen: SeenCache, mode: Mode) -> Iterator[Finding]:
    """Nodes that do not run: replicas that can stand in for dead primaries first, then what a start would give."""
    down = [node for node in seen.nodes if not node.is_up and node.process.state is not ProcessState.RUNNING]
    if not down:
        return
    replaced: list[str] = []
    for node in down:
        found = _stand_in(node, seen, mode)
        if found is not None:
            replaced.append(node.name)
            yield found
    if replaced:
        return  # the others are judged when these have a primary
    try:
        judged = restarts(seen, mode)
    except RestartWouldLose as loss:
        dead, holder = seen.node(loss.node), seen.node(loss.holder)
        first: Sequence[Step] = () if holder.is_up else (StartNodes((holder.name,)),)
        yield Finding(
            Fault.WOULD_LOSE,
            f"{dead.name} was a primary and would come back {loss.comes_back}, and {holder.name} holds more",
            (_side(dead, seen), _side(holder, seen)),
            holder.name,
            (*first, TakeOver(holder.name, dead.name)),
            f"what {dead.name} had acknowledged and {holder.name} had not yet copied is lost",
        )
        return
    waiting = tuple(dead.name for dead, _ in judged.await_successor)
    names = tuple(node.name for node in down)
    yield Finding(
        Fault.DOWN,
        f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} down"
        + (f"; {', '.join(waiting)} is replaced by the engine's own vote" if waiting else ""),
        tuple(_side(node, seen) for node in down if node in seen.servers),
        "",
        (StartNodes(judged.start, judged.notes),) if judged.start else (),
        "; ".join(judged.notes),
    )


def _stand_in(dead: SeenNode, seen: SeenCache, mode: Mode) -> Finding | None:
    """Where a dead primary has a living replica with data, and nobody can be elected: that one, without a vote."""
    files = dead.process.files
    if files is not None and files.follows:
        return None
    up, _ = followers_of(dead, seen)
    if mode is not Mode.CLUSTER or not up:
        return None
    best = up[0]
    if files is not None and comes_back_whole(files, best):
        return None  # it has all that its replica has: it is started
    others = sum(node.role is Role.PRIMARY and bool(node.slots) for node in seen.servers if node.is_up)
    votes = can_be_replaced(dead, seen, mode)
    why = (
        "no replica was elected in its place so far (a vote takes twice the node timeout)"
        if votes
        else f"the {others} primaries left are no majority, so no vote can be won"
    )
    return Finding(
        Fault.NOT_REPLACED if votes else Fault.NO_MAJORITY,
        f"{dead.name}, a primary, is down, and {why}",
        tuple(_side(node, seen) for node in (dead, *up)),
        best.name,
        (TakeOver(best.name, dead.name),),
        f"what {dead.name} had acknowledged and {best.name} had not yet copied is lost; should {dead.name} be alive where "
        "it cannot be seen, both take writes until they meet",
    )
