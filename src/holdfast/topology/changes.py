"""Steps that change running nodes without restarting them: directives and users. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from holdfast.engine.drift import changed_directives
from holdfast.errors import HoldfastError
from holdfast.topology.seen import SeenCache
from holdfast.topology.steps import SetConfig, SetUsers, Step
from holdfast.topology.wanted import Wanted


@dataclass(eq=False)
class RestartNeeded(HoldfastError):
    """A directive changed that the engine reads only when it starts."""

    cache: str
    directives: tuple[tuple[str, str, str, str], ...]
    """Node, directive, value seen, value wanted."""

    def __str__(self) -> str:
        told = ", ".join(f"{name} on {node} ({old} -> {new})" for node, name, old, new in self.directives[:6])
        return (
            f"{self.cache} needs its nodes restarted for {told}. Nothing was changed. Put the old value back, or take "
            "the cache down and up again: holdfast down CACHE && holdfast up FILE"
        )


def change_steps(wanted: Wanted, seen: SeenCache, leaving: Collection[str] = ()) -> Iterator[Step]:
    """One step for each node whose directives or users differ from the spec's.

    Args: `leaving`, nodes that the plan removes: they stay as they are.
    Raises: RestartNeeded when a difference cannot be mended while the node runs.
    """
    restarts: list[tuple[str, str, str, str]] = []
    steps: list[Step] = []
    for node in seen.servers:
        if not node.is_up or node.name in leaving:
            continue
        if node.config is not None:
            differing = changed_directives(wanted.directives.get(node.name, ()), node.config)
            restarts += [
                (node.name, each.name, each.seen, each.wanted) for each in differing if not each.live
            ]
            if changes := {each.name: (each.seen, each.wanted) for each in differing if each.live}:
                steps.append(SetConfig(node.name, changes))
        if node.acl and wanted.record.acl.get(node.name, ("", "")) != (wanted.users_digest, node.acl):
            steps.append(SetUsers(node.name))
    if restarts:
        raise RestartNeeded(seen.name, tuple(restarts))
    yield from steps
