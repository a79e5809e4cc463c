"""Does the steps of a repair; each is judged by what is seen afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from holdfast.engine.connection import CommandRefused, EngineNode
from holdfast.errors import HoldfastError
from holdfast.spec.topology import Mode
from holdfast.topology import apply_sentinel
from holdfast.topology.handover import send_away
from holdfast.topology.live import LiveCache, Told
from holdfast.topology.observe import read_info
from holdfast.topology.record import Kind
from holdfast.topology.seen import Role
from holdfast.topology.steps_repair import GiveUp, GiveUpSlots, SaveAside, TakeOver

SAVE_BOUND_S = 600.0
DONE_BOUND_S = 60.0
MET_BOUND_S = 150.0
"""A node that was told to forget another does not meet it again for 60 s: the engines' own rule."""
LOOK_EVERY_S = 0.1
ASK_AGAIN_S = 2.0
HEARD_OF_S = 0.3
"""Between two looks at whether the winner has heard of a newer epoch: nodes speak with one another once a second."""


@dataclass(eq=False)
class NotRepaired(HoldfastError):
    """A step of a repair did not have its outcome."""

    node: str
    words: str

    def __str__(self) -> str:
        return (
            f"{self.node} {self.words}. What was saved aside stays there; look at `holdfast status` and `holdfast logs`, then "
            "run holdfast repair again"
        )


async def save_aside(cache: LiveCache, step: SaveAside) -> None:
    """Hold writes, BGSAVE, and move the snapshot into a folder of its own. Raises: NotRepaired."""
    async with await cache.connect(step.node, timeout_s=30.0) as node:
        await node.ask("CLIENT", "PAUSE", int(SAVE_BOUND_S * 1000), "WRITE")
        try:
            before = await node.ask("LASTSAVE")
            await _saved(node, step.node, int(before))
            member = cache.record.member(step.node)
            folder = await cache.hosts[member.host].put_aside(cache.record.name, step.node, "given-up")
        except BaseException:
            with contextlib.suppress(HoldfastError):
                await node.ask("CLIENT", "UNPAUSE")
            raise
    if not folder:
        raise NotRepaired(step.node, "wrote a snapshot, and none is in its folder")
    cache.tell(Told(step.node, f"its data set is saved in {folder}"))
    await cache.note("repair", step.node, did="saved aside", folder=folder)


async def _saved(node: object, name: str, before: int) -> None:
    ask = node.ask  # type: ignore[attr-defined]
    end_s = time.monotonic() + SAVE_BOUND_S
    await asyncio.sleep(max(0.0, before + 1.05 - time.time()))  # LASTSAVE counts whole seconds
    await _begin_save(ask)
    while time.monotonic() < end_s:
        told = dict(
            line.split(":", 1) for line in str(await ask("INFO", "persistence")).splitlines() if ":" in line
        )
        if told.get("rdb_bgsave_in_progress") == "0" and told.get("aof_rewrite_in_progress") == "0":
            if told.get("rdb_last_bgsave_status") == "ok" and int(await ask("LASTSAVE")) > before:
                return
            if told.get("rdb_last_bgsave_status") != "ok":
                raise NotRepaired(name, "could not write its snapshot; nothing of it was given up")
            await _begin_save(ask)
        await asyncio.sleep(LOOK_EVERY_S)
    raise NotRepaired(
        name, f"has not written its snapshot in {SAVE_BOUND_S:.0f} s; nothing of it was given up"
    )


async def _begin_save(ask: Callable[..., Awaitable[object]]) -> None:
    with contextlib.suppress(HoldfastError):  # one that is under way is waited for, and this asked again
        await ask("BGSAVE")


async def give_up(cache: LiveCache, step: GiveUp) -> None:
    """REPLICAOF, then its own followers and the sentinels likewise. Raises: NotRepaired."""
    address, port = cache.address(step.winner)
    seen = await cache.look()
    movers = [step.node, *(node.name for node in seen.servers if node.primary == step.node)]
    for name in movers:
        async with await cache.connect(name) as node:
            await node.ask("REPLICAOF", address, port)
            await node.ask("CLIENT", "UNPAUSE")
            if name == step.node:
                await send_away(node)
        await cache.prepare(cache.record.member(name), (address, port))
    if cache.record.sentinels:
        await apply_sentinel.announce(cache, step.winner)

    async def follows() -> bool:
        nodes = (await cache.look()).servers
        return all(node.primary == step.winner and node.link_up for node in nodes if node.name in movers)

    await _until(follows, step.node, f"does not follow {step.winner}")
    await cache.note("repair", step.node, did=f"follows {step.winner}")


async def give_up_slots(cache: LiveCache, step: GiveUpSlots) -> None:
    """Give the winner a newer epoch than the other one's, introduce the two, and wait until the other claims none of the
    slots. Raises: NotRepaired.
    """
    member = cache.record.member(step.node)
    await _outrank(cache, step)
    asked_s = 0.0

    async def given_up() -> bool:
        nonlocal asked_s
        seen = await cache.look()
        if not seen.node(step.node).slots & step.slots and step.slots <= seen.node(step.winner).slots:
            return True
        if time.monotonic() - asked_s > ASK_AGAIN_S:
            asked_s = time.monotonic()
            async with await cache.connect(step.winner) as node:
                await node.ask("CLUSTER", "MEET", member.address, member.port, member.bus_port)
                await node.ask("CLUSTER", "BUMPEPOCH")
        return False

    await _until(given_up, step.node, f"does not give the slots up to {step.winner}", MET_BOUND_S)
    async with await cache.connect(step.node) as node:
        await node.ask("CLIENT", "UNPAUSE")
    await cache.note("repair", step.node, did=f"gave {len(step.slots)} slots up to {step.winner}")


async def _outrank(cache: LiveCache, step: GiveUpSlots) -> None:
    """Give the winner a newer epoch than the other one's before they meet: the engine believes the newer, and the one with
    the older gives its slots up and copies the other, which here would be the wrong one.

    A node takes one more than the newest that it has heard of, and none where that is its own; so others that the winner
    hears take one in turn, until it comes beyond.
    """
    seen = await cache.look()
    known = seen.node(step.winner).known
    helpers = [
        node.name
        for node in seen.servers
        if node.is_up and node.node_id in known and node.name not in {step.node, step.winner}
    ]
    turn = 0

    async def is_newer() -> bool:
        nonlocal turn
        async with await cache.connect(step.node) as other, await cache.connect(step.winner) as winner:
            theirs = await _epochs(other)
            if (await _epochs(winner)).own > theirs.own:
                return True
            await winner.ask("CLUSTER", "BUMPEPOCH")
            if (now := await _epochs(winner)).own > theirs.own:
                return True
        if now.newest <= theirs.own and helpers:
            async with await cache.connect(helpers[turn % len(helpers)]) as helper:
                await helper.ask("CLUSTER", "BUMPEPOCH")
            turn += 1
        await asyncio.sleep(HEARD_OF_S)
        return False

    await _until(is_newer, step.winner, f"has no newer epoch than {step.node}, nothing was given up,")


@dataclass(frozen=True)
class _Epochs:
    own: int
    newest: int
    """That it has heard of."""


async def _epochs(node: EngineNode) -> _Epochs:
    info = read_info(str(await node.ask("CLUSTER", "INFO")))
    return _Epochs(int(info["cluster_my_epoch"]), int(info["cluster_current_epoch"]))


async def take_over(cache: LiveCache, step: TakeOver) -> None:
    """CLUSTER FAILOVER TAKEOVER, or REPLICAOF NO ONE; judged by the role. Raises: NotRepaired."""
    clustered = cache.spec.topology.mode is Mode.CLUSTER
    words = ("CLUSTER", "FAILOVER", "TAKEOVER") if clustered else ("REPLICAOF", "NO", "ONE")

    async def is_primary() -> bool:
        node = (await cache.look()).node(step.node)
        return node.role is Role.PRIMARY and (not clustered or bool(node.slots))

    try:
        async with await cache.connect(step.node) as node:
            await node.ask(*words)
    except CommandRefused:
        if (
            not await is_primary()
        ):  # else it was elected: an earlier step of this repair gave the cluster its majority back
            raise
    await _until(is_primary, step.node, "does not become the primary")
    if not clustered:
        await cache.prepare(cache.record.member(step.node), None)
        address = cache.address(step.node)
        for each in (await cache.look()).servers:
            if each.is_up and each.name != step.node and each.kind is Kind.SERVER:
                async with await cache.connect(each.name) as node:
                    await node.ask("REPLICAOF", *address)
                await cache.prepare(cache.record.member(each.name), address)
        if cache.record.sentinels:
            await apply_sentinel.announce(cache, step.node)
    await cache.note("repair", step.node, did=f"took over from {step.dead}")


async def _until(
    reached: Callable[[], Awaitable[bool]], node: str, words: str, bound_s: float = DONE_BOUND_S
) -> None:
    end_s = time.monotonic() + bound_s
    while not await reached():
        if time.monotonic() > end_s:
            raise NotRepaired(node, f"{words} in {bound_s:.0f} s")
        await asyncio.sleep(LOOK_EVERY_S)
