"""A watcher's own connection to one address, made again whenever it is needed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

from holdfast.client.layout import Address
from holdfast.client.streaming import StreamLink

Connect = Callable[[Address], Awaitable[tuple[StreamLink, dict[bytes, Any]]]]


class Scout:
    """One address. `said` is what the server told of itself when it was reached last."""

    def __init__(self, address: Address, connect: Connect) -> None:
        self.address = address
        self.link: StreamLink | None = None
        self.said: dict[bytes, Any] = {}
        self._connect = connect
        self._lock = asyncio.Lock()

    async def ask(self, payload: bytes, count: int, within_s: float) -> Any:
        """Raises: NodeUnreached, NodeLost, CacheDenied, ServerUnfit, PasswordUnreadable."""
        link = await self.connected()
        return await link.send(payload, count, monotonic() + within_s)

    async def connected(self) -> StreamLink:
        async with self._lock:
            if self.link is None or not self.link.open:
                self.link, self.said = await self._connect(self.address)
            return self.link

    def close(self) -> None:
        if self.link is not None:
            self.link.close()
            self.link = None
