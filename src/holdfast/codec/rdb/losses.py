"""What a translation takes away or changes: counted by reason, with a few keys named, so that nothing is lost silently."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

SAMPLES = 5
"""Keys that are named for each reason."""


class Reason(enum.StrEnum):
    """Why something does not arrive as it was. The value is the word for code; `WORDS` has the sentence."""

    FIELD_TTL = "field-ttl"
    FIELD_EXPIRED = "field-expired"
    ARRAY = "array"
    MODULE_KEY = "module-key"
    MODULE_DATA = "module-data"
    KEY_META = "key-meta"
    FUNCTION = "function"
    FUNCTION_FOREIGN = "function-foreign"
    DATABASE = "database"
    SLOT_IMPORT = "slot-import"
    STREAM_PRODUCERS = "stream-producers"
    STREAM_OWNERLESS = "stream-ownerless"
    STREAM_COUNTERS = "stream-counters"
    CONSUMER_ACTIVE_TIME = "consumer-active-time"
    UNSUPPORTED_TYPE = "unsupported-type"
    TOO_BIG = "too-big"

    # Enum's own hashes its name by a call of Python's, and a loss may be counted a million times a second.
    __hash__ = str.__hash__


WORDS = {
    Reason.FIELD_TTL: "fields of hashes arrive without their expiry: the target has none for fields, so they stay for ever",
    Reason.FIELD_EXPIRED: "fields of hashes had expired already and are left out, as the target cannot expire them",
    Reason.ARRAY: "arrays do not arrive: the target has no such type",
    Reason.MODULE_KEY: "keys of a module's type do not arrive: the target does not have the module",
    Reason.MODULE_DATA: "a module's own data does not arrive: the target does not have the module and would end itself",
    Reason.KEY_META: "what modules noted on keys does not arrive",
    Reason.FUNCTION: "function libraries do not arrive: the target has no functions",
    Reason.FUNCTION_FOREIGN: "function libraries do not arrive: they are written for another engine, and the target would end itself",
    Reason.DATABASE: "keys do not arrive: the target does not have their database and would end itself",
    Reason.SLOT_IMPORT: "a note on slots being imported does not arrive: finish or cancel that slot migration first",
    Reason.STREAM_PRODUCERS: "streams arrive without the record of their idempotent producers: a retried XADD may be added twice",
    Reason.STREAM_OWNERLESS: "pending entries that no consumer owned are now owned by a consumer named __xnack__",
    Reason.STREAM_COUNTERS: "streams and groups arrive without their counters of entries added and read, from which lag is told",
    Reason.CONSUMER_ACTIVE_TIME: "consumers of groups arrive without the time they were last active",
    Reason.UNSUPPORTED_TYPE: "keys do not arrive: the target has no such type",
    Reason.TOO_BIG: "keys do not arrive: a part of their value that must be rewritten whole is larger than the bound for it",
}
"""Reason -> what it means, for people."""

MISSING = frozenset(
    {
        Reason.ARRAY,
        Reason.MODULE_KEY,
        Reason.MODULE_DATA,
        Reason.FUNCTION,
        Reason.FUNCTION_FOREIGN,
        Reason.DATABASE,
        Reason.UNSUPPORTED_TYPE,
        Reason.TOO_BIG,
    }
)
"""The reasons for which something is not there at all afterwards; the others change what is there."""


@dataclass
class Loss:
    """One reason's account."""

    reason: Reason
    keys: int = 0
    """Keys, or function libraries and the like, that it concerns."""
    parts: int = 0
    """What it concerns inside them: fields, producers, entries; equal to `keys` where a whole key is concerned."""
    samples: list[tuple[int, bytes]] = field(default_factory=list)
    """(database, key) of the first few."""

    @property
    def wants_samples(self) -> bool:
        """Whether fewer keys are named than may be."""
        return len(self.samples) < SAMPLES

    def name(self, db: int, key: bytes | None) -> None:
        """Name one of the keys where there is room for it; None is no key."""
        if key is not None and self.wants_samples:
            self.samples.append((db, key))

    @property
    def is_missing(self) -> bool:
        """Whether what is counted is not there at all afterwards."""
        return self.reason in MISSING

    def __str__(self) -> str:
        parts = "" if self.parts == self.keys else f" ({self.parts} parts)"
        return f"{self.keys}{parts}: {WORDS[self.reason]}"


class LossReport:
    """The accounts of one translation, by reason."""

    def __init__(self) -> None:
        self.by_reason: dict[Reason, Loss] = {}

    def count(self, reason: Reason, parts: int = 1, keys: int = 1) -> Loss:
        """So many keys more, with so many parts in all; returns the account, in which they may be named."""
        loss = self.by_reason.get(reason)
        if loss is None:
            loss = self.by_reason[reason] = Loss(reason)
        loss.keys += keys
        loss.parts += parts
        return loss

    def __bool__(self) -> bool:
        return bool(self.by_reason)

    @property
    def is_missing(self) -> bool:
        """Whether anything is not there at all afterwards."""
        return any(loss.is_missing for loss in self.by_reason.values())

    def to_json(self) -> list[dict[str, object]]:
        """For `--json`: keys as text, bytes that are not UTF-8 as \\x.."""
        return [
            {
                "reason": str(loss.reason),
                "keys": loss.keys,
                "parts": loss.parts,
                "missing": loss.is_missing,
                "what": WORDS[loss.reason],
                "samples": [
                    {"db": db, "key": key.decode(errors="backslashreplace")} for db, key in loss.samples
                ],
            }
            for loss in self.by_reason.values()
        ]
