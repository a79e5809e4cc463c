"""A migration that was just begun, followed until the target is in step."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from holdfast.cli.console import show
from holdfast.cli.migrate.views import (
    findings_facts,
    findings_text,
    full_sync_line,
    status_facts,
    status_text,
)
from holdfast.migrate.journal import Stage
from holdfast.migrate.orders import OrderFailed, journal_of
from holdfast.migrate.rules import Finding

if TYPE_CHECKING:
    from holdfast.jobs.folder import JobFolder

LOOK_EVERY_S = 0.2


def started(folder: JobFolder, found: Sequence[Finding], *, wait: bool, as_json: bool) -> None:
    """Tell what was begun; with `wait`, follow it until the target is in step. Raises: OrderFailed."""
    if not as_json:
        show({}, findings_text(found), as_json=False)
    if wait:
        _follow(folder, quiet=as_json)
    facts = {**status_facts(folder, 0), **findings_facts(found)}
    show(facts, status_text(facts), as_json=as_json)


def _follow(folder: JobFolder, *, quiet: bool) -> None:
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    from holdfast.cli.console import stdout

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    console = stdout()
    live = console.is_terminal and not quiet
    said = ""
    with Progress(*columns, console=console, disable=not live, transient=True) as bar:
        task = bar.add_task("connecting", total=None)
        while True:
            journal, seen = journal_of(folder), folder.read("progress")
            if journal.stage is Stage.FAILED:
                raise OrderFailed(journal.words)
            phase = str(seen.get("phase", "connecting"))
            if phase == "tail" or journal.stage is not Stage.RUNNING:
                return
            line = full_sync_line(seen)
            bar.update(
                task, description=line, total=seen.get("keys_total") or None, completed=seen.get("keys", 0)
            )
            if not live and not quiet and line != said:
                console.print(line, markup=False)
            said = line
            time.sleep(LOOK_EVERY_S)
