"""Steps that change running nodes without restarting them: directives and users. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from holdfast.engine.drift import changed_directives
from holdfast.topology.record import Kind
from holdfast.topology.seen import SeenCache
from holdfast.topology.steps import SetConfig, SetUsers, Step
from holdfast.topology.steps_rolling import WriteAnew
from holdfast.topology.wanted import Wanted


def change_steps(wanted: Wanted, seen: SeenCache, leaving: Collection[str] = ()) -> Iterator[Step]:
    """One step for each node whose directives or users differ from the spec's.

    Args: `leaving`, nodes that the plan removes: they stay as they are. What only a restart changes is not seen to
        here (`plan_rolling`).
    """
    for node in seen.nodes:
        if not node.is_up or node.name in leaving:
            continue
        if node.config is not None:
            differing = changed_directives(wanted.directives.get(node.name, ()), node.config)
            if changes := {each.name: (each.seen, each.wanted) for each in differing if each.live}:
                yield SetConfig(node.name, changes)
        users = wanted.sentinel_users_digest if node.kind is Kind.SENTINEL else wanted.users_digest
        if node.acl and wanted.record.acl.get(node.name, ("", "")) != (users, node.acl):
            yield SetUsers(node.name)


def written_anew(wanted: Wanted, seen: SeenCache) -> Iterator[Step]:
    """One step for each file that a server last failed to write: it says so until it has written one that is whole."""
    kept = wanted.spec.persistence
    asked = {"BGSAVE": kept.rdb.enabled, "BGREWRITEAOF": kept.aof.enabled}
    for node in seen.servers:
        for command in node.unwritten:
            if node.is_up and asked[command]:
                yield WriteAnew(node.name, command)
