"""Keeps the layout and the first tier true: one own connection to each node, for invalidations, roles and lag.

Both edges use it: the asyncio one in the caller's loop, the blocking one in a thread with a loop of its own. A node's
link vouches for what was read there only from one answered keepalive to a stated time after it was sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any

from holdfast.client.errors import CacheDenied, CacheError, NodeLost, ServerUnfit
from holdfast.client.kept import Trust
from holdfast.client.layout import Address, Layout, RoleSeen, read_role, read_slots, replicated_layout
from holdfast.client.login import Login, PasswordUnreadable
from holdfast.client.operations import Node
from holdfast.client.rules import Offsets
from holdfast.client.scout import Scout
from holdfast.client.shared import Shared
from holdfast.client.stream_door import connect
from holdfast.client.streaming import StreamLink
from holdfast.client.wire import ReplyError, pack

log = logging.getLogger("holdfast.client")
ROLE, SLOTS = pack(("ROLE",)), pack(("CLUSTER", "SLOTS"))
FIRST_RETRY_S, LONGEST_RETRY_S = 0.01, 0.1
STRAGGLERS_S = 0.15
"""How long a look waits for others once the first node has answered."""
LOOK_S = 1.0
DENIED_PAUSE_S = 1.0
"""Between tries where a password or a server is wrong: that does not mend itself in milliseconds."""
_FAILED = (CacheError, OSError, TimeoutError)


class Watch:
    """All scouts of a cache. Made and used inside one event loop; `look_again` may be called from anywhere."""

    def __init__(
        self, shared: Shared, login: Login, sources: Callable[[], tuple[tuple[Address, ...], bool]]
    ) -> None:
        self._shared, self._login, self._sources = shared, login, sources
        self._scouts: dict[Address, Scout] = {}
        self._tasks: dict[Address, asyncio.Task[None]] = {}
        self._offsets = Offsets()
        self._views: dict[Address, Any] = {}
        """What each node last told of who belongs to the cache, asked by a look or by its listener: where a listener hears
        something else than the layout was made of, all is looked at anew."""
        self._loop = asyncio.get_running_loop()
        self._asked = asyncio.Event()
        self._prefixes = shared.prefixes
        self._silence_s = shared.max_silence_s
        self._every_s = self._keepalive_s()
        self._main: asyncio.Task[None] | None = None
        self.on_layout: Callable[[], None] = lambda: None
        self._told: set[str] = set()

    def start(self) -> None:
        self._shared.look_again = self.look_again
        self._main = self._loop.create_task(self._run())

    async def stop(self) -> None:
        tasks = [*self._tasks.values(), *([self._main] if self._main else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for scout in self._scouts.values():
            scout.close()
        for node in self._shared.nodes.values():
            self._shared.distrust(node)

    def disown(self) -> None:
        """In a forked child: let go of the parent's connections without a word to the servers.

        The descriptors are pointed elsewhere, not closed: their numbers stay taken by objects that are the parent's.
        """
        nowhere = os.open(os.devnull, os.O_RDWR)
        for scout in self._scouts.values():
            descriptor = scout.link.descriptor if scout.link is not None else -1
            if descriptor >= 0:
                os.dup2(nowhere, descriptor)
        os.close(nowhere)

    def look_again(self) -> None:
        """Look at the layout anew, soon."""
        if not self._asked.is_set():
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody looks any more
                self._loop.call_soon_threadsafe(self._asked.set)

    async def connect(self, address: Address) -> tuple[StreamLink, dict[bytes, Any]]:
        """A connection for a scout. A Sentinel may not know our user: it is then asked without one."""
        try:
            return await connect(
                self._login, address, on_push=self._on_push, on_end=lambda: self._on_end(address)
            )
        except CacheDenied:
            if self._shared.profile.mode != "sentinel":
                raise
            return await connect(
                self._login,
                address,
                anonymous=True,
                on_push=self._on_push,
                on_end=lambda: self._on_end(address),
            )

    def _keepalive_s(self) -> float:
        lags = [
            family.declared.stale_bound_ms / 1000
            for family in self._shared.families.values()
            if family.declared.stale_bound_ms and family.declared.read != "primary"
        ]
        return max(0.02, min([self._silence_s / 3, *(bound / 4 for bound in lags)]))

    async def _run(self) -> None:
        pause_s = FIRST_RETRY_S
        while True:
            self._asked.clear()
            layout = await self._look()
            if layout is not None:
                self._take(layout)
            settled = layout is not None and all(
                (scout := self._scouts.get(at)) is not None and scout.link is not None and scout.link.open
                for at in layout.primaries
            )
            pause_s = FIRST_RETRY_S if settled else min(LONGEST_RETRY_S, pause_s * 1.5)
            await asyncio.sleep(pause_s)
            if settled:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._shared.profile.pool.refresh_ms / 1000):
                        await self._asked.wait()

    def _take(self, layout: Layout) -> None:
        before = self._shared.version
        for node in self._shared.put_layout(layout):
            node.door.close()
        for address in [at for at in self._tasks if at not in layout.addresses]:
            self._tasks.pop(address).cancel()
            if (scout := self._scouts.pop(address, None)) is not None:
                scout.close()
        for address in layout.addresses:
            task = self._tasks.get(address)
            if task is None or task.done():
                self._tasks[address] = self._loop.create_task(self._listen(self._scout(address)))
        if self._shared.version != before:
            log.info("layout of %s: %s", self._shared.profile.cache, layout)
        self.on_layout()

    def _scout(self, address: Address) -> Scout:
        return self._scouts.setdefault(address, Scout(address, self.connect))

    async def _look(self) -> Layout | None:
        """Ask all that is known where the keys are; the answer most agree on, or None."""
        seeds, renewed = self._sources()
        known = self._shared.layout.addresses if self._shared.layout is not None and not renewed else ()
        profile = self._shared.profile
        mode = profile.mode
        if mode == "sentinel":
            return await self._look_by_sentinels(seeds)
        everybody = tuple(dict.fromkeys((*known, *seeds)))
        if mode == "auto":
            mode = await self._mode_of(everybody)
        if mode == "cluster":
            answers = await self._ask_all(everybody, SLOTS)
            self._views.update(answers)
            layouts = [
                seen for at, reply in answers.items() if (seen := read_slots(reply, at.host)) is not None
            ]
            return max(
                layouts, key=lambda each: (sum(each == other for other in layouts), _held(each)), default=None
            )
        return await self._look_by_role(everybody)

    async def _look_by_role(self, everybody: Iterable[Address]) -> Layout | None:
        seen: dict[Address, RoleSeen] = {}
        ask = list(everybody)
        for _ in range(2):  # the first answers name nodes that nobody had told us of
            answers = await self._ask_all(ask, ROLE)
            for at, reply in answers.items():
                if (role := read_role(reply, at.host)) is not None:
                    seen[at] = role
                self._views[at] = _view(role)
            named = {at for role in seen.values() for at in (*role.replicas, *([role.of] if role.of else []))}
            ask = [at for at in named if at not in seen]
            if not ask or any(role.primary for role in seen.values()):
                break
        return replicated_layout(seen)

    async def _look_by_sentinels(self, sentinels: tuple[Address, ...]) -> Layout | None:
        name = self._shared.profile.cache
        answers = await self._ask_all(sentinels, pack(("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name)))
        told = []
        for reply in answers.values():
            with contextlib.suppress(TypeError, ValueError, IndexError, AttributeError):
                told.append(Address(reply[0].decode(), int(reply[1])))
        for address in sorted(set(told), key=told.count, reverse=True):
            layout = await self._look_by_role((address,))
            if layout is not None and layout.shards[0].primary == address:
                return layout
        return None

    async def _mode_of(self, everybody: Iterable[Address]) -> str:
        await self._ask_all(everybody, ROLE)
        modes = [scout.said.get(b"mode") for at in everybody if (scout := self._scouts.get(at)) is not None]
        return "cluster" if b"cluster" in modes else "replicated"

    async def _ask_all(self, addresses: Iterable[Address], payload: bytes) -> dict[Address, Any]:
        """What each answers; those that take much longer than the first are left out."""
        asks = {
            self._loop.create_task(self._scout(at).ask(payload, 1, LOOK_S)): at
            for at in dict.fromkeys(addresses)
        }
        answers: dict[Address, Any] = {}
        left, until = set(asks), monotonic() + LOOK_S
        denied: CacheError | None = None
        try:
            while left and (within_s := until - monotonic()) > 0:
                done, left = await asyncio.wait(left, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    failed = task.exception()
                    if failed is None:
                        if not isinstance(task.result(), ReplyError):
                            answers[asks[task]] = task.result()
                    elif isinstance(failed, CacheDenied | ServerUnfit | PasswordUnreadable):
                        denied = failed
                    elif not isinstance(failed, _FAILED):
                        raise failed
                if answers and len(answers) * 2 > len(asks):
                    until = min(until, monotonic() + STRAGGLERS_S)
        finally:
            for task in left:
                task.cancel()
        self._shared.denied = None if answers else denied
        return answers

    async def _listen(self, scout: Scout) -> None:
        """One node's life: listen, keep alive, and when the link is lost begin again."""
        pause_s = FIRST_RETRY_S
        while True:
            node = self._shared.node(scout.address)
            try:
                await self._listen_once(scout, node)
            except (CacheDenied, ServerUnfit, PasswordUnreadable) as refused:
                self._tell_once(str(refused))
                pause_s = DENIED_PAUSE_S
            except _FAILED as failed:
                log.debug("the watcher of %s: %s", scout.address, failed)
            self._shared.lose(node)
            if scout.link is not None and scout.link.open:
                scout.close()
            await asyncio.sleep(pause_s)
            pause_s = min(LONGEST_RETRY_S, pause_s * 1.5)

    async def _listen_once(self, scout: Scout, node: Node) -> None:
        patience_s = max(0.2, self._silence_s * 2 / 3)
        link = await scout.connected()
        if self._prefixes:
            prefixes = [word for prefix in self._prefixes for word in ("PREFIX", prefix)]
            command = pack(("CLIENT", "TRACKING", "ON", "BCAST", *prefixes))
            reply = await link.send(command, 1, monotonic() + patience_s)
            tracked = not isinstance(reply, ReplyError)
            if not tracked:
                self._tell_once(
                    f"{scout.address} refuses invalidations, so nothing is kept in the first tier: {reply}"
                )
        else:
            tracked = False
        trust = Trust()
        while link.open:
            sent_at = self._shared.clock.now()
            payload, count = (ROLE + SLOTS, 2) if self._shared.clustered else (ROLE, 1)
            answer = await link.send(payload, count, monotonic() + patience_s)
            role_reply, slots = answer if count == 2 else (answer, None)
            now = self._shared.clock.now()
            node.round_trip_s = now - sent_at
            if isinstance(role_reply, ReplyError):
                raise NodeLost(str(scout.address), str(role_reply))
            if tracked:
                if node.trust is not trust:  # distrusted for another reason: what was read before stays void
                    node.trust = trust = Trust()
                # All that the server had to say before it answered has been heard.
                trust.until = sent_at + self._silence_s
            node.breaker.seen_alive(now)
            role = read_role(role_reply, scout.address.host)
            if role is not None:
                self._measure(node, role, sent_at)
            view = slots if count == 2 else _view(role)
            if self._views.get(scout.address) != view:
                self._views[scout.address] = view
                self.look_again()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._every_s):
                    await link.ended.wait()
        raise NodeLost(str(scout.address), "the connection ended")

    def _measure(self, node: Node, role: RoleSeen, sent_at: float) -> None:
        """Book a primary's offset, or find out since when a replica has all that its primary had."""
        node.offset = role.offset
        node.settled = role.primary or role.linked
        if role.primary:
            self._offsets.add(node.address, sent_at, role.offset)
            return
        shards = self._shared.layout.shards if self._shared.layout else ()
        shard = next((each for each in shards if node.address in each.replicas), None)
        if shard is not None:
            node.fresh_as_of = max(node.fresh_as_of, self._offsets.reached_at(shard.primary, role.offset))

    def _on_push(self, push: Any) -> None:
        """An invalidation: of keys, or of everything (a flush)."""
        if len(push) < 2 or push[0] != b"invalidate":
            return
        l1, sent = self._shared.l1, self._shared.own_writes_sent
        keys = push[1]
        if keys is None:
            l1.flush()
            return
        for raw in keys:
            key = raw.decode("utf-8", "surrogateescape") if isinstance(raw, bytes) else str(raw)
            l1.invalidate(key)
            if sent and (sent_at := sent.pop(key, None)) is not None:
                self._shared.figures.invalidation_lag.add(self._shared.clock.now() - sent_at)

    def _on_end(self, address: Address) -> None:
        """A link was lost: nothing vouches for that node, at once."""
        self._shared.figures.links_lost += 1
        node = self._shared.nodes.get(address)
        if node is not None:
            self._shared.lose(node)
        self.look_again()

    def _tell_once(self, what: str) -> None:
        if what not in self._told:
            self._told.add(what)
            log.warning("%s", what)


def _view(role: RoleSeen | None) -> Any:
    """What a node's role says of the layout: of a primary its replicas too."""
    return None if role is None else (role.primary, frozenset(role.replicas))


def _held(layout: Layout) -> int:
    """How many slots somebody holds."""
    return sum(index >= 0 for index in layout.slots or ())
