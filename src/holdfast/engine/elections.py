"""What engines differ in when a replica stands for election in a cluster. Pure.

Sources: clusterCommand, clusterCron and serverCron of Redis 7.0 and 8.0, Valkey 8.0, 8.1 and 9.1; and the kills that
docs/failover.md has the figures of.
"""

from __future__ import annotations

from holdfast.engine.build import EngineBuild

PLAIN_HZ = 10
"""Rounds per second of a server's timer, unless it is told otherwise; the cluster's part of it runs ten times a second,
whatever they are."""


def elects_at_timer(build: EngineBuild) -> bool:
    """Whether a replica that is told CLUSTER FAILOVER FORCE waits for its timer before it stands; Valkey does not from 8.1."""
    return build.name != "valkey" or build.version < (8, 1, 0)
