"""What a machine's check-up says: one finding for each thing looked at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from holdfast.host.machine import Machine


class Verdict(StrEnum):
    """How a finding weighs."""

    OK = "ok"
    UNKNOWN = "unknown"
    """It could not be looked at, and so is not passed."""
    WARN = "warn"
    """The cache runs, and will pay for it at a bad moment."""
    ERROR = "error"
    """A promise of the cache cannot be kept on this machine."""


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    id: str
    verdict: Verdict
    seen: str
    """The value and what it was held against."""
    cost: str = ""
    """What it costs to leave it so; empty when nothing."""
    mend: str = ""
    """The one command (or change) that mends it; empty when there is none or nothing to mend."""


def not_read(machine: Machine, id: str, field: str) -> Finding:
    """The finding for a fact that is not there: neither passed nor failed."""
    why = machine.unread.get(field, "this system does not tell")
    return Finding(id, Verdict.UNKNOWN, f"not known: {why}", "this was neither passed nor failed")


def readable_size(count: int) -> str:
    """Bytes for people, in units of 1024, as the engines count them: 5.0 GB, 64.0 MB."""
    value = float(count)
    for unit in ("B", "KB", "MB", "GB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TB"


def worst(findings: tuple[Finding, ...]) -> Verdict:
    """The gravest verdict among `findings`; OK where there are none."""
    gravity = list(Verdict)
    return max((finding.verdict for finding in findings), key=gravity.index, default=Verdict.OK)
