"""What `holdfast engines add` and `remove` say when they cannot (pure)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from holdfast.errors import HoldfastError

WORDS_MAX = 500
ROOM_TEXT = "100 MB"
"""The largest recipe's lists, packages and files together, measured and rounded up."""

_COMPLAINTS = ("E:", "W: GPG error", "ERROR", "error", "dpkg")


@dataclass(eq=False)
class CannotFetch(HoldfastError):
    """An engine was not fetched; its folder is as it was before."""

    name: str
    why: str
    instead: str

    def __str__(self) -> str:
        return f"{self.name} was not fetched: {self.why}. Nothing was left behind; {self.instead}"


def plain_words(said: str) -> str:
    """Another program's complaint as one line: its errors first, printable, short, without credentials of a URL."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if any(line.startswith("Traceback") for line in lines):
        lines = lines[-1:]
    errors = [line for line in lines if line.startswith(_COMPLAINTS)] or lines[-3:]
    text = re.sub(r"//[^/@\s]+@", "//", " / ".join(dict.fromkeys(errors)))
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text if len(text) <= WORDS_MAX else text[: WORDS_MAX - 1] + "…"


def what_to_try(words: str) -> str:
    """What most likely mends a fetch that ended with these words."""
    if re.search(r"no space|enough free space", words, re.IGNORECASE):
        return f"make room: it needs {ROOM_TEXT} while it is unpacked"
    return "is the network up? Run it again"
