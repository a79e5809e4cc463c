"""What a comparison has found so far, and from where it can go on: values that can be written down and read again. Pure."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from holdfast.compare.judge import Difference, Kind
from holdfast.errors import HoldfastError

FORMAT = 1


@dataclass(eq=False)
class StateUnreadable(HoldfastError):
    """What was written down of an earlier comparison makes no sense here."""

    why: str

    def __str__(self) -> str:
        return f"the earlier comparison cannot be taken up ({self.why}); start it anew"


@dataclass(frozen=True)
class Found:
    """One key that is not the same on both sides, or that was never at rest."""

    database: int
    """On the first side."""
    key: bytes
    difference: Difference
    settled: bool
    """False for a key that changed at every look: nothing is proven about it."""

    def facts(self) -> dict[str, Any]:
        """As JSON types; the key as text where it is text, else base64."""
        named = {"key": self.key.decode()} if _is_text(self.key) else {"key_base64": _b64(self.key)}
        return {
            "database": self.database,
            **named,
            "kind": self.difference.kind.value,
            "detail": self.difference.detail,
            "settled": self.settled,
        }

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Self:
        """The same again."""
        key = facts["key"].encode() if "key" in facts else base64.b64decode(facts["key_base64"])
        return cls(
            int(facts["database"]),
            key,
            Difference(Kind(facts["kind"]), facts["detail"]),
            bool(facts["settled"]),
        )


@dataclass
class Lane:
    """One shard's keys in one database, in one direction: how far it has come."""

    run_id: str = ""
    """Of the server whose cursor this is; another server's scan begins anew."""
    cursor: int = 0
    keys: int = 0
    done: bool = False
    slots: str = ""
    """That the server had when the scan began, as `0-5460 9000`."""


@dataclass
class Report:
    """All that is found and all that is needed to go on."""

    lanes: dict[str, Lane] = field(default_factory=dict)
    """`direction/database/first slot` -> how far."""
    suspects: dict[tuple[int, bytes], None] = field(default_factory=dict)
    """Keys that looked different and are not settled."""
    same: int = 0
    decoded: int = 0
    """Of these, keys whose bytes differed and whose values did not."""
    in_pieces: int = 0
    """Keys that were too big to be fetched whole."""
    settled: int = 0
    """Keys that differed at first and were the same later."""
    bytes_read: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    """Differences by kind; `changing` for keys that were never at rest."""
    listed: list[Found] = field(default_factory=list)
    """The first of them."""
    took_s: float = 0.0
    slowed: int = 0
    """How often the reading was slowed because the first side answered others late."""
    left_out: tuple[str, ...] = ()
    """Databases that were not compared, and why."""
    complete: bool = False

    @property
    def keys(self) -> int:
        """Keys of the first side that were looked at."""
        return sum(lane.keys for name, lane in self.lanes.items() if name.startswith("forth/"))

    @property
    def keys_back(self) -> int:
        """Keys of the second side that were looked for on the first."""
        return sum(lane.keys for name, lane in self.lanes.items() if name.startswith("back/"))

    @property
    def different(self) -> int:
        """Keys that differ for good."""
        return sum(count for kind, count in self.counts.items() if kind != CHANGING)

    @property
    def changing(self) -> int:
        """Keys about which nothing could be proven."""
        return self.counts[CHANGING]

    def add(self, found: Found, at_most: int) -> None:
        """Count it, and list it while there is room."""
        self.counts[found.difference.kind.value if found.settled else CHANGING] += 1
        if len(self.listed) < at_most:
            self.listed.append(found)

    def facts(self) -> dict[str, Any]:
        """What `--json` prints."""
        return {
            "complete": self.complete,
            "keys": self.keys,
            "keys_back": self.keys_back,
            "same": self.same,
            "decoded": self.decoded,
            "in_pieces": self.in_pieces,
            "settled_later": self.settled,
            "different": self.different,
            "changing": self.changing,
            "by_kind": dict(sorted(self.counts.items())),
            "differences": [each.facts() for each in self.listed],
            "not_listed": self.different + self.changing - len(self.listed),
            "bytes_read": self.bytes_read,
            "took_s": round(self.took_s, 3),
            "keys_per_s": round(self.keys / self.took_s) if self.took_s else 0,
            "slowed": self.slowed,
            "left_out": list(self.left_out),
        }

    def state(self) -> dict[str, Any]:
        """What a journal keeps: enough to go on with `Report.resumed` after any end of the process."""
        return {
            "format": FORMAT,
            "lanes": {
                name: [lane.run_id, str(lane.cursor), lane.keys, lane.done, lane.slots]
                for name, lane in self.lanes.items()
            },
            "suspects": [[database, _b64(key)] for database, key in self.suspects],
            "figures": [self.same, self.decoded, self.in_pieces, self.settled, self.bytes_read, self.slowed],
            "counts": dict(self.counts),
            "listed": [each.facts() for each in self.listed],
            "took_s": self.took_s,
        }

    @classmethod
    def resumed(cls, state: Mapping[str, Any]) -> Self:
        """The report that `state` was made from. Raises: StateUnreadable."""
        try:
            if state["format"] != FORMAT:
                raise StateUnreadable(f"its format is {state['format']}, this Holdfast reads {FORMAT}")
            same, decoded, in_pieces, settled, read, slowed = (int(figure) for figure in state["figures"])
            return cls(
                lanes={
                    str(name): Lane(str(lane[0]), int(lane[1]), int(lane[2]), bool(lane[3]), str(lane[4]))
                    for name, lane in state["lanes"].items()
                },
                suspects={
                    (int(database), base64.b64decode(key)): None for database, key in state["suspects"]
                },
                same=same,
                decoded=decoded,
                in_pieces=in_pieces,
                settled=settled,
                bytes_read=read,
                slowed=slowed,
                counts=Counter({str(kind): int(count) for kind, count in state["counts"].items()}),
                listed=[Found.of(facts) for facts in state["listed"]],
                took_s=float(state["took_s"]),
            )
        except (KeyError, ValueError, TypeError, AttributeError, IndexError) as broken:
            raise StateUnreadable(f"{type(broken).__name__}: {broken}") from broken


CHANGING = "changing"


def _is_text(key: bytes) -> bool:
    try:
        return key.decode().isprintable()
    except UnicodeDecodeError:
        return False


def _b64(key: bytes) -> str:
    return base64.b64encode(key).decode()
