"""What the supervisors did by themselves while `holdfast up` was at it: after a power cut they start the nodes too, and
may be first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from holdfast.topology.hosts import Hosts

LOOKED_AT = 200
"""Events of each machine; a start of a cache leaves a few for each node."""


def now() -> str:
    """This moment as events write it, so that their texts compare as times."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


async def losses_since(hosts: Hosts, cache: str, since: str, told: Collection[str]) -> list[str]:
    """What came back with less than it had, one sentence each, but for what is `told` already.

    Args: `since`, from `now`.
    """
    events = [event for host in hosts.values() for event in await host.events(cache, LOOKED_AT)]
    return losses(sorted(events, key=lambda event: str(event["at"])), since, told)


def losses(events: Iterable[Mapping[str, Any]], since: str, told: Collection[str]) -> list[str]:
    """See `losses_since`. Pure."""
    named = {word for each in told for word in each.replace(",", " ").split()}
    found: list[str] = []
    for event in events:
        node = str(event["node"])
        if str(event["at"]) < since or node in named:
            continue
        if event["kind"] == "lost" and not event.get("keeps_all", True):
            found.append(f"{node} comes back with {event['comes_back_with']}")
        elif event["kind"] == "restarted" and event.get("left_out"):
            found.append(f"{node} {event['why']}")
    return list(dict.fromkeys(found))
