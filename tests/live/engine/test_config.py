"""Every engine at hand takes the files that Holdfast writes, and then is what they say."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.live.conftest import AT_HAND, need
from tests.live.engine.servers import Server, cache_spec, make_tls, running, running_sentinel, until
from tests.live.ports import LOOPBACK, free_port

from holdfast.engine.build import EngineBuild
from holdfast.engine.connection import CommandRefused, EngineNode
from holdfast.engine.drift import changed_directives
from holdfast.engine.sentinel_config import monitored
from holdfast.errors import HoldfastError

CLUSTER = {"mode": "cluster", "shards": 3, "replicas": 1}
REPLICATED = {"mode": "replicated", "replicas": 1}
SENTINEL = {"mode": "sentinel", "replicas": 1, "node_timeout": "1s"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=list(AT_HAND))
def build(request: pytest.FixtureRequest) -> EngineBuild:
    return AT_HAND[request.param]


QUICK = {"redis-6.2-plain", "redis-7.0-tls", "valkey-9.1-plain"}
"""Oldest, newest, and one with TLS: of what several servers do together, the others follow in the long tests."""
PLAIN_AND_TLS = pytest.mark.parametrize(
    ("build", "encrypted"),
    [
        pytest.param(build, encrypted, id=name, marks=() if name in QUICK else pytest.mark.long)
        for engine, build in AT_HAND.items()
        for encrypted in (False, True)
        if build.tls or not encrypted
        for name in (f"{engine}-{'tls' if encrypted else 'plain'}",)
    ],
)


def bus(build: EngineBuild, port: int) -> dict[str, Any]:
    """Ports of a cluster node: only 7.0 and later choose their bus port."""
    return {"port": port, "bus_port": port + 10_000 if build.version < (7, 0, 0) else free_port()}


async def info(node: EngineNode, section: str) -> dict[str, str]:
    text = await node.ask("INFO", section)
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


async def settings(node: EngineNode) -> dict[str, str]:
    reply = await node.ask("CONFIG", "GET", "*")
    return dict(reply) if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))


@pytest.mark.parametrize("topology", [{}, REPLICATED, CLUSTER], ids=["standalone", "replicated", "cluster"])
async def test_the_running_server_is_what_the_files_say(
    build: EngineBuild, tmp_path: Path, topology: dict[str, Any]
) -> None:
    spec = cache_spec(
        topology=topology,
        memory={"maxmemory": "5gb", "policy": "allkeys-lfu"},
        persistence={"rdb": {"save": ["900 1", "300 10"]}, "aof": {"enabled": True}},
    )
    async with (
        running(build, tmp_path / "n", spec, **bus(build, free_port())) as server,
        server.link() as node,
    ):
        seen = await settings(node)
        assert changed_directives(server.directives, seen) == ()
        assert seen["maxmemory"] == str(5 << 30)
        assert seen["save"] == "900 1 300 10"
        unseen = {each.name for each in server.directives} - set(seen) - {"replicaof"}
        assert unseen <= {"cluster-config-file"}, (
            "the engine does not tell these, so drift in them cannot be seen"
        )


async def test_what_is_said_to_change_live_does(build: EngineBuild, tmp_path: Path) -> None:
    async with (
        running(build, tmp_path / "n", cache_spec(topology=CLUSTER), **bus(build, free_port())) as server,
        server.link() as node,
    ):
        live = [each for each in server.directives if each.live]
        assert len(live) > 30
        for each in live:
            assert await node.ask("CONFIG", "SET", each.name, each.value) == "OK", each.name


async def test_a_drifted_value_is_seen_and_mended(build: EngineBuild, tmp_path: Path) -> None:
    async with running(build, tmp_path / "n") as server, server.link() as node:
        await node.ask("CONFIG", "SET", "maxmemory", "100mb")
        await node.ask("CONFIG", "SET", "save", "")
        changes = changed_directives(server.directives, await settings(node))
        assert {(change.name, change.field, change.live) for change in changes} == {
            ("maxmemory", "memory.maxmemory", True),
            ("save", "persistence.rdb.save", True),
        }
        for change in changes:
            await node.ask("CONFIG", "SET", change.name, change.wanted)
        assert changed_directives(server.directives, await settings(node)) == ()


@pytest.mark.parametrize(
    "name", ["with space", "with 'single' and \"double\"", "back\\slash", "#hash", "한국어"]
)
async def test_a_folder_may_have_any_name(build: EngineBuild, tmp_path: Path, name: str) -> None:
    async with running(build, tmp_path / name) as server, server.link() as node:
        await node.ask("SAVE")
        assert (tmp_path / name / "dump.rdb").exists()
        assert (tmp_path / name / "server.log").read_text()


async def test_a_replica_follows_with_its_own_user_at_once(build: EngineBuild, tmp_path: Path) -> None:
    """The replication user's password holds quotes, a backslash and spaces."""
    spec = cache_spec(topology=REPLICATED)
    async with running(build, tmp_path / "p", spec) as primary:
        began = asyncio.get_running_loop().time()
        follow = (LOOPBACK, primary.facts.port)
        async with running(build, tmp_path / "r", spec, primary=follow) as replica, replica.link() as node:

            async def linked() -> bool:
                return (await info(node, "replication"))["master_link_status"] == "up"

            await until(linked)
            assert asyncio.get_running_loop().time() - began < 4, "a lone replica waits for nobody"
            async with primary.link("bill") as writer:
                await writer.ask("SET", "bill:inquiry:1:2026-11", "x")
                assert await writer.ask("WAIT", 1, 3000) == 1
            with pytest.raises(CommandRefused, match="READONLY"):
                await node.ask("SET", "bill:inquiry:1:2026-11", "y")


async def pair(build: EngineBuild, servers: list[Server], links: list[EngineNode]) -> None:
    """Two nodes become one cluster, half of the slots each."""
    for node, (first, last) in zip(links, [(0, 8191), (8192, 16383)], strict=True):
        await node.ask("CLUSTER", "ADDSLOTS", *range(first, last + 1))
    other = servers[1].facts
    port_of_bus = next(
        each.value for each in servers[1].directives if each.name == "cluster-announce-bus-port"
    )
    await links[0].ask("CLUSTER", "MEET", LOOPBACK, other.port, port_of_bus)
    for node in links:

        async def ok(asked: EngineNode = node) -> bool:
            text = str(await asked.ask("CLUSTER", "INFO"))
            return "cluster_state:ok" in text and "cluster_known_nodes:2" in text

        await until(ok)


@PLAIN_AND_TLS
async def test_cluster_nodes_find_each_other_and_tell_true_ports(
    build: EngineBuild, tmp_path: Path, encrypted: bool
) -> None:
    """Under TLS also on the Unix socket, where nodes tell the plaintext port, which is off."""
    spec = cache_spec(topology=CLUSTER)
    tls = make_tls(tmp_path / "tls") if encrypted else None
    async with (
        running(build, tmp_path / "a", spec, tls=tls, **bus(build, free_port())) as one,
        running(build, tmp_path / "b", spec, tls=tls, **bus(build, free_port())) as two,
        one.link() as a,
        two.link() as b,
    ):
        await pair(build, [one, two], [a, b])
        told = str(await a.ask("CLUSTER", "NODES"))
        for server in (one, two):
            assert f"{LOOPBACK}:{server.facts.port}@" in told
        assert {entry[2][1] for entry in await a.ask("CLUSTER", "SLOTS")} == {one.facts.port, two.facts.port}
        async with await EngineNode.connect(one.front()) as outside:
            assert {entry[2][1] for entry in await outside.ask("CLUSTER", "SLOTS")} == {
                one.facts.port,
                two.facts.port,
            }


async def test_slots_move_by_the_engine_itself_where_it_can(build: EngineBuild, tmp_path: Path) -> None:
    """The receiving node runs the writes as the replication user, so that one must be allowed them."""
    if not build.knows_command("CLUSTER|SYNCSLOTS"):
        pytest.skip(f"{build.title} does not move slots by itself")
    spec = cache_spec(topology=CLUSTER)
    async with (
        running(build, tmp_path / "a", spec, **bus(build, free_port())) as one,
        running(build, tmp_path / "b", spec, **bus(build, free_port())) as two,
        one.link() as a,
        two.link() as b,
    ):
        await pair(build, [one, two], [a, b])
        await a.ask(
            "FUNCTION", "LOAD", "#!lua name=f\nserver.register_function('f', function() return 1 end)"
        )
        await a.ask("SET", "k{06S}", "v" * 100_000)  # slot 0
        await a.ask("RPUSH", "l{06S}", *range(500))
        await a.ask("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", 0, 0, "NODE", await b.ask("CLUSTER", "MYID"))

        async def moved() -> bool:
            (job,) = await a.ask("CLUSTER", "GETSLOTMIGRATIONS")
            facts = job if isinstance(job, dict) else dict(zip(job[::2], job[1::2], strict=True))
            assert facts["state"] != "failed", facts["message"]
            return str(facts["state"]) == "success"

        await until(moved)
        assert await b.ask("LLEN", "l{06S}") == 500
        assert await b.ask("STRLEN", "k{06S}") == 100_000


@PLAIN_AND_TLS
async def test_sentinels_watch_agree_and_fail_over(
    build: EngineBuild, tmp_path: Path, encrypted: bool
) -> None:
    """With the users and passwords that the files give them, and nothing more."""
    spec = cache_spec(topology=SENTINEL)
    tls = make_tls(tmp_path / "tls") if encrypted else None
    async with running(build, tmp_path / "p", spec, tls=tls) as primary:
        at = (LOOPBACK, primary.facts.port)
        async with (
            running(build, tmp_path / "r", spec, tls=tls, primary=at) as replica,
            running_sentinel(build, tmp_path / "s1", spec, at, tls=tls) as one,
            running_sentinel(build, tmp_path / "s2", spec, at, tls=tls, node="sentinel-2") as two,
            running_sentinel(build, tmp_path / "s3", spec, at, tls=tls, node="sentinel-3") as three,
        ):
            for sentinel in (one, two, three):
                async with sentinel.link("bill") as asking:

                    async def settled(asked: EngineNode = asking) -> bool:
                        others = await asked.ask("SENTINEL", "SENTINELS", "cart")
                        replicas = await asked.ask("SENTINEL", "REPLICAS", "cart")
                        return len(others) == 2 and any("slave" in str(each) for each in replicas)

                    await until(settled, 25)
            await primary.process.kill()
            async with one.link("bill") as asking:

                async def switched() -> bool:
                    told = await asking.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "cart")
                    return list(told) == [LOOPBACK, str(replica.facts.port)]

                await until(switched, 25)
            async with replica.link("bill") as writer:

                async def writable() -> bool:
                    try:
                        return str(await writer.ask("SET", "bill:inquiry:1:2026-11", "x")) == "OK"
                    except HoldfastError:
                        return False

                await until(writable)

            async def remembered() -> bool:
                return monitored((tmp_path / "s1" / "sentinel.conf").read_text(), "cart") == (
                    LOOPBACK,
                    replica.facts.port,
                    2,
                )

            await until(remembered)


async def test_secrets_are_in_no_log_and_no_readable_file(tmp_path: Path) -> None:
    build = need("valkey-9.1")
    async with running(build, tmp_path / "n") as server:
        assert "secret" not in (tmp_path / "n" / "server.conf").read_text().replace("secrets", "")
        assert "word" not in (tmp_path / "n" / "server.log").read_text()
        arguments = Path(f"/proc/{server.process.pid}/cmdline").read_bytes()
        assert b"word" not in arguments
