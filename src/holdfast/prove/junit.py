"""A run as JUnit XML, which CI systems show as tests. Pure."""

from __future__ import annotations

import re
from xml.sax.saxutils import escape, quoteattr

from holdfast.prove.evidence import Evidence, Finding
from holdfast.prove.verdict import Outcome

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(evidence: Evidence) -> str:
    """One suite; what is not kept is a failure, a check that broke an error, what could not be proved is skipped."""
    failures = evidence.count(Outcome.NOT_KEPT)
    errors = evidence.count(Outcome.FAILED)
    left = evidence.count(Outcome.NOT_PROVABLE) + evidence.count(Outcome.SKIPPED)
    cases = "\n".join(_case(finding) for finding in evidence.findings)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<testsuites><testsuite name={quoteattr(_clean(evidence.cache))} tests="{len(evidence.findings)}" '
        f'failures="{failures}" errors="{errors}" skipped="{left}" time="{evidence.took_s:.3f}" '
        f"timestamp={quoteattr(evidence.at)}>\n{cases}\n</testsuite></testsuites>\n"
    )


def _case(finding: Finding) -> str:
    verdict = finding.verdict
    head = f'<testcase classname={quoteattr(finding.family)} name={quoteattr(finding.id)} time="{finding.took_s:.3f}">'
    words = _clean(f"{verdict.promised} | {verdict.measured} | {verdict.why}")
    match verdict.outcome:
        case Outcome.NOT_KEPT:
            inside = f"<failure message={quoteattr(_clean(verdict.why))}>{escape(words)}</failure>"
        case Outcome.FAILED:
            inside = (
                f"<error message={quoteattr(_clean(verdict.why))}>{escape(_clean(finding.traceback))}</error>"
            )
        case Outcome.KEPT:
            inside = f"<system-out>{escape(words)}</system-out>"
        case _:
            inside = f"<skipped message={quoteattr(_clean(verdict.why))}/>"
    return f"{head}{inside}</testcase>"


def _clean(text: str) -> str:
    return _NOT_IN_XML.sub("?", text)
