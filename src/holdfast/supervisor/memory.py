"""What was last heard of a cache's servers: one that is dead cannot be asked. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.supervisor import failover_rules as rules
from holdfast.supervisor.failover_rules import Voice
from holdfast.topology.record import CacheRecord


class Memory:
    """Of one cache."""

    def __init__(self, record: CacheRecord) -> None:
        self._record = record
        self.ids: dict[str, str] = {}
        """Member -> its id in its cluster."""
        self.offsets: dict[str, int] = {}
        self.followers: dict[str, tuple[str, ...]] = {}
        """Member -> who replicated it."""
        self.leader = ("", 0.0)
        """Outside a cluster: the primary last heard, and when."""
        self.voted_s: dict[str, float] = {}
        """In a cluster: member -> no earlier than when somebody was last voted into its place."""
        self._primaries: frozenset[str] = frozenset()

    def was_primary(self, name: str) -> bool:
        """Whether it was one when it last spoke; True where it never did, for it may have been."""
        return name in self._primaries or name not in self.offsets

    def learn(self, voices: Sequence[Voice], now_s: float) -> None:
        """Take in what those said who answered. Args: `now_s`, monotonic."""
        known = {member.name for member in self._record.members}
        self.ids = {name: each for name, each in self.ids.items() if name in known}
        for voice in voices:
            self.offsets[voice.name] = voice.offset
            if voice.node_id:
                self.ids[voice.name] = voice.node_id
            elif voice.is_primary:
                self.leader = (voice.name, now_s)
            if voice.node_id and not voice.is_primary and voice.name in self._primaries:
                self.voted_s[voice.name] = now_s
        heard = {voice.name for voice in voices}
        primaries = {voice.name for voice in voices if voice.is_primary}
        self._primaries = frozenset(primaries | (self._primaries - heard))
        for member in self._record.servers:
            own = (
                rules.candidates(self.ids.get(member.name, ""), voices)
                if member.bus_port
                else rules.best_replica(f"{member.address} {member.port}", voices)
            )
            if own:
                self.followers[member.name] = tuple(voice.name for voice in own)
