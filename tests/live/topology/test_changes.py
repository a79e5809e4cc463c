"""Changes in the file of a cache that runs, while clients work: nothing restarts that need not, and nobody notices."""

from __future__ import annotations

import pytest
import redis
from tests.live.conftest import Bench, need, until
from tests.live.topology.caches import (
    client,
    node_client,
    roles,
    spec_text,
    steps_of,
    swapped,
    working,
    zones_apart,
)


@pytest.mark.parametrize(
    ("mode", "engine"),
    [
        ("replicated", "valkey-9.1"),
        pytest.param("cluster", "valkey-8.0", marks=pytest.mark.long),
        pytest.param("sentinel", "redis-7.0", marks=pytest.mark.long),
        pytest.param("replicated", "redis-6.2", marks=pytest.mark.long),
        pytest.param("sentinel", "valkey-8.0", marks=pytest.mark.long),
        pytest.param("sentinel", "redis-6.2", marks=pytest.mark.long),
        pytest.param("cluster", "redis-6.2", marks=pytest.mark.long),
        pytest.param("cluster", "redis-8.0", marks=pytest.mark.long),
        pytest.param("cluster", "valkey-9.1", marks=pytest.mark.long),
    ],
)
def test_replicas_come_and_go_unnoticed(bench: Bench, mode: str, engine: str) -> None:
    need(engine)
    text = spec_text(engine, mode, replicas=1)
    bench.run("up", str(bench.spec(text)), "--json", check=True)
    before = bench.pids()
    more = swapped(text, "replicas: 1", "replicas: 2")
    with working(bench) as ledger:
        grown = bench.run("up", str(bench.spec(more)), "--json", check=True)
        status = bench.status("demo")
        assert status["healthy"], status["problems"]
        primaries = [node["name"] for node in status["nodes"] if node["role"] == "primary"]
        followers = [node["primary"] for node in status["nodes"] if node["role"] == "replica"]
        assert sorted(followers) == sorted(primaries * 2)
        assert zones_apart(status)
        assert {name: bench.pids()[name] for name in before} == before

        shrunk = bench.run("up", str(bench.spec(text)), "--json", check=True)
        status = bench.status("demo")
        assert status["healthy"], status["problems"]
        assert len([node for node in status["nodes"] if node["role"] == "replica"]) == len(primaries)
        assert [node["name"] for node in status["nodes"] if node["role"] == "primary"] == primaries
    print(
        f"+1 {grown.took_s:.1f} s, -1 {shrunk.took_s:.1f} s, {ledger.writes} writes, slowest {ledger.slowest_s:.3f} s"
    )
    assert ledger.errors == []
    assert ledger.lost(client(bench)) == {}
    left = {file.parent.name for file in bench.state.glob("nodes/demo/*/node.json")}
    assert left == {node["name"] for node in status["nodes"]}
    if mode == "sentinel":
        replicas = [node for node in status["nodes"] if node["role"] == "replica"]
        for node in status["nodes"]:
            if node["role"] == "sentinel":
                with node_client(bench, node["name"]) as sentinel:
                    known = sentinel.execute_command("SENTINEL", "REPLICAS", "demo")
                    assert len(known) == len(replicas)
    assert bench.run("up", str(bench.spec(text)), "--json", check=True).facts["steps"] == []


@pytest.mark.parametrize(
    ("mode", "engine"),
    [
        pytest.param("replicated", "redis-7.0", marks=pytest.mark.long),
        pytest.param("cluster", "valkey-9.1", marks=pytest.mark.long),
        pytest.param("standalone", "redis-6.2", marks=pytest.mark.long),
        pytest.param("sentinel", "valkey-8.0", marks=pytest.mark.long),
        pytest.param("cluster", "redis-8.0", marks=pytest.mark.long),
        pytest.param("replicated", "valkey-8.1", marks=pytest.mark.long),
    ],
)
def test_settings_change_without_a_restart_and_last(bench: Bench, mode: str, engine: str) -> None:
    need(engine)
    text = spec_text(engine, mode)
    bench.run("up", str(bench.spec(text)), "--json", check=True)
    before = bench.pids()
    other = swapped(
        text, "memory: {maxmemory: 100mb}", "memory: {maxmemory: 120mb, policy: allkeys-lfu, samples: 9}"
    )
    other += 'persistence: {rdb: {save: ["700 3", "70 30"]}, aof: {enabled: true}}\n'
    wanted = {
        "maxmemory": str(120 << 20),
        "maxmemory-policy": "allkeys-lfu",
        "maxmemory-samples": "9",
        "save": "700 3 70 30",
        "appendonly": "yes",
    }

    def settled() -> None:
        for node in bench.status("demo")["nodes"]:
            if node["role"] == "sentinel":
                continue
            with node_client(bench, node["name"]) as direct:
                for name, value in wanted.items():
                    assert direct.execute_command("CONFIG", "GET", name)[name] == value, node["name"]

    with working(bench) as ledger:
        changed = bench.run("up", str(bench.spec(other)), "--json", check=True)
        assert set(steps_of(changed.facts)) <= {"set", "save"}
        settled()
    assert ledger.errors == []
    assert bench.pids() == before
    assert bench.run("up", str(bench.spec(other)), "--json", check=True).facts["steps"] == []
    bench.run("down", "demo", check=True)
    bench.run("up", "demo", "--json", check=True)
    settled()
    assert ledger.lost(client(bench)) == {}


@pytest.mark.parametrize(
    ("mode", "engine"),
    [
        ("standalone", "redis-7.0"),
        pytest.param("cluster", "redis-7.0", marks=pytest.mark.long),
        pytest.param("replicated", "redis-6.2", marks=pytest.mark.long),
        pytest.param("cluster", "valkey-9.1", marks=pytest.mark.long),
        pytest.param("standalone", "valkey-8.0", marks=pytest.mark.long),
        pytest.param("replicated", "redis-8.0", marks=pytest.mark.long),
    ],
)
def test_users_come_and_go_and_nobody_else_is_cut_off(bench: Bench, mode: str, engine: str) -> None:
    need(engine)
    text = spec_text(engine, mode)
    bench.run("up", str(bench.spec(text)), "--json", check=True)
    before = bench.pids()
    names = [node["name"] for node in bench.status("demo")["nodes"] if node["role"] == "primary"]
    kept = {name: node_client(bench, name, "shop") for name in names}
    ids = {name: each.execute_command("CLIENT", "ID") for name, each in kept.items()}

    more = swapped(text, "services:\n", "services:\n  late: {namespaces: [parcel], reads: [cart]}\n")
    more = swapped(
        more,
        "  namespaces:\n",
        '  namespaces:\n    parcel: {pattern: "parcel:{number}", ttl: 1h, owner: late}\n',
    )
    with working(bench) as ledger:
        added = bench.run("up", str(bench.spec(more)), "--json", check=True)
        assert set(steps_of(added.facts)) <= {"users", "save"}
        late = client(bench, "late")
        late.set("parcel:1", "there")
        assert late.get("parcel:1") == "there"
        with pytest.raises(redis.exceptions.NoPermissionError):
            late.get("ticket:1")
        kept_secret = bench.state / "caches" / "demo" / "passwords" / "late"
        secret = kept_secret.read_text()
        doomed = node_client(bench, names[0], "late")
        doomed.ping()
        assert bench.run("up", str(bench.spec(more)), "--json", check=True).facts["steps"] == []

        wider = swapped(more, "shop: {namespaces: [cart]}", "shop: {namespaces: [cart, ticket]}")
        bench.run("up", str(bench.spec(wider)), "--json", check=True)
        shop = client(bench, "shop")
        shop.set("ticket:7", "mine too")

        bench.run("up", str(bench.spec(text)), "--json", check=True)
        with pytest.raises(redis.exceptions.NoPermissionError):
            shop.get("ticket:7")
        with pytest.raises(
            redis.exceptions.RedisError
        ):  # deleted users are disconnected and cannot come back
            doomed.ping()
    assert ledger.errors == []
    assert {name: each.execute_command("CLIENT", "ID") for name, each in kept.items()} == ids
    assert bench.pids() == before
    assert bench.run("up", str(bench.spec(text)), "--json", check=True).facts["steps"] == []
    # What is set is also what the files say.
    bench.run("down", "demo", check=True)
    bench.run("up", "demo", "--json", check=True)
    assert not kept_secret.exists()
    # A service of the same name gets a password of its own: the one that went does not come to life again.
    bench.run("up", str(bench.spec(more)), "--json", check=True)
    assert client(bench, "late").set("parcel:1", "mine")
    assert kept_secret.read_text() != secret
    kept_secret.write_text(secret)
    with pytest.raises(redis.exceptions.AuthenticationError):
        node_client(bench, names[0], "late").ping()
    assert client(bench).get("cart:none") is None


def test_a_user_changed_by_hand_is_set_right(bench: Bench) -> None:
    need("redis-7.0")
    text = spec_text("redis-7.0", "standalone")
    file = bench.spec(text)
    bench.run("up", str(file), "--json", check=True)
    primary = next(node["name"] for node in bench.status("demo")["nodes"] if node["role"] == "primary")
    with node_client(bench, primary) as operator:
        operator.execute_command("ACL", "SETUSER", "shop", "+@all", "~*")
        operator.execute_command("ACL", "SETUSER", "intruder", "on", ">guessed", "+@all", "~*")
        operator.execute_command("CONFIG", "SET", "maxmemory", "50mb")
    mended = bench.run("up", str(file), "--json", check=True)
    assert set(steps_of(mended.facts)) == {"set", "users"}
    with node_client(bench, primary) as operator:
        users = " ".join(operator.execute_command("ACL", "LIST"))
        assert "intruder" not in users
        assert operator.execute_command("CONFIG", "GET", "maxmemory")["maxmemory"] == str(100 << 20)
    with pytest.raises(redis.exceptions.NoPermissionError):
        client(bench, "shop").get("ticket:1")
    assert bench.run("up", str(file), "--json", check=True).facts["steps"] == []


@pytest.mark.parametrize(
    "engine",
    [
        "redis-7.0",
        pytest.param("valkey-9.1", marks=pytest.mark.long),
        pytest.param("valkey-8.0", marks=pytest.mark.long),
        pytest.param("redis-8.0", marks=pytest.mark.long),
        pytest.param("redis-6.2", marks=pytest.mark.long),
        pytest.param("valkey-8.1", marks=pytest.mark.long),
    ],
)
def test_from_standalone_to_sentinel_and_back_in_place(bench: Bench, engine: str) -> None:
    need(engine)
    texts = {mode: spec_text(engine, mode) for mode in ("standalone", "replicated", "sentinel")}
    bench.run("up", str(bench.spec(texts["standalone"])), "--json", check=True)
    (primary,) = [node["name"] for node in bench.status("demo")["nodes"]]
    pid = bench.pids()[primary]
    with working(bench) as ledger:
        for mode in ("replicated", "sentinel", "replicated", "standalone"):
            done = bench.run("up", str(bench.spec(texts[mode])), "--json", check=True)
            print(f"to {mode}: {done.took_s:.1f} s, {steps_of(done.facts)}")
            status = bench.status("demo")
            assert status["healthy"], status["problems"]
            counts = {
                role: sum(node["role"] == role for node in status["nodes"])
                for role in ("primary", "replica", "sentinel")
            }
            replicas, sentinels = {"standalone": (0, 0), "replicated": (2, 0), "sentinel": (2, 3)}[mode]
            assert counts == {"primary": 1, "replica": replicas, "sentinel": sentinels}
            assert bench.pids()[primary] == pid
            assert len(bench.pids()) == len(status["nodes"])
            assert status["mode"] == mode
            again = bench.run("up", str(bench.spec(texts[mode])), "--json", check=True)
            assert again.facts["steps"] == []
            if mode == "sentinel":
                assert client(bench).set("cart:through-sentinel", "yes")
    assert ledger.errors == []
    connection = client(bench)
    assert ledger.lost(connection) == {}
    assert connection.get("cart:through-sentinel") == "yes"


@pytest.mark.parametrize(
    ("mode", "engine"),
    [("cluster", "valkey-9.1"), pytest.param("sentinel", "redis-7.0", marks=pytest.mark.long)],
)
def test_zones_are_renamed_and_added_without_touching_a_process(bench: Bench, mode: str, engine: str) -> None:
    need(engine)
    text = spec_text(engine, mode)
    bench.run("up", str(bench.spec(text)), "--json", check=True)
    before, pids = roles(bench.status("demo")), bench.pids()
    for zones in ("x, b, c", "x, y, z, w"):
        other = swapped(text, "zones: [a, b, c]", f"zones: [{zones}]")
        done = bench.run("up", str(bench.spec(other)), "--json", check=True)
        assert set(steps_of(done.facts)) <= {"zone", "save"}
        assert "zone" in steps_of(done.facts)
        status = bench.status("demo")
        assert status["healthy"], status["problems"]
        assert {node["zone"] for node in status["nodes"]} <= set(zones.split(", "))
        assert zones_apart(status)
        assert roles(status) == before
        assert bench.pids() == pids
        assert bench.run("up", str(bench.spec(other)), "--json", check=True).facts["steps"] == []


REFUSALS = [
    (
        "sentinel to cluster",
        "mode: sentinel, shards: 1, replicas: 2",
        "mode: cluster, shards: 3, replicas: 1",
        "migration",
    ),
    ("below what is used", "maxmemory: 100mb", "maxmemory: 5mb", "already uses"),
    ("an engine without TLS", 'version: "7.0"', 'version: "6.2"', "with TLS"),
    ("tls off", "tls: where_available", "tls: off", "second cache"),
]


@pytest.mark.long
def test_what_cannot_be_done_is_refused_before_anything_is_touched(bench: Bench) -> None:
    need("redis-7.0")
    need("redis-6.2")
    text = spec_text("redis-7.0", "sentinel")
    bench.run("up", str(bench.spec(text)), "--json", check=True)
    client(bench).set("cart:big", "x" * 20_000_000)
    until(
        lambda: (
            min(n["used_bytes"] for n in bench.status("demo")["nodes"] if n["kind"] == "server") > 20_000_000
        )
    )
    before, pids = bench.status("demo"), bench.pids()
    kept = {
        file: file.read_bytes()
        for pattern in ("nodes/demo/*/server.conf", "nodes/demo/*/users.acl", "caches/demo/*.json")
        for file in bench.state.glob(pattern)
    }
    assert len(kept) >= 8
    for what, old, new, words in REFUSALS:
        file = bench.spec(swapped(text, old, new))
        for verb in ("plan", "up"):
            refused = bench.run(verb, str(file))
            assert refused.code == 1, (what, verb, refused.out, refused.err)
            assert words in refused.err, (what, refused.err)
            assert "Traceback" not in refused.err
    assert roles(bench.status("demo")) == roles(before)
    assert bench.pids() == pids
    assert {file: file.read_bytes() for file in kept} == kept
    assert bench.run("up", str(bench.spec(text)), "--json", check=True).facts["steps"] == []


def test_a_cluster_is_not_shrunk_below_its_data(bench: Bench) -> None:
    need("valkey-9.1")
    text = spec_text("valkey-9.1", "cluster", shards=4, replicas=0, maxmemory="30mb")
    bench.run("up", str(bench.spec(text)), "--json", check=True)
    shop = client(bench)
    for number in range(80):
        shop.set(f"cart:{number}", "x" * 1_000_000)
    pids = bench.pids()
    refused = bench.run("up", str(bench.spec(swapped(text, "shards: 4", "shards: 3"))))
    assert refused.code == 1
    assert "at least 4 shards" in refused.err
    assert bench.pids() == pids
    assert bench.run("up", str(bench.spec(text)), "--json", check=True).facts["steps"] == []
