"""`docs/cli.md`: the commands' help as one Markdown page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from holdfast.cli.pages import COMPLETION, ENVIRONMENT, EXIT_MEANINGS, JSON_FAILURE, Entry, Page

NOTICE = "<!-- Written by `make docs` from the commands' own help: change the help, not this file. -->"


def markdown(pages: Iterable[Page]) -> str:
    """All pages, the root's first, then what all commands share."""
    return "\n".join(_lines(tuple(pages))).rstrip() + "\n"


def _lines(pages: tuple[Page, ...]) -> Iterator[str]:
    yield from ("# The commands", "", NOTICE, "")
    for page in pages:
        yield from _page(page)
    yield from ("## Exit codes", "", "| code | name | meaning |", "|---|---|---|")
    for code, meaning in EXIT_MEANINGS.items():
        yield f"| {code.value} | {code.name} | {_cell(meaning)} |"
    yield from ("", JSON_FAILURE)
    yield from ("", "## Environment", "", "| variable | meaning |", "|---|---|")
    for name, meaning in ENVIRONMENT.items():
        yield f"| `{name}` | {_cell(meaning)} |"
    yield from (
        "",
        "## Shell completion",
        "",
        f"`{COMPLETION[0]}` writes the completion of your shell (bash, zsh, fish, PowerShell) into its own start-up files; "
        f"`{COMPLETION[1]}` prints it, to look at or to put where you like. It works for the `holdfast` that is on your PATH.",
        "",
    )


def _page(page: Page) -> Iterator[str]:
    yield from (f"{'#' * min(4, len(page.path) + 1)} {page.name}", "")
    yield from (page.summary, "") if page.summary else ()
    yield from ("```", page.usage, "```", "")
    for paragraph in page.paragraphs:
        yield from (paragraph, "")
    if page.examples:
        yield from ("Examples:", "", "```sh", *page.examples, "```", "")
    if page.commands:
        yield from ("| command | what it does |", "|---|---|")
        for name, summary in page.commands:
            yield f"| [`{name}`](#{'-'.join((*page.path, name))}) | {_cell(summary)} |"
        yield ""
    if page.arguments or page.options:
        yield from ("| argument or option | meaning |", "|---|---|")
        yield from (_row(entry) for entry in (*page.arguments, *page.options))
        yield ""


def _row(entry: Entry) -> str:
    notes = [entry.help]
    if entry.required:
        notes.append("Required.")
    if entry.default:
        notes.append(f"Default: `{entry.default}`.")
    return f"| `{_cell(entry.spelt)}` | {_cell(' '.join(note for note in notes if note))} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
