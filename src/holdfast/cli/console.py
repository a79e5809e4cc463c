"""All printing: a command's outcome as text or JSON on stdout, its errors and progress on stderr."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

# Lines in a pipe are read by grep: none is broken, however long a path in it is.
PIPE_WIDTH = 2000
_debug = False
_json_due = False


def set_debug(on: bool) -> None:
    """Remember whether tracebacks are wanted, and let the log through when they are."""
    global _debug
    _debug = on
    logging.basicConfig(format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("holdfast").setLevel(logging.DEBUG if on else logging.CRITICAL)


def debug() -> bool:
    """Whether `--debug` was given."""
    return _debug


def expect_json(asked: bool) -> bool:
    """Remember that the command owes stdout one JSON value, also where it fails; the callback of `--json`."""
    global _json_due
    _json_due = asked
    return asked


def tell_failure(code: str, sentence: str) -> None:
    """A failure: its sentence on stderr and, where JSON is still owed, the same on stdout."""
    if _json_due:
        failure_as_json(code, sentence)
    err(f"holdfast: {sentence}")


def failure_as_json(code: str, sentence: str) -> None:
    """What `--json` prints where there is no other answer: `{"error": {"code", "sentence"}}`."""
    expect_json(False)
    out(json.dumps({"error": {"code": code, "sentence": sentence}}, indent=2, ensure_ascii=False))


def out(text: str) -> None:
    """One plain line on stdout."""
    sys.stdout.write(text + "\n")


def err(text: str) -> None:
    """One plain line on stderr."""
    sys.stderr.write(text + "\n")


def stdout() -> Console:
    """The rich console on stdout; unbroken lines and whole tables where there is no terminal."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)


def show(facts: Any, text: RenderableType | Callable[[Console], None], *, as_json: bool) -> None:
    """Print one value in one of its two views.

    Args: `facts`, what `--json` prints (JSON types only); `text`, the same for people: a rich renderable, or a
        function that prints to the console it is given.
    """
    if as_json:
        expect_json(False)
        out(json.dumps(facts, indent=2, ensure_ascii=False, default=str))
        return
    console = stdout()
    with contextlib.nullcontext() if sys.stdout.isatty() else console.capture() as caught:
        if callable(text) and not hasattr(text, "__rich_console__"):
            text(console)
        else:
            console.print(text)
    if caught is not None:  # in a pipe or a file, no cell is filled up behind its text
        sys.stdout.write("\n".join(line.rstrip(" ") for line in caught.get().split("\n")))


def confirm(question: str) -> bool:
    """Ask on the terminal; without one the answer is no."""
    if not sys.stdin.isatty():
        return False
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def confirm_by_name(name: str) -> bool:
    """Ask for the name to be typed; without a terminal the answer is no."""
    if not sys.stdin.isatty():
        return False
    sys.stderr.write(f"Type {name} to go on: ")
    sys.stderr.flush()
    return sys.stdin.readline().strip() == name
