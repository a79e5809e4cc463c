"""What a run leaves behind: every figure and verdict, the raw histograms, and where and with what it was measured. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from holdfast.errors import HoldfastError
from holdfast.prove.check import Measured
from holdfast.prove.lines import LINES
from holdfast.prove.verdict import Outcome, Verdict

EVIDENCE_FORMAT = 1


@dataclass(eq=False)
class EvidenceUnreadable(HoldfastError):
    """A file is no evidence of a run."""

    path: str
    why: str

    def __str__(self) -> str:
        return f"{self.path} is no evidence of a proof run ({self.why}); name a run's folder or its evidence.json"


@dataclass(frozen=True)
class Finding:
    """One check's verdict with what was measured for it."""

    id: str
    title: str
    family: str
    promise: str
    seed: tuple[str, ...]
    disturbs: str
    verdict: Verdict
    measured: Measured = field(default_factory=dict)
    took_s: float = 0.0
    restored: tuple[str, ...] = ()
    """What was put back after it."""
    traceback: str = ""


@dataclass(frozen=True)
class Evidence:
    """One run."""

    cache: str
    at: str
    """UTC, ISO 8601."""
    took_s: float
    holdfast: str
    spec_digest: str
    engine: str
    nodes: Mapping[str, str]
    """Node -> engine and version that it says it is."""
    machine: Mapping[str, Any]
    findings: tuple[Finding, ...]
    interrupted: bool = False
    notes: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    """The spec's files, the base first: an overlay for a laptop declares less than production has."""

    def count(self, outcome: Outcome) -> int:
        return sum(finding.verdict.outcome is outcome for finding in self.findings)

    def finding(self, check_id: str) -> Finding | None:
        return next((finding for finding in self.findings if finding.id == check_id), None)

    def to_json(self) -> dict[str, Any]:
        """As evidence.json holds it."""
        return {
            "format": EVIDENCE_FORMAT,
            **asdict(self),
            "outcomes": dict(Counter(finding.verdict.outcome.value for finding in self.findings)),
            "checklist": [
                {
                    "line": line.id,
                    "what": line.what,
                    "answers": {
                        each: found.verdict.outcome.value
                        for each in line.checks
                        if (found := self.finding(each)) is not None
                    },
                }
                for line in LINES
            ],
        }

    @classmethod
    def from_json(cls, path: str, value: Any) -> Self:
        """Raises: EvidenceUnreadable."""
        if not isinstance(value, dict) or value.get("format") != EVIDENCE_FORMAT:
            found = value.get("format") if isinstance(value, dict) else type(value).__name__
            raise EvidenceUnreadable(path, f"its format is {found!r}, not {EVIDENCE_FORMAT}")
        try:
            facts = {
                key: each for key, each in value.items() if key not in {"format", "outcomes", "checklist"}
            }
            findings = tuple(_finding(each) for each in facts.pop("findings"))
            lists = {name: tuple(facts.get(name, ())) for name in ("notes", "files")}
            return cls(**{**facts, **lists}, findings=findings)
        except (KeyError, TypeError, ValueError, AttributeError) as wrong:
            raise EvidenceUnreadable(path, f"{type(wrong).__name__}: {wrong}") from wrong


def _finding(value: Mapping[str, Any]) -> Finding:
    verdict = value["verdict"]
    return Finding(
        **{
            **value,
            "seed": tuple(value["seed"]),
            "restored": tuple(value["restored"]),
            "verdict": Verdict(**{**verdict, "outcome": Outcome(verdict["outcome"])}),
        }
    )


@dataclass(frozen=True)
class Difference:
    """One check that says something else in the second run."""

    id: str
    before: Verdict | None
    after: Verdict | None

    @property
    def is_worse(self) -> bool:
        """Whether a promise that was kept is not kept any more, or cannot be said."""
        return (
            self.before is not None
            and self.before.outcome is Outcome.KEPT
            and (self.after is None or self.after.outcome is not Outcome.KEPT)
        )

    @property
    def is_another_verdict(self) -> bool:
        """Whether the outcomes differ, and not the figures alone."""
        outcomes = {each.outcome if each else None for each in (self.before, self.after)}
        return len(outcomes) == 2


def differences(before: Evidence, after: Evidence) -> tuple[Difference, ...]:
    """Checks whose verdict, promise or figures differ; those that neither run did are left out."""
    ids: Sequence[str] = list(dict.fromkeys(each.id for each in (*before.findings, *after.findings)))
    found = []
    for check_id in ids:
        one, two = before.finding(check_id), after.finding(check_id)
        verdicts = (one.verdict if one else None, two.verdict if two else None)
        if verdicts[0] == verdicts[1]:
            continue
        if all(each is None or each.outcome is Outcome.SKIPPED for each in verdicts):
            continue
        found.append(Difference(check_id, *verdicts))
    return tuple(found)
