"""Sees to it that the end which follows has its server at our door, and leaves alone one that somebody else has taken."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from holdfast.errors import HoldfastError
from holdfast.jobs.crash import crash_point
from holdfast.migrate.ends import Side
from holdfast.migrate.fences import rewrite
from holdfast.migrate.plan import Follow, follow
from holdfast.migrate.relay.doors import credentials_for
from holdfast.migrate.relay.leg import Leg
from holdfast.migrate.relay.sight import Sight
from holdfast.migrate.relay.terms import Phase
from holdfast.migrate.seen import SeenServer
from holdfast.migrate.settings import borrow, calm_sentinels
from holdfast.topology.seen import Role

FASTER_LOADING = {"repl-diskless-load": "on-empty-db"}
"""An empty target loads from the link; one that holds data keeps it until the new is whole on its disk."""


@dataclass(eq=False)
class TakenOver(HoldfastError):
    """The server that was to follow us was made a primary by somebody else."""

    server: str
    what: str

    def __str__(self) -> str:
        return (
            f"{self.server} {self.what}, and not by this migration: what it holds now may be wanted, so it is left alone. "
            "If it is to follow again, say so: holdfast migrate resume NAME --point-again; else holdfast migrate stop NAME"
        )


async def point(sight: Sight, leg: Leg, token: str) -> None:
    """See to it that the end's server follows us.

    Args: `token`, the password that it is given where it has none of its own.
    Raises: TakenOver; NoPrimary, and the connection's errors.
    """
    if leg.relay.phase not in {Phase.SNAPSHOT, Phase.TAIL, Phase.WAITING_FOR_ROOM}:
        return
    journal = sight.book.journal
    head = await sight.head(leg.to)
    known = journal.pointed if leg.to is Side.TARGET else ""
    verdict = follow(head, sight.book.journal.doors_of(leg.to), leg.spool.replid, known)
    if leg.to is Side.SOURCE and verdict is Follow.POINT:
        verdict = Follow.HANDS_OFF  # a server that has left the way back is not led onto it again unasked
    if verdict is Follow.FOLLOWS:
        if head.link_up:
            leg.relay.heard(head.offset)
        if leg.to is Side.TARGET and journal.pointed != head.run_id:
            sight.book.write(pointed=head.run_id)
        return
    if verdict is Follow.HANDS_OFF:
        what = "was made a primary" if head.role is Role.PRIMARY else f"follows {head.primary}"
        if leg.to is Side.SOURCE:
            sight.book.write(way_back=f"{head.title} {what}")
            sight.tell(f"the way back is closed: {head.title} {what}")
            return
        raise TakenOver(head.title, what)
    if verdict is Follow.ADOPT:
        leg.relay.adopt(head.replid, head.offset)
    await _lead(sight, leg, head, token)


async def _lead(sight: Sight, leg: Leg, head: SeenServer, token: str) -> None:
    """Make the head follow our door."""
    if failed := await calm_sentinels(sight.book, leg.to):
        sight.tell(f"a Sentinel could not be told that its primary will be a replica: {'; '.join(failed)}")
    async with await sight.connect(leg.to, head.address) as node:
        if not head.keys:
            with contextlib.suppress(HoldfastError):
                await borrow(sight.book, leg.to, head.address, node, FASTER_LOADING)
        await credentials_for(sight.book, leg.to, head.address, node, token)
        sight.book.write(pointed=head.run_id)
        crash_point("point")
        await node.ask("REPLICAOF", *leg.door)
        crash_point("pointed")
        if words := await rewrite(node):
            sight.tell(f"{head.title} forgets after a restart that it follows: {words}")
    sight.tell(f"{head.title} follows the relay at {leg.door[0]}:{leg.door[1]}")
