"""Older spec files rewritten to the newest format, text for text, so that comments and order stay.

There is one format so far. A file may leave it out; the upgrade writes it down, so that a later Holdfast knows what it reads.
"""

from dataclasses import dataclass

from holdfast.spec.cache import FORMAT
from holdfast.spec.document import Document, read_document
from holdfast.spec.fault import Fault, SpecInvalid


@dataclass(frozen=True)
class Upgrade:
    """What became of a file's text."""

    text: str
    changes: tuple[str, ...]
    """What was changed, one sentence each; empty: it was of the newest format already."""


def upgrade(file: str, text: str) -> Upgrade:
    """The text in the newest format. Raises SpecInvalid when it cannot be read or is of a newer format."""
    document = read_document(file, text)
    if document.faults:
        raise SpecInvalid(tuple(document.faults))
    written = document.data.get("format")
    if written is None and ("format",) not in document.marks:
        return _format_written_down(file, text, document)
    if written != FORMAT:
        mark = document.marks["format",]
        raise SpecInvalid(
            (
                Fault(
                    file,
                    mark.line,
                    mark.column,
                    "format",
                    f"format {written} is not known",
                    f"this Holdfast reads up to format {FORMAT}; upgrade Holdfast",
                ),
            )
        )
    return Upgrade(text, ())


def _format_written_down(file: str, text: str, document: Document) -> Upgrade:
    """The line goes before the first key, after the comments that open the file."""
    first_line = min((mark.key_line for mark in document.marks.values()), default=1)
    lines = text.splitlines(keepends=True)
    newline = "\r\n" if "\r\n" in text else "\n"
    upgraded = "".join([*lines[: first_line - 1], f"format: {FORMAT}{newline}", *lines[first_line - 1 :]])
    if read_document(file, upgraded).data != {
        "format": FORMAT,
        **document.data,
    }:  # for example one {...} over all
        by_hand = f"write format: {FORMAT} into it by hand"
        raise SpecInvalid((Fault(file, first_line, 1, "format", "the line cannot be added safely", by_hand),))
    return Upgrade(upgraded, (f"format: {FORMAT} was written down",))
