"""Who takes over from a dead primary, and whether anybody may: decided from what the survivors say. Pure.

Each rule was learnt from a measured accident: see docs/failover.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from holdfast.engine.datafiles import DataFiles
from holdfast.topology import cluster_view
from holdfast.topology.cluster_view import Peer

RESTART_PAUSES_S = (0.0, 0.5, 2.0, 5.0, 15.0, 30.0)
STEADY_AFTER_S, STEADY_AFTER_PAUSES = 5.0, 10.0
"""A node that ran for longer than both (the pauses: those before its last start) begins again at the first pause."""


def restart_pause_s(restarts: int) -> float:
    """How long a node that ended waits to be started again. Args: `restarts`, how often it was since it last ran steadily."""
    return RESTART_PAUSES_S[min(restarts, len(RESTART_PAUSES_S) - 1)]


def ran_steadily(restarts: int, ran_s: float) -> bool:
    """Whether its end is a new one and not the next of a row: one that ends again and again soon after its start costs its
    primary a copy of all data each time, one that is killed now and then is to be back at once.
    """
    waited_s = restart_pause_s(restarts - 1) if restarts else 0.0
    return ran_s > max(STEADY_AFTER_S, STEADY_AFTER_PAUSES * waited_s)


@dataclass(frozen=True)
class Voice:
    """What one node that answers says of itself and of the others, asked a moment ago."""

    name: str
    node_id: str
    """Empty outside a cluster."""
    is_primary: bool
    primary: str
    """Outside a cluster: "address port" of the node it follows; empty for a primary."""
    offset: int
    """Replication offset in bytes."""
    keys: int = 0
    peers: Mapping[str, Peer] = field(default_factory=dict)


def was_primary(dead_id: str, voices: Iterable[Voice]) -> bool:
    """Whether survivors hold the dead node of a cluster for a primary: it owns slots or somebody follows it."""
    return any(
        (peer := voice.peers.get(dead_id)) is not None and not peer.primary_id and peer.owns_slots
        for voice in voices
    ) or any(voice.peers.get(voice.node_id, _NOBODY).primary_id == dead_id for voice in voices)


_NOBODY = Peer("", "", owns_slots=False, failed=False)


def candidates(dead_id: str, voices: Iterable[Voice]) -> list[Voice]:
    """Replicas of the dead primary by their own word, the one that has most of its data first."""
    own = [voice for voice in voices if voice.peers.get(voice.node_id, _NOBODY).primary_id == dead_id]
    return sorted(own, key=lambda voice: (-voice.offset, voice.name))


def worthy(
    wanting: Sequence[Voice], outlived: Callable[[str], bool], own_files_hold_keys: Callable[[], bool]
) -> list[Voice]:
    """Those who may have all that the dead one had: they lived when it died. Where none did, all of them, but only if
    the dead one would come back without a key: else its own files are no older than theirs.

    Args: `outlived`, whether the node of that name has run since before the end.
    """
    lived = [voice for voice in wanting if outlived(voice.name)]
    return lived or ([] if own_files_hold_keys() else list(wanting))


def is_armed(candidate_id: str, dead_id: str, voices: Iterable[Voice]) -> bool:
    """Whether the candidate can be elected in place of the dead one, by what the survivors know of both."""
    return cluster_view.is_armed(candidate_id, dead_id, ((voice.node_id, voice.peers) for voice in voices))


def knows_slots(candidate: Voice, dead_id: str) -> bool:
    """Whether the candidate knows that the dead one owns slots: else it becomes a primary without any."""
    return candidate.peers.get(dead_id, _NOBODY).owns_slots


def voters(dead_id: str, voices: Iterable[Voice]) -> list[str]:
    """Names of the primaries that can vote about the dead one: they own slots, and hold it for an owner of others."""
    return [
        voice.name
        for voice in voices
        if voice.is_primary
        and voice.peers.get(voice.node_id, _NOBODY).owns_slots
        and voice.peers.get(dead_id, _NOBODY).owns_slots
    ]


def has_majority(dead_ids: Iterable[str], voices: Sequence[Voice]) -> bool:
    """Whether the primaries that answer are a majority of all that own slots: without one no vote can be won."""
    owners = {
        node_id
        for voice in voices
        for node_id, peer in voice.peers.items()
        if peer.owns_slots and not peer.primary_id
    }
    alive = {voice.node_id for voice in voices if voice.is_primary} & owners
    return len(alive) > len(owners | set(dead_ids)) / 2


def best_replica(dead_address: str, voices: Iterable[Voice]) -> list[Voice]:
    """Outside a cluster: those that follow the dead primary, the one that has most of its data first."""
    own = [voice for voice in voices if not voice.is_primary and voice.primary == dead_address]
    return sorted(own, key=lambda voice: (-voice.offset, voice.name))


def way_home(
    primaries: Mapping[str, str], replicas: Mapping[str, Sequence[tuple[str, str]]]
) -> tuple[str, str] | None:
    """The one switch that best relieves a zone holding a majority of the primaries: (primary, replica), or None.

    Args: `primaries`, name -> zone; `replicas`, primary -> its replicas as (name, zone).
    Only a switch after which the fullest zone holds fewer primaries counts, so that homes are never traded to and fro.
    """
    fullest = _fullest(primaries.values())
    if len(primaries) < 3 or fullest <= len(primaries) / 2:
        return None
    options = [
        (_fullest({**primaries, owner: zone}.values()), owner, name)
        for owner in primaries
        for name, zone in replicas.get(owner, ())
    ]
    best = min(options, default=None)
    return (best[1], best[2]) if best is not None and best[0] < fullest else None


def _fullest(zones: Iterable[str]) -> int:
    return max(Counter(zones).values(), default=0)


def would_come_back_empty(data_files: bool, others_hold_data: bool) -> bool:
    """Whether a restart of a dead primary in its old role would replace data by nothing."""
    return not data_files and others_hold_data


def keeps_all(files: DataFiles) -> bool:
    """Whether a node would load what it acknowledged: what was appended before it answered is the kernel's by then, and a
    process that is killed takes nothing of it along. With `everysec` it may answer before it appends while its last fsync
    has not ended, for two seconds at most (flushAppendOnlyFile in src/aof.c).
    """
    return files.appended and files.holds_keys


def kept_words(files: DataFiles) -> str:
    """What a node that nobody replaces comes back with, for people."""
    if not files.holds_keys:
        return "nothing: none of its data is on disk"
    if files.appended:
        return f"its append-only file, last written at {files.written_at}"
    return f"its snapshot of {files.written_at}: what was written after it is lost"
