"""What speaks against a migration, by table."""

from __future__ import annotations

from dataclasses import replace

from holdfast.migrate.ends import Layout
from holdfast.migrate.rules import EndFacts, accept, blocking, findings
from holdfast.migrate.seen import SeenEnd, SeenServer
from holdfast.topology.seen import Role


def facts(engine: str, version: tuple[int, int, int], run_id: str) -> EndFacts:
    head = SeenServer(("h", 1), Role.PRIMARY, engine, version, run_id, "x")
    seen = SeenEnd("e", Layout.REPLICATED, (head,))
    return EndFacts(seen, head, frozenset({"SET", "GET"}), config_file="/etc/server.conf")


SOURCE, TARGET = facts("redis", (8, 0, 0), "a"), facts("valkey", (8, 1, 0), "b")


def ids(source: EndFacts = SOURCE, target: EndFacts = TARGET) -> set[str]:
    return {each.id for each in blocking(findings(source, target))}


def test_nothing_speaks_against_two_plain_servers() -> None:
    assert not ids()


def test_what_blocks() -> None:
    assert ids(target=replace(TARGET, head=SOURCE.head)) == {"same-server"}
    assert ids(target=replace(TARGET, head=replace(TARGET.head, keys=7))) == {"target-not-empty"}
    assert ids(replace(SOURCE, field_ttl_hashes=3)) == {"losses"}
    assert not ids(replace(SOURCE, field_ttl_hashes=3), facts("valkey", (9, 0, 0), "b"))
    assert ids(replace(SOURCE, used={"SET": 5, "VADD": 2})) == {"losses"}
    assert ids(replace(SOURCE, modules=frozenset({"vectorset", "ReJSON"}))) == {"losses"}
    assert ids(replace(SOURCE, used_databases=frozenset({0, 20}))) == {"databases"}
    assert ids(replace(SOURCE, config_file="")) == {"source-no-file"}
    assert ids(replace(SOURCE, denied=("REPLICAOF",))) == {"source-permissions"}
    assert ids(target=replace(TARGET, config={"tls-replication": "yes"})) == {"target-certificate"}
    assert ids(target=replace(TARGET, seen=replace(TARGET.seen, layout=Layout.CLUSTER))) == {"target-cluster"}
    small = replace(SOURCE, head=replace(SOURCE.head, info={"used_memory_dataset": "2000"}))
    assert ids(small, replace(TARGET, config={"maxmemory": "2000"})) == {"memory"}


def test_what_can_be_agreed_to_and_what_cannot() -> None:
    assert not blocking(accept(findings(replace(SOURCE, field_ttl_hashes=3), TARGET), ("losses",)))
    same = findings(SOURCE, replace(TARGET, head=SOURCE.head))
    assert blocking(accept(same, ("same-server",)))
