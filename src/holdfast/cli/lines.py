"""Lines for people: one printed just as it is, neither broken nor read as markup; and things counted in words."""

from __future__ import annotations

from collections.abc import Sized
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def number_of(things: Sized, one: str) -> str:
    """`1 step`, `16 steps`."""
    return f"{len(things)} {one}" if len(things) == 1 else f"{len(things)} {one}s"


def line(console: Console, words: str) -> None:
    """Print `words` as one line."""
    console.print(words, markup=False, soft_wrap=True)
