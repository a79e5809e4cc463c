"""Many keys in one command, and their replies by key; compiled where it can be, for there are a hundred of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from holdfast.client.wire import pack

SIZES = tuple(f"\r\n${size}\r\n" for size in range(256))
"""What stands before a key of so many bytes."""


def mget(keys: list[str]) -> bytes:
    """MGET of these keys as it is sent."""
    words: list[str] = [f"*{len(keys) + 1}\r\n$4\r\nMGET"]
    for key in keys:
        if type(key) is not str:
            return pack(("MGET", *keys))
        size = len(key)
        words.append(SIZES[size] if size < 256 else f"\r\n${size}\r\n")
        words.append(key)
    words.append("\r\n")
    text = "".join(words)
    # Characters were counted: they are bytes as long as all are ASCII.
    return text.encode("ascii") if text.isascii() else pack(("MGET", *keys))


def by_key(
    keys: list[str], replies: list[Any], decode: Callable[[bytes], Any] | None
) -> dict[str, Any] | None:
    """The values that are there, by key, where all are bare; None where one is not, or is no bytes at all.

    Args: `decode`, makes a value of its bytes, and may raise anything; None: the bytes are the values.
    """
    found: dict[str, Any] = {}
    if len(keys) != len(replies):
        return None
    for at in range(len(keys)):
        reply = replies[at]
        if reply is None:
            continue
        if type(reply) is not bytes:
            return None
        raw = reply
        if len(raw) > 1 and raw[0] == 0xC1 and raw[1] == 0x48:
            return None
        found[keys[at]] = raw if decode is None else decode(raw)
    return found


def is_compiled() -> bool:
    """Whether the compiled twin of this module is in charge."""
    return not __file__.endswith(".py")
