"""One request to the cache: to which node, what its answer means, and when it is tried again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from holdfast.client.errors import (
    CacheClosed,
    CacheDenied,
    CacheUnavailable,
    CommandRefused,
    NodeLost,
    NodeUnreached,
)
from holdfast.client.first_tier import FillToken
from holdfast.client.keys import slot_of
from holdfast.client.layout import Address, ShardAt
from holdfast.client.operations import Node, Policy, Relook, Send
from holdfast.client.rules import BreakerState, backoff_s
from holdfast.client.shared import OWN_WRITES, Shared
from holdfast.client.wire import ASKING, Meaning, ReplyError, meaning, pack, redirect

ReadFrom = Literal["primary", "replica_preferred", "replica", "nearest"]
READS = ("primary", "replica_preferred", "replica", "nearest")
MOST_REDIRECTS = 8
LEFT_ALONE_S = 0.05
"""How long a call that has tried already waits at a time while its node is left alone."""


class WrongType(Exception):
    """The key holds something that is no string."""


@dataclass(slots=True)
class Request:
    """Commands for the keys of one slot, sent together."""

    parts: tuple[bytes, ...]
    slot: int
    name: str
    """Of the first command, for errors."""
    until: float
    repeatable: bool = True
    """Whether it may be sent again when it is not known whether it was done."""
    watch: str = ""
    """The key to take a fill token for, before each try."""
    token: FillToken | None = field(default=None)
    read_at: float = 0.0

    def sent_to(self, shared: Shared, node: Node, *, readonly: bool, until: float) -> Send:
        """The operation that sends it, with a fresh fill token."""
        if self.watch:
            self.token = shared.l1.token(self.watch, node.trust)
            self.read_at = shared.clock.now()
        parts = self.parts
        return Send(node, parts[0] if len(parts) == 1 else b"".join(parts), len(parts), readonly, until)


def request(
    shared: Shared,
    key: str,
    *commands: tuple[Any, ...],
    within_s: float | None = None,
    repeatable: bool = True,
) -> Request:
    """One request for one key."""
    return Request(
        tuple(pack(command) for command in commands),
        0 if shared.slotless else slot_of(key.encode()),
        str(commands[0][0]),
        shared.clock.now() + (shared.command_s if within_s is None else within_s),
        repeatable,
    )


def ask(shared: Shared, wanted: Request) -> Policy:
    """Ask the primary of the request's slot until it answers or the time is up.

    Raises: CacheUnavailable, CacheDenied, CommandRefused, WrongType, CacheClosed.
    """
    began, attempt, redirects, why = shared.clock.now(), 0, 0, "no layout is known yet"
    asked_to: Address | None = None
    failing: list[Node] = []
    while True:
        now = shared.clock.now()
        if shared.closed:
            raise CacheClosed(shared.profile.cache)
        if now >= wanted.until:
            raise _unavailable(shared, wanted, began, why)
        version = shared.version
        node = shared.sole_primary if asked_to is None else shared.node(asked_to)
        if node is None and (shard := shared.shard_of(wanted.slot)) is not None:
            node = shared.node(shard.primary)
        if node is None:
            if shared.denied is not None:
                raise shared.denied
            yield Relook(version, min(wanted.until, now + 0.05))
            why = (
                "no node that was asked told who holds the key"
                if shared.layout is None
                else "its slot has no primary"
            )
            continue
        if not node.breaker.allows(now):
            if attempt == 0:
                shared.look_again()
                raise _unavailable(
                    shared, wanted, began, f"{node.address} failed repeatedly and is left alone for a while"
                )
            yield Relook(
                version, min(wanted.until, now + LEFT_ALONE_S)
            )  # it was just lost: a new primary may come
            continue
        try:
            if asked_to is None:
                reply = yield wanted.sent_to(shared, node, readonly=False, until=wanted.until)
            else:
                reply = yield from _asking(wanted, node)
                asked_to = None
        except NodeUnreached as failed:
            if not failed.busy:
                _book(node, failing, now)
            asked_to, why = None, str(failed)
        except NodeLost as failed:
            if not failed.link_ended:
                _book(node, failing, now)
            asked_to, why = None, str(failed)
            if not wanted.repeatable:
                shared.look_again()
                raise _unavailable(shared, wanted, began, why, may_have_run=True) from failed
        else:
            node.breaker.succeeded()
            said = first_error(reply, len(wanted.parts))
            if said is None:
                shared.budget.earn()
                return reply
            what = judge(shared, wanted, node, said)
            if what in (Meaning.MOVED, Meaning.ASK):
                target = redirect(said, node.address.host)
                redirects += 1
                shared.figures.redirects += 1
                if target is None or redirects > MOST_REDIRECTS:
                    raise _unavailable(shared, wanted, began, f"{node.address} sends calls around: {said}")
                there = Address(target.host, target.port)
                if what is Meaning.MOVED:
                    shared.put_moved(wanted.slot, there)
                else:
                    asked_to = there
                continue
            why = f"{node.address} answered: {said}"
        pause = backoff_s(attempt, shared.clock.chance())
        attempt += 1
        yield Relook(version, min(wanted.until, shared.clock.now() + pause))
        if shared.version == version and not shared.budget.spend():
            raise _unavailable(
                shared, wanted, began, f"{why}; and so many calls fail that none is tried again"
            )
        shared.figures.retries += 1


def _book(node: Node, failing: list[Node], now: float) -> None:
    """A call counts once for a node's breaker, however often it tries; while that is on trial every answer counts."""
    if node not in failing or node.breaker.on_trial:
        failing.append(node)
        node.breaker.failed(now)


def _asking(wanted: Request, node: Node) -> Policy:
    """Each command behind an ASKING, whose own replies are left out; nothing is filled from a slot on the move."""
    wanted.token = None
    payload = b"".join(ASKING + part for part in wanted.parts)
    replies = yield Send(node, payload, 2 * len(wanted.parts), False, wanted.until)
    return replies[1] if len(wanted.parts) == 1 else replies[1::2]


def read(
    shared: Shared, wanted: Request, where: ReadFrom, missing: Any, stale_bound_ms: int | None, key: str
) -> Policy:
    """Read by a policy; a replica that misses or fails is followed by the primary in the same call.

    Args: `missing`, tells of a reply whether the key was not there. Raises: as `ask`.
    """
    if where == "primary":
        return (yield from ask(shared, wanted))
    shard = shared.shard_of(wanted.slot)
    node = None if shard is None else replica_of(shared, shard, where, stale_bound_ms, key)
    if node is not None:
        now = shared.clock.now()
        # Half the time at most: a replica that hangs leaves the primary the rest.
        until = wanted.until if where == "replica" else now + (wanted.until - now) / 2
        try:
            reply = yield wanted.sent_to(shared, node, readonly=shared.clustered, until=until)
        except (NodeUnreached, NodeLost) as failed:
            if not getattr(failed, "link_ended", False) or node.breaker.on_trial:
                node.breaker.failed(now)
            if where == "replica":
                raise _unavailable(shared, wanted, now, str(failed)) from failed
        else:
            node.breaker.succeeded()
            said = first_error(reply, len(wanted.parts))
            if said is None and (where == "replica" or not missing(reply)):
                return reply
            if said is not None and meaning(said) is Meaning.WRONG_TYPE:
                raise WrongType(said)
            if said is not None and where == "replica":
                shared.look_again()
                raise _unavailable(shared, wanted, now, f"{node.address} answered: {said}")
            if said is not None:
                shared.look_again()
        shared.figures.replica_fallbacks += 1
    elif where == "replica":
        raise _unavailable(
            shared,
            wanted,
            shared.clock.now(),
            "no replica is known that answers and is within the stale bound",
        )
    return (yield from ask(shared, wanted))


def replica_of(
    shared: Shared, shard: ShardAt, where: ReadFrom, stale_bound_ms: int | None, key: str
) -> Node | None:
    """The replica to read, or None when the primary is to be: lagging, failing and unproven ones are left out.

    One that is not linked to its primary is read only where the primary does not answer either, or nobody else may be.
    """
    now = shared.clock.now()
    fresh_since = float("-inf") if stale_bound_ms is None else now - stale_bound_ms / 1000
    own = own_write(key)
    if own is not None:
        fresh_since = max(fresh_since, own)
    fit = [
        node
        for node in (shared.node(address) for address in shard.replicas)
        if node.fresh_as_of >= fresh_since and node.breaker.state(now) is not BreakerState.OPEN
    ]
    linked = [node for node in fit if node.settled]
    if not linked and where != "replica" and shared.node(shard.primary).settled:
        return None
    fit = linked or fit
    if not fit:
        return None
    chosen = fit[int(shared.clock.chance() * len(fit)) % len(fit)]
    if where == "nearest":
        primary = shared.node(shard.primary)
        chosen = min([primary, *fit], key=lambda node: node.round_trip_s)
        if chosen is primary:
            return None
    return chosen if chosen.breaker.allows(now) else None


def own_write(key: str) -> float | None:
    """When the caller wrote that key, if it reads its own writes and did."""
    written = OWN_WRITES.get()
    return None if written is None else written.get(key)


def first_error(reply: Any, commands: int = 1) -> str | None:
    """What the first error says among the replies to so many commands."""
    if reply.__class__ is ReplyError:
        return str(reply)
    if commands > 1 and reply.__class__ is list and ReplyError in map(type, reply):
        return str(next(each for each in reply if each.__class__ is ReplyError))
    return None


def judge(shared: Shared, wanted: Request, node: Node, said: str) -> Meaning:
    """What an error reply asks for; what no other try would mend is raised."""
    what = meaning(said)
    if what is Meaning.DENIED:
        raise CacheDenied(shared.profile.cache, str(node.address), said)
    if what is Meaning.WRONG_TYPE:
        raise WrongType(said)
    if what in (Meaning.REFUSED, Meaning.NO_SCRIPT):
        raise CommandRefused(str(node.address), wanted.name, said)
    return what


def _unavailable(
    shared: Shared, wanted: Request, began: float, why: str, *, may_have_run: bool = False
) -> CacheUnavailable:
    shared.figures.unavailable += 1
    waited_s = shared.clock.now() - began
    return CacheUnavailable(shared.profile.cache, wanted.name, waited_s, why, may_have_run)
