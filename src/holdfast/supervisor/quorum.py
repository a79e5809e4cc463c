"""The machines of one cache ask one another whether they are there, keep their leases, and vote before a primary on a
machine that nobody hears is replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from holdfast.supervisor import admission
from holdfast.supervisor.lease import MARGIN_S, Ballot, Lease, lease_s
from holdfast.supervisor.protocol import API
from holdfast.topology.hosts import WatchOrder

if TYPE_CHECKING:
    import httpx

ROUND_S = 0.5
"""Between two rounds of questions."""
ANSWER_BOUND_S = 1.0
VOTE_LASTS_S = 15.0
"""How long a machine that was given votes has to do what it wanted them for."""


@dataclass(frozen=True)
class Deciding:
    """What the quorum has done for it by those who know the nodes."""

    cut_off: Callable[[], Awaitable[None]]
    """The lease is over: end this machine's primaries."""
    replace: Callable[[str, str], Awaitable[bool]]
    """A primary's machine is gone: have that node replaced, for the reason given; whether that was done."""
    refuse: Callable[[str, str], None]
    """A primary's machine is gone and yet it is not replaced: that node, and why."""
    primary: Callable[[], tuple[str, str, float]]
    """The primary last seen, its machine, and when it was last heard (monotonic); empty names when none was."""


class Quorum:
    """One machine's part in it, for one cache. Used inside one event loop."""

    def __init__(self, order: WatchOrder, own: str, folder: Path, deciding: Deciding) -> None:
        """Args: `folder`, the admission's own."""
        self._cache = order.cache
        self._replaces = order.mode == "replicated"  # the engines' own quorum does it elsewhere
        self._deciding = deciding
        now_s = time.monotonic()
        self.lease = Lease(own, tuple(sorted(order.machines)), lease_s(order.node_timeout_ms), now_s)
        self._ballot = Ballot(VOTE_LASTS_S)
        self._views: dict[str, tuple[float, frozenset[str]]] = {}
        self._peers: dict[str, httpx.AsyncClient] = {}
        import httpx  # here: a machine that is alone, most of them, needs none of it

        context = admission.client_context(folder)
        for machine, url in order.machines.items():
            if machine != own:
                self._peers[machine] = httpx.AsyncClient(base_url=url, verify=context, timeout=ANSWER_BOUND_S)
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    def of(cls, order: WatchOrder, supervisor_folder: Path, deciding: Deciding) -> Self | None:
        """None where this machine was not invited to the cache, or no majority of its machines could be one."""
        admitted = admission.kept(supervisor_folder).get(order.cache)
        if admitted is None:
            return None
        made = cls(order, admitted.machine, supervisor_folder / admission.FOLDER / admitted.cache, deciding)
        return made if made.lease.counts else None

    def holds(self) -> bool:
        """Whether this machine is with a majority."""
        return self.lease.holds(time.monotonic())

    async def begin(self) -> None:
        """Ask from now on."""
        self._tasks = [asyncio.create_task(self._keep_asking(machine)) for machine in self._peers]
        self._tasks.append(asyncio.create_task(self._keep_judging()))

    async def end(self) -> None:
        """Ask no more."""
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        for peer in self._peers.values():
            await peer.aclose()

    def heard(self, machine: str) -> dict[str, Any]:
        """That machine has asked whether we are here. Returns: our answer."""
        now_s = time.monotonic()
        self.lease.heard_s[machine] = now_s
        return {"gone": sorted(self.lease.gone(now_s))}

    def vote(self, machine: str, gone: str) -> bool:
        """Whether this machine agrees that the other replaces the primary that ran on the one that is gone."""
        now_s = time.monotonic()
        _, where, heard_s = self._deciding.primary()
        return (
            machine in self.lease.machines
            and self.lease.is_gone(gone, now_s)
            and where in {"", gone}
            and now_s - heard_s > self.lease.lasts_s
            and self._ballot.give(machine, now_s)
        )

    async def _keep_asking(self, machine: str) -> None:
        while True:
            began_s = time.monotonic()
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                told = await self._ask(machine, "beats", {})
                self._views[machine] = (time.monotonic(), frozenset(str(each) for each in told["gone"]))
                self.lease.answered_s[machine] = began_s
            await asyncio.sleep(ROUND_S)

    async def _ask(self, machine: str, what: str, body: Mapping[str, object]) -> dict[str, Any]:
        """Raises: OSError where it was not answered with success, ValueError where with what is no JSON."""
        import httpx

        try:
            async with asyncio.timeout(2 * ANSWER_BOUND_S):
                answer = await self._peers[machine].post(f"{API}/{what}/{self._cache}", json=body)
            answer.raise_for_status()
        except httpx.HTTPError as failed:
            raise OSError(str(failed)) from failed
        return dict(answer.json())

    async def _keep_judging(self) -> None:
        while True:
            await asyncio.sleep(ROUND_S)
            now_s = time.monotonic()
            if not self.lease.holds(now_s):
                await self._deciding.cut_off()
            elif self._replaces:
                await self._replace_if_gone(now_s)

    async def _replace_if_gone(self, now_s: float) -> None:
        node, machine, heard_s = self._deciding.primary()
        if not machine or machine == self.lease.own or now_s - heard_s < self.lease.lasts_s + MARGIN_S:
            return
        views = {each: gone for each, (at_s, gone) in self._views.items() if now_s - at_s < 2 * MARGIN_S}
        if not self.lease.majority_holds_gone(machine, now_s, views):
            return
        if not self.lease.fell_silent_together(machine, heard_s):
            self._deciding.refuse(
                node,
                f"the supervisor of {machine} had ended before {machine} fell silent, so nobody there ends the old primary",
            )
            return
        if not self._ballot.give(self.lease.own, now_s):
            return
        votes = [self.lease.own]
        for peer in views:
            with contextlib.suppress(OSError, ValueError):
                if (await self._ask(peer, "votes", {"gone": machine})).get("granted") is True:
                    votes.append(peer)
        if len(votes) < self.lease.majority:
            return
        of = f"{len(votes)} of {len(self.lease.machines)} machines ({', '.join(sorted(votes))})"
        await self._deciding.replace(node, f"its machine {machine} is heard by none of {of}")
