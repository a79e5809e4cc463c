"""Watches over one cache's nodes on this machine: feels their pulse, and when one ends sees to it that the cache lives.

The election is always the engine's own. This only saves its wait: the parent of a process knows that it is dead within
a millisecond, and asks the best replica to stand for election at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from holdfast.engine.datafiles import DataFiles
from holdfast.errors import HoldfastError
from holdfast.supervisor import failover_rules as rules
from holdfast.supervisor.doors import Doors
from holdfast.supervisor.election import await_known
from holdfast.supervisor.events import Events
from holdfast.supervisor.homing import Homing
from holdfast.supervisor.memory import Memory
from holdfast.supervisor.mending import Mending
from holdfast.supervisor.pulse import Pulse, is_halted
from holdfast.supervisor.quorum import Deciding, Quorum
from holdfast.supervisor.silence import BEAT_S, Silence
from holdfast.supervisor.succession import Taken, Takeover
from holdfast.supervisor.takeover import take_over
from holdfast.topology.hosts import WatchOrder
from holdfast.topology.patience import Patience
from holdfast.topology.record import Kind
from holdfast.topology.seen import ProcessState

SAMPLE_EVERY_S = 1.2
JUDGE_AGAIN_S = 1.0


class LocalNode(Protocol):
    """A node of this machine, as its keeper has it."""

    async def restart(self) -> str:
        """Start it again with the files it has; what it could not load of them, empty when nothing."""

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone for certain."""

    def follow(self, address: str, port: int) -> None:
        """Write into its file whom it is to follow when it starts."""

    def cluster_id(self) -> str:
        """Its id in its cluster as its own files have it; empty where they have none."""

    def files(self) -> DataFiles:
        """Its data set as it lies on disk."""

    @property
    def pid(self) -> int: ...

    @property
    def state(self) -> ProcessState: ...

    def pulse(self) -> Pulse: ...


@dataclass
class _Watched:
    node: LocalNode
    pulse: Pulse
    silence: Silence = field(default_factory=Silence)
    restarts: int = 0
    started_s: float = field(default_factory=time.monotonic)


class Guardian:
    """The guardian of one cache on this machine. Used inside one event loop."""

    def __init__(
        self, order: WatchOrder, doors: Doors, nodes: Mapping[str, LocalNode], events: Events
    ) -> None:
        self.order = order
        self._doors = doors
        self._events = events
        self._nodes = {name: _Watched(node, node.pulse()) for name, node in nodes.items()}
        self._memory = Memory(doors.record)
        self._patience = Patience()
        self._mending = Mending(order, doors, events, self._patience)
        self._handling: set[asyncio.Task[None]] = set()
        self._always: list[asyncio.Task[None]] = []
        self.quorum: Quorum | None = None
        """With the cache's other machines, where there are enough of them."""
        self._left_alone = ("", "")
        self._homing = Homing(order, doors, events, self._patience)

    async def begin(self) -> None:
        """Learn who is who, then start watching: a node that dies before it was ever seen could not be replaced."""
        for name, watched in self._nodes.items():  # of one that died before this supervisor came
            if known := watched.node.cluster_id():
                self._memory.ids[name] = known
        await self._sample()
        await self._mending.begin()
        if self.quorum is not None:
            await self.quorum.begin()
        self._always = [asyncio.create_task(self._beat()), asyncio.create_task(self._keep_sampling())]
        self._homing.begin(tells=self.order.members[0].name in self._nodes)

    async def end(self) -> None:
        """Stop watching; a failover that is under way is broken off, and the engine's own timeouts take over."""
        if self.quorum is not None:
            await self.quorum.end()
        await self._homing.end()
        for task in (*self._always, *self._handling):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        for watched in self._nodes.values():
            watched.pulse.close()
        await self._doors.close()

    def node_ended(self, name: str, why: str, at_s: float) -> None:
        """A process of this machine ended without being asked to."""
        if name in self._nodes:
            self._nodes[name].pulse.close()
            task = asyncio.create_task(self._see_to(name, why, at_s))
            self._handling.add(task)
            task.add_done_callback(self._handling.discard)

    # What goes on all the time

    async def _beat(self) -> None:
        last_s = time.monotonic()
        while True:
            await asyncio.sleep(BEAT_S)
            now_s = time.monotonic()
            gap_s, last_s = now_s - last_s, now_s
            for name, watched in self._nodes.items():
                if watched.node.state is not ProcessState.RUNNING or watched.pulse.beat():
                    watched.silence.heard()
                    continue
                watched.silence.missed(gap_s, halted=is_halted(watched.node.pid))
                if cause := watched.silence.verdict(self.order.node_timeout_ms / 1000):
                    await self._kill(name, watched, cause)

    async def _kill(self, name: str, watched: _Watched, cause: str) -> None:
        """End what is dead without having ended, for certain. Only then may another take its place: one that wakes
        would acknowledge writes it had buffered.
        """
        self._events.add("killed", self.order.cache, name, {"why": cause, "pid": watched.node.pid})
        with contextlib.suppress(HoldfastError):
            await watched.node.kill()

    async def _keep_sampling(self) -> None:
        """In a task of its own: a node that does not answer holds it up, and must not hold up the beat."""
        while True:
            await asyncio.sleep(SAMPLE_EVERY_S)
            if not self._handling:
                await self._sample()
                await self._mending.look(self._nodes)

    async def _sample(self) -> None:
        """Remember ids and offsets: a dead node cannot be asked for them."""
        self._memory.learn(await self._doors.voices(), time.monotonic())

    # What is done when a node ends

    async def _see_to(self, name: str, why: str, at_s: float) -> None:
        member = self._doors.record.member(name)
        watched = self._nodes[name]
        try:
            if member.kind is Kind.SENTINEL:
                self._events.add("ended", self.order.cache, name, {"why": why, "was": "sentinel"})
                await self._restart(name)
                return
            taken = await self._settle_succession(name, why, at_s)
            if taken is None:
                return
            if (leader := taken.heir or taken.leader) and not member.bus_port:
                heir = self._doors.record.member(leader)
                watched.node.follow(heir.address, heir.port)
            await self._restart(name)
            if taken.was_primary and member.bus_port:
                self._homing.later()
        except asyncio.CancelledError:
            raise
        except HoldfastError as failed:
            self._events.add("failed", self.order.cache, name, {"why": str(failed)})

    async def _settle_succession(self, name: str, why: str, at_s: float) -> Taken | None:
        """Have it replaced if it was a primary, and wait until it may be started again; None where it need not be.

        What keeps it down may pass: a majority comes back, a node that held more is heard again. So it is judged anew
        until somebody has started it, or it is wanted down.
        """
        refused = ""
        heir: Taken | None = None
        member_is_clustered = bool(self._doors.record.member(name).bus_port)
        while True:
            takeover = self._takeover(name, at_s)
            if heir is None:
                taken = await take_over(takeover)
            else:  # somebody was elected: what is lacking is only that all know it
                taken = heir
                await await_known(takeover, taken)
            if member_is_clustered and taken.asked:
                self._memory.voted_s[name] = time.monotonic()
            if taken.heir and member_is_clustered:
                heir = taken
            refusal = self._why_not_start(name, taken)
            if not refused or not refusal:
                self._record(name, why, taken)
            if not refusal:
                return taken
            if refusal != refused:
                verb = "repair" if taken.waits_for_word else "up"
                instead = f"holdfast {verb} {self.order.cache}"
                self._events.add("refused", self.order.cache, name, {"why": refusal, "instead": instead})
            refused = refusal
            await asyncio.sleep(JUDGE_AGAIN_S)
            if self._nodes[name].node.state in {ProcessState.RUNNING, ProcessState.STOPPED}:
                return None

    def _takeover(self, name: str, ended_s: float) -> Takeover:
        here = self._nodes.get(name)
        return Takeover(
            order=self.order,
            doors=self._doors,
            dead=name,
            dead_id=self._memory.ids.get(name, ""),
            last_offset=self._memory.offsets.get(name),
            ended_s=ended_s,
            patience=self._patience,
            voted_s=self._memory.voted_s.get(name),
            outlived=lambda other: other not in self._nodes or self._nodes[other].started_s < ended_s,
            nobody_else=self._are_dead_but,
            files=here.node.files if here else DataFiles,
            was_primary=self._memory.was_primary(name),
        )

    def _are_dead_but(self, heard: Collection[str]) -> bool:
        """Whether every server but these was a child of this supervisor and has ended."""
        silent = {member.name for member in self._doors.record.servers} - set(heard)
        return all(
            name in self._nodes and self._nodes[name].node.state is not ProcessState.RUNNING
            for name in silent
        )

    def _why_not_start(self, name: str, taken: Taken) -> str:
        """Why a node that ended must stay down for now; empty when it may be started again."""
        clustered = bool(self._doors.record.member(name).bus_port)
        if self.quorum is not None and not clustered and not self.quorum.holds():
            return "this machine is cut off from the majority of the cache's machines"
        if taken.heir:
            return taken.words if clustered and taken.known_ms is None else ""
        if taken.waits_for_word:
            return (
                f"{taken.words}, {', '.join(taken.holders)} may hold more than what is on its disk, and only a person may have "
                "it take over without a vote"
            )
        if not taken.was_primary and taken.heard:
            return ""  # a replica: whatever it holds is replaced by its primary's data
        # A follower that does not answer now may be alive behind a cut link; one of ours is known to be dead. Where it was
        # never seen who followed (this supervisor came after the end), anybody may have.
        others = tuple(each.name for each in self._doors.record.servers if each.name != name)
        silent = [
            follower
            for follower in self._memory.followers.get(name, others)
            if follower not in taken.heard
            and (follower not in self._nodes or self._nodes[follower].node.state is ProcessState.RUNNING)
        ]
        may_hold = [*taken.holders, *silent]
        if rules.would_come_back_empty(self._nodes[name].node.files().holds_keys, bool(may_hold)):
            return f"it would come back empty, and {', '.join(may_hold)} may hold data"
        return ""

    def _record(self, name: str, why: str, taken: Taken) -> None:
        if not taken.was_primary:
            self._events.add("ended", self.order.cache, name, {"why": why, "was": "replica"})
            return
        facts = {"why": why} | taken.facts()
        if taken.heir:
            self._events.add("failover", self.order.cache, name, facts)
        else:
            files = self._nodes[name].node.files()
            facts |= {"comes_back_with": rules.kept_words(files), "keeps_all": rules.keeps_all(files)}
            self._events.add("lost", self.order.cache, name, facts)

    async def _restart(self, name: str) -> None:
        """Start it again, slower each time it ends soon after."""
        watched = self._nodes[name]
        if rules.ran_steadily(watched.restarts, time.monotonic() - watched.started_s):
            watched.restarts = 0
        while True:
            pause_s = rules.restart_pause_s(watched.restarts)
            watched.restarts += 1
            await asyncio.sleep(pause_s)
            if watched.node.state in {ProcessState.RUNNING, ProcessState.STOPPED}:
                return  # somebody else has seen to it, or it is wanted down
            watched.started_s = time.monotonic()
            try:
                left_out = await watched.node.restart()
            except HoldfastError as refused:
                self._events.add("not started", self.order.cache, name, {"why": str(refused)})
                continue
            watched.pulse = watched.node.pulse()
            facts = {"attempt": watched.restarts} | ({"why": left_out, "left_out": True} if left_out else {})
            self._events.add("restarted", self.order.cache, name, facts)
            return

    # What the machines decide together

    def deciding(self) -> Deciding:
        """What the quorum has done here."""
        return Deciding(
            self._end_own_primaries, self._replace_remote, self._leave_to_operator, self._primary_last_heard
        )

    def _leave_to_operator(self, name: str, why: str) -> None:
        if self._left_alone != (name, why):
            self._left_alone = (name, why)
            self._events.add(
                "refused", self.order.cache, name, {"why": why, "instead": "end it, then holdfast up"}
            )

    def _primary_last_heard(self) -> tuple[str, str, float]:
        name, heard_s = self._memory.leader
        return name, self._doors.record.member(name).host if name else "", heard_s

    async def _end_own_primaries(self) -> None:
        """This machine's lease is over: the others may replace its primaries in a moment, so they are ended now."""
        for name, watched in self._nodes.items():
            member = self._doors.record.member(name)
            if (
                member.kind is Kind.SENTINEL
                or member.bus_port
                or watched.node.state is not ProcessState.RUNNING
            ):
                continue  # in a cluster the engine itself stops taking writes without a majority
            with contextlib.suppress(HoldfastError):
                if (await self._doors.ask(name, "ROLE", timeout_s=0.5))[0] != "master":
                    continue
            await self._kill(
                name, watched, "this machine is cut off from the majority of the cache's machines"
            )

    async def _replace_remote(self, name: str, why: str) -> bool:
        """Have the primary of another machine replaced; its own supervisor has ended it, or the machine is dead."""
        taken = await take_over(self._takeover(name, time.monotonic()))
        if taken.heir:
            self._memory.leader = (taken.heir, time.monotonic())
            self._record(name, why, taken)
        return bool(taken.heir)
