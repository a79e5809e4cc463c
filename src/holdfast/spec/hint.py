"""The shape of advice: a rule that looks at a spec, and what it has to say of one value."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from holdfast.spec.cache import Spec
from holdfast.spec.fault import Path


class AdviceSeverity(StrEnum):
    """How bad it would be; an `error` that is not accepted makes `holdfast check` fail."""

    ERROR = "error"
    WARN = "warn"
    INFO = "info"


@dataclass(frozen=True)
class Hint:
    """What a rule found in one spec."""

    path: Path
    """The value that it is about."""
    detail: str
    """The numbers and names of this spec, one sentence without a full stop."""


@dataclass(frozen=True)
class Rule:
    """One piece of advice. Its id never changes meaning: `accept` names it."""

    id: str
    severity: AdviceSeverity
    title: str
    why: str
    do: str
    source: str
    look: Callable[[Spec], Iterator[Hint]]
