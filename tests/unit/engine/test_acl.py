"""Which users a cache has and what they may do, as rules; the live tests hold the rules against real engines."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from tests.unit.engine.builds import EVERY, REDIS_6_2, REDIS_7_0, VALKEY_9_1

from holdfast.engine.acl import (
    OWN_USERS,
    AclUser,
    RuleNotWritable,
    UserNameTaken,
    UserWithoutPassword,
    acl_rules,
    acl_shortfalls,
    changed_users,
    parse_acl,
    render_acl,
    sentinel_acl_rules,
    user_setrules,
)
from holdfast.engine.build import EngineBuild
from holdfast.spec.cache import Spec

NAMESPACES = {
    "bill.inquiry": {"pattern": "bill:inquiry:{customerId}:{month}", "ttl": "1h"},
    "auth.session": {"pattern": "auth:session:{userId}:{sessionId}", "ttl": "1h"},
}
SERVICES = {
    "bill": {"namespaces": ["bill.inquiry"], "reads": ["auth.session"]},
    "auth": {"user": "auth-app", "namespaces": ["auth.session"]},
    "report": {"namespaces": ["bill.inquiry"], "access": "read"},
}
CLUSTER = {"mode": "cluster", "shards": 3, "replicas": 1}


def spec(**sections: Any) -> Spec:
    whole = {"cache": {"name": "c"}, "services": SERVICES, "keyspace": {"namespaces": NAMESPACES}, **sections}
    return Spec.model_validate(whole)


def digest(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()


HASHES = {name: (digest(name),) for name in (*OWN_USERS, "operator", "bill", "auth-app", "report")}


def users(build: EngineBuild = VALKEY_9_1, **sections: Any) -> dict[str, AclUser]:
    return {user.name: user for user in acl_rules(spec(**sections), build, HASHES)}


def test_nobody_is_let_in_without_a_name() -> None:
    assert users()["default"].rules == ("reset", "off", "~*", "&*", "+@all")


def test_a_service_has_its_own_keys_channels_and_passwords() -> None:
    rules = users()["bill"].rules
    assert f"#{digest('bill')}" in rules
    assert [rule for rule in rules if rule[0] in "~%"] == ["~bill:inquiry:*:*", "%R~auth:session:*:*"]
    assert [rule for rule in rules if rule[0] == "&"] == [
        "&__redis__:invalidate",
        "&auth:session:*:*",
        "&bill:inquiry:*:*",
    ]
    assert users()["auth-app"].name == "auth-app", "the user that the spec names, not the service"


def test_a_service_that_only_reads_gets_no_writing_commands() -> None:
    assert "+@write" not in users()["report"].rules
    assert "+@write" in users()["bill"].rules


@pytest.mark.parametrize("build", EVERY, ids=lambda build: build.key)
def test_the_whole_list_of_operators_commands_is_taken_from_services(build: EngineBuild) -> None:
    rules = users(build)["bill"].rules
    assert {
        "-@dangerous",
        "-@admin",
        "-config",
        "-flushall",
        "-flushdb",
        "-debug",
        "-keys",
        "-shutdown",
    } <= set(rules)
    assert not {"+config", "+keys", "+@all", "+scan"} & set(rules)


def test_what_the_spec_adds_to_that_list_is_not_given_back_later() -> None:
    access = {"access": {"operator_commands": ["EVAL", "CLIENT", "SCRIPT|LOAD"]}}
    rules = users(security=access)["bill"].rules
    assert {"-eval", "-client", "-script|load"} <= set(rules)
    assert not {"+eval", "+client|setname", "+script|load"} & set(rules)
    assert "+evalsha" in rules


def test_6_2_takes_the_whole_command_away_and_gives_its_other_parts_back() -> None:
    access = {"access": {"operator_commands": ["CLIENT|TRACKING"]}}
    rules = users(REDIS_6_2, security=access)["bill"].rules
    assert rules.index("-client") < rules.index("+client|setname")
    assert "+client|tracking" not in rules


@pytest.mark.parametrize("build", EVERY, ids=lambda build: build.key)
@pytest.mark.parametrize("topology", [{}, CLUSTER, {"mode": "sentinel", "replicas": 1}])
def test_no_command_is_named_that_the_version_does_not_know(
    build: EngineBuild, topology: dict[str, Any]
) -> None:
    subcommands = any("|" in name for name in build.commands)
    for user in users(build, topology=topology).values():
        for rule in user.rules:
            if rule[0] in "+-" and rule[1] != "@":
                known = rule[1:].upper() if subcommands else rule[1:].partition("|")[0].upper()
                assert known in build.commands, f"{user.name} has {rule}"


def test_6_2_gets_plain_patterns_and_the_shortfall_is_said() -> None:
    rules = users(REDIS_6_2)["bill"].rules
    assert "~auth:session:*:*" in rules
    assert not [rule for rule in rules if rule.startswith("%")]
    (said,) = acl_shortfalls(spec(), REDIS_6_2)
    assert "service bill may also write" in said
    assert "auth.session" in said
    assert acl_shortfalls(spec(), REDIS_7_0) == ()


def test_only_a_cluster_that_moves_slots_by_itself_lets_replication_write() -> None:
    plain = "reset on #{} -@all +psync +replconf +ping".format(digest("holdfast-replication"))
    assert " ".join(users()["holdfast-replication"].rules) == plain
    assert " ".join(users(REDIS_7_0, topology=CLUSTER)["holdfast-replication"].rules) == plain
    moving = users(VALKEY_9_1, topology=CLUSTER)["holdfast-replication"].rules
    assert {"~*", "+@write", "+cluster|syncslots", "-flushall"} <= set(moving)


def test_the_supervisor_can_do_its_work_and_not_empty_the_cache_by_mistake() -> None:
    rules = users()["holdfast-supervisor"].rules
    assert "+@all" in rules
    assert {"-flushall", "-flushdb", "-debug", "-module", "-keys"} <= set(rules)


def test_the_sentinel_user_exists_only_where_there_are_sentinels() -> None:
    assert "holdfast-sentinel" not in users(topology=CLUSTER)
    assert "+slaveof" in users(topology={"mode": "sentinel", "replicas": 1})["holdfast-sentinel"].rules


def test_a_service_may_ask_a_sentinel_and_not_command_it() -> None:
    of_sentinel = {user.name: user.rules for user in sentinel_acl_rules(spec(), VALKEY_9_1, HASHES)}
    assert of_sentinel["default"] == ("reset", "off")
    asks = of_sentinel["bill"]
    assert "+sentinel|get-master-addr-by-name" in asks
    assert not {"+@all", "+sentinel", "+sentinel|failover", "+sentinel|set"} & set(asks)
    older = {user.name: user.rules for user in sentinel_acl_rules(spec(), REDIS_7_0, HASHES)}
    assert "+sentinel|get-primary-addr-by-name" in asks
    assert "+sentinel|get-primary-addr-by-name" not in older["bill"]


def test_two_passwords_work_while_one_is_being_replaced() -> None:
    two = {**HASHES, "bill": (digest("old"), digest("new"))}
    (bill,) = (user for user in acl_rules(spec(), VALKEY_9_1, two) if user.name == "bill")
    assert {f"#{digest('old')}", f"#{digest('new')}"} <= set(bill.rules)


@pytest.mark.parametrize("hashes", [(), ("hunter2",), ("A" * 64,)])
def test_a_user_without_a_proper_hash_is_refused(hashes: tuple[str, ...]) -> None:
    with pytest.raises(UserWithoutPassword, match="nothing was written") as refused:
        acl_rules(spec(), VALKEY_9_1, {**HASHES, "bill": hashes})
    assert "hunter2" not in str(refused.value)


def test_a_name_that_would_become_two_rules_is_refused() -> None:
    """The spec refuses it first; the file is guarded all the same."""
    auth = spec().services["auth"].model_copy(update={"user": "auth ~*"})
    hostile = spec().model_copy(update={"services": {"auth": auth}})
    with pytest.raises(RuleNotWritable, match="cannot hold spaces"):
        acl_rules(hostile, VALKEY_9_1, {**HASHES, "auth ~*": (digest("x"),)})


def test_one_name_is_one_user() -> None:
    doubled = spec().model_copy(
        update={"services": {"operator": spec().services["auth"].model_copy(update={"user": None})}}
    )
    with pytest.raises(UserNameTaken, match="declared twice"):
        acl_rules(doubled, VALKEY_9_1, HASHES)


def test_the_file_is_read_back_and_changes_are_the_least() -> None:
    before = acl_rules(spec(), VALKEY_9_1, HASHES)
    assert parse_acl(render_acl(before)) == before
    fewer = {name: each for name, each in SERVICES.items() if name != "report"}
    rotated = {**HASHES, "bill": (digest("other"),)}
    after = acl_rules(spec(services=fewer), VALKEY_9_1, rotated)
    changes = changed_users(after, before)
    assert [user.name for user in changes.set] == ["bill"]
    assert changes.delete == ("report",)
    assert changed_users(before, before).set == ()


def test_a_user_is_made_anew_from_nothing() -> None:
    assert user_setrules(AclUser("a", ("on", "~x"))) == ["a", "reset", "on", "~x"]
    assert user_setrules(AclUser("a", ("reset", "on"))) == ["a", "reset", "on"]
