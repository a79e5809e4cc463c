"""Asks both ends all that the rules want to know; reads only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from holdfast.engine.connection import CommandRefused, EngineNode
from holdfast.errors import HoldfastError
from holdfast.migrate.ends import End, EndUnusable, Layout
from holdfast.migrate.journal import Mode
from holdfast.migrate.observe import ask_server, see_end
from holdfast.migrate.relay.doors import directives
from holdfast.migrate.relay.translation import command_names, database_count
from holdfast.migrate.rules import EndFacts
from holdfast.migrate.watchers import count_watchers
from holdfast.topology.observe import read_info

NEEDED = (
    ("PSYNC", "?", "-1"), ("REPLICAOF", "NO", "ONE"), ("CLIENT", "PAUSE", "1", "WRITE"), ("CLIENT", "UNPAUSE"),
    ("CONFIG", "GET", "databases"), ("CONFIG", "SET", "repl-backlog-size", "1"), ("CONFIG", "REWRITE"), ("INFO",),
    ("SET", "holdfast:fence:probe", "1"), ("EVAL", "return 1", "0"),
)  # fmt: skip
"""What a migration does with one end or the other, as it would be said."""
NEEDED_TO_WRITE = (
    ("PSYNC", "?", "-1"), ("CLIENT", "PAUSE", "1", "WRITE"), ("CLIENT", "UNPAUSE"), ("CONFIG", "GET", "databases"),
    ("CONFIG", "SET", "repl-backlog-size", "1"), ("CONFIG", "REWRITE"), ("INFO",), ("ACL", "LIST"), ("ACL", "SAVE"),
    ("ACL", "SETUSER", "holdfast-migrate"), ("ACL", "DELUSER", "holdfast-migrate"),
)  # fmt: skip
"""The same of the mode `write`, which keeps roles and takes rights away. A user who may do this can give itself any other right."""
SCAN_BOUND_S = 2.0
SCAN_COUNT = 1000
RATE_OVER_S = 0.3
WANTED = (
    "maxmemory",
    "maxmemory-policy",
    "repl-backlog-size",
    "tls-replication",
    "aclfile",
    "appendonly",
    "client-output-buffer-limit",
)


async def assess_end(end: End, mode: Mode = Mode.RELAY) -> EndFacts:
    """The facts of one end. Raises: EndUnusable, and the connection's errors."""
    seen = await see_end(end)
    if not seen.servers:
        why = next(iter(seen.silent.values()), "no server answers")
        raise EndUnusable(end.label, why, "See that it runs and can be reached from here.")
    head = seen.head or (seen.primaries or seen.servers)[0]
    if seen.head is None and end.layout is not Layout.CLUSTER:
        told = ", ".join(each.title for each in seen.heads) or "none"
        raise EndUnusable(end.label, f"it has no one primary ({told})", "Mend that first.")
    async with await EngineNode.connect(end.endpoint(head.address)) as node:
        before, began_s = head.offset, time.monotonic()
        config = await directives(node, *WANTED)
        if end.cache:
            config["holdfast"] = "own"
        info = head.info
        modules = await _modules(node)
        facts = EndFacts(
            seen=seen,
            head=head,
            commands=frozenset(name.decode() for name in await command_names(node)),
            used=await _used(node),
            databases=await database_count(node),
            used_databases=frozenset(
                int(name[2:]) for name in info if name.startswith("db") and name[2:].isdigit()
            ),
            modules=modules,
            vector_sets=await _vector_sets(node) if "vectorset" in modules else 0,
            field_ttl_hashes=_field_ttls(info),
            functions=await _functions(node),
            users=await _users(node),
            config=config,
            denied=await _denied(node, NEEDED_TO_WRITE if mode is Mode.WRITE else NEEDED),
            config_file=info.get("config_file", ""),
            unknown_watchers=0 if end.sentinels else await count_watchers(end.endpoint(head.address)),
        )
        await asyncio.sleep(max(0.0, RATE_OVER_S - (time.monotonic() - began_s)))
        again = await ask_server(node, head.address)
    rate = (again.offset - before) / (time.monotonic() - began_s)
    return EndFacts(**{**facts.__dict__, "write_bytes_per_s": max(0.0, rate)})


async def _used(node: EngineNode) -> dict[str, int]:
    """Write commands that were called since the server started."""
    try:
        stats = read_info(str(await node.ask("INFO", "commandstats")))
        writing = await _writing(node)
    except HoldfastError:
        return {}
    used = {}
    for name, value in stats.items():
        command = name.removeprefix("cmdstat_").partition("|")[0].upper()
        calls = value.partition("calls=")[2].partition(",")[0]
        if command in writing and calls.isdigit() and int(calls):
            used[command] = int(calls)
    return used


async def _writing(node: EngineNode) -> frozenset[str]:
    return frozenset(
        str(each[0]).upper()
        for each in await node.ask("COMMAND")
        if "write" in {str(flag) for flag in each[2]}
    )


async def _modules(node: EngineNode) -> frozenset[str]:
    try:
        listed = await node.ask("MODULE", "LIST")
    except HoldfastError:
        return frozenset()
    found = set()
    for each in listed:
        facts = each if isinstance(each, dict) else dict(zip(each[::2], each[1::2], strict=False))
        found.add(str(facts.get("name", "")))
    return frozenset(found)


async def _vector_sets(node: EngineNode) -> int:
    """Keys of that type, as far as a look of `SCAN_BOUND_S` goes."""
    count, cursor, end_s = 0, "0", time.monotonic() + SCAN_BOUND_S
    try:
        while True:
            cursor, keys = await node.ask("SCAN", cursor, "TYPE", "vectorset", "COUNT", SCAN_COUNT)
            count += len(keys)
            if str(cursor) == "0" or time.monotonic() > end_s:
                return count
    except HoldfastError:
        return count


def _field_ttls(info: object) -> int:
    """Hashes with fields that expire, as Redis 7.4 and later count them (`subexpiry`)."""
    total = 0
    for name, value in dict(info).items():  # type: ignore[call-overload]
        if name.startswith("db") and name[2:].isdigit():
            for pair in value.split(","):
                key, _, number = pair.partition("=")
                if key in {"subexpiry", "keys_with_volatile_items"} and number.isdigit():
                    total += int(number)
    return total


async def _functions(node: EngineNode) -> tuple[str, ...]:
    try:
        listed = await node.ask("FUNCTION", "LIST")
    except HoldfastError:
        return ()
    return tuple(
        str(
            (each if isinstance(each, dict) else dict(zip(each[::2], each[1::2], strict=False)))[
                "library_name"
            ]
        )
        for each in listed
    )


async def _users(node: EngineNode) -> tuple[str, ...]:
    try:
        return tuple(str(each) for each in await node.ask("ACL", "USERS"))
    except HoldfastError:
        return ()


async def _denied(node: EngineNode, needed: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """What our user may not do, where the server can be asked (ACL DRYRUN, 7.0 and later) or has no such command."""
    denied = []
    try:
        who = str(await node.ask("ACL", "WHOAMI"))
    except HoldfastError:
        return ()
    for words in needed:
        try:
            said = str(await node.ask("ACL", "DRYRUN", who, *words))
        except CommandRefused as refused:
            if "not found" in refused.words:
                continue  # a command that this engine does not have
            return ()  # one before 7.0, which cannot be asked
        except HoldfastError:
            return ()  # our user may not ask
        if said != "OK" and "permission" in said.lower():
            denied.append(" ".join(words[:2]) if words[0] in {"CLIENT", "CONFIG", "ACL"} else words[0])
    return tuple(denied)
