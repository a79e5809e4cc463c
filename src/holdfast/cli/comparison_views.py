"""How a comparison of two keyspaces is shown, while it goes on and at its end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from holdfast.cli.lines import line

if TYPE_CHECKING:
    from rich.console import Console

    from holdfast.compare.report import Report


@contextlib.contextmanager
def watching(*, quiet: bool) -> Iterator[Callable[[Report], None]]:
    """What a comparison tells is shown as a bar for the length of the block, where there is a terminal."""
    from rich.progress import BarColumn, Progress, TextColumn

    from holdfast.cli.console import stdout

    console = stdout()
    live = console.is_terminal and not quiet
    with Progress(
        TextColumn("{task.description}"), BarColumn(), console=console, disable=not live, transient=True
    ) as bar:
        task = bar.add_task("comparing", total=None)

        def look(report: Report) -> None:
            rate = round(report.keys / report.took_s) if report.took_s else 0
            bar.update(
                task,
                description=f"{report.keys:,} keys compared, {report.keys_back:,} looked for the other way, {rate:,} keys/s, "
                f"{report.different} differ, {len(report.suspects)} looked at again",
            )

        yield look


def comparison_text(name: str, report: Report) -> Callable[[Console], None]:
    """What a comparison came to."""

    def text(console: Console) -> None:
        rate = round(report.keys / report.took_s) if report.took_s else 0
        line(
            console,
            f"{name}: {report.keys:,} keys compared and {report.keys_back:,} looked for the other way in {report.took_s:.1f} s "
            f"({rate:,} keys/s); {report.settled} settled while writes went on",
        )
        for each in report.left_out:
            line(console, f"not compared: {each}")
        for found in report.listed:
            sure = "" if found.settled else " (it changed at every look)"
            line(
                console,
                f"  {found.facts().get('key', found.key)!r} in database {found.database}: {found.difference.kind.value}, "
                f"{found.difference.detail}{sure}",
            )
        verdict = f"{report.different} keys differ, of {report.changing} nothing could be proven"
        line(console, verdict if report.different or report.changing else "Both ends hold the same.")

    return text
