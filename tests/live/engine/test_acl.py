"""What each user can and cannot do, asked of every engine at hand."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.live.conftest import AT_HAND
from tests.live.engine.servers import HASHES, Server, cache_spec, password, running, running_sentinel
from tests.live.ports import LOOPBACK, free_port

from holdfast.engine.acl import (
    BACKUP_USER,
    REPLICATION_USER,
    SENTINEL_USER,
    SUPERVISOR_USER,
    acl_rules,
    changed_users,
    parse_acl,
    render_acl,
    user_setrules,
)
from holdfast.engine.build import EngineBuild
from holdfast.engine.connection import Credentials, Endpoint, EngineNode

OWN, READABLE, FOREIGN = "bill:inquiry:1:2026-11", "auth:session:1:2", "other:key"
SENTINEL = {"mode": "sentinel", "replicas": 1}

ANY_CLIENT = [
    "PING", "ECHO x", "CLIENT ID", "CLIENT SETNAME x", "CLIENT GETNAME", "CLUSTER SLOTS", "CLUSTER NODES", "CLUSTER INFO",
    "CLUSTER MYID", "READONLY", "INFO server", "ROLE", "COMMAND COUNT", "TIME", "SELECT 0", "WAIT 0 1",
    "SUBSCRIBE __redis__:invalidate",
]  # fmt: skip
ANY_CLIENT_FROM_7_0 = ["CLUSTER SHARDS", "CLIENT TRACKING ON BCAST PREFIX bill:", "COMMAND DOCS get"]
WRITING = [
    f"SET {OWN} v", f"SET {OWN} v EX 10 NX", f"GET {OWN}", f"DEL {OWN}", f"UNLINK {OWN}", f"EXPIRE {OWN} 10", f"TTL {OWN}",
    f"EXISTS {OWN}", f"TYPE {OWN}", f"INCR {OWN}", f"MGET {OWN} {OWN}", f"HSET {OWN}:h f v", f"LPUSH {OWN}:l v", f"PFADD {OWN}:p v",
    f"EVAL return(redis.call('get',KEYS[1])) 1 {OWN}", "SCRIPT LOAD return(1)", f"PUBLISH {OWN} v", f"SUBSCRIBE {OWN}", "MULTI",
    f"MEMORY USAGE {OWN}", f"OBJECT ENCODING {OWN}",
]  # fmt: skip
OPERATORS_ONLY = [
    "CONFIG GET maxmemory", "CONFIG SET maxmemory 1", "CONFIG REWRITE", "CONFIG RESETSTAT", "FLUSHALL", "FLUSHDB", "DEBUG SLEEP 0",
    "KEYS *", "SHUTDOWN NOSAVE", "ACL LIST", "ACL SETUSER x on", "CLIENT LIST", "CLIENT KILL TYPE normal", "CLIENT PAUSE 1",
    "MONITOR", "SAVE", "BGSAVE", "REPLICAOF NO ONE", "CLUSTER RESET", "CLUSTER FAILOVER", "CLUSTER FORGET x", "MODULE LIST",
    "SLOWLOG GET", "LATENCY LATEST", "SWAPDB 0 1", "MIGRATE h 1 k 0 1", f"RESTORE {OWN} 0 x", "SYNC", "PSYNC ? -1",
    "SCAN 0", "RANDOMKEY", "DBSIZE", f"SORT {OWN}", "SCRIPT FLUSH", "SCRIPT KILL", "FAILOVER",
]  # fmt: skip
OTHERS_KEYS = [
    f"GET {FOREIGN}", f"SET {FOREIGN} v", f"DEL {FOREIGN}", f"TYPE {FOREIGN}", f"RENAME {OWN} {FOREIGN}", f"MGET {OWN} {FOREIGN}",
    f"COPY {FOREIGN} {OWN}", f"EVAL return(redis.call('get',KEYS[1])) 1 {FOREIGN}", f"PUBLISH {FOREIGN} v", f"SUBSCRIBE {FOREIGN}",
    "PSUBSCRIBE *",
]  # fmt: skip
SMUGGLING = [f"EVAL return(redis.call('get','{FOREIGN}')) 0", "EVAL return(redis.call('flushall')) 0"]
READING = [f"GET {OWN}", f"TTL {OWN}", f"STRLEN {OWN}", f"HGETALL {OWN}:h"]
NO_WRITING = [
    f"SET {OWN} v",
    f"DEL {OWN}",
    f"EXPIRE {OWN} 1",
    f"INCR {OWN}",
    f"EVAL return(redis.call('set',KEYS[1],1)) 1 {OWN}",
]
SUPERVISING = [
    "CONFIG GET *", "CONFIG SET maxmemory-samples 5", "ACL LIST", "ACL SETUSER x reset", "INFO all", "ROLE", "CLIENT LIST",
    "CLIENT PAUSE 1", "CLIENT UNPAUSE", "WAIT 0 1", "CLUSTER NODES", f"DUMP {OWN}", f"MEMORY USAGE {OWN}", "SCAN 0", "DBSIZE",
    "SLOWLOG GET", "LATENCY LATEST", "BGSAVE", f"SET {OWN} v", f"DEL {OWN}", "REPLICAOF NO ONE", "MULTI", "CLUSTER INFO", "LASTSAVE",
]  # fmt: skip
BACKING_UP = [
    "PING",
    "INFO",
    "LASTSAVE",
    "BGSAVE",
    f"GET {OWN}",
    "SCAN 0",
    "DBSIZE",
    f"DUMP {OWN}",
    "CLUSTER NODES",
    "REPLCONF capa eof",
]
WATCHING = [
    "PING", "INFO", "ROLE", "MULTI", "SLAVEOF NO ONE", "CONFIG REWRITE", "SUBSCRIBE __sentinel__:hello",
    "PUBLISH __sentinel__:hello x", "CLIENT SETNAME x", "CLIENT KILL TYPE normal", "SCRIPT KILL",
]  # fmt: skip

REFUSING = (
    b"NOPERM",
    b"ACL failure in script",  # the script was let in, a command inside it was not
    b"user executing the script can't",  # the same in the words of 6.2 and 7.0
    b"command not allowed",  # DEBUG and MODULE, which are off for everybody from 7.0 on
)

TABLE: list[tuple[str, list[str], list[str]]] = [
    ("bill", [*ANY_CLIENT, *WRITING, f"GET {READABLE}"], [*OPERATORS_ONLY, *OTHERS_KEYS, *SMUGGLING]),
    ("auth", [f"SET {READABLE} v", f"GET {READABLE}"], [f"GET {OWN}", *OPERATORS_ONLY]),
    ("report", [*ANY_CLIENT, *READING], [*NO_WRITING, *OPERATORS_ONLY, *OTHERS_KEYS]),
    ("operator", ["CONFIG GET *", "KEYS *", "FLUSHDB", "ACL LIST", f"SET {FOREIGN} v"], []),
    (
        SUPERVISOR_USER,
        SUPERVISING,
        ["FLUSHALL", "FLUSHDB", "DEBUG SLEEP 0", "KEYS *", "MODULE LIST", "MONITOR", "SWAPDB 0 1"],
    ),
    (
        BACKUP_USER,
        BACKING_UP,
        [f"SET {OWN} v", f"DEL {OWN}", "FLUSHALL", "CONFIG GET *", "KEYS *", "ACL LIST", "SHUTDOWN NOSAVE"],
    ),
    (
        REPLICATION_USER,
        ["PING", "REPLCONF capa eof"],
        [f"GET {OWN}", f"SET {OWN} v", "CONFIG GET *", "INFO", "CLIENT LIST"],
    ),
    (
        SENTINEL_USER,
        WATCHING,
        [f"GET {OWN}", f"SET {OWN} v", "CONFIG SET maxmemory 1", "FLUSHALL", "ACL LIST", "SUBSCRIBE x"],
    ),
]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=list(AT_HAND))
def build(request: pytest.FixtureRequest) -> EngineBuild:
    return AT_HAND[request.param]


async def answer(server: Server, *commands: list[str]) -> bytes:
    """First line of the answer to the last command, in bare RESP2: SUBSCRIBE, SYNC and SHUTDOWN answer unlike others."""
    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_unix_connection(server.facts.socket)
        try:
            line = b""
            for words in commands:
                parts = [f"*{len(words)}", *(part for word in words for part in (f"${len(word)}", word)), ""]
                writer.write("\r\n".join(parts).encode())
                line = await reader.readline()
            return line
        finally:
            writer.close()


async def denied(server: Server, user: str, command: str) -> bool:
    """Whether the engine refuses the command to the user; an error of the command itself means that it may be asked."""
    said = await answer(server, ["AUTH", user, password(user)], command.split(" "))
    return said.startswith(b"-") and any(word in said for word in REFUSING)


async def test_each_user_can_do_its_work_and_nothing_else(build: EngineBuild, tmp_path: Path) -> None:
    wrong: list[str] = []
    port = free_port()
    bus = port + 10_000 if build.version < (7, 0, 0) else None
    async with running(
        build, tmp_path / "n", cache_spec(topology=SENTINEL), port=port, bus_port=bus
    ) as server:
        for user, can, cannot in TABLE:
            more = (
                ANY_CLIENT_FROM_7_0
                if can[:1] == ANY_CLIENT[:1] and "READONLY" in can and build.version >= (7, 0, 0)
                else []
            )
            wrong += [f"{user} cannot {each}" for each in (*can, *more) if await denied(server, user, each)]
            wrong += [f"{user} can {each}" for each in cannot if not await denied(server, user, each)]
    assert wrong == []


async def test_a_namespace_that_is_only_read_is_not_written_where_the_engine_can_tell(
    build: EngineBuild, tmp_path: Path
) -> None:
    async with running(build, tmp_path / "n") as server:
        assert not await denied(server, "bill", f"GET {READABLE}")
        can_tell = build.version >= (7, 0, 0)
        assert await denied(server, "bill", f"SET {READABLE} v") is can_tell
        assert (
            await denied(server, "bill", f"EVAL return(redis.call('set',KEYS[1],1)) 1 {READABLE}") is can_tell
        )


async def test_nobody_comes_in_without_a_name_or_with_a_wrong_password(
    build: EngineBuild, tmp_path: Path
) -> None:
    async with running(build, tmp_path / "n") as server:
        assert (await answer(server, ["GET", OWN])).startswith(b"-NOAUTH")
        for user in ("bill", "default", "nobody"):
            for word in ("wrong", ""):
                assert (await answer(server, ["AUTH", user, word])).startswith(b"-WRONGPASS")
        assert (await answer(server, ["AUTH", "wrong"])).startswith(b"-")
        assert (await answer(server, ["AUTH", "bill", "wrong"], ["GET", OWN])).startswith(b"-NOAUTH")


async def test_a_change_of_users_leaves_the_others_connected(build: EngineBuild, tmp_path: Path) -> None:
    """By ACL SETUSER and DELUSER, from the file that was written; then the file is loaded anew without complaint."""
    spec = cache_spec()
    async with (
        running(build, tmp_path / "n", spec) as server,
        server.link() as operator,
        server.link("bill") as bill,
    ):
        file = Path(server.facts.acl_path)
        fewer = spec.model_copy(
            update={"services": {name: of for name, of in spec.services.items() if name != "report"}}
        )
        two = {**HASHES, "auth": (*HASHES["auth"], HASHES["bill"][0])}
        wanted = acl_rules(fewer, build, two)
        changes = changed_users(wanted, parse_acl(file.read_text()))
        assert ([user.name for user in changes.set], changes.delete) == (["auth"], ("report",))
        for user in changes.set:
            assert await operator.ask("ACL", "SETUSER", *user_setrules(user)) == "OK"
        assert await operator.ask("ACL", "DELUSER", *changes.delete) == 1
        assert await bill.ask("PING") == "PONG", "another user's connection was cut"
        for word in (password("auth"), password("bill")):
            async with await EngineNode.connect(
                Endpoint("", 0, Credentials("auth", word), socket=server.facts.socket)
            ) as node:
                assert await node.ask("PING") == "PONG"
        file.write_text(render_acl(wanted))
        assert await operator.ask("ACL", "LOAD") == "OK"


@pytest.mark.parametrize("topology", [{"mode": "cluster", "shards": 3, "replicas": 1}, {}, SENTINEL])
async def test_every_rule_is_taken_in_every_topology(
    build: EngineBuild, tmp_path: Path, topology: dict[str, Any]
) -> None:
    spec = cache_spec(topology=topology)
    port = free_port()
    bus = port + 10_000 if build.version < (7, 0, 0) else free_port()
    async with running(build, tmp_path / "n", spec, port=port, bus_port=bus) as server, server.link() as node:
        names = {line.split()[1] for line in await node.ask("ACL", "LIST")}
        assert names == {user.name for user in acl_rules(spec, build, HASHES)}
        for user in acl_rules(spec, build, HASHES):
            assert await node.ask("ACL", "SETUSER", *user_setrules(user)) == "OK"


async def test_services_ask_sentinels_and_do_not_command_them(build: EngineBuild, tmp_path: Path) -> None:
    spec = cache_spec(topology=SENTINEL)
    async with running_sentinel(build, tmp_path / "s", spec, (LOOPBACK, free_port())) as server:
        can = ["PING", "SENTINEL GET-MASTER-ADDR-BY-NAME cart", "SENTINEL MASTERS", "SENTINEL REPLICAS cart", "SENTINEL SENTINELS cart",
               "SUBSCRIBE +switch-master", "PSUBSCRIBE *", "INFO", "ROLE", "CLIENT SETNAME x"]  # fmt: skip
        cannot = ["SENTINEL FAILOVER cart", "SENTINEL SET cart quorum 1", "SENTINEL REMOVE cart", "SENTINEL MONITOR x 127.0.0.1 1 1",
                  "SENTINEL RESET *", "SENTINEL CONFIG GET *", "PUBLISH __sentinel__:hello x", "SHUTDOWN", "ACL LIST", "CLIENT KILL TYPE normal"]  # fmt: skip
        wrong = [f"cannot {command}" for command in can if await denied(server, "bill", command)]
        wrong += [f"can {command}" for command in cannot if not await denied(server, "bill", command)]
        assert wrong == []
        assert not await denied(server, SUPERVISOR_USER, "SENTINEL SET cart quorum 1")
