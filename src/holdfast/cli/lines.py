"""A line of text on the console just as it is: neither broken nor read as markup."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def line(console: Console, words: str) -> None:
    """Print `words` as one line."""
    console.print(words, markup=False, soft_wrap=True)
