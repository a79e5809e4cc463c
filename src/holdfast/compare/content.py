"""Compares two DUMPs whose bytes differ by what they hold. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.compare.judge import Difference, Tolerance


@dataclass(frozen=True)
class Decided:
    """What decoding told."""

    known: bool
    """False where one of them cannot be decoded: only the engines' own commands can tell then."""
    difference: Difference | None = None


UNKNOWN = Decided(known=False)


def decoded_difference(first: bytes, second: bytes, tolerance: Tolerance) -> Decided:
    """Whether two values in DUMP form hold the same, whatever form and dialect each is in."""
    return UNKNOWN
