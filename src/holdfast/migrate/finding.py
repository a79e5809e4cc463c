"""What is known of the ends before a migration, and how a finding about them is put. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from holdfast.migrate.seen import SeenEnd, SeenServer


class Weight(StrEnum):
    """What a finding means for the start."""

    BLOCKS = "blocks"
    """Nothing is begun, unless it is accepted by its id."""
    FORBIDS = "forbids"
    """Nothing is begun, and it cannot be accepted."""
    WARNS = "warns"
    TELLS = "tells"


@dataclass(frozen=True)
class Finding:
    """One thing that an operator should know before."""

    id: str
    weight: Weight
    what: str
    instead: str = ""
    accepted: bool = False


@dataclass(frozen=True)
class EndFacts:
    """What was asked of one end."""

    seen: SeenEnd
    head: SeenServer
    commands: frozenset[str] = frozenset()
    """Upper case, without subcommands."""
    used: Mapping[str, int] = field(default_factory=dict)
    """Write commands that were called since the server started, and how often."""
    databases: int = 16
    used_databases: frozenset[int] = frozenset()
    modules: frozenset[str] = frozenset()
    vector_sets: int = 0
    """Keys of that type that were met; counted up to a bound."""
    field_ttl_hashes: int = 0
    functions: tuple[str, ...] = ()
    """Names of function libraries."""
    users: tuple[str, ...] = ()
    config: Mapping[str, str] = field(default_factory=dict)
    denied: tuple[str, ...] = ()
    """Commands that a switch needs and our user may not use."""
    config_file: str = ""
    write_bytes_per_s: float = 0.0
    unknown_watchers: int = 0
    """Sentinels that watch it, and of which we do not know where they are."""


def denied(name: str, end: EndFacts) -> Iterator[Finding]:
    """What our user may not do at an end, `source` or `target`, whichever way in is chosen."""
    if end.denied:
        yield Finding(
            f"{name}-permissions",
            Weight.BLOCKS,
            f"our user may not use {', '.join(end.denied)} on the {name}, which a cutover needs",
            "Grant them, or name another user.",
        )
