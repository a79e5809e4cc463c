"""The phonebill cache: the plan's values, alone and on one machine, with nothing left open."""

from pathlib import Path

import pytest

from holdfast.spec.advice import advice
from holdfast.spec.cache import Spec
from holdfast.spec.load import SpecSource, load_spec
from holdfast.spec.persistence import SaveRule
from holdfast.spec.topology import Mode
from holdfast.spec.watch import Metric, Severity

FOLDER = Path(__file__).parents[3] / "examples" / "phonebill"


def load(*names: str) -> Spec:
    return load_spec([SpecSource(name, (FOLDER / name).read_bytes()) for name in names]).spec


@pytest.fixture(scope="module")
def plan() -> Spec:
    return load("cache.yaml")


@pytest.fixture(scope="module")
def local() -> Spec:
    return load("cache.yaml", "cache.local.yaml")


def test_nothing_is_left_open(plan: Spec, local: Spec) -> None:
    for spec in (plan, local):
        assert [finding.rule.id for finding in advice(spec) if finding.accepted is None] == []


def test_what_the_plan_wants_would_be_refused_without_its_reasons(local: Spec) -> None:
    bare = local.model_copy(update={"accept": {}})
    assert [finding.rule.id for finding in advice(bare) if finding.refuses] == ["HF-HA-004", "HF-MEM-001"]


def test_keys_and_their_lives(plan: Spec) -> None:
    lives_s = {name: namespace.ttl_s for name, namespace in plan.keyspace.namespaces.items()}
    assert lives_s == {
        "auth.session": 86400,
        "auth.permissions": 28800,
        "auth.attempts": 1800,
        "auth.blacklist": 86400,
        "bill.customer": 14400,
        "bill.inquiry": 3600,
        "bill.kos": 3600,
        "bill.months": 86400,
        "product.info": 7200,
        "product.available": 86400,
        "product.history": 3600,
        "product.line": 1800,
        "system.config": 86400,
        "system.breaker": 300,
    }
    assert plan.keyspace.namespaces["auth.session"].shorter_ttls == {"without-auto-login": 1800}
    assert plan.keyspace.namespaces["bill.inquiry"].key_glob == "bill:inquiry:*:*"
    assert plan.keyspace.namespaces["system.breaker"].pattern == "system:cb:{serviceName}"
    assert (plan.keyspace.l1.ttl_s, plan.keyspace.l1.max_entries) == (300, 2000)


def test_servers_memory_and_files(plan: Spec) -> None:
    topology = plan.topology
    assert (topology.mode, topology.shards, topology.replicas, topology.nodes, len(topology.zones)) == (
        Mode.CLUSTER,
        3,
        1,
        6,
        3,
    )
    assert (topology.node_timeout_ms, topology.replica_validity_factor, topology.port) == (15_000, 10, 6380)
    assert (
        plan.memory.maxmemory_bytes,
        plan.memory.policy,
        plan.memory.samples,
    ) == (5 << 30, "allkeys-lru", 5)
    assert (plan.memory.warn_percent, plan.memory.critical_percent) == (80, 90)
    assert plan.persistence.rdb.save == (SaveRule(900, 1), SaveRule(300, 10), SaveRule(60, 10000))
    aof = plan.persistence.aof
    assert (
        aof.enabled,
        aof.fsync,
        aof.rewrite_percentage,
        aof.rewrite_min_size_bytes,
        aof.load_truncated,
    ) == (True, "everysec", 100, 64 << 20, True)


def test_who_may_connect_and_how(plan: Spec) -> None:
    assert (plan.security.tls.mode, plan.security.tls.min_version) == ("required", "1.2")
    rotation = plan.security.rotation
    assert (rotation.passwords_days, rotation.primary_day, rotation.secondary_day) == (30, 1, 15)
    assert {
        name: [addresses.text for addresses in rule.addresses] for name, rule in plan.network.allow.items()
    } == {
        "aks-nodes": ["10.0.1.0/24"],
        "bastion": ["10.0.4.100-10.0.4.110"],
    }
    assert (plan.network.keepalive_s, plan.network.idle_timeout_s, plan.network.backlog) == (300, 0, 511)
    for service in plan.services.values():
        pool = service.pool
        assert (pool.max_total, pool.max_idle, pool.min_idle, pool.max_wait_ms) == (20, 10, 5, 5000)
        assert (pool.test_on_borrow, pool.test_on_return, pool.test_while_idle) == (True, False, True)
        assert (pool.connect_timeout_ms, pool.command_timeout_ms) == (5000, 5000)
        assert (pool.batch_size, pool.pipeline_timeout_ms, pool.refresh_ms, pool.adaptive_refresh) == (
            100,
            1000,
            30_000,
            True,
        )
    assert {name: (s.instances.min, s.instances.max) for name, s in plan.services.items()} == {
        "auth": (3, 10),
        "bill-inquiry": (3, 15),
        "product-change": (2, 8),
    }


def test_promises_alerts_and_backups(plan: Spec) -> None:
    promises = plan.promises
    assert (promises.latency_ms, promises.throughput_ops, promises.hit_rate_percent, promises.failover_s) == (
        5,
        10_000,
        90,
        30,
    )
    assert (promises.rto_s, promises.rpo_s, promises.availability_percent, promises.users) == (
        900,
        300,
        99.99,
        1000,
    )
    alerts = {
        name: (a.metric, a.threshold, a.window_s, a.severity, a.action) for name, a in plan.alerts.items()
    }
    assert alerts == {
        "high-cache-miss-rate": (Metric.MISS_PERCENT, 30, 300, Severity.WARNING, ("teams",)),
        "high-memory-usage": (Metric.USED_MEMORY_PERCENT, 85, 300, Severity.CRITICAL, ("teams", "sms")),
        "high-response-time": (Metric.LATENCY, 10, 300, Severity.WARNING, ("teams",)),
        "cache-connection-failed": (Metric.ERRORS, 5, 60, Severity.CRITICAL, ("phone", "teams")),
        "too-many-connected-clients": (Metric.CONNECTED_CLIENTS, 500, 300, Severity.WARNING, ("teams",)),
    }
    retention = plan.backup.retention
    assert (plan.backup.schedule, retention.hourly, retention.daily, retention.weekly, retention.monthly) == (
        "hourly",
        168,
        7,
        4,
        12,
    )
    assert (
        plan.watch.metrics_retention_days,
        plan.watch.logs_retention_days,
        plan.watch.health_check_interval_s,
    ) == (90, 30, 30)
    assert plan.dr.cache == "phonebill-cache-prod-dr"


def test_the_traffic_adds_up_to_the_promised_throughput(plan: Spec) -> None:
    traffic = [namespace.traffic for namespace in plan.keyspace.namespaces.values()]
    assert sum(each.reads_per_s + each.writes_per_s for each in traffic) == plan.promises.throughput_ops


def test_on_one_machine_only_size_and_place_change(plan: Spec, local: Spec) -> None:
    assert (local.place.kind, local.memory.maxmemory_bytes, local.network.bind) == (
        "local",
        64 << 20,
        ("127.0.0.1",),
    )
    assert list(local.network.allow) == ["this-machine"]
    assert (local.topology.port, local.backup.store, local.security.tls.mode) == (
        None,
        "local",
        "where_available",
    )
    for section in ("engine", "promises", "alerts", "dr", "watch", "persistence", "accept"):
        assert getattr(local, section) == getattr(plan, section)
    assert local.topology == plan.topology.model_copy(update={"port": None})
    for name, namespace in plan.keyspace.namespaces.items():
        here = local.keyspace.namespaces[name]
        fewer = namespace.traffic.model_copy(update={"keys": here.traffic.keys})
        assert here == namespace.model_copy(update={"traffic": fewer}), name
        assert namespace.traffic.keys / 10 <= here.traffic.keys <= namespace.traffic.keys
