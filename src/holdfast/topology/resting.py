"""How long the nodes of a cluster rest between two votes about one primary, and how short that can be made. Pure.

A voter that has voted about a primary votes about it again only after two node timeouts. A replica that has asked asks
again only after four, 4 s at least; told to stand before two are over it takes the votes of its last election for
those of this one, becomes a primary by an old epoch, and is put back by the others: measured on Redis 7.0, its clients
waited 5 s. Valkey 8.1 dropped both.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from holdfast.engine.dialects import EngineVersion

VOTER_RESTS, ASKER_RESTS = 2, 4
"""Node timeouts that a voter waits before it votes again about one primary, and a replica before it asks again."""
ASKS_AGAIN_AFTER_S = 4.05
"""A replica never asks again before 4 s are over, however short its node timeout."""
LEAST_REST_S = 0.5
"""Voters rest at least so long: their node timeout is never made so short that a busy node looks dead."""
CALM_REST_S = 2.0
"""The same where nothing is down and there is time: a node timeout of 0.9 s."""
MARGIN = 1.1
ASKER_LEAST_S = 1.0
"""A shorter node timeout than this lets no replica ask sooner."""
SHORT_ENDS_IN = 7
"""Milliseconds: by this last digit a node timeout that was shortened is known, for nobody writes such a one."""
PINGING_MS = 1000 + SHORT_ENDS_IN
"""With this node timeout a node pings at once whom it has not heard for half a second (half of it, whatever it is)."""


def rests(engine: EngineVersion) -> bool:
    """Whether a voter of that engine waits before it votes about one primary again. Valkey gave that up in 8.1."""
    return engine.name != "valkey" or engine.version < (8, 1, 0)


def shortened_timeout_ms(
    node_timeout_ms: int, since_vote_s: float | None, since_asked_s: float | None
) -> int | None:
    """The node timeout with which voters vote again, and the replica asks again; None where their own will do.

    Args: `since_vote_s`, how long ago they voted about the same primary, `since_asked_s`, how long ago the same
    replica asked; None where it is not known or never was.
    As long as it can be: in a shorter one more nodes look dead.
    Source: clusterSendFailoverAuthIfNeeded and clusterHandleSlaveFailover in src/cluster.c, Redis 7.0; measured on
    Redis 7.0 and Valkey 8.0.
    """
    bounds_s = []
    if since_vote_s is not None and since_vote_s * 1000 <= VOTER_RESTS * node_timeout_ms * MARGIN:
        bounds_s.append(since_vote_s / VOTER_RESTS / MARGIN)
    if since_asked_s is not None and since_asked_s * 1000 <= ASKER_RESTS * node_timeout_ms * MARGIN:
        bounds_s.append(max(ASKER_LEAST_S, since_asked_s / ASKER_RESTS / MARGIN))
    if not bounds_s:
        return None
    most_ms = int(min(bounds_s) * 1000)
    return max(SHORT_ENDS_IN, most_ms - (most_ms - SHORT_ENDS_IN) % 10)


def is_shortened(timeout_ms: int, node_timeout_ms: int) -> bool:
    """Whether this is what `shortened_timeout_ms` made of the cluster's own node timeout."""
    return 0 < timeout_ms < node_timeout_ms and timeout_ms % 10 == SHORT_ENDS_IN


@dataclass(frozen=True)
class Rest:
    """What is known of the last votes in one shard, before one more is asked for."""

    voted: bool
    """Whether a voter has voted since it was started; about whom it does not say."""
    asked: bool
    """Whether the replica has asked since it was started."""
    since_s: float
    """The last vote about the primary, and the replica's last asking, are no less long ago."""

    @property
    def lacking_s(self) -> float:
        """How long to wait before a vote can be made possible."""
        needed_s = ASKS_AGAIN_AFTER_S if self.asked else CALM_REST_S if self.voted else 0.0
        return max(0.0, needed_s - self.since_s)

    def voters_ms(self, node_timeout_ms: int) -> int | None:
        """The node timeout that the voters need; None where their own will do."""
        return shortened_timeout_ms(node_timeout_ms, self.since_s if self.voted else None, None)

    def asker_ms(self, node_timeout_ms: int) -> int | None:
        """The same for the replica."""
        return shortened_timeout_ms(node_timeout_ms, None, self.since_s if self.asked else None)


def read_rest(own: str, link: str, voters: Iterable[str]) -> Rest:
    """Put together what the nodes say.

    A replica's link to its primary was made after either became what it is, so both the last vote about that primary
    and the replica's own election are longer ago than the link is old.

    Args: `own`, the replica's CLUSTER INFO; `link`, its CLIENT LIST of connections to its primary; `voters`, the CLUSTER
        INFO of the others.
    """
    return Rest(
        voted=any(_count(text, "auth-ack_sent") for text in voters),
        asked=bool(_count(own, "auth-req_sent")),
        since_s=_age_s(link),
    )


def _count(text: str, what: str) -> int:
    """A counter of messages of the cluster bus; those that are 0 are not told."""
    name = f"cluster_stats_messages_{what}:"
    return next((int(line[len(name) :]) for line in text.splitlines() if line.startswith(name)), 0)


def _age_s(link: str) -> float:
    """No more than the age of the youngest connection listed, which is told in whole seconds of the clock."""
    ages = [
        int(word[4:])
        for line in link.splitlines()
        for word in line.split(" ")
        if word.startswith("age=") and word[4:].isdigit()
    ]
    return max(0.0, min(ages, default=0) - 1.0) if ages else math.inf
