"""Evidence as one self-contained page: no script, no file beside it, nothing fetched."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from holdfast.prove.evidence import Evidence
from holdfast.prove.lines import LINES
from holdfast.prove.report.charts import figures_of
from holdfast.prove.verdict import Outcome

CLASSES = {
    Outcome.KEPT: "kept",
    Outcome.NOT_KEPT: "broken",
    Outcome.FAILED: "broken",
    Outcome.NOT_PROVABLE: "open",
    Outcome.SKIPPED: "skipped",
}
FAMILIES = {
    "connectivity": "Connectivity",
    "security": "Security",
    "durability": "Durability",
    "alerts": "Alerts",
    "performance": "Performance",
    "availability": "Availability",
}
LONGEST_LIST = 12


def report_html(evidence: Evidence) -> str:
    """The page. Every word from outside (names, errors, versions) is escaped."""
    environment = Environment(
        loader=PackageLoader("holdfast.prove.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    latencies, failures = figures_of(evidence)
    by_family = {
        family: [finding for finding in evidence.findings if finding.family == family]
        for family in dict.fromkeys(finding.family for finding in evidence.findings)
    }
    return environment.get_template("page.html").render(
        evidence=evidence,
        families=[(FAMILIES.get(name, name.capitalize()), found) for name, found in by_family.items()],
        classes=CLASSES,
        outcomes=[(outcome, evidence.count(outcome)) for outcome in Outcome if evidence.count(outcome)],
        headline=headline(evidence),
        latencies=[(figure, Markup(figure.drawing)) for figure in latencies],  # noqa: S704 - made of escaped parts
        failures=[(figure, Markup(figure.drawing)) for figure in failures],  # noqa: S704
        loads=loads(evidence),
        gaps=gaps(evidence),
        lines=[
            (line, [found for each in line.checks if (found := evidence.finding(each))]) for line in LINES
        ],
        versions=sorted(set(evidence.nodes.values())),
        figures=figures_text,
        breakable=breakable,
        wrong=[
            each for each in evidence.findings if each.verdict.outcome in {Outcome.NOT_KEPT, Outcome.FAILED}
        ],
        Outcome=Outcome,
    )


def breakable(name: str) -> Markup:
    """An id or a field's name, escaped, that a narrow column may break where people would."""
    shown = escape(name)
    for mark in ".-_":
        shown = shown.replace(mark, Markup(f"{mark}<wbr>"))  # noqa: S704 - one of three marks
    return shown


def headline(evidence: Evidence) -> str:
    """The run in one sentence."""
    kept, broken = evidence.count(Outcome.KEPT), evidence.count(Outcome.NOT_KEPT)
    failed = evidence.count(Outcome.FAILED)
    if evidence.interrupted:
        return "The run was interrupted."
    told = f"{kept} promises kept" if kept != 1 else "1 promise kept"
    if broken:
        told = f"{broken} {'promise' if broken == 1 else 'promises'} not kept, {kept} kept"
    return f"{told}, {failed} {'check' if failed == 1 else 'checks'} failed." if failed else f"{told}."


def loads(evidence: Evidence) -> list[Mapping[str, Any]]:
    """Rows of the latency table."""
    rows: list[Mapping[str, Any]] = []
    for finding in evidence.findings:
        if finding.measured.get("latencies") and "overall" in finding.measured:
            rows += [
                {"title": finding.title, **each}
                for each in (*finding.measured["latencies"], finding.measured["overall"])
            ]
    return rows


def gaps(evidence: Evidence) -> list[Mapping[str, Any]]:
    """Rows of the table of failures: each kind, by whether the shard was hit and how writes were acknowledged."""
    rows: dict[tuple[str, bool, int], dict[str, Any]] = {}
    kinds: list[str] = []
    for finding in evidence.findings:
        for run in (finding.measured, finding.measured.get("min_replicas") or {}):
            ledger = run.get("ledger")
            if not ledger:
                continue
            touched = set(run.get("shards", ()))
            for group in ledger["groups"]:
                hit = not touched or group["shard"] in touched
                blank = {
                    "kind": run["kind"],
                    "hit": hit,
                    "wait": group["wait"],
                    "acknowledged": 0,
                    "gap_ms": 0.0,
                }
                kinds.append(run["kind"])
                row = rows.setdefault((run["kind"], hit, group["wait"]), blank | {"lost": 0, "doubled": 0})
                row["gap_ms"] = max(row["gap_ms"], group["gap_ms"])
                for name in ("acknowledged", "lost", "doubled"):
                    row[name] += group[name]
    return sorted(rows.values(), key=lambda row: (kinds.index(row["kind"]), not row["hit"], row["wait"]))


def figures_text(measured: Mapping[str, Any]) -> str:
    """Figures as indented JSON, with long lists and raw histograms named by their length: evidence.json has them whole."""
    return json.dumps(_short(measured), indent=1, ensure_ascii=False, default=str)


def _short(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            key: ("(in evidence.json)" if key == "histograms" else _short(each))
            for key, each in value.items()
        }
    if isinstance(value, Sequence) and not isinstance(value, str):
        if len(value) > LONGEST_LIST:
            return f"({len(value)} values in evidence.json)"
        return [_short(each) for each in value]
    return value
