"""The relay itself: takes one history of writes from a source, translates it, and keeps it for the target to fetch.

It may be stopped or killed at any moment and made again on the same spool. A full synchronisation is asked of the source
only where `Full` allows it; a relay of a way back never does, for it would wipe what it leads to.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from holdfast.engine.connection import Endpoint
from holdfast.errors import HoldfastError
from holdfast.jobs.meter import Meter
from holdfast.migrate.relay.commands import TargetCommands, merged
from holdfast.migrate.relay.filter import StreamFilter
from holdfast.migrate.relay.lag import Lag
from holdfast.migrate.relay.serve import Way
from holdfast.migrate.relay.source import Continued, FullResync, NotNow, SourceLink
from holdfast.migrate.relay.spool import Spool, SpoolFull, SpoolTooSmall
from holdfast.migrate.relay.terms import Counts, Full, LossNotAccepted, Phase, Rewriting, WayBroken

ACKNOWLEDGE_EVERY_S = 1.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
ROOM_EVERY_S = 0.1
DISK_PATIENCE_S = 30.0
"""How long a full synchronisation waits for room on a disk that others fill: nothing of its own will make any."""
GROWN_BOUND_S = 1.0
GATHER_S = 0.001
GATHER_BELOW_BYTES = 64 * 1024
BUSY_S = 0.005
"""A stream that comes in small pieces, one soon after the other, is taken every millisecond: each piece costs the machine as much as
a large one does."""


@dataclass(frozen=True)
class Settings:
    """How one relay works."""

    find_source: Callable[[], Awaitable[Endpoint]]
    """Where the source's stream is to be had now; may raise a HoldfastError, and is asked again."""
    commands: TargetCommands
    rewriting: Callable[[], Rewriting]
    full: Full = Full.ALLOWED
    accepts_losses: bool = False
    hold_until_whole: bool = False
    """Whether a target gets nothing of an RDB before all of it has been read without a fault."""
    tell: Callable[[str], None] = lambda _: None
    port: int | None = None
    """What the source is told as the port that we listen on."""


class Relay:
    """One direction of a migration. Its `run` takes; a `TargetServer` gives, from the same spool."""

    def __init__(self, spool: Spool, settings: Settings) -> None:
        self.spool = spool
        self.settings = settings
        self.counts = Counts()
        self.phase = Phase.CONNECTING
        self.trouble = ""
        """Why there is no link to the source at the moment; empty when there is one."""
        self.acknowledged = -1
        """Highest offset that a target has applied; -1 before any."""
        self.heard_at_s = 0.0
        self.lag = Lag()
        """Of the target, when it was last heard of."""
        self.meter = Meter()
        self.key_meter = Meter()
        self._earlier: dict[str, int] = {}
        """Ids that this history had before: id -> offset up to which they are the same."""
        self._changed = asyncio.Event()
        self._link: SourceLink | None = None
        self._full_wanted = ""
        self.on_new_history: Callable[[], None] = lambda: None
        """Called when targets must ask anew: the history has another id, or begins anew."""

    # -- towards the target --------------------------------------------------------------------------------------------

    def way(self, replid: str, offset: int) -> Way:
        """How a target that has `offset` of `replid` is served now (see `History`)."""
        spool = self.spool
        if not spool.replid:
            return Way.REFUSE if self.phase is Phase.BROKEN_OFF else Way.WAIT
        same = replid == spool.replid or offset <= self._earlier.get(replid, -1)
        if same and spool.start <= offset <= spool.end:
            return Way.CONTINUE
        if same and offset > spool.end:
            return Way.WAIT
        if spool.has_rdb:
            return Way.WAIT if self.settings.hold_until_whole and not spool.rdb_whole else Way.FULL
        if self.settings.full is Full.NEVER:
            return Way.REFUSE
        self.start_over("the target cannot go on from where it is")
        return Way.WAIT

    def heard(self, offset: int) -> None:
        """A target has applied everything before `offset`."""
        if offset < self.spool.base:
            return
        if self.acknowledged < 0:
            self._wake()  # it has loaded, and waits for the stream
        self.acknowledged = max(self.acknowledged, offset)
        self.heard_at_s = time.monotonic()
        self.lag.heard(self.heard_at_s, self.acknowledged, self.spool.end)
        if self.spool.has_rdb and self.spool.rdb_whole:
            self.spool.drop_rdb()
        self.spool.trim(self.acknowledged)
        if self._link is not None and self.phase is Phase.TAIL:
            # Passed on at once, so that WAIT at the source counts the target.
            task = asyncio.ensure_future(self._acknowledge(self._link))
            _RUNNING.add(task)
            task.add_done_callback(_RUNNING.discard)

    async def grown(self) -> None:
        """Wait until there is more to send, or something changed; at most a second."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GROWN_BOUND_S):
                await self._changed.wait()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def adopt(self, replid: str, offset: int) -> None:
        """Take `offset` of `replid` for the same place in this history: a replica of the target was promoted there."""
        self._earlier[replid] = offset

    def start_over(self, why: str) -> None:
        """Ask the source for a full synchronisation, at the next turn. Raises: WayBroken where none may be made."""
        if self.settings.full is Full.NEVER:
            raise WayBroken(str(self._link.endpoint) if self._link else "the primary", why)
        if not self._full_wanted:
            self._full_wanted = why
            self.settings.tell(f"a full synchronisation is made anew: {why}")
            if self._link is not None:
                asyncio.ensure_future(self._link.close())  # noqa: RUF006

    @property
    def lag_bytes(self) -> int:
        """What has been taken from the source and not been applied by the target; 0 before there is a target."""
        return max(0, self.spool.end - max(self.acknowledged, self.spool.base))

    # -- towards the source --------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Take the source's history until cancelled.

        Raises: WayBroken, LossNotAccepted, SpoolTooSmall, StreamStopped, and errors of the RDB's form, after which more of the
            same would be of no use; broken links are taken up again.
        """
        pause_s = FIRST_PAUSE_S
        try:
            while True:
                began = time.monotonic()
                try:
                    await self._one_link()
                except (WayBroken, LossNotAccepted, SpoolTooSmall):
                    self.phase = Phase.BROKEN_OFF
                    raise
                except HoldfastError as failed:
                    if not _passes(failed):
                        self.phase = Phase.BROKEN_OFF
                        raise
                    if str(failed) != self.trouble:
                        self.settings.tell(f"no link to the source: {failed}")
                    self.trouble = str(failed)
                if time.monotonic() - began > LONGEST_PAUSE_S:
                    pause_s = FIRST_PAUSE_S
                self.phase = Phase.CONNECTING
                await asyncio.sleep(pause_s)
                pause_s = min(LONGEST_PAUSE_S, pause_s * 2)
        finally:
            if self.phase is not Phase.BROKEN_OFF:
                self.phase = Phase.STOPPED
            self._wake()

    async def _one_link(self) -> None:
        """Connect, synchronise and follow, until the link breaks."""
        link = await SourceLink.open(await self.settings.find_source(), self.settings.port)
        try:
            self._link = link
            fresh = bool(self._full_wanted)
            answer = await link.psync("" if fresh else self.spool.replid, self.spool.end)
            match answer:
                case Continued(replid):
                    self._continue(replid)
                case FullResync(replid, offset):
                    await self._take_snapshot(link, replid, offset)
                case NotNow(words):
                    self.trouble = words
                    return
            self.trouble = ""
            await self._follow(link)
        finally:
            self._link = None
            await link.close()

    def _continue(self, replid: str) -> None:
        self.counts.continued += 1
        if replid != self.spool.replid:
            self._earlier[self.spool.replid] = self.spool.end
            self.spool.renamed(replid)
            self.settings.tell("the source's history goes on under a new id: it has a new primary")
            self.on_new_history()
        self._wake()

    async def _take_snapshot(self, link: SourceLink, replid: str, offset: int) -> None:
        reason = self._full_wanted
        if not reason:
            reason = "the source no longer has what was missed" if self.spool.replid else "the first"
        if self.settings.full is Full.NEVER:
            self.spool.clear()
            raise WayBroken(str(link.endpoint), reason)
        self._full_wanted = ""
        self.counts.reasons.append(reason)
        self.counts.full_syncs += 1
        self.counts.rdb_bytes = self.counts.keys = 0
        self._earlier = {}
        self.acknowledged = -1
        self.phase = Phase.SNAPSHOT
        if reason != "the first":
            self.settings.tell(f"full synchronisation: {reason}")
        self.lag.clear()
        self.spool.begin_full(replid, offset)
        self.on_new_history()
        rewriting = self.settings.rewriting()
        try:
            pieces: AsyncIterator[bytes] = link.snapshot()
            async for piece in pieces:
                await self._room_for_snapshot()
                self.counts.rdb_bytes += len(piece)
                self._spool_rdb(rewriting, rewriting.feed(piece))
            self._spool_rdb(rewriting, rewriting.finish())
        except BaseException as failed:
            held, most = self.spool.held_bytes, self.spool.most_bytes
            self.spool.clear()  # what of it was sent is no good either: targets start over
            self.on_new_history()
            if isinstance(failed, SpoolFull):
                raise SpoolTooSmall(failed.path, held, most) from failed
            raise
        self.spool.end_rdb(rewriting.stream_db)
        self._wake()

    def _spool_rdb(self, rewriting: Rewriting, made: bytes) -> None:
        self.counts.keys = rewriting.keys
        self.counts.rdb_losses = dict(rewriting.losses)
        if not self.settings.accepts_losses and (grave := rewriting.grave):
            raise LossNotAccepted(grave)
        self.spool.append_rdb(made)
        now = time.monotonic()
        self.meter.sample(now, self.counts.rdb_bytes)
        self.key_meter.sample(now, self.counts.keys)
        self._wake()

    async def _room(self) -> None:
        """Wait while the spool is full; the source waits with us, as long as its own buffer lets it."""
        while not self.spool.has_room:
            if self.phase is not Phase.WAITING_FOR_ROOM:
                self.settings.tell(
                    f"the spool is full ({self.spool.held_bytes} bytes): the source has to wait"
                )
            self.phase = Phase.WAITING_FOR_ROOM
            await asyncio.sleep(ROOM_EVERY_S)

    async def _room_for_snapshot(self) -> None:
        """See that there is room for more of the RDB, which is given back only once the target has loaded all of it.

        Raises: SpoolTooSmall.
        """
        spool, waited_s = self.spool, 0.0
        while not spool.has_room:
            most_bytes = spool.most_bytes
            if most_bytes >= spool.bound_bytes or waited_s >= DISK_PATIENCE_S:
                raise SpoolTooSmall(str(spool.folder), spool.held_bytes, most_bytes)
            self.phase = Phase.WAITING_FOR_ROOM
            await asyncio.sleep(ROOM_EVERY_S)
            waited_s += ROOM_EVERY_S
        self.phase = Phase.SNAPSHOT

    async def _follow(self, link: SourceLink) -> None:
        self.phase = Phase.TAIL
        spool = self.spool
        stream = StreamFilter(self.settings.commands, spool.end, spool.db, _now_ms)
        already = dict(self.counts.stream_losses)
        await self._acknowledge(link)
        before_s = 0.0
        ticking = asyncio.create_task(self._acknowledge_always(link))
        try:
            while not self._full_wanted:
                data = await link.read()
                self.counts.stream_bytes += len(data)
                made = stream.feed(data)
                if made:
                    spool.append(made, stream.db, at_command=stream.at_command)
                    self.lag.came(time.monotonic(), spool.end)
                    self._wake()
                if stream.stopped is not None:
                    raise stream.stopped
                if stream.losses:
                    self.counts.stream_losses = merged(already, stream.losses)
                await self._room()
                self.phase = Phase.TAIL
                now_s = time.monotonic()
                if len(data) < GATHER_BELOW_BYTES and now_s - before_s < BUSY_S:
                    await link.gather(GATHER_S)
                before_s = now_s
        finally:
            ticking.cancel()
            # Not `suppress(CancelledError)`: that would swallow our own cancellation when it comes just now.
            await asyncio.gather(ticking, return_exceptions=True)

    async def _acknowledge_always(self, link: SourceLink) -> None:
        while True:
            await asyncio.sleep(ACKNOWLEDGE_EVERY_S)
            self.meter.sample(time.monotonic(), self.counts.stream_bytes)
            await self._acknowledge(link)

    async def _acknowledge(self, link: SourceLink) -> None:
        """What the target has applied, so that WAIT at the source means what it says; before that, the RDB's own offset."""
        with contextlib.suppress(HoldfastError):  # a broken link is seen where it is read
            await link.acknowledge(max(self.acknowledged, self.spool.base))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


_RUNNING: set[asyncio.Future[None]] = set()


def _passes(failed: HoldfastError) -> bool:
    """Whether trying again may help: trouble of links and servers, not of the data."""
    from holdfast.engine.connection import CommandRefused, NodeDenied, NodeGone, NodeLoading, NodeSilent
    from holdfast.migrate.relay.filter import StreamStopped

    if isinstance(failed, StreamStopped):
        return False
    return isinstance(failed, CommandRefused | NodeDenied | NodeGone | NodeLoading | NodeSilent) or not (
        type(failed).__module__.startswith("holdfast.codec")
    )
