"""What a migration remembers: enough, with what is observed, to go on from wherever it was cut off. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any, Self

from holdfast.engine.facts import Address
from holdfast.errors import HoldfastError
from holdfast.migrate.ends import End, Side

JOURNAL_FORMAT = 1
KIND = "migration"
"""What its job is called."""


class Mode(StrEnum):
    """How data gets in."""

    RELAY = "relay"
    """As the target's primary."""
    WRITE = "write"
    """As a client of the target."""


class Stage(StrEnum):
    """Where a migration stands as a whole."""

    RUNNING = "running"
    PAUSED = "paused"
    FAILED = "failed"
    """Something came that trying again does not mend; `words` says what."""
    STOPPED = "stopped"
    FINISHED = "finished"


class Step(StrEnum):
    """Steps of a switch of primaries, in order; each is written down before it is done."""

    PREPARE = "prepare"
    HOLD = "hold writes"
    SETTLE = "offsets equal"
    FENCE = "fence"
    PROVE = "prove the fence"
    CHECK = "last check"
    PROMOTE = "promote"
    RELEASE = "release"
    ATTACH = "open the way back"
    HOOK = "hook"
    DONE = "done"
    UNDO = "undo"


@dataclass(eq=False)
class JournalDamaged(HoldfastError):
    """A migration's journal is not one that this Holdfast wrote."""

    name: str
    why: str

    def __str__(self) -> str:
        return (
            f"the journal of the migration {self.name} cannot be used ({self.why}); nothing was changed: restore its "
            "folder from a copy, or start a migration under another name"
        )


@dataclass(frozen=True)
class Borrowed:
    """A setting of a server that was changed for the time of the migration, and what it was."""

    side: Side
    address: Address
    name: str
    value: str
    sentinel: str = ""
    """Name that the Sentinel at `address` watches by, where the setting is of a Sentinel."""


@dataclass(frozen=True)
class Switch:
    """One switch of primaries, under way or over."""

    to: Side
    step: Step = Step.PREPARE
    started_at: str = ""
    old: Address | None = None
    """Who is primary before it."""
    new: Address | None = None
    """Who is afterwards."""
    offset: int = -1
    """Where both stood when writes were held."""
    replid: str = ""
    """The history that both shared."""
    pause_ms: float | None = None
    """How long writes were held, from the order to the release."""
    took_ms: Mapping[str, float] = field(default_factory=dict)
    """For each step."""
    proofs: tuple[str, ...] = ()
    """What the fenced server answered to the writes that it had to refuse."""
    tries: int = 0
    outcome: str = ""
    """`done` or `undone`; empty while it is under way."""
    words: str = ""
    """Why it was undone, or what went amiss beside it."""
    hook: str = ""
    """What the hook did."""


@dataclass(frozen=True)
class Options:
    """What was asked for at the start."""

    accepted: tuple[str, ...] = ()
    """Findings that were agreed to."""
    spool_bytes: int = 16 * 1024**3
    listen: str = ""
    """Address that the other end reaches us by; empty: found by asking the system for the way there."""
    from_replica: bool = False
    """Take the stream from a replica of the source while it runs (never during a switch)."""
    databases: tuple[tuple[int, int], ...] = ()
    """Of the source -> of the target, for mode `write`; each to its own number where it is not named."""
    relay_cert: str = ""
    relay_key: str = ""
    """What we prove ourselves with to an end that replicates over TLS."""


@dataclass(frozen=True)
class Journal:
    """One migration."""

    name: str
    mode: Mode
    source: End
    target: End
    created_at: str
    options: Options = Options()
    stage: Stage = Stage.RUNNING
    words: str = ""
    """Why it failed."""
    primary: Side = Side.SOURCE
    """Which end takes the applications' writes."""
    switch: Switch | None = None
    """The one under way."""
    switches: tuple[Switch, ...] = ()
    """Those that are over."""
    borrowed: tuple[Borrowed, ...] = ()
    doors: tuple[tuple[Side, Address], ...] = ()
    """Where each side was ever told to find us, the newest last."""
    pointed: str = ""
    """Run id of the target's server that we made follow us; empty before."""
    full_syncs: tuple[str, ...] = ()
    """Why each full synchronisation was made."""
    losses: Mapping[str, int] = field(default_factory=dict)
    """What could not be carried so far."""
    way_back: str = ""
    """Why the way back is closed; empty while it is open, or not yet needed."""
    answered: int = 0
    """Number of the last order that was carried out."""
    answer: str = ""
    """What became of it; empty when it was done."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """What a mode keeps for itself."""

    def end(self, side: Side) -> End:
        """The end on that side."""
        return self.source if side is Side.SOURCE else self.target

    def doors_of(self, side: Side) -> tuple[Address, ...]:
        """Where that side was ever told to find us, the newest last."""
        return tuple(address for each, address in self.doors if each is side)

    def mapping(self, to: Side, count: int) -> dict[int, int] | None:
        """Databases of the other end -> of the end `to`, which has `count`; None where each has its own number.

        One that is not named keeps its number, as long as nobody was given that.
        """
        if not self.options.databases:
            return None
        named = dict(self.options.databases)
        if to is Side.SOURCE:
            named = {there: here for here, there in named.items()}
        taken = set(named.values())
        return {
            number: number for number in range(count) if number not in taken and number not in named
        } | named

    @property
    def follower(self) -> Side:
        """The end that is kept like the other."""
        return self.primary.other

    def to_json(self) -> dict[str, Any]:
        """Plain values, without passwords; `from_json` takes them back."""
        facts = {each.name: getattr(self, each.name) for each in fields(self)}
        facts |= {
            "format": JOURNAL_FORMAT,
            "source": self.source.to_json(),
            "target": self.target.to_json(),
            "options": asdict(self.options),
            "switch": None if self.switch is None else asdict(self.switch),
            "switches": [asdict(each) for each in self.switches],
            "borrowed": [asdict(each) for each in self.borrowed],
            "doors": [[side.value, *address] for side, address in self.doors],
            "losses": dict(self.losses),
            "more": dict(self.more),
        }
        return facts

    @classmethod
    def from_json(cls, facts: Mapping[str, Any], secrets: Mapping[str, Any]) -> Self:
        """Take back what `to_json` gave. Args: `secrets`, each side's passwords. Raises: JournalDamaged."""
        name = str(facts.get("name", ""))
        if facts.get("format") != JOURNAL_FORMAT:
            raise JournalDamaged(
                name, f"its format is {facts.get('format')!r}, and this Holdfast knows {JOURNAL_FORMAT}"
            )
        try:
            plain = {each.name: facts[each.name] for each in fields(cls)}
            plain |= {
                "mode": Mode(facts["mode"]),
                "stage": Stage(facts["stage"]),
                "primary": Side(facts["primary"]),
                "source": End.from_json(facts["source"], secrets.get("source", {})),
                "target": End.from_json(facts["target"], secrets.get("target", {})),
                "options": _options(facts["options"]),
                "switch": None if facts["switch"] is None else _switch(facts["switch"]),
                "switches": tuple(_switch(each) for each in facts["switches"]),
                "borrowed": tuple(_borrowed(each) for each in facts["borrowed"]),
                "doors": tuple((Side(side), (str(host), int(port))) for side, host, port in facts["doors"]),
                "full_syncs": tuple(facts["full_syncs"]),
            }
            return cls(**plain)
        except (KeyError, TypeError, ValueError) as wrong:
            raise JournalDamaged(name, f"{type(wrong).__name__}: {wrong}") from wrong

    def secrets(self) -> dict[str, dict[str, str]]:
        """Each side's passwords."""
        return {"source": self.source.secrets(), "target": self.target.secrets()}


def _options(facts: Mapping[str, Any]) -> Options:
    databases = tuple((int(here), int(there)) for here, there in facts.get("databases", ()))
    return Options(**{**facts, "accepted": tuple(facts["accepted"]), "databases": databases})


def _address(pair: Any) -> Address | None:
    return None if pair is None else (str(pair[0]), int(pair[1]))


def _switch(facts: Mapping[str, Any]) -> Switch:
    return Switch(
        **{
            **facts,
            "to": Side(facts["to"]),
            "step": Step(facts["step"]),
            "old": _address(facts["old"]),
            "new": _address(facts["new"]),
            "proofs": tuple(facts["proofs"]),
        }
    )


def _borrowed(facts: Mapping[str, Any]) -> Borrowed:
    address = _address(facts["address"])
    assert address is not None
    return Borrowed(**{**facts, "side": Side(facts["side"]), "address": address})
