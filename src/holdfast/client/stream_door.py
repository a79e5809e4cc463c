"""The asyncio edge's way to one node: a connection that is let in, shared by everybody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Any

from holdfast.client.errors import NodeLost, NodeUnreached, ServerUnfit
from holdfast.client.layout import Address
from holdfast.client.login import READONLY, Login
from holdfast.client.streaming import StreamLink
from holdfast.client.wire import ReplyError


async def connect(
    login: Login,
    address: Address,
    *,
    readonly: bool = False,
    anonymous: bool = False,
    on_push: Callable[[Any], None] | None = None,
    on_end: Callable[[], None] | None = None,
) -> tuple[StreamLink, dict[bytes, Any]]:
    """A connection that is let in, and what the server said of itself.

    Raises: NodeUnreached, CacheDenied, ServerUnfit, PasswordUnreadable.
    """
    loop, link = asyncio.get_running_loop(), None
    hello = login.hello(anonymous=anonymous)
    try:
        async with asyncio.timeout(login.connect_s):
            _, link = await loop.create_connection(
                lambda: StreamLink(str(address), on_push, on_end),
                address.host,
                address.port,
                ssl=login.tls,
                server_hostname=address.host if login.tls else None,
            )
            until = monotonic() + login.connect_s
            said = login.judge(await link.send(hello, 1, until), str(address))
            if readonly:
                reply = await link.send(READONLY, 1, until)
                if isinstance(reply, ReplyError):
                    raise ServerUnfit(str(address), str(reply))
            return link, said
    except TimeoutError as late:
        _drop(link)
        raise NodeUnreached(str(address), f"no connection within {login.connect_s:g} s") from late
    except OSError as failed:
        _drop(link)
        raise NodeUnreached(str(address), str(failed)) from failed
    except NodeLost as failed:
        _drop(link)
        if "protocol" in failed.why:
            raise ServerUnfit(str(address), failed.why) from failed
        raise NodeUnreached(str(address), failed.why) from failed
    except BaseException:
        _drop(link)
        raise


def _drop(link: StreamLink | None) -> None:
    if link is not None:
        link.close()


class StreamDoor:
    """The asyncio edge's way to one node: a connection made when it is needed, shared by everybody."""

    def __init__(self, login: Login, address: Address, max_in_flight: int) -> None:
        self._login, self._address, self._most = login, address, max_in_flight
        self._links: dict[bool, StreamLink] = {}
        self._connecting: dict[bool, asyncio.Task[StreamLink]] = {}
        self.closed = False

    async def send(self, payload: bytes, count: int, readonly: bool, until: float) -> Any:
        """Raises: NodeUnreached, NodeLost and what connecting raises."""
        link = self._links.get(readonly)
        if link is None or not link.open:
            try:
                async with asyncio.timeout(max(0.001, until - monotonic())):
                    link = await self._connected(readonly)
            except TimeoutError as late:
                raise NodeUnreached(str(self._address), "no connection in time") from late
        if link.crowded or len(link.waiting) >= self._most:
            await link.room(self._most)
        return await link.send(payload, count, until)

    def begin(self, payload: bytes, count: int, until: float) -> asyncio.Future[Any] | None:
        """The same at once, when the connection is there and has room; None otherwise."""
        link = self._links.get(False)
        if link is None or not link.open or link.crowded or len(link.waiting) >= self._most:
            return None
        return link.send(payload, count, until)

    def get_soon(self, key: str, until: float) -> asyncio.Future[Any] | None:
        """A read that is joined with others, when the connection is there and has room; None otherwise."""
        link = self._links.get(False)
        if link is None or not link.open or link.crowded or len(link.waiting) >= self._most:
            return None
        return link.get_soon(key, until)

    @property
    def in_use(self) -> int:
        """Open connections."""
        return sum(link.open for link in self._links.values())

    def close(self) -> None:
        self.closed = True
        for task in self._connecting.values():
            task.cancel()
        for link in self._links.values():
            link.close()

    async def _connected(self, readonly: bool) -> StreamLink:
        """All callers wait for one connection; one of them that is cancelled does not end it for the others, and an end
        of it (the node has left the layout) is told to them: a caller is never cancelled by anybody but its own."""
        task = self._connecting.get(readonly)
        if task is None:
            if self.closed:
                raise NodeUnreached(str(self._address), "the cache was closed")
            task = asyncio.get_running_loop().create_task(self._connect(readonly))
            self._connecting[readonly] = task
            task.add_done_callback(lambda done: self._forget(readonly, done))
        await asyncio.wait({task})
        if task.cancelled():
            raise NodeUnreached(str(self._address), "the node has left the cache")
        return task.result()

    async def _connect(self, readonly: bool) -> StreamLink:
        link, _ = await connect(self._login, self._address, readonly=readonly)
        self._links[readonly] = link
        return link

    def _forget(self, readonly: bool, done: asyncio.Task[StreamLink]) -> None:
        self._connecting.pop(readonly, None)
        if not done.cancelled():
            done.exception()  # every caller that waited has it
