"""What a node's files say, for each engine; and which differences to a live server are seen."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.engine.builds import EVERY, REDIS_6_2, REDIS_7_0, VALKEY_9_1

from holdfast.engine.build import EngineBuild
from holdfast.engine.config import (
    BusPortImpossible,
    bus_port,
    server_config,
    server_directives,
    server_secrets,
)
from holdfast.engine.directive import Directive, ValueNotWritable, directive, render, words
from holdfast.engine.drift import changed_directives, normal_form
from holdfast.engine.facts import NodeFacts, SentinelFacts, TlsFiles
from holdfast.engine.sentinel_config import monitored, sentinel_config, sentinel_directives
from holdfast.spec.cache import Spec

CLUSTER = {"mode": "cluster", "shards": 3, "replicas": 1}
REPLICATED = {"mode": "replicated", "replicas": 2}
TLS = TlsFiles("/n/ca.crt", "/n/node.crt", "/n/node.key")


def spec(**sections: Any) -> Spec:
    return Spec.model_validate({"cache": {"name": "cart"}, **sections})


def facts(**changes: Any) -> NodeFacts:
    plain = NodeFacts(
        cache="cart",
        node="cart-1",
        zone="a",
        address="10.0.0.1",
        bind=("10.0.0.1",),
        port=7000,
        folder="/state/nodes/cart/cart-1",
        socket="/state/nodes/cart/cart-1/s",
        replication_user="holdfast-replication",
        replication_password="hunter2",
    )
    return dataclasses.replace(plain, **changes)


def by_name(directives: tuple[Directive, ...]) -> dict[str, str]:
    found = {each.name: each.value for each in directives}
    assert len(found) == len(directives), "a directive is written twice"
    return found


def said(build: EngineBuild = VALKEY_9_1, given: NodeFacts | None = None, **sections: Any) -> dict[str, str]:
    return by_name(server_directives(spec(**sections), build, given or facts()))


@pytest.mark.parametrize(
    ("build", "topology", "memory", "hz"),
    [
        (REDIS_7_0, CLUSTER, {}, "100"),
        (REDIS_7_0, CLUSTER, {"hz": 20}, "20"),
        (REDIS_7_0, REPLICATED, {}, "10"),
        (VALKEY_9_1, CLUSTER, {}, "10"),
        (dataclasses.replace(VALKEY_9_1, version=(8, 0, 9)), CLUSTER, {}, "100"),
        (dataclasses.replace(VALKEY_9_1, version=(8, 1, 0)), CLUSTER, {}, "10"),
    ],
)
def test_a_timer_is_quick_where_elections_wait_for_it(
    build: EngineBuild, topology: dict[str, Any], memory: dict[str, Any], hz: str
) -> None:
    assert said(build, topology=topology, memory=memory)["hz"] == hz


@pytest.mark.parametrize("build", EVERY, ids=lambda build: build.key)
@pytest.mark.parametrize("topology", [{}, REPLICATED, CLUSTER], ids=["standalone", "replicated", "cluster"])
def test_no_directive_is_written_that_the_version_does_not_know(
    build: EngineBuild, topology: dict[str, Any]
) -> None:
    unlisted = {"cluster-config-file"}
    port = facts(port=7000, bus_port=17000)
    assert set(said(build, port, topology=topology)) <= build.config_names | unlisted


def test_every_line_has_an_origin_and_spec_paths_are_those_of_the_file() -> None:
    document = spec(topology=CLUSTER).model_dump(mode="json")
    for each in server_directives(spec(topology=CLUSTER), VALKEY_9_1, facts()):
        if each.field.startswith(("holdfast: ", "network: ")):
            continue
        at: Any = document
        for key in each.field.split("."):
            assert key in at, f"{each.name} is said to come from {each.field}"
            at = at[key]


def test_the_text_names_the_field_above_each_line() -> None:
    directives = server_directives(spec(memory={"maxmemory": "5gb"}), VALKEY_9_1, facts())
    text = server_config(directives, VALKEY_9_1, facts())
    assert "\n# memory.maxmemory\nmaxmemory 5368709120\n" in text


def test_the_password_of_replication_is_in_the_secrets_file_only() -> None:
    directives = server_directives(spec(), VALKEY_9_1, facts())
    assert "hunter2" not in server_config(directives, VALKEY_9_1, facts())
    assert "\nprimaryauth hunter2\n" in server_secrets(directives, facts())
    assert "hunter2" not in repr(directives) + repr(facts())


def test_older_engines_get_the_older_names() -> None:
    assert "masterauth" in said(REDIS_7_0)
    assert "primaryauth" not in said(REDIS_7_0)


def test_save_rules_are_written_as_each_version_reads_them() -> None:
    rules = {"persistence": {"rdb": {"save": ["900 1", "300 10"]}}}
    old = server_config(server_directives(spec(**rules), REDIS_6_2, facts()), REDIS_6_2, facts())
    new = server_config(server_directives(spec(**rules), REDIS_7_0, facts()), REDIS_7_0, facts())
    assert "\nsave 900 1\nsave 300 10\n" in old
    assert "\nsave 900 1 300 10\n" in new
    off = server_directives(spec(persistence={"rdb": {"enabled": False}}), REDIS_7_0, facts())
    assert '\nsave ""\n' in server_config(off, REDIS_7_0, facts())


def test_under_tls_the_plaintext_port_is_off_and_all_links_are_encrypted() -> None:
    seen = said(given=facts(tls=TLS), topology=CLUSTER)
    assert seen["port"] == "0"
    assert seen["tls-port"] == "7000"
    assert seen["tls-replication"] == seen["tls-cluster"] == "yes"
    assert seen["tls-protocols"] == "TLSv1.2 TLSv1.3"
    only_new = said(given=facts(tls=TLS), security={"tls": {"mode": "required", "min_version": "1.3"}})
    assert only_new["tls-protocols"] == "TLSv1.3"
    assert "tls-cluster" not in only_new
    assert not {name for name in said() if name.startswith("tls-")}


def test_the_cluster_bus_port_is_one_the_engine_can_use() -> None:
    assert said(given=facts(bus_port=7100), topology=CLUSTER)["cluster-port"] == "7100"
    assert bus_port(REDIS_6_2, facts(port=7000)) == 17000
    with pytest.raises(BusPortImpossible, match="always uses the client port"):
        bus_port(REDIS_6_2, facts(port=7000, bus_port=7100))
    with pytest.raises(BusPortImpossible, match="ports end at 65535"):
        bus_port(VALKEY_9_1, facts(port=60000))


def test_only_a_node_outside_a_cluster_is_told_its_primary() -> None:
    follower = facts(primary=("10.0.0.2", 7001))
    assert said(given=follower, topology=REPLICATED)["replicaof"] == "10.0.0.2 7001"
    assert "replicaof" not in said(given=follower, topology=CLUSTER)


@pytest.mark.parametrize(("replicas", "delay"), [(1, "0"), (2, "1")])
def test_a_lone_replica_waits_for_nobody(replicas: int, delay: str) -> None:
    seen = said(topology={"mode": "replicated", "replicas": replicas})
    assert seen["repl-diskless-sync-delay"] == delay
    assert seen["repl-diskless-sync-max-replicas"] == str(replicas)


def test_writes_need_replicas_only_where_that_is_promised() -> None:
    assert said(topology=REPLICATED)["min-replicas-to-write"] == "0"
    durability = {"writes": "min_replicas", "replicas": 2, "max_lag": "5s"}
    seen = said(topology=REPLICATED, persistence={"durability": durability})
    assert (seen["min-replicas-to-write"], seen["min-replicas-max-lag"]) == ("2", "5")


def read_by_engine(line: str) -> list[str]:
    """Words of a line as the engines' own reader splits it: quotes begin a word, a backslash keeps what follows."""
    found: list[str] = []
    rest = line.lstrip()
    while rest:
        word = ""
        if rest[0] == '"':
            at = 1
            while rest[at] != '"':
                at += rest[at] == "\\"
                word += rest[at]
                at += 1
            assert rest[at + 1 : at + 2] in ("", " "), "the engine refuses text right after closing quotes"
            rest = rest[at + 1 :]
        else:
            word, _, rest = rest.partition(" ")
            assert not set(word) & {'"', "'", "\\"}
        found.append(word)
        rest = rest.lstrip()
    return found


@given(
    st.text(
        st.characters(min_codepoint=32, exclude_characters="\x7f", exclude_categories=["Cs"]), max_size=30
    )
)
def test_every_writable_value_is_read_back_as_it_was(value: str) -> None:
    line, _, after = render([directive("dir", value, "f")], "").partition("# f\n")[2].partition("\n")
    assert after == ""
    assert read_by_engine(line) == ["dir", value]


@pytest.mark.parametrize("value", ["a\nmaxmemory 1", "a\rb", "a\0b", "a\x7fb", "a\udc80b"])
def test_a_value_with_a_line_break_is_refused(value: str) -> None:
    with pytest.raises(ValueNotWritable, match="Nothing was written"):
        server_directives(spec(), VALKEY_9_1, facts(folder=value))


def test_a_refused_secret_is_not_shown() -> None:
    with pytest.raises(ValueNotWritable) as refused:
        server_directives(spec(), VALKEY_9_1, facts(replication_password="hunter2\n"))
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "wanted", "seen"),
    [
        ("maxmemory", "5gb", "5368709120"),
        ("appendonly", "yes", "YES"),
        ("save", "900 1 300 10", "900 1 300 10"),
        ("save", "", ""),
        ("unixsocketperm", "700", "0700"),
        ("tls-protocols", "TLSv1.2 TLSv1.3", "TLSv1.3 TLSv1.2"),
        (
            "client-output-buffer-limit",
            "replica 256mb 64mb 60 normal 0 0 0",
            "normal 0 0 0 slave 268435456 67108864 60",
        ),
    ],
)
def test_the_same_in_other_words_is_no_drift(name: str, wanted: str, seen: str) -> None:
    assert normal_form(name, wanted) == normal_form(name, seen)


@pytest.mark.parametrize(
    ("name", "wanted", "seen"),
    [
        ("maxmemory", "5gb", "5000000000"),
        ("save", "900 1", ""),
        ("bind", "10.0.0.1", "10.0.0.1 ::1"),
        ("logfile", "/A", "/a"),
    ],
)
def test_another_value_is_drift(name: str, wanted: str, seen: str) -> None:
    (change,) = changed_directives([words(name, wanted.split(), "some.field")], {name: seen})
    assert (change.name, change.seen, change.field) == (name, seen, "some.field")


def test_what_cannot_be_seen_or_is_a_role_is_no_drift() -> None:
    unseen = [directive("cluster-config-file", "nodes.conf", "f"), words("replicaof", ("a", 1), "f")]
    assert changed_directives(unseen, {"replicaof": ""}) == ()


def test_a_changed_secret_is_not_shown() -> None:
    (change,) = changed_directives(
        [directive("primaryauth", "new", "f", secret=True)], {"primaryauth": "old"}
    )
    assert change.live
    assert "new" not in repr(change) + str(change)
    assert "old" not in repr(change) + str(change)


def sentinel(**changes: Any) -> SentinelFacts:
    plain = SentinelFacts(
        cache="cart",
        node="sentinel-1",
        zone="a",
        address="10.0.0.1",
        bind=("10.0.0.1",),
        port=26379,
        folder="/s",
        primary=("10.0.0.9", 7000),
        data_user="holdfast-sentinel",
        data_password="data word",
        peer_user="holdfast-sentinel",
        peer_password="peer word",
    )
    return dataclasses.replace(plain, **changes)


def test_a_sentinel_is_told_whom_to_watch_and_what_it_wrote_is_read_back() -> None:
    wanted = spec(topology={"mode": "sentinel", "replicas": 1, "node_timeout": "2s"})
    directives = sentinel_directives(wanted, VALKEY_9_1, sentinel())
    text = sentinel_config(directives, sentinel())
    assert "sentinel monitor cart 10.0.0.9 7000 2\n" in text
    assert "sentinel down-after-milliseconds cart 2000\n" in text
    assert 'sentinel auth-pass cart "data word"\n' in text
    assert "word" not in repr(directives) + repr(sentinel())
    assert monitored(text, "cart") == ("10.0.0.9", 7000, 2)
    assert monitored(text.replace("monitor cart 10.0.0.9", 'monitor "cart" "10.0.0.7"'), "cart") == (
        "10.0.0.7",
        7000,
        2,
    )
    assert monitored(text, "other") is None


def test_a_sentinel_under_tls_speaks_tls_to_all() -> None:
    wanted = spec(topology={"mode": "sentinel", "replicas": 1})
    text = sentinel_config(sentinel_directives(wanted, VALKEY_9_1, sentinel(tls=TLS)), sentinel())
    assert {"port 0", "tls-port 26379", "tls-replication yes"} <= set(text.splitlines())
