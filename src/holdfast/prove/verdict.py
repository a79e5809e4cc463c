"""What an experiment says about a promise: kept, not kept, or that it could not be said and why. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """How a check ended. Nothing is kept by default: each `kept` has figures behind it."""

    KEPT = "kept"
    NOT_KEPT = "not kept"
    NOT_PROVABLE = "not provable here"
    FAILED = "check failed"
    """Not provable, because the check itself broke; its traceback is in the evidence."""
    SKIPPED = "skipped"
    """Left out by the user."""


@dataclass(frozen=True)
class Verdict:
    """One check's outcome, in the words of the table that people read."""

    outcome: Outcome
    promised: str
    """What the spec says, with its unit; empty where it promises nothing of the kind."""
    measured: str = ""
    why: str = ""
    """What is not as promised; or why it could not be proved and what would make it provable."""


def kept(promised: str, measured: str, why: str = "") -> Verdict:
    """As promised. Args: `why`, what a reader should know beside the figures."""
    return Verdict(Outcome.KEPT, promised, measured, why)


def not_kept(promised: str, measured: str, why: str) -> Verdict:
    """Not as promised."""
    return Verdict(Outcome.NOT_KEPT, promised, measured, why)


def not_provable(promised: str, why: str, instead: str, measured: str = "") -> Verdict:
    """It cannot be said here. Args: `instead`, what would make it provable."""
    return Verdict(Outcome.NOT_PROVABLE, promised, measured, f"{why}; {instead}")


def skipped(why: str) -> Verdict:
    """The user left it out."""
    return Verdict(Outcome.SKIPPED, "", "", why)


def check_failed(why: str) -> Verdict:
    """The check itself broke."""
    return Verdict(Outcome.FAILED, "", "", f"the check failed: {why}")


def judged(promised: str, measured: str, faults: list[str], note: str = "") -> Verdict:
    """Kept where there is no fault, else not kept, with the first faults and how many more."""
    if not faults:
        return kept(promised, measured, note)
    more = f" (and {len(faults) - 3} more)" if len(faults) > 3 else ""
    return not_kept(promised, measured, "; ".join(faults[:3]) + more)
