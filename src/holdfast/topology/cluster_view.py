"""Reads what one node says of the cluster it is in (CLUSTER NODES). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from holdfast.topology.seen import MovingSlot
from holdfast.topology.slots import Slots, expand, parse_range


@dataclass(frozen=True)
class ClusterView:
    """The cluster through one node's eyes."""

    own_id: str
    primary_id: str
    """Whom it replicates, by its own word; empty for a primary."""
    slots: Slots
    """Its own slots."""
    moving: tuple[MovingSlot, ...]
    known: frozenset[str]
    """Ids of nodes it has shaken hands with, its own among them."""
    failed: frozenset[str]
    addresses: Mapping[str, str] = field(default_factory=dict)
    """Node id -> "address port" of every node it has shaken hands with and knows an address of."""


def read_cluster_nodes(text: str) -> ClusterView:
    """Parse the reply of CLUSTER NODES.

    Source: the command's documentation; a line is `id ip:port@busport[,hostname] flags primary ping pong epoch link
    slot...`, where a slot on its way is `[7->-id]` at its owner and `[7-<-id]` at its target.
    """
    own_id = primary_id = ""
    slots: Slots = frozenset()
    moving: tuple[MovingSlot, ...] = ()
    known: set[str] = set()
    failed: set[str] = set()
    addresses: dict[str, str] = {}
    for line in text.splitlines():
        node_id, address, flag_text, followed, _ping, _pong, _epoch, _link, *held = line.split(" ")
        flags = flag_text.split(",")
        if "handshake" in flags:
            continue
        known.add(node_id)
        if "fail" in flags:
            failed.add(node_id)
        if "noaddr" not in flags:
            host, _, port = address.partition("@")[0].rpartition(":")
            addresses[node_id] = f"{host} {port}"
        if "myself" in flags:
            own_id = node_id
            primary_id = "" if followed == "-" else followed
            slots = expand(parse_range(span) for span in held if not span.startswith("["))
            moving = tuple(_moving(span) for span in held if span.startswith("["))
    return ClusterView(own_id, primary_id, slots, moving, frozenset(known), frozenset(failed), addresses)


def _moving(text: str) -> MovingSlot:
    inner = text.strip("[]")
    slot, out, target = inner.partition("->-")
    if out:
        return MovingSlot(int(slot), target=target)
    slot, _, source = inner.partition("-<-")
    return MovingSlot(int(slot), source=source)


@dataclass(frozen=True)
class Peer:
    """A node of the cluster as another one sees it, without its slots' numbers."""

    node_id: str
    primary_id: str
    """Whom it replicates; empty for a primary."""
    owns_slots: bool
    failed: bool
    linked: bool = True
    """Whether the one that sees it has a connection to it: what it has to say to it is dropped otherwise."""


def read_peers(text: str) -> tuple[str, Mapping[str, Peer]]:
    """The own id and all peers, its own entry among them, from CLUSTER NODES; cheaper than `read_cluster_nodes`."""
    own_id = ""
    peers: dict[str, Peer] = {}
    for line in text.splitlines():
        node_id, _, flag_text, followed, *_rest = line.split(" ", 8)
        flags = flag_text.split(",")
        if "handshake" in flags:
            continue
        if "myself" in flags:
            own_id = node_id
        owns = len(_rest) > 4 and not _rest[4].startswith("[")
        linked = len(_rest) > 3 and _rest[3] == "connected"
        peers[node_id] = Peer(node_id, "" if followed == "-" else followed, owns, "fail" in flags, linked)
    return own_id, peers


_NOBODY = Peer("", "", owns_slots=False, failed=False, linked=False)


def votes(own_id: str, peers: Mapping[str, Peer]) -> bool:
    """Whether a node votes, by its own word: it is a primary that owns slots."""
    own = peers.get(own_id, _NOBODY)
    return own.owns_slots and not own.primary_id


def is_armed(heir_id: str, old_id: str, views: Iterable[tuple[str, Mapping[str, Peer]]]) -> bool:
    """Whether every primary that has slots (the old one too, where it answers: it does not listen to a replica that it
    does not know) knows the heir as a replica of the old one, and the heir itself knows that the old one owns slots:
    elected before that, it is a primary without any (seen within two seconds of a bring-up, for ADDSLOTS is not
    broadcast). And whether it is connected with a majority, both ways: one that was started again 0.1 s ago asked for
    votes, and was given them by all, on connections that were not there yet (seen on Valkey 9.1).

    Asked for votes earlier, a voter that does not know it yet refuses, and the next try is blocked for four node
    timeouts.

    Args: `views`, of every node that answers, its id and what it says of all (`read_peers`).
    """
    views = list(views)
    voters = {own_id: peers for own_id, peers in views if votes(own_id, peers)}
    own = next((peers for own_id, peers in views if own_id == heir_id), {})
    linked = sum(
        own.get(voter, _NOBODY).linked and peers.get(heir_id, _NOBODY).linked
        for voter, peers in voters.items()
    )
    return (
        own.get(old_id, _NOBODY).owns_slots
        and all(peers.get(heir_id, _NOBODY).primary_id == old_id for peers in voters.values())
        and linked > sum(peer.owns_slots for peer in own.values()) // 2
    )
