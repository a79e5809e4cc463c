"""Sentinels that watch a server, found through what they do there: each listens on it, and says every two seconds where it is.

Source: sentinelSendHello, sentinelProcessHelloMessage and sentinelReconnectInstance in src/sentinel.c.
"""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass

from holdfast.engine.connection import Endpoint
from holdfast.engine.facts import Address
from holdfast.engine.pipeline import Pipeline, Raw, refusal
from holdfast.errors import HoldfastError

HELLO = b"__sentinel__:hello"
HEARD_WITHIN_S = 5.0
"""Two rounds of what they say, and a margin."""
_NAME = re.compile(r"sentinel-([0-9a-f]{8})-pubsub\Z")


@dataclass(frozen=True)
class Watcher:
    """A Sentinel, by its own words."""

    address: Address
    watched_name: str
    """What it calls the primary."""


def listening(clients: str) -> dict[str, str]:
    """Sentinels among the clients that CLIENT LIST tells of: the head of each one's run id, and the host it comes from. Pure."""
    found = {}
    for line in clients.splitlines():
        fields = dict(pair.partition("=")[::2] for pair in line.split(" "))
        if named := _NAME.match(fields.get("name", "")):
            found[named[1]] = fields.get("addr", "").rpartition(":")[0]
    return found


def read_hello(said: bytes, known: dict[str, str]) -> tuple[str, Watcher] | None:
    """Whose word it is and what it says; None for one that nobody who is known says of the host that he comes from. Pure.

    Anybody may publish there: an address that is not the speaker's own is not believed, for it will be given a password.
    """
    words = said.decode(errors="replace").split(",")
    if len(words) < 5 or not words[1].isdigit() or not 0 < int(words[1]) < 65_536:
        return None
    head = words[2][:8]
    if not words[4] or known.get(head) != words[0]:
        return None
    return head, Watcher((words[0], int(words[1])), words[4])


async def count_watchers(endpoint: Endpoint) -> int:
    """How many Sentinels watch a server; 0 as well where our user may not ask. Raises: the connection's errors."""
    async with await Pipeline.connect(endpoint, timeout_s=HEARD_WITHIN_S) as node:
        return len(await _listening(node))


async def find_watchers(endpoint: Endpoint) -> tuple[Watcher, ...]:
    """Those that could be heard; none, and at once, where none watches. Raises: the connection's errors."""
    async with await Pipeline.connect(endpoint, timeout_s=HEARD_WITHIN_S) as node:
        known = await _listening(node)
        found: dict[str, Watcher] = {}
        if not known or refusal((await node.ask_all([("SUBSCRIBE", HELLO)]))[0]):
            return ()
        end_s = time.monotonic() + HEARD_WITHIN_S
        while len(found) < len(known) and time.monotonic() < end_s:
            try:
                async with asyncio.timeout(end_s - time.monotonic()):
                    (message,) = await node.begin(b"", 1, 2 * HEARD_WITHIN_S)
            except TimeoutError:
                break
            if (heard := _heard(message, known)) is not None:
                found[heard[0]] = heard[1]
        return tuple(found.values())


def _heard(message: Raw, known: dict[str, str]) -> tuple[str, Watcher] | None:
    if not isinstance(message, list) or len(message) != 3 or message[:2] != [b"message", HELLO]:
        return None
    return read_hello(message[2], known)


async def _listening(node: Pipeline) -> dict[str, str]:
    """By the names of their connections."""
    try:
        return listening((await node.ask("CLIENT", "LIST", "TYPE", "pubsub")).decode(errors="replace"))
    except HoldfastError:
        return {}
