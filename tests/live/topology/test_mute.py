"""Nodes that hang or would be emptied while a command works: it ends within a bound and touches nothing."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
from tests.live.conftest import Bench, need
from tests.live.supervisor.ledger import Way
from tests.live.topology.caches import node_client, spec_text

from holdfast.cli.opening import named, opened
from holdfast.topology.apply_cluster import NotReplica, attach
from holdfast.topology.outdated import PlanOutdated
from holdfast.topology.steps import AttachReplica

NODE_TIMEOUT_S = 5.0
"""Of `spec_text`."""


@pytest.mark.long
def test_up_names_a_node_that_hangs_and_waits_no_longer_than_its_supervisor_would(bench: Bench) -> None:
    """A sentinel has no pulse that the supervisor feels, so nobody ends it."""
    need("valkey-9.1")
    file = bench.spec(spec_text("valkey-9.1", "sentinel"))
    bench.run("up", str(file), check=True)
    pids = bench.pids()
    os.kill(pids["sentinel-2"], signal.SIGSTOP)
    try:
        refused = bench.run("up", str(file))
    finally:
        os.kill(pids["sentinel-2"], signal.SIGCONT)
    assert refused.code == 1, refused.out
    assert f"sentinel-2 (pid {pids['sentinel-2']}) runs but does not answer" in refused.err
    assert f"kill -9 {pids['sentinel-2']}" in refused.err
    assert NODE_TIMEOUT_S < refused.took_s < 30
    assert bench.run("up", str(file), "--json", check=True).facts["steps"] == []
    assert bench.pids() == pids


@pytest.mark.long
def test_a_primary_that_was_emptied_since_the_plan_was_made_gets_no_replica_with_data(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("valkey-9.1")
    for name, value in bench.environ.items():
        monkeypatch.setenv(name, value)
    file = bench.spec(spec_text("valkey-9.1", "replicated", replicas=1))
    bench.run("up", str(file), check=True)
    way = Way(bench, "demo")
    with way.node("n2") as node:
        node.replicaof("NO", "ONE")
        node.set("cart:1", "held by one alone")

    async def attached() -> None:
        async with opened(named(str(file))) as cache:
            await attach(cache, AttachReplica(node="n2", primary="n1"))

    with pytest.raises(NotReplica, match="it holds 1 keys and n1 none; nothing was changed"):
        asyncio.run(attached())
    with way.node("n2") as node:
        assert node.get("cart:1") == "held by one alone"
        assert node.info("replication")["role"] == "master"
    with way.node("n1") as node:
        node.set("cart:2", "it holds something too")
    asyncio.run(attached())
    with way.node("n2") as node:
        assert node.info("replication")["role"] == "slave"


@pytest.mark.long
def test_a_plan_that_a_failover_overtook_is_said_to_be_outdated(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("valkey-8.0")
    for name, value in bench.environ.items():
        monkeypatch.setenv(name, value)
    file = bench.spec(spec_text("valkey-8.0", "cluster", replicas=1))
    bench.run("up", str(file), check=True)
    one, other = [node["name"] for node in bench.status("demo")["nodes"] if node["role"] == "replica"][:2]

    async def attached() -> None:
        async with opened(named(str(file))) as cache:
            await attach(cache, AttachReplica(node=one, primary=other))

    with pytest.raises(PlanOutdated, match=f"{other} is no primary any more"):
        asyncio.run(attached())
    assert bench.run("up", str(file), "--json", check=True).facts["steps"] == []


@pytest.mark.long
def test_a_node_that_lets_holdfast_in_no_more_is_named_and_what_is_advised_opens_it(bench: Bench) -> None:
    need("valkey-9.1")
    file = bench.spec(spec_text("valkey-9.1", "replicated", replicas=1))
    bench.run("up", str(file), check=True)
    with node_client(bench, "n2") as node:
        node.execute_command("ACL", "SETUSER", "holdfast-supervisor", "resetpass", ">somebody else's")
        node.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    shut = next(each for each in bench.status("demo")["problems"] if each["node"] == "n2")
    assert "does not let Holdfast in" in shut["what"]
    refused = bench.run("up", str(file))
    assert refused.code == 1, refused.out
    assert "n2 does not let Holdfast in" in refused.err
    assert refused.took_s < 20
    advised = "holdfast call --node n2 demo ACL LOAD"
    assert advised in shut["mend"]
    assert advised in refused.err
    bench.run(*advised.split()[1:], check=True)
    assert bench.status("demo")["healthy"]
    assert bench.run("up", str(file), "--json", check=True).facts["steps"] == []
