"""What `prove` prints: a line for each verdict, the summary, the table of checks, and two runs side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from holdfast.prove.check import Check
from holdfast.prove.evidence import Difference, Evidence, Finding
from holdfast.prove.verdict import Outcome, Verdict

STYLES = {
    Outcome.KEPT: "green",
    Outcome.NOT_KEPT: "bold red",
    Outcome.NOT_PROVABLE: "yellow",
    Outcome.FAILED: "bold red",
    Outcome.SKIPPED: "dim",
}
WIDE = max(len(outcome.value) for outcome in Outcome)


def line_of(finding: Finding) -> Text:
    """A verdict in one line, for pipes, and why on the next where it is not kept."""
    verdict = finding.verdict
    text = Text(f"{verdict.outcome.value:<{WIDE}}", style=STYLES[verdict.outcome])
    text.append(f"  {finding.id:<32}", style="default")
    if verdict.promised:
        text.append(f"  promised: {verdict.promised}", style="dim")
    if verdict.measured:
        text.append(f"  measured: {verdict.measured}", style="default")
    if verdict.why and verdict.outcome is not Outcome.KEPT:
        text.append(f"\n{'':<{WIDE}}  {verdict.why}", style=STYLES[verdict.outcome])
    return text


def block_of(finding: Finding) -> Table:
    """The same for a terminal of any width: the words wrap beside the verdict."""
    verdict = finding.verdict
    style = STYLES[verdict.outcome]
    told = [Text(finding.id, style="bold")]
    told += [Text(f"promised: {verdict.promised}", style="dim")] if verdict.promised else []
    told += [Text(f"measured: {verdict.measured}")] if verdict.measured else []
    if verdict.why and verdict.outcome is not Outcome.KEPT:
        told.append(Text(verdict.why, style=style))
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(width=WIDE)
    table.add_column(overflow="fold")
    table.add_row(Text(verdict.outcome.value, style=style), Text("\n").join(told))
    return table


def summary_text(evidence: Evidence, folder: Path | None, not_written: str) -> Callable[[Console], None]:
    """The end of a run."""

    def text(console: Console) -> None:
        counts = [f"{count} {outcome.value}" for outcome in Outcome if (count := evidence.count(outcome))]
        console.print(f"{evidence.cache}: {', '.join(counts)}, in {evidence.took_s:.0f} s", markup=False)
        for finding in evidence.findings:
            for line in finding.restored:
                if line.startswith("NOT"):
                    console.print(Text(f"{finding.id}: {line}", style="bold red"))
        if evidence.interrupted:
            console.print(Text("Interrupted. What was put back:", style="yellow"))
        for note in evidence.notes:
            console.print(f"  {note}", markup=False)
        if folder is not None:
            console.print(f"Evidence: {folder}/report.html", markup=False, soft_wrap=True)
        elif not_written:
            console.print(Text(f"The evidence was not written: {not_written}", style="bold red"))

    return text


def promises_table(evidence: Evidence) -> Table:
    """promised | measured | kept, of what could be judged; what could not be is in the report."""
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for heading in ("", "promised", "measured", "kept"):
        table.add_column(heading, overflow="fold")
    for finding in evidence.findings:
        verdict = finding.verdict
        if verdict.outcome in {Outcome.SKIPPED, Outcome.NOT_PROVABLE}:
            continue
        table.add_row(finding.title, verdict.promised, verdict.measured, _mark(verdict))
    return table


def _mark(verdict: Verdict) -> Text:
    words = {Outcome.KEPT: "yes", Outcome.NOT_KEPT: f"NO: {verdict.why}", Outcome.FAILED: verdict.why}
    return Text(words.get(verdict.outcome, verdict.outcome.value), style=STYLES[verdict.outcome])


def checks_table(checks: Sequence[Check]) -> Table:
    """All checks."""
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for heading in ("check", "", "answers to", "disturbs", "takes", "needs"):
        table.add_column(heading)
    for check in checks:
        needs = ", ".join(sorted(need.value for need in check.needs))
        table.add_row(
            check.id, check.title, check.promise, check.disturbs.value, f"{check.takes_s:g} s", needs
        )
    return table


def diff_text(before: Evidence, after: Evidence, found: Sequence[Difference]) -> Callable[[Console], None]:
    """Two runs side by side."""

    def text(console: Console) -> None:
        console.print(f"{before.cache} {before.at}  ->  {after.cache} {after.at}", markup=False)
        if before.spec_digest != after.spec_digest:
            console.print(Text("The specs differ: other promises were measured.", style="yellow"))
        if not found:
            console.print("No verdict and no figure differs.")
        changed = sorted(
            (each for each in found if each.is_another_verdict), key=lambda each: not each.is_worse
        )
        others = [each for each in found if not each.is_another_verdict]
        for heading, group in (("Other verdicts", changed), ("The same verdict, other figures", others)):
            if group:
                console.print(Text(f"{heading}: {len(group)}", style="bold"))
            for each in group:
                style = "bold red" if each.is_worse else "default"
                console.print(Text(f"  {each.id}", style=style))
                console.print(Text(f"    before: {_told(each.before)}", style="dim"))
                console.print(Text(f"    after:  {_told(each.after)}", style=style))

    return text


def _told(verdict: Verdict | None) -> str:
    if verdict is None:
        return "not there"
    return "; ".join(part for part in (verdict.outcome.value, verdict.measured, verdict.why) if part)
