"""Each rule speaks where it should, is silent where it should not speak, and is accepted by id."""

from typing import Any

import pytest

from holdfast.spec.advice import RULES, advice, known_ids, needless_acceptances
from holdfast.spec.cache import Spec

CLUSTER = {"mode": "cluster", "shards": 3, "replicas": 1, "zones": ["a", "b", "c"]}
OPEN_LAN = {"bind": ["10.0.0.5"], "allow": {"lan": "10.0.0.0/8"}}


def spec(**sections: Any) -> Spec:
    return Spec.model_validate({"cache": {"name": "shop"}, **sections})


def namespace(**more: Any) -> dict[str, Any]:
    return {"namespaces": {"a": {"pattern": "a:{x}", "ttl": "1h", **more}}}


def sessions(rights_ttl: str, **rights: Any) -> dict[str, Any]:
    return {
        "namespaces": {
            "session": {
                "pattern": "s:{u}",
                "ttl": "24h",
                "shorter_ttls": {"guest": "30m"},
                "kind": "session",
            },
            "permissions": {"pattern": "p:{u}", "ttl": rights_ttl, **rights},
        }
    }


def two_services(**one: Any) -> dict[str, Any]:
    return {
        "services": {"one": {"namespaces": ["a"]}, "two": {"namespaces": ["b"]}},
        "keyspace": {
            "namespaces": {
                "a": {"pattern": "u:{x}", "ttl": "1h", "owner": "one"},
                "b": {"pattern": one["other"], "ttl": "1h", "owner": "two"},
            }
        },
    }


POOL = {"shop": {"instances": {"max": 30}, "pool": {"max_total": 20}}}

TABLE: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    (
        "HF-HA-004",
        {"topology": {**CLUSTER, "node_timeout": "15s"}, "promises": {"failover": "30s"}},
        {"topology": {**CLUSTER, "node_timeout": "14s"}, "promises": {"failover": "30s"}},
    ),
    (
        "HF-HA-004",
        {
            "topology": {**CLUSTER, "node_timeout": "5s"},
            "promises": {"failover": "30s"},
            "services": {"s": {"pool": {"adaptive_refresh": False}}},
        },
        {
            "topology": {**CLUSTER, "node_timeout": "5s"},
            "promises": {"failover": "30s"},
            "services": {"s": {}},
        },
    ),
    (
        "HF-HA-004",
        {
            "topology": {"mode": "sentinel", "replicas": 1, "node_timeout": "15s"},
            "promises": {"failover": "10s"},
        },
        {
            "topology": {"mode": "replicated", "replicas": 1, "node_timeout": "15s"},
            "promises": {"failover": "10s"},
        },
    ),
    (
        "HF-HA-004",
        {"topology": {**CLUSTER, "node_timeout": "15s"}, "promises": {"failover": "30s"}},
        {"topology": {**CLUSTER, "node_timeout": "15s"}, "promises": {"failover": "30s"}, "place": "azure"},
    ),
    ("HF-HA-005", {"topology": {**CLUSTER, "zones": ["a"]}}, {"topology": CLUSTER}),
    (
        "HF-HA-005",
        {"topology": {**CLUSTER, "zones": ["a", "b"]}},
        {"topology": {"mode": "replicated", "replicas": 1, "zones": ["a", "b"]}},
    ),
    (
        "HF-MEM-001",
        {"memory": {"policy": "allkeys-lru"}, "keyspace": namespace(kind="lock")},
        {"memory": {"policy": "allkeys-lru"}, "keyspace": namespace(kind="cache")},
    ),
    (
        "HF-MEM-001",
        {"memory": {"policy": "allkeys-lru"}, "keyspace": namespace(kind="session")},
        {"memory": {"policy": "noeviction"}, "keyspace": namespace(kind="session")},
    ),
    (
        "HF-MEM-002",
        {"keyspace": {"namespaces": {"a": {"pattern": "a:{x}", "ttl": "none", "ttl_reason": "kept"}}}},
        {"keyspace": namespace()},
    ),
    (
        "HF-MEM-003",
        {"keyspace": {"namespaces": {"a": {"pattern": "a:{x}"}}}},
        {"keyspace": {"namespaces": {"a": {"pattern": "a:{x}", "ttl": "none", "ttl_reason": "kept"}}}},
    ),
    (
        "HF-MEM-005",
        {"memory": {"maxmemory": "800mb", "limit": "1000mb"}},
        {"memory": {"maxmemory": "750mb", "limit": "1000mb"}},
    ),
    (
        "HF-MEM-005",
        {
            "memory": {"maxmemory": "700mb", "limit": "1000mb"},
            "keyspace": namespace(traffic={"reads_per_s": 4, "writes_per_s": 1}),
        },
        {
            "memory": {"maxmemory": "700mb", "limit": "1000mb"},
            "keyspace": namespace(traffic={"reads_per_s": 5, "writes_per_s": 1}),
        },
    ),
    (
        "HF-MEM-005",
        {"memory": {"maxmemory": "800mb", "limit": "1000mb"}},
        {"memory": {"maxmemory": "800mb", "limit": "1000mb"}, "persistence": {"rdb": {"enabled": False}}},
    ),
    (
        "HF-TTL-002",
        {"keyspace": sessions("8h", follows="session")},
        {"keyspace": sessions("30m", follows="session")},
    ),
    (
        "HF-TTL-002",
        {"keyspace": sessions("8h")},
        {"keyspace": {"namespaces": {"permissions": {"pattern": "p:{u}", "ttl": "8h"}}}},
    ),
    (
        "HF-TTL-003",
        {"keyspace": namespace(kind="breaker", ttl="5m", tier="l1+l2")},
        {"keyspace": namespace(kind="breaker", ttl="5m", tier="l2")},
    ),
    (
        "HF-TTL-003",
        {"keyspace": namespace(kind="breaker", ttl="5m", tier="l1+l2")},
        {"keyspace": namespace(kind="breaker", ttl="6m", tier="l1+l2")},
    ),
    (
        "HF-KEY-001",
        {"topology": CLUSTER, "keyspace": {**namespace(), "together": {"t": {"namespaces": ["a"]}}}},
        {
            "topology": CLUSTER,
            "keyspace": {**namespace(pattern="a:{{x}}"), "together": {"t": {"namespaces": ["a"]}}},
        },
    ),
    (
        "HF-KEY-001",
        {"topology": CLUSTER, "keyspace": {**namespace(), "together": {"t": {"namespaces": ["a"]}}}},
        {"keyspace": {**namespace(), "together": {"t": {"namespaces": ["a"]}}}},
    ),
    ("HF-SEC-005", {"network": {"bind": ["0.0.0.0"]}}, {"network": OPEN_LAN}),
    (
        "HF-SEC-005",
        {"network": {"bind": ["0.0.0.0"], "allow": {"all": "0.0.0.0/0"}}},
        {"network": {"bind": ["127.0.0.1", "::1"]}},
    ),
    ("HF-SEC-006", {"network": OPEN_LAN}, {"network": OPEN_LAN, "security": {"tls": "required"}}),
    ("HF-SEC-006", {"network": OPEN_LAN, "security": {"tls": "off"}}, {"security": {"tls": "off"}}),
    ("HF-SEC-007", two_services(other="u:{x}:{y}"), two_services(other="v:{x}:{y}")),
    (
        "HF-OPS-003",
        {"services": POOL, "alerts": {"c": {"metric": "connected_clients", "threshold": 500}}},
        {"services": POOL, "alerts": {"c": {"metric": "connected_clients", "threshold": 600}}},
    ),
    (
        "HF-OPS-003",
        {"services": POOL, "network": {"maxclients": 599}},
        {"services": POOL, "network": {"maxclients": 600}},
    ),
    (
        "HF-OPS-006",
        {
            "services": {"s": {"pool": {"command_timeout": "5s", "max_wait": "1s"}}},
            "promises": {"latency": "5ms"},
        },
        {"services": {"s": {"pool": {"max_wait": "1s"}}}, "promises": {"latency": "5ms"}},
    ),
    (
        "HF-OPS-006",
        {"services": {"s": {"pool": {"max_wait": "5s"}}}, "promises": {"latency": "5ms"}},
        {"services": {"s": {"pool": {"max_wait": "5s"}}}},
    ),
]


def drawn(sections: dict[str, Any]) -> set[str]:
    return {finding.rule.id for finding in advice(spec(**sections))}


@pytest.mark.parametrize(("advice_id", "hurts", "is_fine"), TABLE)
def test_a_rule_speaks_only_where_it_should(
    advice_id: str, hurts: dict[str, Any], is_fine: dict[str, Any]
) -> None:
    assert advice_id in drawn(hurts)
    assert advice_id not in drawn(is_fine)


def test_every_rule_is_in_the_table_and_says_all_it_should() -> None:
    assert {advice_id for advice_id, _, _ in TABLE} == known_ids()
    for rule in RULES:
        assert rule.title
        assert rule.why
        assert rule.do
        assert rule.source


def test_the_shortest_file_draws_no_advice() -> None:
    assert advice(spec()) == ()


def test_accepted_advice_refuses_nothing_and_keeps_its_reason() -> None:
    (finding,) = advice(spec(network={"bind": ["0.0.0.0"]}, security={"tls": "required"}))
    assert finding.refuses
    (accepted,) = advice(
        spec(
            network={"bind": ["0.0.0.0"]}, security={"tls": "required"}, accept={"HF-SEC-005": "a closed lab"}
        )
    )
    assert not accepted.refuses
    assert accepted.accepted == "a closed lab"
    assert accepted.paths == ("network.allow",)


def test_accepting_what_is_not_drawn_is_told() -> None:
    assert needless_acceptances(spec(accept={"HF-SEC-005": "for nothing"})) == ("HF-SEC-005",)
