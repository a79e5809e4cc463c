"""The commands' own help as values, from which `docs/cli.md` and the man pages are written.

A command's help is its docstring: a first sentence, paragraphs, and at the end `Example: holdfast ...`, or, after a line
with a lone backspace (which keeps the lines apart on the terminal), `Examples:` with one command on each line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.cli.exit import ExitCode

EXIT_MEANINGS: dict[ExitCode, str] = {
    ExitCode.OK: "Done.",
    ExitCode.FAILED: "Failed; the sentence on stderr says what happened, what did not, and what to do.",
    ExitCode.WRONG_USAGE: "The command line itself was wrong; nothing was done.",
    ExitCode.CHANGES_WAIT: "plan: steps are outstanding. status: the cache is degraded. doctor: an error was found.",
    ExitCode.PROMISE_BROKEN: "prove: a promise was not kept.",
    ExitCode.DATA_DIFFERS: "migrate verify: the two sides differ.",
    ExitCode.ADVICE: "check: there is advice of severity error that the spec does not accept.",
}
ENVIRONMENT: dict[str, str] = {
    "HOLDFAST_STATE": "Folder of everything Holdfast keeps: fetched engines, caches, data, logs. "
    "Default: $XDG_STATE_HOME/holdfast, else ~/.local/state/holdfast.",
    "HOLDFAST_FIRST_PORT": "Where the search for free ports begins (7100), for several state folders on one machine.",
    "HOLDFAST_ENGINES": "Folders or server programs, joined by ':', that are looked at before PATH.",
}
JSON_FAILURE = (
    "With --json, a command that fails prints what it says on stderr also as JSON on stdout: "
    '{"error": {"code": "CacheUnknown", "sentence": "..."}}.'
)
COMPLETION = (
    "holdfast --install-completion",
    "holdfast --show-completion",
)
_MARKUP = re.compile(r"(?<!\\)\[/?(?:b|bold|i|italic|dim|u|underline|red|green|yellow|blue|cyan|magenta)\]")


@dataclass(frozen=True)
class Entry:
    """An argument or option of one command."""

    spelt: str
    """As typed: `CACHE`, `--yes`, `--place PLACE`."""
    help: str
    default: str
    """Empty where there is none worth a word."""
    required: bool


@dataclass(frozen=True)
class Page:
    """One command's help."""

    path: tuple[str, ...]
    """`("holdfast", "spec", "show")`."""
    usage: str
    summary: str
    paragraphs: tuple[str, ...]
    examples: tuple[str, ...]
    arguments: tuple[Entry, ...]
    options: tuple[Entry, ...]
    commands: tuple[tuple[str, str], ...]
    """Of a group: name and summary of each command in it."""

    @property
    def name(self) -> str:
        """`holdfast spec show`."""
        return " ".join(self.path)


def pages(command: Any, path: tuple[str, ...] = ("holdfast",)) -> Iterator[Page]:
    """The pages of `command` and of all that hang below it, in the order of the tree; hidden ones are left out.

    Args: `command`, what `typer.main.get_command(app)` returns. typer hides the class behind it, so only the
        attributes that every version of it has are looked at.
    """
    below = {name: sub for name, sub in getattr(command, "commands", {}).items() if not sub.hidden}
    text, examples = _split_help(command.help or "", command.epilog or "")
    summary, *paragraphs = text or ("",)
    shown = [entry for entry in command.params if not getattr(entry, "hidden", False)]
    arguments = tuple(_entry(found) for found in shown if found.param_type_name == "argument")
    options = tuple(_entry(found) for found in shown if found.param_type_name == "option")
    yield Page(
        path=path,
        usage=" ".join(
            (*path, "[OPTIONS]", *(_usage(entry) for entry in arguments), *_usage_below(command, below))
        ),
        summary=summary,
        paragraphs=tuple(paragraphs),
        examples=examples,
        arguments=arguments,
        options=options,
        commands=tuple((name, _first_sentence(sub)) for name, sub in below.items()),
    )
    for name, sub in below.items():
        yield from pages(sub, (*path, name))


def _usage(entry: Entry) -> str:
    return entry.spelt if entry.required else f"[{entry.spelt}]"


def _usage_below(command: Any, below: Mapping[str, Any]) -> tuple[str, ...]:
    if not below:
        return ()
    return ("[COMMAND ...]" if getattr(command, "invoke_without_command", False) else "COMMAND ...",)


def _first_sentence(command: Any) -> str:
    text, _ = _split_help(command.help or "", command.epilog or "")
    return text[0] if text else ""


def _split_help(help: str, epilog: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Paragraphs on one line each, and the example lines, wherever they stand."""
    paragraphs: list[str] = []
    examples: list[str] = []
    plain = _MARKUP.sub("", f"{help.partition(chr(12))[0]}\n\n{epilog}").replace("\\[", "[").replace("\b", "")
    for block in re.split(r"\n\s*\n", plain):
        lines = [line.strip().removeprefix("$ ") for line in block.strip().splitlines()]
        if lines and (begins := re.match(r"Examples?:\s*", lines[0])):
            lines[0] = lines[0][begins.end() :]
            examples += [line for line in lines if line]
        elif lines:
            paragraphs.append(" ".join(lines))
    return tuple(paragraphs), tuple(examples)


def _entry(found: Any) -> Entry:
    """One parameter in the words that its own help uses."""
    if found.param_type_name == "argument":
        name = (found.metavar or found.name.upper()).removesuffix("...").strip("[]")
        spelt = f"{name}..." if found.nargs == -1 else name
    else:
        names = ", ".join(sorted(found.opts, key=len))
        other = "".join(f" / {name}" for name in found.secondary_opts)
        value = (
            ""
            if found.is_flag or getattr(found, "count", False)
            else f" {found.metavar or found.name.upper()}"
        )
        spelt = f"{names}{value}{other}"
    text = _MARKUP.sub("", found.help or "").replace("\\[", "[")
    return Entry(spelt, " ".join(text.split()), _default(found), bool(found.required))


def _default(found: Any) -> str:
    default = found.default
    if getattr(found, "show_default", True) is False or found.required:
        return ""
    if default in (None, False, "", ()) or callable(default):
        return ""
    if getattr(found, "is_flag", False):
        return ""
    return str(getattr(default, "value", default))
