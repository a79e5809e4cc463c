"""Decides where a command of the stream goes: to one cell, in parts to several, or with values brought together first. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from holdfast.migrate.write.keys import Words, key_places


@dataclass(frozen=True)
class Part:
    """A command for one cell."""

    cell: int
    words: tuple[bytes, ...]


@dataclass(frozen=True)
class InParts:
    """The parts, together, do exactly what the command did; their order does not matter."""

    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Brought:
    """Values of other cells are copied beside the destination, the command runs there, and the sources change after it.

    Exact, because nothing else writes to the target: at this place of the stream it holds what the source held.
    """

    cell: int
    words: tuple[bytes, ...]
    places: tuple[int, ...]
    """Of the words that are keys of other cells."""
    afterwards: tuple[Part, ...]
    """What the command did to keys of other cells."""


@dataclass(frozen=True)
class Refused:
    """It cannot be carried exactly: it is counted, and not carried."""

    why: str


Route = Part | InParts | Brought | Refused

_EACH = frozenset({b"DEL", b"UNLINK", b"TOUCH"})
_READS_THE_REST = frozenset(
    {
        b"SUNIONSTORE",
        b"SINTERSTORE",
        b"SDIFFSTORE",
        b"ZUNIONSTORE",
        b"ZINTERSTORE",
        b"ZDIFFSTORE",
        b"PFMERGE",
        b"BITOP",
    }
    | {b"GEOSEARCHSTORE", b"ZRANGESTORE"}
)
"""The first key is written, the others are only read."""


def route(name: bytes, words: Words, cell_of: Callable[[bytes], int]) -> Route | None:
    """Where a command goes. Args: `name`, its first word in upper case.

    Returns: None for a command without keys.
    """
    places = key_places(name, words)
    if not places:
        return None
    cells = [cell_of(words[at]) for at in places]
    first = cells[0]
    if all(cell == first for cell in cells):
        return Part(first, tuple(words))
    if name in _EACH:
        return InParts(
            _by_cell(words[0], [(cell, (words[at],)) for cell, at in zip(cells, places, strict=True)])
        )
    if name in {b"MSET", b"MSETNX"}:  # in the stream it has succeeded, so its condition held
        pairs = [(cell, (words[at], words[at + 1])) for cell, at in zip(cells, places, strict=True)]
        return InParts(_by_cell(b"MSET", pairs))
    others = tuple(at for at, cell in zip(places, cells, strict=True) if cell != first)
    if name in _READS_THE_REST:
        return Brought(first, tuple(words), others, ())
    if name in {b"SORT", b"GEORADIUS", b"GEORADIUSBYMEMBER"}:
        destination = cells[-1]
        others = tuple(at for at, cell in zip(places, cells, strict=True) if cell != destination)
        return Brought(destination, tuple(words), others, ())
    return _moved(name, words, cells)


def _moved(name: bytes, words: Words, cells: Sequence[int]) -> Route:
    """Commands that take from the first key and give to the second."""
    source, destination = cells[0], cells[-1]
    if name in {b"RENAME", b"RENAMENX"}:
        return Brought(destination, (b"RENAME", *words[1:3]), (1,), (Part(source, (b"DEL", words[1])),))
    if name == b"COPY":
        return Brought(destination, tuple(words), (1,), ())
    if name == b"SMOVE":
        return Brought(destination, tuple(words), (1,), (Part(source, (b"SREM", words[1], words[3])),))
    if name in {b"RPOPLPUSH", b"BRPOPLPUSH"}:
        command = (b"RPOPLPUSH", words[1], words[2])
        return Brought(destination, command, (1,), (Part(source, (b"RPOP", words[1])),))
    if name in {b"LMOVE", b"BLMOVE"}:
        pop = b"LPOP" if words[3].upper() == b"LEFT" else b"RPOP"
        return Brought(destination, (b"LMOVE", *words[1:5]), (1,), (Part(source, (pop, words[1])),))
    return Refused(f"{name.decode('ascii', 'backslashreplace')[:40]} over several slots")


def _by_cell(name: bytes, entries: Sequence[tuple[int, tuple[bytes, ...]]]) -> tuple[Part, ...]:
    found: dict[int, list[bytes]] = {}
    for cell, words in entries:
        found.setdefault(cell, []).extend(words)
    return tuple(Part(cell, (name, *words)) for cell, words in found.items())
