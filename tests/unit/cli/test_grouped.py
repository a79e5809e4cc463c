"""Options that travel together in one dataclass are the command's own options on the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from holdfast.cli.grouped import grouped


@dataclass(frozen=True)
class Place:
    """Where."""

    host: Annotated[str, typer.Option("--host", help="Name of it.")]
    port: Annotated[int, typer.Option("--port", min=1)] = 6379


seen: list[object] = []
app = typer.Typer()


@app.command()
@grouped
def go(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    place: Place,
    loud: Annotated[bool, typer.Option("--loud")] = False,
) -> None:
    """Go there."""
    seen.append((name, place, loud))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["a", "--host", "h"], ("a", Place("h"), False)),
        (["a", "--host", "h", "--port", "7", "--loud"], ("a", Place("h", 7), True)),
    ],
)
def test_fields_are_options_with_their_defaults(words: list[str], expected: object) -> None:
    assert CliRunner().invoke(app, words).exit_code == 0
    assert seen.pop() == expected


@pytest.mark.parametrize(
    "words", [["a"], ["a", "--host", "h", "--port", "0"], ["a", "--host", "h", "--place", "x"]]
)
def test_what_is_missing_or_wrong_is_refused(words: list[str]) -> None:
    assert CliRunner().invoke(app, words).exit_code == 2
    assert not seen


def test_help_names_them() -> None:
    said = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).stdout
    assert "--host" in said
    assert "Name of it." in said
    assert "Go there." in said
