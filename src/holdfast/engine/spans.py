"""A connection for reading very much: batches of commands go out, and what comes back for each is handed over as the bytes that came."""

from __future__ import annotations

from collections.abc import Iterable

import hiredis

from holdfast.codec.replies import Frames, RepliesCorrupt
from holdfast.engine.connection import Endpoint, NodeGone
from holdfast.engine.pipeline import Pipeline, Raw

_HELD_BYTES = 1 << 20
_ROOM_BYTES = 1 << 17
"""At least so much is taken from the socket at once."""


class SpanPipeline(Pipeline):
    """A pipeline whose batches end with their replies unread; `send` and `ask` work until the first of `read`."""

    def __init__(self, endpoint: Endpoint, timeout_s: float) -> None:
        super().__init__(endpoint, timeout_s)
        self._frames = Frames()
        self._reads = False
        self._held = bytearray(_HELD_BYTES)
        """What has come and was not handed over yet lies in it from `_taken` to before `_filled`."""
        self._taken = 0
        self._filled = 0

    async def read(self, packed: bytes | Iterable[bytes], count: int) -> bytes:
        """Send commands and wait for their `count` replies, which come back as one stretch.

        Raises: NodeGone, NodeSilent (the commands may or may not have run).
        """
        self._reads = True
        came: list[bytes] = await self.begin(packed, count)
        return b"".join(came)

    def get_buffer(self, sizehint: int) -> memoryview:
        if not self._reads:
            return super().get_buffer(sizehint)
        if len(self._held) - self._filled < _ROOM_BYTES:
            kept = self._filled - self._taken
            # Another one, for a view of this may still be held.
            held = bytearray(max(_HELD_BYTES, 2 * kept + _ROOM_BYTES))
            held[:kept] = memoryview(self._held)[self._taken : self._filled]
            self._held, self._taken, self._filled = held, 0, kept
        return memoryview(self._held)[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        if not self._reads:
            super().buffer_updated(nbytes)
            return
        frames, at = self._frames, self._filled
        self._filled += nbytes
        try:
            while at < self._filled and self._waits:
                wait = self._waits[0]
                if not frames.left:
                    frames.want(wait.count)
                at = frames.walk(self._held, at, self._filled)
                if not frames.left:
                    self._waits.popleft()
                    if not wait.future.done():
                        wait.future.set_result([bytes(memoryview(self._held)[self._taken : at])])
                    self._taken = at
        except RepliesCorrupt as broken:
            self._end(NodeGone(str(self.endpoint), f"its replies make no sense ({broken})"))
        if self._taken == self._filled:
            self._taken = self._filled = 0


def value_of(reply: bytes) -> Raw:
    """One reply, none that is an array, as the pipeline would have read it."""
    kind, body = reply[:1], reply[1:-2]
    if kind == b"$":
        return None if body.startswith(b"-") else reply[reply.index(b"\n") + 1 : -2]
    if kind == b":":
        return int(body)
    return hiredis.ReplyError(body.decode(errors="replace")) if kind == b"-" else body
