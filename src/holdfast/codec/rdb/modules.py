"""Module values: the names in their ids, and their parts."""

from __future__ import annotations

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def module_name(number: int) -> str:
    """The nine characters of a module type's name. Args: `number`, its 64-bit id: 54 bits of name, 10 of version.

    Source: moduleTypeNameByID in src/module.c.
    """
    return "".join(_LETTERS[number >> shift & 63] for shift in range(58, 4, -6))
