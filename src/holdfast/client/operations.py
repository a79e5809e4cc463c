"""What policies ask their edge to do. A policy is a generator: it yields one of these and is sent the result.

Both edges, blocking and asyncio, do the same few things; everything that decides is written once, above them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.client.kept import NEVER, Trust
from holdfast.client.layout import Address
from holdfast.client.rules import Breaker


class Node:
    """One server as this client sees it: what is known of it, and the edge's door to it."""

    __slots__ = ("address", "breaker", "door", "fresh_as_of", "offset", "round_trip_s", "settled", "trust")

    def __init__(self, address: Address, door: Any) -> None:
        self.address = address
        self.door = door
        self.breaker = Breaker()
        self.trust: Trust | None = None
        """What vouches for entries read from it; None while nobody listens there."""
        self.fresh_as_of = NEVER
        """Of a replica: at this instant (monotonic) its primary had nothing that it has not applied since."""
        self.settled = True
        """False from when its watcher lost it until it answers again and, as a replica, is linked to its primary: a
        replica that was started again serves what is in its old file until then."""
        self.offset = -1
        self.round_trip_s = 0.0
        """As its watcher last measured it."""


class Send:
    """Send bytes to a node, wait for that many replies until that instant (monotonic).

    Result: the reply, or the list of replies when more than one was asked for; error replies are values.
    Raises: NodeUnreached, NodeLost.
    """

    __slots__ = ("node", "payload", "readonly", "replies", "until")

    def __init__(self, node: Node, payload: bytes, replies: int, readonly: bool, until: float) -> None:
        self.node, self.payload, self.replies, self.readonly, self.until = (
            node,
            payload,
            replies,
            readonly,
            until,
        )


@dataclass(slots=True)
class SendEach:
    """Several at once, to as many nodes. Result: for each its result or what it raised."""

    sends: list[Send]


@dataclass(slots=True)
class Relook:
    """Have the layout looked at anew. Result: None, once there is a later one than `version` or that instant has come."""

    version: int
    until: float


@dataclass(slots=True)
class Pause:
    """Do nothing for that long."""

    seconds: float


@dataclass(slots=True)
class Load:
    """Call the application's loader. Result: what it returned. Raises: what it raised."""

    loader: Callable[..., Any]
    fields: Mapping[str, Any]


@dataclass(slots=True)
class Later:
    """Run another policy in the background; its errors are counted, not raised."""

    policy: Generator[Operation, Any, Any]


@dataclass(slots=True)
class Await:
    """Wait for another caller's flight until that instant.

    Result: what it ended with. Raises: what it ended with; FlightGivenUp when its caller went away; TimeoutError.
    """

    flight: Any
    until: float


Operation = Send | SendEach | Relook | Pause | Load | Later | Await
Policy = Generator[Operation, Any, Any]


class FlightGivenUp(Exception):
    """Whoever was loading was cancelled: another caller has to."""
