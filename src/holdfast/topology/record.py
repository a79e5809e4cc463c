"""What Holdfast remembers of a cache it has made: which nodes there are and where. Never their roles. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any, Self, TypeVar

from holdfast.errors import HoldfastError
from holdfast.spec.topology import Mode

RECORD_FORMAT = 1

T = TypeVar("T")
_NAME = re.compile(r"[a-z][a-z0-9-]{0,63}")


class Kind(StrEnum):
    """What a node's process is."""

    SERVER = "server"
    SENTINEL = "sentinel"


@dataclass(eq=False)
class RecordUnreadable(HoldfastError):
    """The record file of a cache is not one that this Holdfast wrote."""

    path: str
    why: str

    def __str__(self) -> str:
        return (
            f"the record of the cache, {self.path}, cannot be used: {self.why}; the nodes and their data are not "
            "touched: restore the file (its last good copy is beside it, ending in .previous)"
        )


@dataclass(frozen=True)
class Member:
    """One node of a cache: a name for ever, a host, a zone and an address."""

    name: str
    kind: Kind
    host: str
    """Name of the machine; `local` for place: local."""
    zone: str
    address: str
    """IP address that clients and other nodes connect to."""
    port: int
    bus_port: int
    """Cluster bus; 0 outside a cluster."""
    first_shard: int = -1
    """Shard it was made for, used only to form a cluster that is still empty."""
    first_primary: bool = False
    """Whether it was made to be that shard's first primary; roles are observed ever after."""
    engine: str = ""
    """Key of the engine build that its files were last written for; empty: the cache's."""


@dataclass(frozen=True)
class CacheRecord:
    """The members of one cache and what was last applied to it."""

    name: str
    mode: str
    """Topology mode it was made in: standalone, replicated, sentinel or cluster."""
    engine: str
    """Key of the engine build that its nodes run, or are being moved to."""
    tls: bool
    members: tuple[Member, ...] = ()
    spec_digest: str = ""
    """Digest of the spec that was last applied whole; empty while the first `up` is not through."""
    acl: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """For each member: digest of the users wanted and of what the engine then listed, when last applied."""
    numbered: Mapping[str, int] = field(default_factory=dict)
    """For each beginning of a name the highest number ever given: the name of a node that is gone is not used again."""
    engine_before: str = ""
    """Key of the build they ran before the change of engine that is under way; empty when none is."""

    def member(self, name: str) -> Member:
        """The member of that name. Raises: KeyError."""
        for member in self.members:
            if member.name == name:
                return member
        raise KeyError(name)

    @property
    def servers(self) -> tuple[Member, ...]:
        return tuple(member for member in self.members if member.kind is Kind.SERVER)

    @property
    def sentinels(self) -> tuple[Member, ...]:
        return tuple(member for member in self.members if member.kind is Kind.SENTINEL)

    def with_member(self, member: Member) -> Self:
        """The record with that member added or put in place of its namesake."""
        others = tuple(each for each in self.members if each.name != member.name)
        stem, number = _parted(member.name)
        numbered = {**self.numbered, stem: max(number, self.numbered.get(stem, 0))}
        return replace(self, members=(*others, member), numbered=numbered)

    def without(self, name: str) -> Self:
        """The record without that member; its name stays taken."""
        stem, number = _parted(name)
        return replace(
            self,
            numbered={**self.numbered, stem: max(number, self.numbered.get(stem, 0))},
            members=tuple(each for each in self.members if each.name != name),
            acl={member: digests for member, digests in self.acl.items() if member != name},
        )

    def to_json(self) -> dict[str, Any]:
        return {"format": RECORD_FORMAT} | asdict(self)

    @classmethod
    def from_json(cls, path: str, value: Any) -> Self:
        """Raises: RecordUnreadable."""
        if not isinstance(value, dict) or value.get("format") != RECORD_FORMAT:
            found = value.get("format") if isinstance(value, dict) else type(value).__name__
            raise RecordUnreadable(path, f"its format is {found!r}, not {RECORD_FORMAT}")
        try:
            return cls(
                name=_text(value, "name"),
                mode=Mode(_text(value, "mode")).value,
                engine=_text(value, "engine"),
                tls=_flag(value, "tls"),
                members=_members(value["members"]),
                spec_digest=_text(value, "spec_digest"),
                acl={_of(str, name): _digests(pair) for name, pair in _of(dict, value["acl"]).items()},
                numbered={
                    _of(str, prefix): _of(int, number)
                    for prefix, number in _of(dict, value.get("numbered", {})).items()
                },
                engine_before=_of(str, value.get("engine_before", "")),
            )
        except KeyError as missing:
            raise RecordUnreadable(path, f"{missing.args[0]} is missing") from missing
        except (TypeError, ValueError) as failed:
            raise RecordUnreadable(path, str(failed)) from failed

    def next_name(self, prefix: str, planned: Iterable[str] = ()) -> str:
        """A name that no node of this cache has or ever had: n1, n2, ...

        Args: `planned`, names already given to nodes that are not in the record yet.
        """
        given = [*(member.name for member in self.members), *planned]
        numbers = [number for name in given for stem, number in [_parted(name)] if stem == prefix]
        return f"{prefix}{max([self.numbered.get(prefix, 0), *numbers]) + 1}"


def number_of(name: str) -> tuple[int, str]:
    """Sorts names as people count: n2 before n10."""
    return (_parted(name)[1], name)


def _parted(name: str) -> tuple[str, int]:
    stem = name.rstrip("0123456789")
    digits = name[len(stem) :]
    return stem, int(digits) if digits else 0


def _members(value: Any) -> tuple[Member, ...]:
    members = tuple(
        Member(
            name=_text(each, "name"),
            kind=Kind(_text(each, "kind")),
            host=_text(each, "host"),
            zone=_text(each, "zone"),
            address=_text(each, "address"),
            port=_port(each, "port"),
            bus_port=_port(each, "bus_port"),
            first_shard=_of(int, each["first_shard"]),
            first_primary=_flag(each, "first_primary"),
            engine=_of(str, each.get("engine", "")),
        )
        for each in (_of(dict, member) for member in _list(value))
    )
    for name, times in Counter(member.name for member in members).items():
        if times > 1:
            raise ValueError(f"{name} is in it {times} times")
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a node")
    return members


def _digests(pair: Any) -> tuple[str, str]:
    wanted, listed = _list(pair)
    return _of(str, wanted), _of(str, listed)


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, tuple) else _of(list, value)


def _text(value: Any, field: str) -> str:
    return _of(str, value[field])


def _flag(value: Any, field: str) -> bool:
    return _of(bool, value[field])


def _port(value: Any, field: str) -> int:
    port = _of(int, value[field])
    if not 0 <= port <= 65535:
        raise ValueError(f"{port} is no port")
    return port


def _of(kind: type[T], value: Any) -> T:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise TypeError(f"{str(value)[:40]!r} stands where a {kind.__name__} should be")
    return value
