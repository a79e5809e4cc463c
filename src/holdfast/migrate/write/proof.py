"""The proof of a fence by rights: writes that clients can try in each way, at once, by EXEC of what was queued before, by script."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.engine.connection import Endpoint
from holdfast.engine.pipeline import Pipeline, Raw, refusal
from holdfast.migrate.fences import FenceLeaks
from holdfast.migrate.write.acl import SELECTORS_FROM, categories_named, may_write, read_user
from holdfast.topology.observe import read_info
from holdfast.topology.shards import read_version

PREFIX = b"holdfast:fence:"
_REFUSALS = ("NOPERM", "ACL failure", "no permission", "can't run this command", "EXECABORT")
_SCRIPT = "return redis.call('set', KEYS[1], '1', 'PX', '1')"


@dataclass
class RightsProof:
    """Tries on one primary; made before the fence is put up, for the EXEC must be queued before it."""

    pipe: Pipeline
    key: bytes

    @classmethod
    async def prepare(cls, endpoint: Endpoint, tag: bytes) -> RightsProof:
        """Connect and queue a write. Args: `tag`, of a slot that the server owns; empty outside a cluster.

        Raises: the connection's errors.
        """
        key = b"%b{%b}%b" % (PREFIX, tag or b"0", secrets.token_hex(8).encode())
        proof = cls(await Pipeline.connect(endpoint, timeout_s=10.0), key)
        await proof.pipe.ask_all([("MULTI",), ("SET", key, 1, "PX", 1)])
        return proof

    async def prove(self, users: Sequence[str], *, by_trying: bool) -> tuple[str, ...]:
        """What the server said to each try. To be called with no pause in force, which would hold EXEC and the script.

        Args: `users`, who must not write; `by_trying`, whether the user that we came as is one of them.
        Raises: FenceLeaks, and the connection's errors.
        """
        said: list[str] = []
        if not by_trying:
            await self.pipe.ask(
                "DISCARD"
            )  # who we come as may write; and what is asked next must not be queued
        else:
            (queued,) = await self.pipe.ask_all([("EXEC",)])
            said.append(self._refused("EXEC", queued))
            script = ("EVAL", _SCRIPT, 1, self.key)
            for name, words in (("SET", ("SET", self.key, 1, "PX", 1)), ("EVAL", script)):
                (reply,) = await self.pipe.ask_all([words])
                said.append(self._refused(name, reply))
        return (*said, *await self._asked(users))

    async def _asked(self, users: Sequence[str]) -> tuple[str, ...]:
        """By the server's own word on everybody, where it can be asked."""
        info = read_info((await self.pipe.ask("INFO", "server")).decode())
        version = read_version(info.get("valkey_version") or info.get("redis_version") or "0")
        if version < SELECTORS_FROM:
            return await self._listed(users)
        words = [("ACL", "DRYRUN", user, "SET", self.key, 1) for user in users]
        replies = await self.pipe.ask_all(words)
        said = [refusal(reply) for reply in replies if refusal(reply) and "not found" not in refusal(reply)]
        if said:
            return (f"SET as each user: could not be asked ({said[0][:100]})",)
        for user, reply in zip(users, replies, strict=True):
            if not refusal(reply) and b"no permission" not in reply:
                raise FenceLeaks(
                    str(self.pipe.endpoint), f"SET as {user} (ACL DRYRUN)", f"it answered {reply!r}"
                )
        return (f"SET as any of {_count(users)}: refused (ACL DRYRUN)",)

    async def _listed(self, users: Sequence[str]) -> tuple[str, ...]:
        """By the list of rights, where the server cannot be asked what it would answer."""
        listed = dict(map(read_user, [each.decode() for each in await self.pipe.ask("ACL", "LIST")]))
        asked = sorted(categories_named(listed.values()))
        categories: dict[str, frozenset[str]] = {}
        for name, commands in zip(
            asked, await self.pipe.ask_all([("ACL", "CAT", name) for name in asked]), strict=True
        ):
            if said := refusal(commands):
                raise FenceLeaks(str(self.pipe.endpoint), f"ACL CAT {name}", f"it answered {said}")
            categories[name] = frozenset(each.decode().lower() for each in commands)
        for user in users:
            if user in listed and may_write(listed[user], categories):
                raise FenceLeaks(
                    str(self.pipe.endpoint),
                    f"ACL LIST of {user}",
                    f"it has {' '.join(listed[user].commands)}",
                )
        return (f"rights of {_count(users)}: none to write (ACL LIST)",)

    def _refused(self, name: str, reply: Raw) -> str:
        told = [refusal(each) for each in reply] if isinstance(reply, list) else [refusal(reply)]
        for words in told:
            if any(sign in words for sign in _REFUSALS):
                return f"{name}: {words.partition(':')[0][:100]}"
        raise FenceLeaks(str(self.pipe.endpoint), name, f"it answered {str(reply)[:60]!r}")

    def close(self) -> None:
        """Close what was opened; always safe."""
        self.pipe.close()


def _count(users: Sequence[str]) -> str:
    return f"{len(users)} users" if len(users) != 1 else "1 user"
