"""That the primary is another one since now, told to sentinels in the way they tell one another.

A sentinel believes a hello with a newer configuration epoch: it keeps what it knows of the others, takes the new address, and
tells the clients that listen to it (`+switch-master`), which one that is only told to watch another server does not.
Left alone, sentinels speak once in two seconds, and the one that led a failover looks at the new primary once in one:
measured, clients that ask were sent to the dead one for 1.0 to 1.2 s after its heir took writes.

Source: sentinelProcessHelloMessage and sentinelPublishCommand in src/sentinel.c, Redis 7.0 and Valkey 9.1.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from holdfast.engine.facts import Address
from holdfast.errors import HoldfastError
from holdfast.topology.asked import Asked

TELL_BOUND_S = 1.0
CHANNEL = "__sentinel__:hello"


@dataclass(frozen=True)
class News:
    """Ready to be told to the sentinels that answered."""

    cache: str
    epoch: int
    """Newer than any configuration they have."""
    senders: Mapping[Asked, str]
    """Sentinel -> another one that it knows (`ip,port,runid`), in whose name it is told."""

    async def tell(self, primary: Address) -> None:
        """Tell all at once. Raises nothing: ask them where the primary is to see whether they took it."""
        await asyncio.gather(*(self._tell(node, sender, primary) for node, sender in self.senders.items()))

    def newer(self) -> News:
        """The same, to be told after this."""
        return replace(self, epoch=self.epoch + 1)

    async def _tell(self, sentinel: Asked, sender: str, primary: Address) -> None:
        address, port = primary
        hello = f"{sender},{self.epoch},{self.cache},{address},{port},{self.epoch}"
        with contextlib.suppress(HoldfastError, TimeoutError):  # clients wait meanwhile
            async with asyncio.timeout(TELL_BOUND_S):
                await sentinel.ask("PUBLISH", CHANNEL, hello)


async def news_for(cache: str, sentinels: Sequence[Asked]) -> News:
    """Ask each what it knows; one that does not answer, or knows no other, hears of it from the others later."""
    known = await asyncio.gather(*(_known(cache, node) for node in sentinels))
    epochs = [epoch for epoch, _ in known]
    senders = {node: sender for node, (_, sender) in zip(sentinels, known, strict=True) if sender}
    return News(cache, 1 + max(epochs, default=0), senders)


async def _known(cache: str, sentinel: Asked) -> tuple[int, str]:
    """Its configuration's epoch, and another sentinel; 0 and empty where it does not say."""
    try:
        own = _pairs([await sentinel.ask("SENTINEL", "MASTER", cache)])
        others = _pairs(await sentinel.ask("SENTINEL", "SENTINELS", cache))
    except HoldfastError:
        return 0, ""
    sender = f"{others[0]['ip']},{others[0]['port']},{others[0]['runid']}" if others else ""
    return int(own[0].get("config-epoch", "0")), sender


def _pairs(reply: Any) -> list[dict[str, str]]:
    """What SENTINEL answers, as dictionaries: names and values in turn, or maps already."""
    return [
        dict(each) if isinstance(each, dict) else dict(zip(each[::2], each[1::2], strict=False))
        for each in reply
    ]
