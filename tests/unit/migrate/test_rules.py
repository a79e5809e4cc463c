"""What speaks against a migration, by table."""

from __future__ import annotations

from dataclasses import replace

from holdfast.migrate.ends import Layout
from holdfast.migrate.journal import Mode
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


def test_an_old_source_is_warned_of_for_the_way_back() -> None:
    def told(source: EndFacts, target: EndFacts) -> list[str]:
        return [each.what for each in findings(source, target) if each.id == "way-back"]

    assert "KEEPTTL" in told(facts("redis", (5, 0, 0), "a"), TARGET)[0]
    assert not told(SOURCE, TARGET)
    newer = replace(TARGET, commands=TARGET.commands | {"HPEXPIRE"})
    assert "TTLs of fields" in told(facts("redis", (7, 0, 0), "a"), newer)[0]


def test_databases_that_are_written_one_by_one_need_a_place() -> None:
    cluster = replace(TARGET, seen=replace(TARGET.seen, layout=Layout.CLUSTER))
    used = replace(SOURCE, used_databases=frozenset({0, 3}))

    def against(target: EndFacts, *named: tuple[int, int]) -> list[str]:
        return [each.what for each in blocking(findings(used, target, mode=Mode.WRITE, databases=named))]

    assert not against(TARGET)
    assert "databases 3 are in use" in against(cluster)[0]
    assert "databases 0 are in use" in against(cluster, (3, 0))[0]
    assert "which has 1" in against(cluster, (3, 5))[0]
    assert not against(TARGET, (3, 5))
    assert "databases 0 are in use" in against(TARGET, (3, 0))[0]
    assert not against(TARGET, (3, 0), (0, 3))
    assert {
        each.id for each in blocking(accept(findings(used, cluster, mode=Mode.WRITE), ("databases",)))
    } == {"databases"}


def test_a_fence_by_rights_needs_users_and_a_file() -> None:
    def against(source: EndFacts) -> set[str]:
        return {each.id for each in blocking(findings(source, TARGET, mode=Mode.WRITE))}

    assert not against(SOURCE)
    assert against(facts("redis", (5, 0, 14), "a")) == {"source-no-users"}
    assert against(replace(SOURCE, config_file="")) == {"source-no-file"}
    assert not against(replace(SOURCE, config_file="", config={"aclfile": "/etc/users.acl"}))
    assert against(replace(SOURCE, denied=("ACL SETUSER",))) == {"source-permissions"}
