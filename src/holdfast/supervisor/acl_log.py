"""What a server has refused, by its ACL LOG, and which of it is new since the last look. Pure.

A server keeps its last refusals in memory (128 as it comes) and adds up those of one kind within a minute: an entry's
count grows and it moves to the front. Engines from 7.2 on number their entries; before, one is known by its words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self, TypeVar

SAME_MOMENT_S = 0.25
"""Ages are told when the question arrives: the same moment may look this much apart from one look to the next."""
LONGEST_WORD = 120
Value = TypeVar("Value")
REMEMBERED = 1024
"""Entries, of each server; none that is in its log may be forgotten, or it would be told again."""


@dataclass(frozen=True)
class Entry:
    """One entry of the log."""

    reason: str
    """`auth`, `command`, `key` or `channel`."""
    user: str
    what: str
    """The command that was refused, the first words of it; of a key not its name, which may tell of a person."""
    address: str
    """Where the last of them came from."""
    count: int
    at_s: float
    """When the last of them was, by the clock that the looks are told by."""
    number: str = ""
    """The server's own number of it with its first moment; empty where it gives none."""
    words: str = ""
    """What tells it from others where it has no number."""

    @property
    def is_numbered(self) -> bool:
        return bool(self.number)


@dataclass(frozen=True)
class Known:
    """What the last look has told of a server."""

    run_id: str = ""
    """Of the server's process: another one begins with an empty log."""
    counts: Mapping[str, int] | None = None
    """Number or words -> how often."""
    moments: Mapping[str, float] | None = None
    """Words -> when the last was."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Raises: ValueError for what was never written by `to_json`."""
        try:
            counts = {str(name): int(each) for name, each in value["counts"].items()}
            moments = {str(name): float(each) for name, each in value["moments"].items()}
            return cls(str(value["run_id"]), counts, moments)
        except (KeyError, TypeError, AttributeError) as wrong:
            raise ValueError(str(wrong)) from wrong


def entries_of(reply: Any, now_s: float) -> tuple[Entry, ...]:
    """The entries of an answer to ACL LOG, the newest first; what is no entry is left out.

    Args: `reply`, a list of maps or of flat lists of names and values; `now_s`, when it came.
    """
    found = (_entry(each, now_s) for each in reply) if isinstance(reply, list) else ()
    return tuple(entry for entry in found if entry is not None)


def _entry(value: Any, now_s: float) -> Entry | None:
    if isinstance(value, list) and not len(value) % 2:
        value = dict(zip(value[::2], value[1::2], strict=True))
    if not isinstance(value, Mapping):
        return None
    try:
        client = dict(
            part.split("=", 1) for part in str(value.get("client-info", "")).split(" ") if "=" in part
        )
        reason, user = str(value["reason"]), str(value["username"])
        number = f"{value['entry-id']}/{value['timestamp-created']}" if "entry-id" in value else ""
        return Entry(
            reason=_readable(reason),
            user=_readable(user),
            what=_readable(str(value["object"]) if reason == "command" else client.get("cmd", "")),
            address=_readable(client.get("addr", "")),
            count=int(value["count"]),
            at_s=now_s - float(value["age-seconds"]),
            number=number,
            words="\0".join((reason, str(value.get("context", "")), _readable(str(value["object"])), _readable(user))),
        )  # fmt: skip
    except (KeyError, ValueError, TypeError):
        return None


def _readable(text: str) -> str:
    """Any bytes that a client sent, as text that can be written anywhere; cut where it is very long."""
    shown = text.encode("utf-8", "backslashreplace").decode()
    return shown if len(shown) <= LONGEST_WORD else shown[:LONGEST_WORD] + "..."


def fresh(known: Known, run_id: str, entries: Sequence[Entry]) -> tuple[tuple[tuple[Entry, int], ...], Known]:
    """What is new, the oldest first, each with how often; and what is known from now on."""
    counts, moments = (known.counts or {}, known.moments or {}) if known.run_id == run_id else ({}, {})
    new = [
        (entry, times)
        for place, entry in enumerate(entries)
        if (times := _new_times(entry, entries[place + 1 :], counts, moments)) > 0
    ]
    newest = {entry.words: entry for entry in reversed(entries) if not entry.is_numbered}
    now_known = Known(
        run_id,
        _last(
            counts,
            {entry.number: entry.count for entry in reversed(entries) if entry.is_numbered}
            | {words: entry.count for words, entry in newest.items()},
        ),
        _last(moments, {words: entry.at_s for words, entry in newest.items()}),
    )
    return tuple(reversed(new)), now_known


def _last(before: Mapping[str, Value], now: Mapping[str, Value]) -> dict[str, Value]:
    """Both, what is in `now` last, and of all only so many as a log may hold."""
    both = {name: each for name, each in before.items() if name not in now} | dict(now)
    return dict(list(both.items())[-REMEMBERED:])


def _new_times(
    entry: Entry, older: Iterable[Entry], counts: Mapping[str, int], moments: Mapping[str, float]
) -> int:
    """How many refusals of this entry the last look has not told."""
    if entry.is_numbered:
        return entry.count - counts.get(entry.number, 0)
    told_s = moments.get(entry.words)
    if told_s is None:
        return entry.count
    told = counts[entry.words]
    if entry.at_s < told_s - SAME_MOMENT_S:
        return 0  # an older one with the same words
    if entry.at_s <= told_s + SAME_MOMENT_S:
        return max(0, entry.count - told)
    stays = any(each.words == entry.words and each.at_s > told_s - SAME_MOMENT_S for each in older)
    grown = entry.count > told and not stays
    return entry.count - told if grown else entry.count
