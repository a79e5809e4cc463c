"""Help as a terminal shows it: paragraphs flow to its width, and a flag is not said to take a value."""

from __future__ import annotations

import inspect
import re
from typing import Any

import typer

HELP_OPTIONS = ["-h", "--help"]


def prepared(command: Any) -> Any:
    """The command tree with every help text and option as a terminal should show it.

    Args: `command`, what `typer.main.get_command(app)` returns. typer hides the class behind it, so only the attributes
        that every version of it has are looked at.
    """
    command.help = flowing(command.help or "")
    asked = command.get_help_option(typer.Context(command, help_option_names=HELP_OPTIONS))
    for found in (*command.params, *([asked] if asked else ())):
        if getattr(found, "is_flag", False) and found.metavar is None:
            found.metavar = ""  # typer would write <bool> beside it
    for below in getattr(command, "commands", {}).values():
        prepared(below)
    return command


def flowing(text: str) -> str:
    """A help text whose paragraphs are one line each; a block after a line with `\\b` keeps its lines."""
    blocks = re.split(r"\n\s*\n", inspect.cleandoc(text))
    return "\n\n".join(
        block.removeprefix("\b\n") if block.startswith("\b") else " ".join(block.split()) for block in blocks
    )
