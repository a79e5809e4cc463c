"""Steps that restart nodes one after the other: each verified before the next, each put back when it fails."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from holdfast.engine.dialects import EngineVersion, can_copy
from holdfast.engine.facts import Address
from holdfast.errors import HoldfastError
from holdfast.spec.topology import Mode
from holdfast.topology import orders
from holdfast.topology.apply_nodes import note_users, put_aside_unreadable
from holdfast.topology.hosts import NodeFile, NodeOrder
from holdfast.topology.live import LiveCache, Told
from holdfast.topology.outdated import PlanOutdated
from holdfast.topology.plan_rolling import engine_of
from holdfast.topology.record import Kind, Member
from holdfast.topology.seen import ProcessState, Role, SeenCache, SeenNode
from holdfast.topology.settle import unsettled
from holdfast.topology.steps_rolling import ChangeEngine, RestartNode, SwitchPrimary, WriteAnew
from holdfast.topology.switchover import NotSwitched, switch_role

VERIFY_BOUND_S = 60.0
"""Without any progress; a full copy that goes on is progress."""
FOLLOWS_BOUND_S = 10.0
GRACE_S = 1.0
"""Between a switch and the stop of the old primary: clients that ask it hear of the new one (MOVED), not of nobody."""
FORWARD_TRIES, FORWARD_PAUSE_S = 2, 1.0
SAVE_BOUND_S = 600.0
LOOK_EVERY_S = 0.05


@dataclass(eq=False)
class NotRestarted(HoldfastError):
    """A node was restarted and is not as good as before."""

    node: str
    why: str
    undone: str
    """What became of it."""

    def __str__(self) -> str:
        return f"{self.node} was restarted with its new files and {self.why.rstrip('.')}. {self.undone}"


@dataclass(eq=False)
class NotVerified(HoldfastError):
    """A node does not become as good as it was."""

    lacking: str

    def __str__(self) -> str:
        return self.lacking


@dataclass(eq=False)
class NotWritten(HoldfastError):
    """A server failed again to write its data."""

    node: str
    command: str
    words: str

    def __str__(self) -> str:
        return (
            f"{self.node} failed {self.command} again: {self.words}. Its data in memory is whole; see to its disk (`holdfast "
            "doctor`, `holdfast logs`), then run the same command again"
        )


async def change_engine(cache: LiveCache, step: ChangeEngine) -> None:
    """From now on the record says where the nodes are moved to, and each member what it ran."""
    record = cache.record
    members = tuple(replace(each, engine=each.engine or record.engine) for each in record.members)
    before = record.engine_before or record.engine
    cache.save(replace(record, engine=step.key, engine_before=before, members=members))
    await cache.note("engine", "", **{"from": step.old, "to": step.new})


async def restart(cache: LiveCache, step: RestartNode) -> None:
    """Stop the node, start it with its new files, verify. Raises: PlanOutdated, NotRestarted."""
    seen = await cache.look()
    _refuse_needed(seen, step)
    member = cache.record.member(step.node)
    node = seen.node(step.node)
    follows = _follows(cache, node)
    before = await _as_it_is(cache, member, follows)
    host = cache.hosts[member.host]
    head = seen.node(node.primary) if node.primary else None
    if step.alone:
        await _keep_data(cache, node)
    await host.stop(cache.record.name, member.name)
    stopped_s = time.monotonic()
    cache.assign_engine(member.name, cache.build.key)
    if node.role is Role.REPLICA:
        await put_aside_unreadable(cache, member, cache.build)
    began = _Begun(step, node, head, follows, stopped_s)
    try:
        away_ms = await _start_anew(cache, began)
    except HoldfastError as failed:
        if head is not None and not can_copy(engine_of(node), engine_of(head)):
            away_ms = await _forward_again(cache, began, failed)
        else:
            undone = await _put_back(cache, member, before)
            raise NotRestarted(member.name, f"failed: {failed}", undone) from failed
    if step.alone and not (cache.spec.persistence.rdb.enabled or cache.spec.persistence.aof.enabled):
        await _drop_snapshot(cache, member)
    facts = {"why": ", ".join(step.why), "was": step.role, "away_ms": away_ms}
    await cache.note("restarted", member.name, **facts)
    cache.tell(Told(member.name, f"away for {away_ms:.0f} ms"))


@dataclass(frozen=True)
class _Begun:
    """A restart whose node is down."""

    step: RestartNode
    before: SeenNode
    head: SeenNode | None
    """Its primary."""
    follows: Address | None
    stopped_s: float


async def _start_anew(cache: LiveCache, begun: _Begun) -> float:
    """Start the node with new files and verify it. Returns: for how many milliseconds it was away."""
    member = cache.record.member(begun.step.node)
    await cache.prepare(member, begun.follows)
    await cache.hosts[member.host].start(cache.record.name, member.name)
    away_ms = round((time.monotonic() - begun.stopped_s) * 1000, 1)
    await note_users(cache, member)
    await _verify(cache, begun.step, begun.before, begun.head.offset if begun.head else 0)
    return away_ms


async def _forward_again(cache: LiveCache, begun: _Begun, failed: HoldfastError) -> float:
    """The old engine cannot copy from the primary, which runs the new one: what failed is tried again after a while.

    Raises: NotRestarted.
    """
    name = begun.step.node
    for _ in range(FORWARD_TRIES):
        cache.tell(Told(name, f"failed and is tried again: {failed}"))
        await asyncio.sleep(FORWARD_PAUSE_S)
        try:
            return await _start_anew(cache, begun)
        except HoldfastError as again:
            failed = again
    undone = (
        f"It cannot be put back, for {engine_of(begun.before)} does not copy from its primary any more, and is left to be "
        "started by its machine's supervisor."
    )
    raise NotRestarted(name, f"failed: {failed}", undone) from failed


async def switch(cache: LiveCache, step: SwitchPrimary) -> None:
    """Switch, judged by roles; then let clients hear of it before the old primary is stopped.

    Raises: PlanOutdated, NotSwitched.
    """
    seen = await cache.look()
    old, new = seen.node(step.old), seen.node(step.new)
    if new.role is Role.PRIMARY and old.primary == new.name:
        return  # done before an interruption
    if new.primary != old.name or not new.link_up:
        raise PlanOutdated(f"{step.new} is no replica of {step.old} in sync")
    done = await switch_role(cache, step.old, step.new)
    cache.tell(Told(step.old, f"handed over to {done.new} in {done.took_ms:.0f} ms"))
    end_s = time.monotonic() + FOLLOWS_BOUND_S
    while time.monotonic() < end_s:
        former = (await cache.look()).node(step.old)
        if former.role is Role.REPLICA and former.link_up:
            break
        await asyncio.sleep(LOOK_EVERY_S)
    await asyncio.sleep(GRACE_S)


async def write_anew(cache: LiveCache, step: WriteAnew) -> None:
    """BGSAVE or BGREWRITEAOF, judged by what INFO then says. Raises: NotWritten."""
    status = "rdb_last_bgsave_status" if step.command == "BGSAVE" else "aof_last_bgrewrite_status"
    running = "rdb_bgsave_in_progress" if step.command == "BGSAVE" else "aof_rewrite_in_progress"
    scheduled = "aof_rewrite_scheduled"
    async with await cache.connect(step.node) as node:
        await node.ask_all([(step.command,)])  # an error says that one is under way: its outcome is as good
        end_s = time.monotonic() + SAVE_BOUND_S
        while time.monotonic() < end_s:
            told = dict(
                line.split(":", 1)
                for line in str(await node.ask("INFO", "persistence")).splitlines()
                if ":" in line
            )
            if told.get(running) == "0" and told.get(scheduled, "0") == "0":
                if told.get(status) == "ok":
                    return
                raise NotWritten(step.node, step.command, f"INFO says {status}:{told.get(status)}")
            await asyncio.sleep(0.1)
    raise NotWritten(step.node, step.command, f"it is not through after {SAVE_BOUND_S:.0f} s")


def _refuse_needed(seen: SeenCache, step: RestartNode) -> None:
    """The last good primary is never restarted: roles are looked at again just before."""
    node = seen.node(step.node)
    if step.kind is Kind.SENTINEL:
        return
    followers = [each.name for each in seen.servers if each.primary == node.name]
    serves = node.role is Role.PRIMARY and (node.slots or followers or not node.node_id)
    if serves and (followers or not step.alone):
        raise PlanOutdated(f"{step.node} is a primary now")
    if node.role is Role.REPLICA:
        head = next((each for each in seen.servers if each.name == node.primary), None)
        if head is None or not head.is_up:
            raise PlanOutdated(
                f"the primary of {step.node} does not answer, so {step.node} may be the last with its data"
            )


def _follows(cache: LiveCache, node: SeenNode) -> Address | None:
    if cache.spec.topology.mode is Mode.CLUSTER or not node.primary:
        return None
    return cache.address(node.primary)


async def _as_it_is(cache: LiveCache, member: Member, follows: Address | None) -> NodeOrder:
    """What the node runs with now, to be put back: its files are read, for the spec may have changed since."""
    sentinel = member.kind is Kind.SENTINEL
    names = (
        (orders.SENTINEL_CONFIG, orders.USERS)
        if sentinel
        else (orders.SERVER_CONFIG, orders.SECRETS, orders.USERS)
    )
    host = cache.hosts[member.host]
    texts = {name: await host.read(cache.record.name, member.name, name) for name in names}
    order = cache.order(member, follows)
    return replace(order, files=tuple(NodeFile(name, text) for name, text in texts.items() if text))


async def _keep_data(cache: LiveCache, node: SeenNode) -> None:
    """A lone primary that keeps nothing on disk writes a snapshot, from which it starts; nobody writes meanwhile."""
    kept = cache.spec.persistence
    if kept.rdb.enabled or kept.aof.enabled or not node.keys:
        return
    async with await cache.connect(node.name, timeout_s=SAVE_BOUND_S) as connection:
        await connection.ask("CLIENT", "PAUSE", int(SAVE_BOUND_S * 1000), "WRITE")
        try:
            await connection.ask("SAVE")
        except BaseException:
            await connection.ask("CLIENT", "UNPAUSE")
            raise


async def _drop_snapshot(cache: LiveCache, member: Member) -> None:
    """The snapshot that a memory-only node was restarted from must not be what a later crash brings back."""
    await cache.hosts[member.host].drop_snapshot(cache.record.name, member.name)


async def _verify(cache: LiveCache, step: RestartNode, before: SeenNode, offset: int) -> None:
    """Wait until the node runs what it should, has caught up with its primary and is without error, and the cache is at
    rest. Args: `offset`, of the primary before the restart. Raises: NotVerified.
    """
    progressed_s = time.monotonic()
    best: tuple[int, int] | None = None
    pid = 0
    while True:
        seen = await cache.look()
        node = seen.node(step.node)
        if node.process.state is ProcessState.EXITED or (pid and node.process.pid not in {0, pid}):
            raise NotVerified(f"it ended again: {node.process.why or 'see its log'}")
        pid = pid or node.process.pid
        lacking = tuple(_lacking(cache, seen, step, before, offset))
        if not lacking:
            return
        state = (-len(lacking), node.keys)
        if best is None or state > best or node.syncing or node.reach == "loading":
            best, progressed_s = max(best or state, state), time.monotonic()
        if time.monotonic() - progressed_s > VERIFY_BOUND_S:
            raise NotVerified(f"{lacking[0]} after {VERIFY_BOUND_S:.0f} s without progress")
        await asyncio.sleep(LOOK_EVERY_S)


def _lacking(
    cache: LiveCache, seen: SeenCache, step: RestartNode, before: SeenNode, offset: int
) -> list[str]:
    node = seen.node(step.node)
    if not node.is_up:
        return [f"{node.name} is {node.reach}"]
    lacking = []
    if engine_of(node) != EngineVersion.of(cache.build):
        lacking.append(f"it runs {engine_of(node)}")
    if node.role is not before.role:
        lacking.append(f"it is {node.role} and was {before.role}")
    if node.role is Role.REPLICA and node.offset < offset:
        lacking.append(f"its offset is {node.offset}, its primary's was {offset}")
    if node.persistence_error and not before.persistence_error:
        lacking.append(node.persistence_error)
    return [*lacking, *unsettled(seen, cache.spec.topology.mode, len(cache.record.sentinels))]


async def _put_back(cache: LiveCache, member: Member, before: NodeOrder) -> str:
    """Start the node as it was before the step. Returns: what became of it, one sentence."""
    host = cache.hosts[member.host]
    try:
        await host.stop(cache.record.name, member.name)
        tried = cache.record.member(member.name)
        process = (await host.processes(cache.record.name)).get(member.name)
        if process is not None and process.files is not None and process.files.follows:
            await put_aside_unreadable(cache, tried, cache.builds.get(before.engine, cache.build))
        cache.assign_engine(member.name, before.engine)
        await host.prepare(before)
        await host.start(cache.record.name, member.name)
        await note_users(cache, cache.record.member(member.name))
        await _until(lambda: _in_sync(cache, member.name))
    except HoldfastError as failed:
        return f"It could not be put back as it was either ({failed}): it is down or not in sync; run holdfast up again"
    return f"{member.name} was put back as it was and is in sync."


async def _in_sync(cache: LiveCache, name: str) -> bool:
    node = (await cache.look()).node(name)
    return node.is_up and (node.role is not Role.REPLICA or (node.link_up and not node.syncing))


async def _until(reached: Callable[[], Awaitable[bool]]) -> None:
    """Raises: NotVerified."""
    end_s = time.monotonic() + VERIFY_BOUND_S
    while not await reached():
        if time.monotonic() > end_s:
            raise NotVerified(f"it is not in sync after {VERIFY_BOUND_S:.0f} s")
        await asyncio.sleep(LOOK_EVERY_S)


ROLLING = (NotRestarted, NotSwitched)
"""What makes a change that is under way be taken back."""
