"""A node's memory of its cluster (nodes.conf), made loadable where an engine wrote what it will not read again. Pure."""

from __future__ import annotations

import re

_SHARD = re.compile(r"(?<=,shard-id=)[0-9a-f]{40}(?=,|$)")


def with_shards_agreed(text: str) -> str:
    """The same memory, in which every replica has the shard id of the primary it follows.

    A node that dies before a replica's new shard id has reached it keeps the old one on disk, and Redis 7.2 and later, and Valkey
    before 8.1.3, take that for a damaged file and do not start (seen on Valkey 8.0.1, killed while a shard was added).
    Later engines load it with the primary's, which is what this writes.
    Args: `text`, lines `id address,hostname,...,shard-id=... flags primary ping pong epoch link slot...`, in any order.
    """
    shards: dict[str, str] = {}
    for line in text.splitlines():
        words = line.split(" ")
        if len(words) > 3 and (found := _SHARD.search(words[1])):
            shards[words[0]] = found.group()
    return "".join(_agreed(line, shards) for line in text.splitlines(keepends=True))


def _agreed(line: str, shards: dict[str, str]) -> str:
    node_id, *rest = line.split(" ", 3)
    if len(rest) < 3 or "slave" not in rest[1].split(","):
        return line
    wanted = shards.get(rest[2].partition(" ")[0])
    if wanted is None:
        return line
    return " ".join((node_id, _SHARD.sub(wanted, rest[0]), *rest[1:]))
