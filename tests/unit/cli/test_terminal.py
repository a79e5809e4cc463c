"""Help as a terminal shows it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from holdfast.cli.app import app
from holdfast.cli.main import register
from holdfast.cli.terminal import flowing, prepared


def below(command: Any) -> Iterator[Any]:
    yield command
    for each in getattr(command, "commands", {}).values():
        yield from below(each)


def test_paragraphs_flow_and_examples_keep_their_lines() -> None:
    text = "One\ntwo.\n\nThree\nfour.\n\n\b\nExamples:\n  a\n  b\n"
    assert flowing(text) == "One two.\n\nThree four.\n\nExamples:\n  a\n  b"


def test_no_flag_is_said_to_take_a_value() -> None:
    register()
    flags = [
        found
        for command in below(prepared(get_command(app)))
        for found in command.params
        if getattr(found, "is_flag", False)
    ]
    assert len(flags) > 50
    assert {found.metavar for found in flags} == {""}
