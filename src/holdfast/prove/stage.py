"""Where experiments happen: one cache, the ways into it, and what must be put back afterwards."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from holdfast.codec.crc import key_slot
from holdfast.engine.connection import Credentials, EngineNode
from holdfast.errors import HoldfastError
from holdfast.load.workload import MARK
from holdfast.spec.cache import Spec
from holdfast.spec.pattern import KeyPattern
from holdfast.state import StateFolder
from holdfast.topology.hosts import Hosts
from holdfast.topology.live import LiveCache
from holdfast.topology.observe import Access, observe
from holdfast.topology.record import CacheRecord, Member
from holdfast.topology.seen import SeenCache, SeenShard

UNDO_BOUND_S = 60.0

Undo = Callable[[], Awaitable[None]]


@dataclass
class Restoring:
    """What has to be put back, the last first, whatever happens."""

    _undos: list[tuple[str, Undo]] = field(default_factory=list)

    def later(self, what: str, undo: Undo) -> None:
        """Have `undo` called when the check ends. Args: `what`, how it is told: "n1 runs on"."""
        self._undos.append((what, undo))

    async def now(self) -> list[str]:
        """Put everything back. Returns: what was, and in words what could not be."""
        told = []
        while self._undos:
            what, undo = self._undos.pop()
            try:
                async with asyncio.timeout(UNDO_BOUND_S):
                    await undo()
                told.append(what)
            except (HoldfastError, OSError, TimeoutError) as failed:
                told.append(f"NOT put back: {what} ({failed or type(failed).__name__})")
        return told


@dataclass
class Stage:
    """All that a check is given."""

    spec: Spec
    record: CacheRecord
    access: Access
    """Holdfast's own user, or with a URL the user it names."""
    hosts: Hosts
    secrets: Mapping[str, str] = field(repr=False)
    """User -> password, of the users that are known."""
    state: StateFolder | None = None
    """Where Holdfast keeps this cache; None for a URL."""
    live: LiveCache | None = None
    """The cache as commands work on it; None for a URL."""
    load_s: float = 5.0
    """How long a load counts."""
    run: str = field(default_factory=lambda: secrets.token_hex(3))
    """Word in every key that this run writes."""
    tell: Callable[[str], None] = lambda _: None
    restoring: Restoring = field(default_factory=Restoring)
    shared: dict[str, Any] = field(default_factory=dict)
    """What one check measured and a later one judges too: gaps by kind of failure."""

    @property
    def is_elsewhere(self) -> bool:
        """Whether it is somebody else's cache, reached by a URL."""
        return self.state is None

    async def look(self) -> SeenCache:
        """The cache as it is now, processes too where a supervisor tells of them."""
        return await observe(self.record, self.access, self.hosts)

    def as_user(self, user: str) -> Access:
        """A declared user's way in. Raises: KeyError where its password is not known here."""
        return replace(self.access, credentials=Credentials(user, self.secrets[user]))

    @asynccontextmanager
    async def at(
        self, member: Member | str, access: Access | None = None, *, timeout_s: float = 5.0
    ) -> AsyncIterator[EngineNode]:
        """A connection to one node."""
        node = self.record.member(member) if isinstance(member, str) else member
        async with await EngineNode.connect(
            (access or self.access).endpoint(node), timeout_s=timeout_s
        ) as connection:
            yield connection

    def key_in(self, pattern: KeyPattern, shard: SeenShard, number: int = 0) -> str:
        """A key of that pattern, with this run's mark in it, that lies in the shard. Raises: ValueError without fields."""
        if not pattern.fields:
            raise ValueError(f"{pattern.text} has no field")
        for attempt in range(100_000):
            values = dict.fromkeys(pattern.fields, f"{MARK}-{self.run}-{number}x{attempt}")
            key = pattern.key(**values)
            if not shard.primary.slots or key_slot(key.encode()) in shard.primary.slots:
                return key
        raise ValueError(f"no key of {pattern.text} lies in the shard of {shard.primary.name}")
