"""A connection for reading very much: batches of commands go out, and what comes back for each is handed over as the bytes that came."""

from __future__ import annotations

from collections.abc import Iterable

import hiredis

from holdfast.codec.replies import Frames, RepliesCorrupt
from holdfast.engine.connection import Endpoint, NodeGone
from holdfast.engine.pipeline import Pipeline, Raw


class SpanPipeline(Pipeline):
    """A pipeline whose batches end with their replies unread; `send` and `ask` work until the first of `read`."""

    def __init__(self, endpoint: Endpoint, timeout_s: float) -> None:
        super().__init__(endpoint, timeout_s)
        self._frames = Frames()
        self._reads = False

    async def read(self, packed: bytes | Iterable[bytes], count: int) -> bytes:
        """Send commands and wait for their `count` replies, which come back as one stretch.

        Raises: NodeGone, NodeSilent (the commands may or may not have run).
        """
        self._reads = True
        return b"".join(await self.begin(packed, count))

    def buffer_updated(self, nbytes: int) -> None:
        if not self._reads:
            super().buffer_updated(nbytes)
            return
        frames, at = self._frames, 0
        try:
            while at < nbytes and self._waits:
                wait = self._waits[0]
                if not frames.left:
                    frames.want(wait.count)
                after = frames.walk(self._buffer, at, nbytes)
                wait.replies.append(bytes(self._view[at:after]))
                at = after
                if not frames.left:
                    self._waits.popleft()
                    if not wait.future.done():
                        wait.future.set_result(wait.replies)
        except RepliesCorrupt as broken:
            self._end(NodeGone(str(self.endpoint), f"its replies make no sense ({broken})"))


def value_of(reply: bytes) -> Raw:
    """One reply, none that is an array, as the pipeline would have read it."""
    kind, body = reply[:1], reply[1:-2]
    if kind == b"$":
        return None if body.startswith(b"-") else reply[reply.index(b"\n") + 1 : -2]
    if kind == b":":
        return int(body)
    return hiredis.ReplyError(body.decode(errors="replace")) if kind == b"-" else body
