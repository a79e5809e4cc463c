"""`holdfast doctor`: what this machine's settings cost a cache, and the command that mends each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.app import AsJson, Place, app

if TYPE_CHECKING:
    from rich.console import Console

    from holdfast.host.finding import Finding
    from holdfast.host.machine import Demand

CacheOrNone = Annotated[
    str | None,
    typer.Argument(
        metavar="CACHE",
        help="A spec file, or the name of a cache that is up: figures are then exact for it. Without it, general.",
    ),
]


@app.command()
def doctor(cache: CacheOrNone = None, place: Place = None, json: AsJson = False) -> None:
    """Look at this machine: memory, disk, limits, kernel settings, clock, firewall.

    Each finding says what was seen, what it costs to leave it so, and the command that mends it. Nothing is changed.
    What cannot be looked at is told as not known and is never passed. Exit code 3 when a promise of the cache cannot be
    kept here (an error), else 0.

    \b
    Examples:
      holdfast doctor
      holdfast doctor cache.yaml
      holdfast doctor cache.yaml --json
    """
    import os
    from dataclasses import asdict

    from holdfast.cli import console
    from holdfast.cli.exit import ExitCode
    from holdfast.host.facts import read_machine
    from holdfast.host.finding import Verdict, worst
    from holdfast.host.rules import examine
    from holdfast.state import locate

    demand = _demand(cache, place) if cache is not None else None
    machine = read_machine(locate(os.environ))
    findings = examine(machine, demand)
    facts = {
        "verdict": worst(findings).value,
        "findings": [asdict(finding) for finding in findings],
        "demand": asdict(demand) if demand else None,
        "machine": asdict(machine),
    }
    console.show(facts, lambda screen: _tell(screen, findings, demand), as_json=json)
    raise typer.Exit(ExitCode.CHANGES_WAIT if worst(findings) is Verdict.ERROR else ExitCode.OK)


def _demand(cache: str, place: str | None) -> Demand:
    from pathlib import Path

    from holdfast.host.machine import demand_of

    if Path(cache).is_file():  # read by itself: for a mere look no state folder is made
        from holdfast.cli.specfile import load_file

        return demand_of(load_file(cache, place).spec)
    from holdfast.cli.opening import named

    return demand_of(named(cache, place).loaded.spec)


def _tell(screen: Console, findings: tuple[Finding, ...], demand: Demand | None) -> None:
    """One block for each finding. Commands are never broken into lines, so that they can be copied."""
    from rich.padding import Padding
    from rich.text import Text

    from holdfast.host.finding import Verdict

    styles = {Verdict.OK: "green", Verdict.UNKNOWN: "cyan", Verdict.WARN: "yellow", Verdict.ERROR: "bold red"}
    for finding in findings:
        style = styles[finding.verdict]
        head = Text.assemble((f"{finding.verdict.value:<8}", style), f"{finding.id:<13} ", finding.seen)
        screen.print(head)
        if finding.cost:
            cost = Text.assemble(("costs ", "dim"), finding.cost)
            screen.print(
                Padding(cost, (0, 0, 0, 8)) if screen.is_terminal else Text(" " * 8).append_text(cost)
            )
        if finding.mend:
            screen.print(Text.assemble(" " * 8, ("mend  ", "dim"), finding.mend), soft_wrap=True)
    counts = [(sum(each.verdict is verdict for each in findings), verdict.value) for verdict in Verdict]
    whose = f"for {demand.cache}" if demand else "in general (name a spec file for exact figures)"
    screen.print(Text(f"{', '.join(f'{count} {name}' for count, name in counts if count)}, {whose}"))
