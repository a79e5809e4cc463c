"""Judges: the same figures, the same verdict; and each way in which a promise can be broken."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from holdfast.prove.judges import availability, connectivity, durability, performance, security
from holdfast.prove.verdict import Outcome, Verdict
from holdfast.spec.cache import Spec
from holdfast.spec.load import SpecSource, load_spec

SPEC = """
format: 1
cache: {name: shop}
topology: {mode: cluster, shards: 3, replicas: 1, zones: [a, b, c], node_timeout: 15s}
memory: {maxmemory: 64mb, limit: 100mb}
persistence: {rdb: {save: ["900 1"]}, aof: {enabled: true, fsync: everysec}}
security: {tls: {mode: required}}
network: {allow: {here: 127.0.0.0/8}}
services: {cart: {namespaces: [cart]}}
keyspace: {namespaces: {cart: {pattern: "cart:{id}", ttl: 1h}}}
promises: {latency: 5ms, throughput: 10000, hit_rate: 90%, failover: 30s, rto: 15m, rpo: 5m, availability: 99.99%}
"""
BARE = "format: 1\ncache: {name: shop}\n"


def spec(text: str = SPEC) -> Spec:
    return load_spec([SpecSource("test", text)]).spec


def group(**changed: Any) -> dict[str, Any]:
    return {
        "shard": "n1", "wait": 0, "acknowledged": 100, "lost": 0, "doubled": 0, "gap_ms": 90.0, "gap_at_s": 1.0,
        "lost_span_s": 0.0, "errors": {},
    } | changed  # fmt: skip


def failure(**changed: Any) -> dict[str, Any]:
    ledger = {
        "acknowledged": 400, "lost_without_wait": 0, "lost_with_wait": 0, "doubled": 0, "lost_span_s": 0.0,
        "groups": [group()], "bucket_s": 0.02, "acks": {"n1": [1]},
    }  # fmt: skip
    ledger |= changed.pop("ledger", {})
    return {
        "kind": "a primary is killed", "gap_ms": 90.0, "gap_with_wait_ms": 100.0, "judged_by_wait": False,
        "whole_after_s": 1.5, "ledger": ledger,
    } | changed  # fmt: skip


def load(**changed: Any) -> dict[str, Any]:
    return {
        "offer": {"rate_per_s": 10_000, "clients": 50}, "percentile": 99, "at_percentile_ms": 1.2, "rate_per_s": 10_000.0,
        "overall": {"percentiles_ms": {"50": 0.3, "99": 1.2}, "max_ms": 4.0}, "offered": 50_000, "answered": 50_000,
        "lost": 0, "stale": 0, "errors": {}, "limit": "none", "limit_words": "",
    } | changed  # fmt: skip


def memory(**changed: Any) -> dict[str, Any]:
    return {
        "keys": 1000, "used_bytes": 1_000_000, "bytes_per_key": 1000.0, "predicted_bytes": 1_000_000,
        "declared_bytes": 10_000_000, "maxmemory_bytes": 192 << 20, "limit_bytes_per_node": 100 << 20,
        "fragmentation": {"n1": {"ratio": 1.1, "bytes": 5_000_000}},
        "snapshot": {"node": "n1", "took_ms": 50.0, "copied_bytes": 1_000_000, "rss_peak_bytes": 20_000_000, "status": "ok"},
    } | changed  # fmt: skip


def topology(**changed: Any) -> dict[str, Any]:
    shards = [
        {"primary": f"n{n}", "zone": zone, "replicas": {f"r{n}": {"zone": other, "in_sync": True}}}
        for n, zone, other in ((1, "a", "b"), (2, "b", "c"), (3, "c", "a"))
    ]
    return {
        "mode": "cluster", "nodes": 6, "up": 6, "away": {}, "slots_served": 16384, "slots": 16384,
        "redirects_right": True, "unhealthy": [], "sentinels_up": 0, "shards": shards,
    } | changed  # fmt: skip


def config(**changed: str) -> dict[str, Any]:
    return {"nodes": {"n1": durability.wanted_config(spec()) | changed}}


TLS_NODE = {"version": "TLSv1.3", "days_left": 365.0}
CUT = {
    "nodes": ["n1"],
    "settings": {},
    "written": 200,
    "cut_bytes": 20,
    "keys_after": 199,
    "refused": "",
    "took_ms": 30.0,
}
FULL = {
    "nodes": ["n1"], "settings": {"appendfsync": "everysec"}, "acknowledged": 250, "refused_with": "MISCONF", "ended": False,
    "accepted_again_after_s": 0.2, "kept_after_a_crash": 251,
}  # fmt: skip


def runs(*each: dict[str, Any]) -> dict[str, Any]:
    return {"runs": list(each)}


SECRETS: dict[str, Any] = {"secrets": 4, "logs": 7, "found": [], "open": [], "files": 9, "processes": 9}
AUDIT: dict[str, Any] = {
    "servers": 6,
    "without_the_refusal": [],
    "action_logged": True,
    "audit_log_mode": "0600",
}
REFUSED: dict[str, Any] = {"servers": 6, "not_kept": [], "took_s": 1.4, "bound_s": 10.0}
ADDRESSES: dict[str, Any] = {
    "listening": ["127.0.0.1"], "tried": 6, "other_addresses": ["10.0.0.2"], "entered": [], "allow": ["127.0.0.0/8"],
    "enforced": {"local": {"holds": True, "how": "bind to loopback only", "why": "x"}},
}  # fmt: skip
RATE = {"hit_percent": 95.0, "hits": 95, "misses": 5, "fills": 5, "errors": {}}
HITS: dict[str, Any] = {"keys": 1000, "data_bytes": 10_000, "warm": RATE, "cold": RATE, "evicted": 0}
PIPES: dict[str, Any] = {
    "size": 100, "one_by_one": {"rate_per_s": 1000.0, "errors": {}}, "together": {"rate_per_s": 9000.0, "errors": {}},
}  # fmt: skip
ALONE = {"node_timeout_s": 15.0, "stopped_after_s": 16.0, "writes_taken": 300}

Judge = Callable[[Mapping[str, Any], Spec], Verdict]
KEPT: list[tuple[Judge, dict[str, Any]]] = [
    (connectivity.services, {"tried": 3, "shards": 3, "services": {}, "by_one_user": "", "failures": []}),
    (connectivity.topology, topology()),
    (connectivity.tls, {"by_url": False, "tls": True, "nodes": {"n1": TLS_NODE}}),
    (connectivity.plaintext, {"by_url": False, "tls": True, "nodes": {"n1": "refused"}}),
    (security.authentication, {"tried": 4, "let_in": [], "users": 2}),
    (security.rights, {"tried": 9, "allowed": [], "notes": []}),
    (security.addresses, ADDRESSES),
    (security.tls_versions, {"below": ["1.0", "1.1"], "tried": 4, "spoken": [], "untried": []}),
    (security.secrets_hidden, SECRETS),
    (security.audited, AUDIT),
    (security.refusals_kept, REFUSED),
    (durability.config, config()),
    (durability.aof_tail, runs(CUT)),
    (durability.disk_full, runs(FULL)),
    (performance.latency, load()),
    (performance.most, load(rate_per_s=20_000.0)),
    (performance.pipelining, PIPES),
    (performance.memory, memory()),
    (performance.hit_rate, HITS),
    (availability.failover, failure()),
    (availability.unnoticed, failure(kind="a replica is killed")),
    (availability.cold_start, failure(kind="all")),
    (availability.minority, ALONE),
    (availability.promise, {"gaps_ms": {"a primary is killed": 90.0, "a zone is lost": 3000.0}}),
]
BROKEN: list[tuple[Judge, dict[str, Any], str]] = [
    (connectivity.services, {"tried": 3, "shards": 3, "services": {}, "by_one_user": "", "failures": ["cart: no"]}, "cart: no"),
    (connectivity.services, {"tried": 0, "shards": 0, "services": {}, "by_one_user": "", "failures": ["no primary answers"]}, "no primary"),
    (connectivity.topology, topology(slots_served=16000), "384 slots are served by nobody"),
    (connectivity.topology, topology(away={"n4": "down"}, up=5), "n4: down"),
    (connectivity.topology, topology(mode="standalone"), "runs as standalone"),
    (connectivity.topology, topology(redirects_right=False), "does not name the one that does"),
    (connectivity.topology, topology(unhealthy=["n2"]), "n2 does not hold"),
    (connectivity.topology, topology(shards=topology()["shards"][:2]), "2 shards instead of 3"),
    (connectivity.topology, topology(shards=[{**each, "zone": "b"} for each in topology()["shards"]]), "zone of its primary"),
    (connectivity.tls, {"by_url": False, "tls": False, "nodes": {}}, "do not speak TLS"),
    (connectivity.tls, {"by_url": False, "tls": True, "nodes": {"n1": {"version": "TLSv1.1", "days_left": 300.0}}}, "speaks TLSv1.1"),
    (connectivity.tls, {"by_url": False, "tls": True, "nodes": {"n1": {"version": "TLSv1.3", "days_left": 3.0}}}, "ends in 3 days"),
    (connectivity.tls, {"by_url": False, "tls": True, "nodes": {"n1": {"failed": "expired"}}}, "expired"),
    (connectivity.plaintext, {"by_url": False, "tls": True, "nodes": {"n1": "ANSWERED b'+PONG'"}}, "answers in plaintext"),
    (security.authentication, {"tried": 4, "let_in": ["n1 lets x in"], "users": 2}, "lets x in"),
    (security.rights, {"tried": 9, "allowed": ["cart may FLUSHALL"], "notes": []}, "may FLUSHALL"),
    (security.addresses, ADDRESSES | {"entered": ["10.0.0.2:7100"]}, "takes connections"),
    (security.addresses, ADDRESSES | {"enforced": {"local": {"holds": False, "how": "no", "why": "no rules"}}}, "no rules"),
    (security.tls_versions, {"below": ["1.0"], "tried": 1, "spoken": ["n1 speaks TLS 1.0"], "untried": []}, "TLS 1.0"),
    (security.secrets_hidden, SECRETS | {"found": ["a log holds a password"]}, "holds a password"),
    (security.secrets_hidden, SECRETS | {"open": ["dump.rdb has mode 0644"]}, "0644"),
    (security.audited, AUDIT | {"without_the_refusal": ["n3"]}, "n3 has no record"),
    (security.audited, AUDIT | {"action_logged": False}, "not in audit.log"),
    (security.audited, AUDIT | {"audit_log_mode": "0644"}, "0644"),
    (security.refusals_kept, REFUSED | {"not_kept": ["n2"]}, "n2 refused a log-in, and audit.log has nothing"),
    (durability.config, config(appendonly="no"), "appendonly no instead of yes"),
    (durability.config, {"nodes": {"n1": {"failed": "gone"}}}, "gone"),
    (durability.aof_tail, runs(CUT, CUT | {"nodes": ["n2"], "refused": "Bad file format"}), "n2: set as it is, a server does not start: Bad"),
    (durability.aof_tail, runs(CUT | {"keys_after": 100}), "100 keys are gone"),
    (durability.aof_tail, runs(CUT | {"cut_bytes": 0, "keys_after": 0}), "writes no append-only file"),
    (durability.disk_full, runs(FULL | {"kept_after_a_crash": 100}), "150 acknowledged writes were gone"),
    (durability.disk_full, runs(FULL, FULL | {"nodes": ["n2"], "refused_with": ""}), "n2: set as it is, a server goes on"),
    (durability.disk_full, runs(FULL | {"accepted_again_after_s": None}), "did not take writes again"),
    (performance.latency, load(at_percentile_ms=9.0), "p99 is 9.00 ms"),
    (performance.latency, load(answered=30_000), "only 60%"),
    (performance.latency, load(lost=2), "2 acknowledged writes"),
    (performance.latency, load(stale=1), "older value"),
    (performance.latency, load(errors={"OOM": 4}), "4 commands failed (OOM)"),
    (performance.most, load(rate_per_s=9000.0), "less than 10,000/s"),
    (performance.pipelining, PIPES | {"together": {"rate_per_s": 900.0, "errors": {}}}, "0.90 x"),
    (performance.pipelining, PIPES | {"together": {"rate_per_s": 9e3, "errors": {"OOM": 3}}}, "3 commands in pipelines failed (OOM)"),
    (performance.memory, memory(declared_bytes=500 << 20), "maxmemory of all primaries"),
    (performance.memory, memory(used_bytes=2_000_000), "+100% of what was predicted"),
    (performance.memory, memory(fragmentation={"n1": {"ratio": 2.0, "bytes": 90 << 20}}), "fragmentation of 2.00"),
    (performance.memory, memory(snapshot={"node": "n1", "refused": "ERR fork"}), "ERR fork"),
    (performance.memory, memory(snapshot=memory()["snapshot"] | {"rss_peak_bytes": 120 << 20}), "the limit is 100.0 MB"),
    (performance.hit_rate, HITS | {"warm": RATE | {"hit_percent": 70.0}, "evicted": 9}, "do not fit in maxmemory"),
    (availability.failover, failure(gap_ms=31_000.0), "clients waited 31.00 s"),
    (availability.failover, failure(ledger={"lost_with_wait": 3}), "3 writes that a replica had acknowledged"),
    (availability.failover, failure(ledger={"acknowledged": 0}), "no write was acknowledged"),
    (availability.unnoticed, failure(gap_ms=1500.0), "clients waited 1.50 s"),
    (availability.unnoticed, failure(ledger={"groups": [group(waiting=2)]}), "2 clients waited for a write, and still did"),
    (availability.failover, failure(ledger={"groups": [group(waiting=2)]}), "2 clients waited for a write, and still did"),
    (availability.cold_start, failure(ledger={"groups": [group(waiting=2)]}), "2 clients waited for a write, and still did"),
    (availability.unnoticed, failure(kind="a planned switchover", ledger={"lost_without_wait": 1}), "1 acknowledged"),
    (availability.unnoticed, failure(not_switched="n2 did not become the primary"), "did not become"),
    (availability.unnoticed, failure(same_processes=False), "started anew"),
    (availability.unnoticed, failure(watches_again=False), "did not bring a killed replica back"),
    (availability.cold_start, failure(gap_ms=1_000_000.0), "clients waited"),
    (availability.cold_start, failure(ledger={"lost_span_s": 400.0}), "writes of 400.0 s were lost"),
    (availability.minority, ALONE | {"stopped_after_s": None}, "never stopped"),
    (availability.minority, ALONE | {"stopped_after_s": 33.0}, "33.0 s"),
    (availability.promise, {"gaps_ms": {"x": 300_000.0}}, "300.0 s a month"),
]  # fmt: skip


@pytest.mark.parametrize(("judge", "measured"), KEPT)
def test_what_is_as_promised_is_kept(judge: Judge, measured: dict[str, Any]) -> None:
    verdict = judge(measured, spec())
    assert verdict.outcome is Outcome.KEPT, verdict
    assert verdict.promised
    assert verdict.measured


@pytest.mark.parametrize(("judge", "measured", "said"), BROKEN)
def test_each_way_to_break_a_promise_is_seen(judge: Judge, measured: dict[str, Any], said: str) -> None:
    verdict = judge(measured, spec())
    assert verdict.outcome is Outcome.NOT_KEPT, verdict
    assert said in verdict.why


def test_every_judge_that_can_say_kept_is_tested_both_ways() -> None:
    assert {judge for judge, _ in KEPT} == {judge for judge, *_ in BROKEN}


@pytest.mark.parametrize(
    ("judge", "measured"),
    [
        (performance.latency, load()),
        (performance.most, load()),
        (performance.hit_rate, HITS),
        (availability.failover, failure()),
        (availability.cold_start, failure()),
        (availability.promise, {"gaps_ms": {"x": 1.0}}),
        (durability.aof_tail, runs()),
        (durability.disk_full, runs()),
        (durability.backup, {}),
        (durability.region, {}),
        (durability.alerts, {}),
        (connectivity.tls, {"by_url": False, "tls": False, "nodes": {}}),
        (connectivity.plaintext, {"by_url": False, "tls": False, "nodes": {}}),
        (security.addresses, ADDRESSES),
        (security.at_rest, {"device": "254:0", "encrypted": True}),
        (security.at_rest, {"device": "254:0", "encrypted": False}),
        (security.at_rest, {"device": "0:50", "encrypted": None}),
    ],
)
def test_where_nothing_is_promised_nothing_is_kept(judge: Judge, measured: dict[str, Any]) -> None:
    verdict = judge(measured, spec(BARE))
    assert verdict.outcome is Outcome.NOT_PROVABLE
    assert ";" in verdict.why  # the reason, and what would make it provable


def test_the_gap_with_min_replicas_counts_only_where_the_spec_sets_it() -> None:
    """Writes stop while a replica is away: that is what the setting is for, and no fault of whoever has not set it."""
    slow = failure(kind="a replica is killed") | {"min_replicas": failure(gap_ms=40_000.0)}
    set_so = spec(SPEC.replace("everysec}", "everysec}, durability: {writes: min_replicas}"))
    for judge, measured in ((availability.unnoticed, slow), (availability.failover, slow)):
        told = judge(measured, spec())
        assert told.outcome is Outcome.KEPT
        assert "min-replicas-to-write 1: 40.00 s" in told.measured
        assert judge(measured, set_so).outcome is Outcome.NOT_KEPT
    lost = failure() | {"min_replicas": failure(ledger={"lost_with_wait": 1})}
    assert availability.failover(lost, spec()).outcome is Outcome.NOT_KEPT


def test_a_truncated_file_that_must_be_refused() -> None:
    strict = spec(SPEC.replace("fsync: everysec", "fsync: everysec, load_truncated: false"))
    assert (
        durability.aof_tail(runs(CUT | {"refused": "Unexpected end of file"}), strict).outcome is Outcome.KEPT
    )
    verdict = durability.aof_tail(runs(CUT), strict)
    assert verdict.outcome is Outcome.NOT_KEPT
    assert "without a word" in verdict.why


def test_settings_that_may_not_be_read_are_not_proved() -> None:
    refused = {"nodes": {"n1": {"refused": "n1 refused CONFIG"}}}
    assert durability.config(refused, spec()).outcome is Outcome.NOT_PROVABLE


def test_a_url_for_plaintext_says_nothing_of_tls() -> None:
    bare = spec("format: 1\ncache: {name: shop}\n")
    for judge in (connectivity.tls, connectivity.plaintext):
        assert "rediss://" in judge({"by_url": True, "tls": False, "nodes": {}}, bare).why


def test_no_audit_log_is_promised_so_none_is_kept() -> None:
    verdict = security.refusals_kept(REFUSED, spec(BARE + "security: {audit: false}\n"))
    assert verdict.outcome is Outcome.NOT_PROVABLE


def test_a_promise_of_availability_without_a_measured_gap_is_not_kept_by_default() -> None:
    assert availability.promise({"gaps_ms": {}}, spec()).outcome is Outcome.NOT_PROVABLE


@pytest.mark.parametrize(
    ("percent", "gap_ms", "times"), [(99.99, 90.0, 2880), (99.99, 259_200.0, 1), (99.99, 259_201.0, 0), (99.9, 30_000.0, 86)]
)  # fmt: skip
def test_failures_a_month_that_a_promise_leaves_room_for(percent: float, gap_ms: float, times: int) -> None:
    assert availability.allowed_failures(percent, gap_ms) == times


@pytest.mark.parametrize(
    ("size", "takes"), [(1, 16), (17, 32), (128, 128), (129, 160), (4102, 5120), (1030, 1280)]
)
def test_memory_is_predicted_as_the_allocator_rounds(size: int, takes: int) -> None:
    assert performance.allocated(size) == takes
