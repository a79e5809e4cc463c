"""Does the steps of a plan, one by one; each may be done again after it was done half or whole."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from holdfast.engine.acl import SUPERVISOR_USER
from holdfast.errors import HoldfastError
from holdfast.spec.load import to_document
from holdfast.topology import (
    apply_cluster,
    apply_config,
    apply_nodes,
    apply_repair,
    apply_rolling,
    apply_sentinel,
    orders,
)
from holdfast.topology.going_back import go_back
from holdfast.topology.guards import enforcement, firewall_request
from holdfast.topology.hosts import WatchOrder
from holdfast.topology.live import LiveCache, Told
from holdfast.topology.outdated import PlanOutdated
from holdfast.topology.plan import topology_steps
from holdfast.topology.settle import await_settled
from holdfast.topology.steps import (
    AddNode,
    AssignSlots,
    AttachReplica,
    AwaitOneOwner,
    AwaitSettled,
    AwaitSuccessor,
    Forget,
    Guard,
    JoinCluster,
    LookAgain,
    MoveSlots,
    RefreshSentinels,
    Relabel,
    RemoveNode,
    RenewCertificates,
    SaveSpec,
    SetConfig,
    SetUsers,
    StartNodes,
    Step,
    TuneSentinel,
    Unmark,
    WatchPrimary,
)
from holdfast.topology.steps_repair import GiveUp, GiveUpSlots, SaveAside, TakeOver
from holdfast.topology.steps_rolling import ChangeEngine, RestartNode, SwitchPrimary, WriteAnew

ROUNDS = 12
"""How often a plan may be made anew in one command; a cold start needs two or three."""


@dataclass(eq=False)
class NeverEnding(HoldfastError):
    """Plan after plan was carried out and there is still something to do."""

    cache: str
    rounds: int
    outstanding: str

    def __str__(self) -> str:
        return (
            f"{self.cache} did not come to rest in {self.rounds} plans; still to do: {self.outstanding}. "
            "Look at `holdfast status` and `holdfast logs` for what keeps changing, then run this again"
        )


async def converge(
    cache: LiveCache, *, before: Callable[[Step], None], after: Callable[[Step], None]
) -> list[Step]:
    """Plan, do, and plan again until nothing is left to do.

    A change that restarts nodes and of which a step fails is taken back.
    Args: `before` and `after`, called around each step; raising there stops the work between two steps.
    Returns: the steps that were done.
    Raises: WentBack, and what a step or plan raises.
    """

    async def do(goal: LiveCache) -> list[Step]:
        return await _converge(goal, before=before, after=after)

    try:
        return await do(cache)
    except apply_rolling.ROLLING as failed:
        raise await go_back(cache, failed, do) from failed


async def _converge(
    cache: LiveCache, *, before: Callable[[Step], None], after: Callable[[Step], None]
) -> list[Step]:
    done: list[Step] = []
    steps: tuple[Step, ...] = ()
    for _ in range(ROUNDS):
        steps = await outstanding(cache)
        if not cache.store.keeps_spec:  # so that the cache's name stands for it also when this is interrupted
            cache.store.save_spec(to_document(cache.spec))
        if not steps:
            await watch_all(cache)
            return done
        for step in steps:
            before(step)
            try:
                await apply_step(cache, step)
            except PlanOutdated as outdated:
                cache.tell(Told("", f"{outdated.why}: the plan is made anew"))
                break
            after(step)
            done.append(step)
    raise NeverEnding(cache.record.name, ROUNDS, "; ".join(step.title for step in steps))


async def outstanding(cache: LiveCache) -> tuple[Step, ...]:
    """The plan from what is now."""
    seen = await cache.look(with_config=True)
    guarded = await is_guarded(cache)
    return topology_steps(cache.wanted(), seen, guarded=guarded)


async def is_guarded(cache: LiveCache) -> bool:
    """Whether the packet filters are as `network.allow` asks, or cannot be made so."""
    if not cache.record.members:
        return True
    states = await enforcement(cache.spec, cache.record, cache.hosts)
    return all(each.enforced or not each.possible for each in states.values())


async def apply_step(cache: LiveCache, step: Step) -> None:
    """Do one step and wait for its outcome; an engine's OK alone is none.

    Raises: HoldfastError in the words of what refused or failed.
    """
    doing: dict[type[Step], Callable[[LiveCache, Any], Awaitable[None]]] = {
        AddNode: apply_nodes.add,
        StartNodes: apply_nodes.start,
        RemoveNode: apply_nodes.remove,
        JoinCluster: apply_cluster.join,
        AssignSlots: apply_cluster.assign,
        AttachReplica: apply_cluster.attach,
        MoveSlots: apply_cluster.move,
        Forget: apply_cluster.forget,
        Unmark: apply_cluster.unmark,
        AwaitSettled: _settle,
        LookAgain: _look_again,
        AwaitOneOwner: apply_cluster.await_one_owner,
        AwaitSuccessor: apply_nodes.await_successor,
        WatchPrimary: apply_sentinel.watch,
        TuneSentinel: apply_sentinel.tune,
        RefreshSentinels: apply_sentinel.refresh,
        SetConfig: apply_config.set_config,
        SetUsers: apply_config.set_users,
        RenewCertificates: apply_nodes.renew_certificates,
        ChangeEngine: apply_rolling.change_engine,
        RestartNode: apply_rolling.restart,
        SwitchPrimary: apply_rolling.switch,
        WriteAnew: apply_rolling.write_anew,
        SaveAside: apply_repair.save_aside,
        GiveUp: apply_repair.give_up,
        GiveUpSlots: apply_repair.give_up_slots,
        TakeOver: apply_repair.take_over,
        Relabel: _relabel,
        Guard: _guard,
        SaveSpec: _save_spec,
    }
    await doing[type(step)](cache, step)


async def _settle(cache: LiveCache, step: AwaitSettled) -> None:
    await await_settled(cache)


async def _look_again(cache: LiveCache, step: LookAgain) -> None:
    """Every node must answer before a new plan means anything."""
    await apply_nodes.await_answers(cache)


async def _relabel(cache: LiveCache, step: Relabel) -> None:
    cache.renamed(cache.record.member(step.node), step.zone)


async def _guard(cache: LiveCache, step: Guard) -> None:
    hosts = sorted({member.host for member in cache.record.members})
    for name in hosts:
        state = await cache.hosts[name].guard(firewall_request(cache.spec, cache.record, name))
        cache.tell(Told("", f"network.allow on {name}: {state.why}"))


async def _save_spec(cache: LiveCache, step: SaveSpec) -> None:
    cache.store.save_spec(to_document(cache.spec))
    cache.store.forget_passwords(keep=(*orders.all_users(cache.spec), SUPERVISOR_USER))
    mode = cache.spec.topology.mode.value
    cache.save(replace(cache.record, spec_digest=step.digest, mode=mode, engine_before=""))


async def watch_all(cache: LiveCache, order: WatchOrder | None = None) -> None:
    """Have every machine watch over its nodes as the cache now is, or by that order."""
    order = order or cache.watch_order()
    hosts = sorted({member.host for member in cache.record.members})
    await asyncio.gather(*(cache.hosts[name].watch(order) for name in hosts))


async def stop_all(cache: LiveCache, *, delete_data: bool) -> None:
    """Stop every node, replicas and sentinels first, so that primaries hand over nothing half; then, if asked,
    delete files and data of all of them, and the cache's record with its secrets.
    """
    seen = await cache.look()
    for host in {member.host for member in cache.record.members}:
        await cache.hosts[host].unwatch(cache.record.name)  # what ends now is wanted down
    primaries = {node.name for node in seen.primaries}
    first = [member for member in cache.record.members if member.name not in primaries]
    last = [member for member in cache.record.members if member.name in primaries]
    for group in (first, last):
        await _all(cache.hosts[member.host].stop(cache.record.name, member.name) for member in group)
    for host in {member.host for member in cache.record.members}:
        await cache.hosts[host].unguard(cache.record.name)
    if delete_data:
        await _all(
            cache.hosts[member.host].remove(cache.record.name, member.name) for member in cache.record.members
        )
        cache.store.delete()


async def _all(calls: Iterable[Awaitable[None]]) -> None:
    """Wait for all, then raise the first failure: none is left running unwatched."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
