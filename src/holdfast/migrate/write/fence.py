"""The fence of an end whose servers keep their roles: every user but our own loses all write commands, on every server.

Replicas too, for one may be promoted; and on disk, for a server may be restarted. Measured: `off` leaves open connections
writing, `-@write` stops SET, a queued EXEC and a script. What each user was allowed is in the journal before it is taken away.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from holdfast.engine.acl import OWN_USERS
from holdfast.engine.connection import CommandRefused, EngineNode
from holdfast.errors import HoldfastError
from holdfast.migrate.ends import End, Side
from holdfast.migrate.observe import see_end
from holdfast.migrate.seen import SeenServer
from holdfast.migrate.switching import NotReady
from holdfast.migrate.write.acl import (
    USERS_FROM,
    Rights,
    as_before,
    forgets_transactions,
    own_rights,
    read_user,
    without_writes,
)
from holdfast.migrate.write.errors import RestartedIncomplete
from holdfast.migrate.write.kept import Kept
from holdfast.topology.seen import Role

_NO_FILE = "not configured to use an ACL file"


@dataclass
class Fence:
    """The fence of one end. All of its methods may be called again after being cut off anywhere."""

    kept: Kept
    side: Side

    @property
    def _end(self) -> End:
        return self.kept.book.journal.end(self.side)

    def _exempt(self, user: str) -> bool:
        """Our own user; and, in a cache that Holdfast runs, the users by which it does so."""
        return user == self.kept.own().user or (bool(self._end.cache) and user in OWN_USERS)

    async def prepare(self) -> tuple[str, ...]:
        """Make our own user on every server that answers; those that do not. Raises: NotReady."""
        seen = await see_end(self._end)
        old = next((each for each in seen.servers if each.version < USERS_FROM), None)
        if old is not None:
            raise NotReady(
                f"{old.title} has no users with rights of their own (ACL, from 6.0 on), by which a server that keeps its role is fenced: "
                "stop the writes of the applications yourself, compare with holdfast migrate verify, point them to the other end, "
                "and end this with holdfast migrate stop"
            )
        notes = self.kept.notes
        if self.side not in notes.users:
            self.kept.note(replace(notes, users=(*notes.users, self.side)))
        try:
            await asyncio.gather(*(self._make_user(each) for each in seen.servers))
        except HoldfastError as refused:
            raise NotReady(f"a user for the way back could not be made: {refused}") from refused
        return tuple(seen.silent.values())

    async def _make_user(self, server: SeenServer) -> None:
        own = self.kept.own()
        digest = hashlib.sha256(own.password.encode()).hexdigest()
        async with await self._connect(server) as node:
            await node.ask("ACL", "SETUSER", own.user, *own_rights(digest, server.version))

    async def _connect(self, server: SeenServer) -> EngineNode:
        return await EngineNode.connect(self._end.endpoint(server.address))

    async def put_up(self) -> tuple[str, ...]:
        """Take all writing away from everybody; what of it would not outlast a restart, or which servers did not answer.

        Raises: the connection's errors, NodeDenied, CommandRefused.
        """
        return await self._fence((await see_end(self._end)).servers)

    async def mend(self) -> tuple[str, ...]:
        """Fence servers that have come up since the fence was put up. As `put_up`. Raises: RestartedIncomplete too."""
        known = self.kept.notes.fences.get(self.side, {})
        seen = await see_end(self._end)
        for server in seen.servers:
            run = self.kept.notes.runs.get(_name(server), server.run_id)
            loaded = server.role is Role.PRIMARY and server.info.get("aof_enabled") == "1"
            if run != server.run_id and loaded and forgets_transactions(server.engine, server.version):
                raise RestartedIncomplete(server.title)
        return await self._fence([each for each in seen.servers if _name(each) not in known])

    async def _fence(self, servers: Sequence[SeenServer]) -> tuple[str, ...]:
        rights = await asyncio.gather(*(self._users(each) for each in servers))
        notes = self.kept.notes
        fenced = dict(notes.fences.get(self.side, {}))
        for server, users in zip(servers, rights, strict=True):
            fenced[_name(server)] = {**users, **fenced.get(_name(server), {})}
        runs = {**notes.runs, **{_name(each): each.run_id for each in servers}}
        if fenced != notes.fences.get(self.side, {}) or runs != notes.runs:
            self.kept.note(replace(notes.with_fence(self.side, fenced), runs=runs))
        taking = zip(servers, rights, strict=True)
        said = await asyncio.gather(*(self._take_away(each, tuple(users)) for each, users in taking))
        return tuple(each for each in said if each)

    async def _users(self, server: SeenServer) -> dict[str, Rights]:
        async with await self._connect(server) as node:
            return {
                user: rights
                for user, rights in map(read_user, await node.ask("ACL", "LIST"))
                if not self._exempt(user)
            }

    async def _take_away(self, server: SeenServer, users: Sequence[str]) -> str:
        await self._make_user(server)
        async with await self._connect(server) as node:
            for user in users:
                await node.ask("ACL", "SETUSER", user, *without_writes(server.version))
            return await _save(node)

    async def take_down(self) -> tuple[str, ...]:
        """Give everybody back what they were allowed; what could not be. A server that does not answer stays in the journal."""
        seen = await see_end(self._end)
        said = [f"the fence of {address[0]}:{address[1]}: {why}" for address, why in seen.silent.items()]
        known = self.kept.notes.fences.get(self.side, {})
        fenced = [each for each in seen.servers if _name(each) in known]
        # All at once: whoever was held has to wait for the last of them.
        results = await asyncio.gather(
            *(self._give_back(each, known[_name(each)]) for each in fenced), return_exceptions=True
        )
        free: set[str] = set()
        for server, result in zip(fenced, results, strict=True):
            if isinstance(result, HoldfastError):
                said.append(f"the fence of {_name(server)}: {result}")
            elif isinstance(result, BaseException):
                raise result
            else:
                free.add(_name(server))
        now = self.kept.notes.fences.get(self.side, {})
        left = {name: users for name, users in now.items() if name not in free}
        self.kept.note(self.kept.notes.with_fence(self.side, left))
        return tuple(said)

    async def _give_back(self, server: SeenServer, users: Mapping[str, Rights]) -> None:
        async with await self._connect(server) as node:
            there = {str(each) for each in await node.ask("ACL", "USERS")}
            for user, rights in users.items():
                if user in there:
                    await node.ask("ACL", "SETUSER", user, *as_before(rights, server.version))
            await _save(node)

    async def remove_user(self) -> tuple[str, ...]:
        """Our own user goes; what could not be."""
        notes = self.kept.notes
        if self.side not in notes.users:
            return ()
        said: list[str] = []
        for server in (await see_end(self._end)).servers:
            try:
                async with await self._connect(server) as node:
                    await node.ask("ACL", "DELUSER", self.kept.own().user)
                    await _save(node)
            except HoldfastError as failed:
                said.append(f"the user {self.kept.own().user} of {_name(server)} was left: {failed}")
        self.kept.note(replace(notes, users=tuple(each for each in notes.users if each is not self.side)))
        return tuple(said)


def _name(server: SeenServer) -> str:
    return f"{server.address[0]}:{server.address[1]}"


async def _save(node: EngineNode) -> str:
    """Have the users outlast a restart; why they do not, else empty."""
    try:
        await node.ask("ACL", "SAVE", timeout_s=10.0)
        return ""
    except CommandRefused as refused:
        if _NO_FILE not in refused.words:
            return str(refused)
    except HoldfastError as failed:
        return str(failed)
    try:
        await node.ask("CONFIG", "REWRITE", timeout_s=10.0)
    except HoldfastError as failed:
        return str(failed)
    return ""
