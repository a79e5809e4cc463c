"""Keeps other work off a cache that is an end of an open migration: what its spec says of users and settings is not what holds now.

A fence is rights that were taken away, and roles that are Holdfast's for the time: to bring such a cache to its spec would
let applications write to both ends.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from holdfast.errors import HoldfastError
from holdfast.jobs.folder import jobs_of
from holdfast.migrate.journal import KIND, Stage
from holdfast.state import StateFolder
from holdfast.topology.steps import AwaitOneOwner, AwaitSettled, AwaitSuccessor, LookAgain, StartNodes, Step

OPEN = frozenset({Stage.RUNNING, Stage.PAUSED, Stage.FAILED})
HARMLESS = (AwaitOneOwner, AwaitSettled, AwaitSuccessor, LookAgain, StartNodes)
"""What brings dead nodes back changes neither rights nor roles."""


@dataclass(eq=False)
class CacheInMigration(HoldfastError):
    """A cache is an end of a migration that is open."""

    cache: str
    migration: str
    step: str

    def __str__(self) -> str:
        return (
            f"{self.cache} is an end of the migration {self.migration}, and '{self.step}' could lift its fence or change its roles: "
            "it was not done, nor what comes after it. End the migration first (holdfast migrate finish, rollback or stop "
            f"{self.migration}), then repeat this"
        )


def open_migration_of(state: StateFolder, cache: str) -> str:
    """The open migration that the cache is an end of; empty when there is none. A journal that cannot be read counts as none."""
    for name in jobs_of(state, KIND):
        try:
            facts = json.loads((state.path / "jobs" / KIND / name / "journal.json").read_bytes())
            ends = {facts["source"]["cache"], facts["target"]["cache"]}
            if cache in ends and Stage(facts["stage"]) in OPEN:
                return name
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return ""


def must_be_free(state: StateFolder, cache: str, step: Step) -> None:
    """To be called before each step. Raises: CacheInMigration."""
    if not isinstance(step, HARMLESS) and (migration := open_migration_of(state, cache)):
        raise CacheInMigration(cache, migration, step.title)
