"""Checkpoints: keys of the target that say how far each of its cells has been written. Pure.

A cell is what one MULTI can reach: a slot of a cluster, or all of a server outside one. A checkpoint lies in its own cell
and is written by the very transaction whose writes it counts, so the two can never disagree, whatever fails.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from holdfast.codec.crc import SLOTS, key_slot

PREFIX = b"holdfast:migration:"
"""What every key of a migration's own begins with: a comparison leaves them out, and `finish` removes them."""


@lru_cache(maxsize=1)
def slot_tags() -> tuple[bytes, ...]:
    """For each slot a short hash tag that lies in it."""
    found: list[bytes] = [b""] * SLOTS
    left, number = SLOTS, 0
    while left:
        tag = b"%x" % number
        slot = key_slot(tag)
        if not found[slot]:
            found[slot] = tag
            left -= 1
        number += 1
    return tuple(found)


@dataclass(frozen=True)
class Place:
    """A place in a source's history."""

    replid: str
    offset: int
    database: int = 0
    """Selected there, by the source's number."""

    def to_bytes(self) -> bytes:
        """As a checkpoint's value."""
        return f"{self.replid} {self.offset} {self.database}".encode()


def read_place(value: bytes) -> Place | None:
    """A checkpoint's value; None for what is none."""
    parts = value.split(b" ")
    if (
        len(parts) != 3
        or not parts[0].isalnum()
        or not all(part.isdigit() and len(part) < 20 for part in parts[1:])
    ):
        return None
    return Place(parts[0].decode(), int(parts[1]), int(parts[2]))


@dataclass(frozen=True)
class Marks:
    """The names of one migration's own keys for one of its sources."""

    migration: str
    source: str
    """A word that names the source shard and stays the same over restarts of it."""

    def checkpoint(self, tag: bytes) -> bytes:
        """The checkpoint's key. Args: `tag`, of the slot; empty outside a cluster."""
        return b"%b{%b}:%b:%b" % (PREFIX, tag or b"0", self.migration.encode(), self.source.encode())

    def begun(self, tag: bytes) -> bytes:
        """The key that says that a snapshot was begun to be written, once or more."""
        return self.checkpoint(tag) + b":begun"

    def brought(self, tag: bytes, number: int) -> bytes:
        """The key under which another slot's value is brought, for a command that needs both."""
        return self.checkpoint(tag) + b":brought:%d" % number
