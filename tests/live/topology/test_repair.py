"""Two sides that both hold data: each is shown, nothing is touched without a word, the losing side is saved first."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
import redis
from tests.live.conftest import Bench, need, until
from tests.live.topology.caches import client, node_client, spec_text


def two_primaries(bench: Bench, mode: str, engine: str) -> tuple[str, str]:
    """A replica that was promoted by hand behind everybody's back, with a write of its own on each side."""
    need(engine)
    bench.run("up", str(bench.spec(spec_text(engine, mode, replicas=2))), check=True)
    client(bench).mset({f"cart:{number}": "both" for number in range(50)})
    nodes = bench.status("demo")["nodes"]
    primary = next(node["name"] for node in nodes if node["role"] == "primary")
    replica = next(node["name"] for node in nodes if node["role"] == "replica")
    until(
        lambda: all(node["keys"] == 50 for node in bench.status("demo")["nodes"] if node["kind"] == "server")
    )
    with node_client(bench, replica) as there, node_client(bench, primary) as here:
        there.execute_command("REPLICAOF", "NO", "ONE")
        there.set("cart:only-there", "x")
        here.set("cart:only-here", "y")
    return primary, replica


@pytest.mark.timeout(200)
@pytest.mark.parametrize(
    ("mode", "engine"),
    [("replicated", "valkey-9.1"), pytest.param("replicated", "redis-7.0", marks=pytest.mark.long)],
)
def test_two_primaries_are_shown_compared_and_made_one(bench: Bench, mode: str, engine: str) -> None:
    kept, lost = two_primaries(bench, mode, engine)
    assert "holdfast repair demo" in bench.run("up", "demo").err
    shown = bench.run("repair", "demo", "--compare")
    assert shown.code == 3
    assert f"{kept} and {lost} both take writes" in shown.out or f"{lost} and {kept} both take" in shown.out
    assert "51 keys" in shown.out
    assert "50 keys are the same, 2 differ" in shown.out
    refused = bench.run("repair", "demo", "--yes", "--confirm", "demo")
    assert refused.code == 2
    assert "--keep" in refused.err
    assert bench.run("repair", "demo", "--yes", "--keep", kept).code == 2
    assert bench.run("repair", "demo", "--yes", "--keep", "n77", "--confirm", "demo").code == 2
    assert _keys(bench, lost) == 51, "nothing is touched without a word"
    done = bench.run("repair", "demo", "--yes", "--keep", kept, "--confirm", "demo", "--json", check=True)
    assert done.facts["acted"]
    (line,) = done.facts["told"]
    saved = Path(line.rpartition(" ")[2]) / "dump.rdb"
    assert b"cart:only-there" in saved.read_bytes()
    status = bench.status("demo")
    assert status["healthy"], status["problems"]
    slip = bench.run("repair", "demo", "--keep", "n77")
    assert slip.code == 2, "a whole cache has no such node either"
    assert "n77" in slip.err
    assert bench.run("repair", "demo", "--keep", kept).code == 0
    assert [node["name"] for node in status["nodes"] if node["role"] == "primary"] == [kept]
    with node_client(bench, kept) as primary:
        assert primary.get("cart:only-here") == "y"
        assert primary.get("cart:only-there") is None
        assert primary.set("cart:after", "z")
    assert bench.run("repair", "demo", check=True).out.strip().endswith("does not mend itself.")
    assert bench.run("plan", "demo").code == 0
    assert [each["kind"] for each in bench.run("events", "demo", "--json").facts].count("repair") == 2


def _keys(bench: Bench, name: str) -> int:
    return next(int(node["keys"]) for node in bench.status("demo")["nodes"] if node["name"] == name)


@pytest.mark.long
def test_a_cold_start_is_told_and_done_with_a_yes_alone(bench: Bench) -> None:
    need("valkey-9.1")
    more = "persistence: {aof: {enabled: true}}\n"
    bench.run("up", str(bench.spec(spec_text("valkey-9.1", "replicated", more=more))), check=True)
    client(bench).set("cart:1", "kept")
    bench.run("down", "demo", check=True)
    shown = bench.run("repair", "demo")
    assert shown.code == 3
    assert "nodes are down" in shown.out
    assert "is down and has its append-only file of" in shown.out
    assert bench.pids() == {}
    bench.run("repair", "demo", "--yes", check=True)
    assert bench.status("demo")["healthy"]
    assert client(bench).get("cart:1") == "kept"


@pytest.mark.long
@pytest.mark.timeout(400)
def test_two_owners_of_slots_become_one(bench: Bench) -> None:
    """Two halves of a cluster that have forgotten each other, each with an owner of the same slots. On Redis 7.0: later
    engines pass a CLUSTER FORGET on to nodes that were not told, and no halves can be made.
    """
    need("redis-7.0")
    bench.run("up", str(bench.spec(spec_text("redis-7.0", "cluster"))), check=True)
    client(bench).set("cart:{a}:1", "both")
    nodes = bench.status("demo")["nodes"]
    owner = next(node for node in nodes if node["slots"])
    replica = next(node["name"] for node in nodes if node["primary"] == owner["name"])
    others = [node["name"] for node in nodes if node["name"] != replica]
    ids = {name: _id(bench, name) for name in [*others, replica]}
    with node_client(bench, replica) as cut:
        for name in others:
            with node_client(bench, name) as node:
                node.execute_command("CLUSTER", "FORGET", ids[replica])
        with contextlib.suppress(redis.RedisError):
            cut.execute_command("CLUSTER", "FAILOVER", "TAKEOVER")
        until(lambda: cut.execute_command("ROLE")[0] in {"master", b"master"})
        for name in others:
            with contextlib.suppress(redis.RedisError):
                cut.execute_command("CLUSTER", "FORGET", ids[name])
    findings = _found(bench)
    (found,) = [each for each in findings if each["fault"] == "two owners of slots"]
    assert found["keep"] == owner["name"]
    refused = bench.run("up", "demo")
    assert refused.code == 1
    assert "both claim" in refused.err, refused.err
    assert "Nothing was changed. holdfast repair demo" in refused.err
    assert [each["fault"] for each in _found(bench)] == [each["fault"] for each in findings]
    words = ("--yes", "--keep", owner["name"], "--confirm", "demo", "--json")
    done = bench.run("repair", "demo", *words, check=True, bound_s=250)
    assert done.facts["told"]
    until(lambda: bench.run("status", "demo").code == 0, bound_s=40)
    assert bench.run("plan", "demo").code == 0
    assert client(bench).get("cart:{a}:1") == "both"


def _id(bench: Bench, name: str) -> str:
    with node_client(bench, name) as node:
        return str(node.execute_command("CLUSTER", "MYID"))


def _found(bench: Bench) -> list[dict[str, Any]]:
    return list(bench.run("repair", "demo", "--json").facts["findings"])
