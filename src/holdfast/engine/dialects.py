"""Which engine can take over the data of which: by the RDB dialect each writes and each loads. Pure.

Sources: rdb.h and rdb.c of the engines named, and the runs in docs/topologies.md (a full copy from each to each).
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.engine.build import VALKEY_DIALECTS_FROM, EngineBuild

COMMON_MOST = 11
"""The newest dialect that both families load: Redis went on to 12, Valkey to 80."""
_REDIS = (((8, 8), 14), ((8, 6), 13), ((7, 4), 12), ((7, 2), 11), ((7, 0), 10), ((0, 0), 9))
_VALKEY = (((9, 0), VALKEY_DIALECTS_FROM), ((0, 0), COMMON_MOST))


@dataclass(frozen=True, order=True)
class EngineVersion:
    """What a running server says it is."""

    name: str
    """"valkey" or "redis"."""
    version: tuple[int, int, int]

    def __str__(self) -> str:
        return f"{self.name.capitalize()} {'.'.join(str(part) for part in self.version)}"

    @classmethod
    def of(cls, build: EngineBuild) -> EngineVersion:
        return cls(build.name, build.version)

    @property
    def dialect(self) -> int:
        """The RDB version that it writes."""
        table = _VALKEY if self.name == "valkey" else _REDIS
        return next(dialect for since, dialect in table if self.version[:2] >= since)


def loads(engine: EngineVersion, dialect: int) -> bool:
    """Whether it loads a snapshot of that dialect, as it is configured unless told otherwise."""
    if engine.name == "valkey":
        return dialect <= COMMON_MOST or dialect == engine.dialect
    return dialect <= engine.dialect


def can_copy(replica: EngineVersion, primary: EngineVersion) -> bool:
    """Whether the one can take a full copy from the other. Valkey 9 writes the common dialect for a replica that says
    that it is older or does not say what it is, unless a hash field has a TTL.
    """
    told = COMMON_MOST if primary.dialect == VALKEY_DIALECTS_FROM else primary.dialect
    return loads(replica, min(told, primary.dialect)) or loads(replica, primary.dialect)


def why_no_upgrade(old: EngineVersion, new: EngineVersion) -> str:
    """Why nodes cannot be moved in place from `old` to `new`; empty when they can."""
    if not loads(new, old.dialect):
        return f"{new} does not load what {old} writes (RDB {old.dialect})"
    if (old.name, new.name) == ("valkey", "redis"):
        return f"{old} and {new} are of different families, and only Redis to Valkey is proven in place"
    if old.name == new.name and new.version[:2] < old.version[:2]:
        return f"{new} is older than {old}, and what only the newer one knows would be lost without a word"
    return ""
