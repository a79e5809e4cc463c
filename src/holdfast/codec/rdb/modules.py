"""Module values: the names in their ids, and their parts."""

from __future__ import annotations

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def module_name(number: int) -> str:
    """The nine characters of a module type's name. Args: `number`, its 64-bit id: 54 bits of name, 10 of version.

    Source: moduleTypeNameByID in src/module.c.
    """
    return "".join(_LETTERS[number >> shift & 63] for shift in range(58, 4, -6))


def module_number(name: str, version: int) -> int:
    """The id of a module type: the reverse of `module_name`. Raises: ValueError when `name` has not nine of its letters."""
    if len(name) != 9 or not 0 <= version < 1024:
        raise ValueError(f"{name!r} with version {version} is no module type")
    number = 0
    for letter in name:
        number = number << 6 | _LETTERS.index(letter)
    return number << 10 | version
