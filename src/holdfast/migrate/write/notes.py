"""What the mode `write` keeps in the journal, beside what all modes keep. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from holdfast.engine.facts import Address
from holdfast.migrate.ends import Side
from holdfast.migrate.write.acl import Rights
from holdfast.migrate.write.jobs import Past
from holdfast.topology.slots import SlotRange, expand, ranges


@dataclass(frozen=True)
class ReadShard:
    """A shard that is read: one stream, one way."""

    members: tuple[Address, ...]
    """Its servers, as they were last seen; one of them is its primary."""
    slots: tuple[SlotRange, ...] = ()
    """What of its stream is ours to write; empty outside a cluster."""
    replid: str = ""
    """The history that it is read in since the last switch, and from where on; empty where it begins with a snapshot."""
    offset: int = -1
    past: Past = field(default_factory=Past)
    """What of its stream is not to be written again."""


Fenced = Mapping[str, Mapping[str, Rights]]
"""Server -> user -> what it was allowed."""


@dataclass(frozen=True)
class Notes:
    """All of it."""

    own_keys: tuple[str, ...] = ()
    """What keys begin with that are no one's data."""
    read: Mapping[Side, tuple[ReadShard, ...]] = field(default_factory=dict)
    """The shards of each end that is, or was, read."""
    unmarked: Side | None = None
    """The end in which the first checkpoints behind the last switch have still to be written."""
    fences: Mapping[Side, Fenced] = field(default_factory=dict)
    """Ends whose applications' writes are refused."""
    users: tuple[Side, ...] = ()
    """Ends that have a user of ours."""
    runs: Mapping[str, str] = field(default_factory=dict)
    """Fenced server -> its run id: another one means that it was restarted."""

    def with_fence(self, side: Side, fenced: Fenced) -> Self:
        """The same, that end fenced so; an empty one takes it away."""
        others = {each: users for each, users in self.fences.items() if each is not side}
        return replace(self, fences={**others, side: fenced} if fenced else others)

    def with_read(self, side: Side, shards: tuple[ReadShard, ...]) -> Self:
        """The same, with these shards of that end."""
        return replace(self, read={**self.read, side: shards})

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` takes them back."""
        return {
            "own_keys": list(self.own_keys),
            "read": {side.value: [_shard(each) for each in shards] for side, shards in self.read.items()},
            "unmarked": self.unmarked.value if self.unmarked else None,
            "fences": {
                side.value: {
                    server: {
                        user: {"commands": list(rights.commands), "selectors": list(rights.selectors)}
                        for user, rights in users.items()
                    }
                    for server, users in fenced.items()
                }
                for side, fenced in self.fences.items()
            },
            "users": [side.value for side in self.users],
            "runs": dict(self.runs),
        }

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Self:
        """Take back what `to_json` gave; nothing of it is there before the first time."""
        return cls(
            own_keys=tuple(facts.get("own_keys", ())),
            read={
                Side(side): tuple(_read_shard(each) for each in shards)
                for side, shards in facts.get("read", {}).items()
            },
            unmarked=Side(facts["unmarked"]) if facts.get("unmarked") else None,
            fences={
                Side(side): {
                    server: {
                        user: Rights(tuple(each["commands"]), tuple(each["selectors"]))
                        for user, each in users.items()
                    }
                    for server, users in fenced.items()
                }
                for side, fenced in facts.get("fences", {}).items()
            },
            users=tuple(Side(side) for side in facts.get("users", ())),
            runs=dict(facts.get("runs", {})),
        )


def _shard(shard: ReadShard) -> dict[str, Any]:
    return {
        "members": [list(each) for each in shard.members],
        "slots": _spans(shard.slots),
        "replid": shard.replid,
        "offset": shard.offset,
        "jobs_until": shard.past.jobs_until,
        "past": [[offset, _spans(slots)] for offset, slots in _by_offset(shard.past)],
    }


def _read_shard(facts: Mapping[str, Any]) -> ReadShard:
    return ReadShard(
        tuple((str(host), int(port)) for host, port in facts["members"]),
        _slots(facts["slots"]),
        str(facts["replid"]),
        int(facts["offset"]),
        Past(
            int(facts.get("jobs_until", -1)),
            {slot: int(offset) for offset, spans in facts.get("past", ()) for slot in expand(_slots(spans))},
        ),
    )


def _by_offset(past: Past) -> list[tuple[int, tuple[SlotRange, ...]]]:
    offsets = sorted(set(past.slots.values()))
    return [
        (offset, ranges(frozenset(slot for slot, each in past.slots.items() if each == offset)))
        for offset in offsets
    ]


def _spans(slots: tuple[SlotRange, ...]) -> list[list[int]]:
    return [[each.first, each.last] for each in slots]


def _slots(spans: Any) -> tuple[SlotRange, ...]:
    return tuple(SlotRange(int(first), int(last)) for first, last in spans)
