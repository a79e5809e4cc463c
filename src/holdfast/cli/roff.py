"""The man pages: `holdfast(1)` and one page for each verb, in roff with the man macros."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from holdfast.cli.pages import ENVIRONMENT, EXIT_MEANINGS, JSON_FAILURE, Entry, Page

NOTICE = r'.\" Written by "make docs" from the commands own help: change the help, not this file.'


def man_pages(pages: Iterable[Page], version: str) -> dict[str, str]:
    """File name -> roff text. A group's commands share its page."""
    every = tuple(pages)
    root = every[0]
    verbs = [page for page in every if len(page.path) == 2]
    files = {"holdfast.1": _text(_root(root, verbs, version))}
    for verb in verbs:
        family = [page for page in every if page.path[:2] == verb.path]
        files[f"holdfast-{verb.path[1]}.1"] = _text(_verb(family, version))
    return files


def _text(lines: Iterable[str]) -> str:
    return "\n".join(lines).rstrip() + "\n"


def _root(root: Page, verbs: list[Page], version: str) -> Iterator[str]:
    yield from _head("holdfast", root.summary, version)
    yield from _synopsis([root])
    yield ".SH DESCRIPTION"
    yield escape(root.summary)
    yield from _paragraphs(root)
    yield ".SH COMMANDS"
    for verb in verbs:
        yield from (".TP", rf"\fBholdfast\-{escape(verb.path[1])}\fR(1)", escape(verb.summary))
    yield from _entries("OPTIONS", root.options)
    yield from _examples([root])
    yield ".SH EXIT STATUS"
    for code, meaning in EXIT_MEANINGS.items():
        yield from (".TP", rf"\fB{code.value}\fR", escape(meaning))
    yield from (".PP", escape(JSON_FAILURE))
    yield ".SH ENVIRONMENT"
    for name, meaning in ENVIRONMENT.items():
        yield from (".TP", rf"\fB{name}\fR", escape(meaning))


def _verb(family: list[Page], version: str) -> Iterator[str]:
    verb, *commands = family
    yield from _head(f"holdfast-{verb.path[1]}", verb.summary, version)
    yield from _synopsis(family)
    yield ".SH DESCRIPTION"
    yield escape(verb.summary)
    yield from _paragraphs(verb)
    yield from _entries("ARGUMENTS", verb.arguments)
    yield from _entries("OPTIONS", verb.options)
    for page in commands:
        yield f".SH {escape(' '.join(page.path[1:]).upper())}"
        yield escape(page.summary)
        yield from _paragraphs(page)
        yield from _tagged((*page.arguments, *page.options))
    yield from _examples(family)
    yield from (".SH SEE ALSO", r"\fBholdfast\fR(1)")


def _head(name: str, summary: str, version: str) -> Iterator[str]:
    yield NOTICE
    yield f'.TH "{escape(name.upper())}" "1" "" "Holdfast {escape(version)}" "Holdfast"'
    yield from (".SH NAME", rf"{escape(name)} \- {escape(summary.rstrip('.'))}")


def _synopsis(pages: list[Page]) -> Iterator[str]:
    yield ".SH SYNOPSIS"
    for at, page in enumerate(pages):
        yield from ([".br"] if at else [])
        yield rf"\fB{escape(page.name)}\fR{escape(page.usage[len(page.name) :])}"


def _paragraphs(page: Page) -> Iterator[str]:
    for paragraph in page.paragraphs:
        yield from (".PP", escape(paragraph))


def _entries(title: str, entries: tuple[Entry, ...]) -> Iterator[str]:
    if entries:
        yield f".SH {title}"
        yield from _tagged(entries)


def _tagged(entries: tuple[Entry, ...]) -> Iterator[str]:
    for entry in entries:
        note = f" Default: {entry.default}." if entry.default else ""
        yield from (".TP", rf"\fB{escape(entry.spelt)}\fR", escape(f"{entry.help}{note}") or r"\&")


def _examples(pages: list[Page]) -> Iterator[str]:
    lines = [line for page in pages for line in page.examples]
    if lines:
        yield from (".SH EXAMPLES", ".nf", *(escape(line) for line in lines), ".fi")


def escape(text: str) -> str:
    """Text that roff prints as it stands: no escapes, no requests at a line's start, hyphens that can be copied."""
    safe = text.replace("\\", "\\e").replace("-", "\\-").replace("\n", " ")
    return "\\&" + safe if safe.startswith((".", "'")) else safe
