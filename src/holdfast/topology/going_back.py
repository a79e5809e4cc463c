"""Takes a change back that restarts nodes and of which a step failed: to the spec and the engine that were there before."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from holdfast.errors import HoldfastError
from holdfast.topology.live import LiveCache
from holdfast.topology.plan_rolling import refuse_unsafe, stale_nodes
from holdfast.topology.record import CacheRecord
from holdfast.topology.wanted import Manner


@dataclass(eq=False)
class WentBack(HoldfastError):
    """A change failed half way and was taken back."""

    cache: str
    failed: str
    whole: bool
    """Whether the cache is again what it was; otherwise `left` says why not."""
    left: str = ""

    def __str__(self) -> str:
        if self.whole:
            return (
                f"{self.failed} The change was taken back: {self.cache} runs as before it, with its data. Mend the cause, then "
                "run the same command again"
            )
        return (
            f"{self.failed} The change cannot be taken back wholly ({self.left}), so {self.cache} stays as it is, half "
            "changed, and serves. Mend the cause, then run the same command again: it goes on from there"
        )


async def go_back(
    cache: LiveCache, failed: HoldfastError, converge: Callable[[LiveCache], Awaitable[object]]
) -> WentBack:
    """Make the cache what it was before the change. Args: `converge`, plans and does until nothing is left to do."""
    name = cache.record.name
    ahead = cache.record
    try:
        goal = _as_before(cache)
    except HoldfastError as unknown:
        return WentBack(name, str(failed), whole=False, left=str(unknown))
    if goal is None:
        return WentBack(name, str(failed), whole=False, left="it is not known what it was before")
    await cache.note("going back", "", why=str(failed))
    try:
        seen = await goal.look(with_config=True)
        wanted = goal.wanted()
        refuse_unsafe(
            wanted, seen, stale_nodes(wanted, seen), {}
        )  # before a node that is down starts on the old engine
        await converge(goal)
    except HoldfastError as stuck:
        # Forward is the only way that is open: the record says so, or the next command would try to go back again.
        goal.save(replace(goal.record, engine=ahead.engine, engine_before=ahead.engine_before))
        cache.record = goal.record
        await cache.note("not back", "", why=str(stuck))
        return WentBack(name, str(failed), whole=False, left=str(stuck))
    cache.record = goal.record
    await cache.note("back", "")
    return WentBack(name, str(failed), whole=True)


def _as_before(cache: LiveCache) -> LiveCache | None:
    """The cache with the spec last applied and the engine it had; None where either is not known."""
    record = cache.record
    if not record.spec_digest or not cache.store.keeps_spec:
        return None
    before = cache.store.spec()
    build = cache.builds.get(record.engine_before or record.engine)
    if build is None:
        return None
    cache.save(_returned(record))
    manner = Manner(going_back=True, allow_pause=cache.manner.allow_pause, surge=False)
    return replace(
        cache, spec=before.spec, digest=before.digest, build=build, manner=manner, record=cache.record
    )


def _returned(record: CacheRecord) -> CacheRecord:
    if not record.engine_before:
        return record
    members = tuple(replace(each, engine=each.engine or record.engine) for each in record.members)
    return replace(record, engine=record.engine_before, engine_before="", members=members)
