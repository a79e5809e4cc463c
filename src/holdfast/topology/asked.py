"""One node that is asked commands, by whatever way it is reached."""

from __future__ import annotations

import contextlib
from typing import Protocol

from holdfast.engine.connection import Reply
from holdfast.errors import HoldfastError


class Asked(Protocol):
    """A node that answers commands; equal to itself alone, or to another way to the same node."""

    async def ask(self, *words: str | int) -> Reply:
        """Raises: HoldfastError."""

    def __hash__(self) -> int: ...


async def setting_of(node: Asked, directive: str) -> int:
    """A directive's value now, a number; 0 where the node does not say."""
    with contextlib.suppress(HoldfastError):
        reply = await node.ask("CONFIG", "GET", directive)
        words = [*reply.values()] if isinstance(reply, dict) else reply[1:] if isinstance(reply, list) else []
        if words and str(words[0]).isdigit():
            return int(words[0])
    return 0
