"""Which stopped nodes may start again in the role they had, which wait for a successor, and which stay down. Pure.

A primary that comes back with less than its replica holds would make the replica copy that: what clients wrote is
then gone everywhere. So it starts only where its own files hold what it had, or where nobody else holds more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from holdfast.engine.datafiles import DataFiles
from holdfast.errors import HoldfastError
from holdfast.spec.topology import Mode
from holdfast.topology.seen import ProcessState, Role, SeenCache, SeenNode
from holdfast.topology.slots import ALL_SLOTS

SAME_OFFSET_BYTES = 256
"""Replication stream that is no writes: the pings of a few seconds, a farewell."""


@dataclass(eq=False)
class RestartWouldLose(HoldfastError):
    """A dead primary would come back with less than its replica holds, and the replica would copy that."""

    cache: str
    node: str
    comes_back: str
    """"empty", or with what."""
    holder: str
    keys: int | None
    """Keys of the replica that holds most; None for one that does not run."""
    mend: str

    def __str__(self) -> str:
        holds = "has data on disk" if self.keys is None else f"holds {self.keys} keys"
        return (
            f"{self.node} was a primary of {self.cache} and would come back {self.comes_back}, while its replica "
            f"{self.holder} {holds} and would copy that: {self.node} was not started, and nothing was changed. {self.mend}"
        )


@dataclass(frozen=True)
class Restarts:
    """What may be done with the nodes that do not run."""

    start: tuple[str, ...]
    await_successor: tuple[tuple[SeenNode, SeenNode], ...]
    """Dead primaries, each with the replica that holds most, where the engine's own vote can replace them."""
    notes: tuple[str, ...]
    """What comes back with less than it had, one sentence each."""


def restarts(seen: SeenCache, mode: Mode) -> Restarts:
    """Judge every node that does not run. Raises: RestartWouldLose; nothing is to be done then."""
    start: list[str] = []
    waiting: list[tuple[SeenNode, SeenNode]] = []
    shortened: list[tuple[SeenNode, DataFiles]] = []
    for node in seen.nodes:
        if node.is_up or node.process.state is ProcessState.RUNNING:
            continue
        files = node.process.files
        if files is None or files.follows:
            start.append(node.name)
            continue
        up, down = followers_of(node, seen)
        if up and can_be_replaced(node, seen, mode):
            waiting.append((node, up[0]))
            continue
        whole = bool(up) and comes_back_whole(files, up[0])
        if up and not whole and _majority_comes_back(seen, mode):
            waiting.append((node, up[0]))
            continue
        if up and not whole:
            raise _loss(seen, node, files, up[0])
        if down and not files.holds_keys:
            raise _loss(seen, node, files, down[0])
        start.append(node.name)
        if not whole:
            shortened.append((node, files))
    notes = () if _is_replaced(seen, mode) else tuple(_told(shortened))
    return Restarts(tuple(start), tuple(waiting), notes)


def followers_of(primary: SeenNode, seen: SeenCache) -> tuple[list[SeenNode], list[SeenNode]]:
    """Its replicas that hold data: those that answer, the furthest first, and those with data on disk."""
    up = [node for node in seen.servers if node.is_up and node.primary == primary.name and node.keys]
    own_id = primary.process.files.node_id if primary.process.files else ""
    own_names = {f"{primary.address} {primary.port}", own_id} - {""}
    down = [
        node
        for node in seen.servers
        if not node.is_up
        and (files := node.process.files) is not None
        and files.holds_keys
        and files.follows in own_names
    ]
    return sorted(up, key=lambda node: (-node.offset, node.name)), down


def can_be_replaced(dead: SeenNode, seen: SeenCache, mode: Mode) -> bool:
    """Whether those that vote about a successor have a majority."""
    if mode is Mode.CLUSTER:
        voters, gone = _voters(seen)
        return len(voters) > (len(voters) + len(gone)) / 2
    if mode is Mode.SENTINEL:
        watching = [node for node in seen.sentinels if node.is_up and node.monitored == dead.name]
        return len(watching) > len(seen.sentinels) / 2
    return False


def _voters(seen: SeenCache) -> tuple[list[SeenNode], list[SeenNode]]:
    """Of a cluster: those that vote, and those that would if they ran."""
    voters = [node for node in seen.servers if node.is_up and node.role is Role.PRIMARY and node.slots]
    return voters, [node for node in seen.servers if not node.is_up and _was_primary(node)]


def _majority_comes_back(seen: SeenCache, mode: Mode) -> bool:
    """Whether a cluster's voters are a majority again once those are started that come back with all they had."""
    if mode is not Mode.CLUSTER:
        return False
    voters, gone = _voters(seen)
    returning = 0
    for node in gone:
        up, _ = followers_of(node, seen)
        files = node.process.files
        if node.process.state is not ProcessState.RUNNING and files is not None:
            returning += comes_back_whole(files, up[0]) if up else files.appended and files.holds_keys
    return len(voters) + returning > (len(voters) + len(gone)) / 2


def _is_replaced(seen: SeenCache, mode: Mode) -> bool:
    """Whether those that run serve all there is: whoever comes back then becomes their replica."""
    serving = [node for node in seen.primaries if node.is_up]
    if mode is Mode.CLUSTER:
        return frozenset().union(*(node.slots for node in serving)) == ALL_SLOTS
    return any(node.keys for node in serving)


def _was_primary(node: SeenNode) -> bool:
    return node.process.files is None or not node.process.files.follows


def comes_back_whole(files: DataFiles, replica: SeenNode) -> bool:
    """Whether its own files hold what the replica does."""
    if not files.holds_keys or files.appended:
        return files.holds_keys
    return files.saved_offset >= 0 and replica.offset <= files.saved_offset + SAME_OFFSET_BYTES


def _told(primaries: Iterable[tuple[SeenNode, DataFiles]]) -> Iterator[str]:
    """What comes back with less than it had; one that was asked to stop wrote what it had, if it writes at all."""
    killed = [
        (node, files)
        for node, files in primaries
        if not files.written_at or node.process.state is not ProcessState.STOPPED
    ]
    if empty := [node.name for node, files in killed if not files.holds_keys]:
        come, their = ("comes", "its") if len(empty) == 1 else ("come", "their")
        yield f"{', '.join(empty)} {come} back empty: none of {their} data is on disk"
    for node, files in killed:
        if files.holds_keys and not files.appended:
            yield f"{node.name} comes back with its snapshot of {files.written_at}: what was written after it is lost"


def _loss(seen: SeenCache, node: SeenNode, files: DataFiles, holder: SeenNode) -> RestartWouldLose:
    comes_back = f"with its snapshot of {files.written_at} only" if files.holds_keys else "empty"
    if not holder.is_up:
        mend = f"Start {holder.name} first and make it the primary: holdfast repair {seen.name}"
        return RestartWouldLose(seen.name, node.name, comes_back, holder.name, None, mend)
    mend = f"Make {holder.name} the primary, and {node.name} its replica: holdfast repair {seen.name}"
    return RestartWouldLose(seen.name, node.name, comes_back, holder.name, holder.keys, mend)
