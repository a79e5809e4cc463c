"""What a spec's reader would warn of: valid wishes that will hurt, each with why, what to do and who says so.

Rules look at a spec and nothing else; they stand in `rules_*` modules by what they are about. Advice that is known and
lived with is named under `accept`, with a reason, and then refuses nothing.
"""

from dataclasses import dataclass

from holdfast.spec.cache import Spec
from holdfast.spec.fault import path_text
from holdfast.spec.hint import AdviceSeverity, Rule
from holdfast.spec.rules_access import ACCESS_RULES
from holdfast.spec.rules_keyspace import KEYSPACE_RULES
from holdfast.spec.rules_running import RUNNING_RULES

RULES: tuple[Rule, ...] = (*RUNNING_RULES, *KEYSPACE_RULES, *ACCESS_RULES)
_IDS = frozenset(rule.id for rule in RULES)
_WORST_FIRST = (AdviceSeverity.ERROR, AdviceSeverity.WARN, AdviceSeverity.INFO)


@dataclass(frozen=True)
class Finding:
    """One rule that has something to say of a spec."""

    rule: Rule
    paths: tuple[str, ...]
    """The values concerned."""
    details: tuple[str, ...]
    """What it says of each, in the same order."""
    accepted: str | None
    """Why it is lived with, where `accept` says so."""

    @property
    def refuses(self) -> bool:
        """Whether `holdfast check` fails because of it."""
        return self.rule.severity is AdviceSeverity.ERROR and self.accepted is None


def known_ids() -> frozenset[str]:
    """Ids that `accept` may name."""
    return _IDS


def advice(spec: Spec) -> tuple[Finding, ...]:
    """All that the rules say of a spec: the worst first, accepted ones last."""
    findings: list[Finding] = []
    for rule in RULES:
        hints = tuple(rule.look(spec))
        if hints:
            paths = tuple(path_text(hint.path) for hint in hints)
            findings.append(
                Finding(rule, paths, tuple(hint.detail for hint in hints), spec.accept.get(rule.id))
            )
    return tuple(
        sorted(
            findings,
            key=lambda found: (
                found.accepted is not None,
                _WORST_FIRST.index(found.rule.severity),
                found.rule.id,
            ),
        )
    )


def needless_acceptances(spec: Spec) -> tuple[str, ...]:
    """Ids that are accepted though this spec draws no such advice."""
    drawn = {finding.rule.id for finding in advice(spec)}
    return tuple(advice_id for advice_id in spec.accept if advice_id not in drawn)
