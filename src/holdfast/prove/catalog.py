"""Every check there is, in the order in which they run: the harmless first, what tears most last."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from holdfast.prove.check import Check, Disturbs, Measured, Need
from holdfast.prove.checks import availability, connectivity, durability, performance, records, security
from holdfast.prove.checks.at_rest import at_rest
from holdfast.prove.judges import availability as judge_availability
from holdfast.prove.judges import connectivity as judge_connectivity
from holdfast.prove.judges import durability as judge_durability
from holdfast.prove.judges import performance as judge_performance
from holdfast.prove.judges import security as judge_security
from holdfast.prove.lines import seed_of
from holdfast.prove.stage import Stage
from holdfast.prove.verdict import Verdict
from holdfast.spec.cache import Spec

HARMLESS, LOAD, DISRUPTIVE = Disturbs.HARMLESS, Disturbs.LOAD, Disturbs.DISRUPTIVE
RECORD, HERE, SUPERVISOR = Need.RECORD, Need.HERE, Need.SUPERVISOR
REPLICAS, CLUSTER, ZONES = Need.REPLICAS, Need.CLUSTER, Need.ZONES
TRAFFIC, SERVICES, TLS = Need.TRAFFIC, Need.SERVICES, Need.TLS


def _check(
    name: str,
    title: str,
    promise: str,
    disturbs: Disturbs,
    takes_s: float,
    needs: set[Need],
    run: Callable[[Stage], Awaitable[Measured]],
    judge: Callable[[Measured, Spec], Verdict],
) -> Check:
    return Check(name, title, promise, seed_of(name), disturbs, takes_s, frozenset(needs), run, judge)


_C, _JC = connectivity, judge_connectivity
_S, _JS = security, judge_security
_D, _JD = durability, judge_durability
_P, _JP = performance, judge_performance
_A, _JA = availability, judge_availability
_KILLS = {RECORD, HERE, SUPERVISOR, REPLICAS}

CHECKS: tuple[Check, ...] = (
    _check("connectivity.services", "Each service reads and writes in its namespaces", "services", HARMLESS, 2,
           {SERVICES}, _C.services, _JC.services),
    _check("connectivity.topology", "Shards, replicas, zones and slots are as declared", "topology", HARMLESS, 1,
           set(), _C.topology, _JC.topology),
    _check("connectivity.tls", "Nodes prove themselves and encrypt", "security.tls", HARMLESS, 1, set(), _C.tls, _JC.tls),
    _check("connectivity.plaintext", "Plaintext is refused", "security.tls.mode", HARMLESS, 1, set(), _C.plaintext,
           _JC.plaintext),
    _check("security.authentication", "Nobody enters without the right password", "services", HARMLESS, 2, set(),
           _S.authentication, _JS.authentication),
    _check("security.rights", "No service reaches beyond its keys and commands", "services.namespaces", HARMLESS, 2,
           {RECORD, SERVICES}, _S.rights, _JS.rights),
    _check("security.addresses", "Only allowed addresses reach the nodes", "network.allow", HARMLESS, 1,
           {RECORD, HERE, SUPERVISOR}, _S.addresses, _JS.addresses),
    _check("security.tls-versions", "Old TLS versions are refused", "security.tls.min_version", HARMLESS, 1, {TLS},
           _S.tls_versions, _JS.tls_versions),
    _check("security.secrets", "No secret shows and no file is open to others", "security", HARMLESS, 1, {RECORD, HERE},
           _S.secrets_hidden, _JS.secrets_hidden),
    _check("security.at-rest", "Files on disk are encrypted", "persistence", HARMLESS, 0, {RECORD, HERE}, at_rest,
           _JS.at_rest),
    _check("security.audit", "Refusals and operators' actions are on record", "security.audit", HARMLESS, 1,
           {RECORD, HERE}, records.audited, _JS.audited),
    _check("security.refusals-kept", "Refused log-ins outlive a restart", "security.audit", HARMLESS, 3,
           {RECORD, HERE, SUPERVISOR}, records.refusals_kept, _JS.refusals_kept),
    _check("durability.config", "Snapshots, append-only file and memory are set as declared", "persistence", HARMLESS, 1,
           set(), _D.config, _JD.config),
    _check("durability.aof-tail", "An append-only file cut off at its end loads", "persistence.aof.load_truncated",
           HARMLESS, 2, {RECORD, HERE, SUPERVISOR}, _D.aof_tail, _JD.aof_tail),
    _check("durability.disk-full", "A full disk loses no acknowledged write", "persistence", HARMLESS, 3,
           {RECORD, HERE, SUPERVISOR}, _D.disk_full, _JD.disk_full),
    _check("durability.backup", "A backup comes back in time", "promises.rto", HARMLESS, 0, set(), _D.nothing_to_run,
           _JD.backup),
    _check("durability.region", "A copy in another region takes over", "dr", HARMLESS, 0, set(), _D.nothing_to_run,
           _JD.region),
    _check("alerts.rules", "Every alert rule fires in its window and not before", "alerts", HARMLESS, 0, set(),
           _D.nothing_to_run, _JD.alerts),
    _check("performance.latency", "Answers are in time at the promised rate", "promises.latency", LOAD, 10,
           {RECORD, TRAFFIC}, _P.latency, _JP.latency),
    _check("performance.most", "The cache carries the promised rate", "promises.throughput", LOAD, 10, {RECORD, TRAFFIC},
           _P.most, _JP.most),
    _check("performance.pipelining", "Pipelines carry more", "services.pool.pipelining", LOAD, 10, {RECORD, TRAFFIC},
           _P.pipelining, _JP.pipelining),
    _check("performance.memory", "All declared keys fit, and snapshots beside them", "memory.maxmemory", LOAD, 10,
           {RECORD, TRAFFIC}, _P.memory, _JP.memory),
    _check("performance.hit-rate", "Reads hit, with the traffic that is declared", "promises.hit_rate", LOAD, 20,
           {RECORD, TRAFFIC}, _P.hit_rate, _JP.hit_rate),
    _check("availability.switchover", "A planned switchover loses nothing", "topology.replicas", DISRUPTIVE, 5, _KILLS,
           _A.switchover, _JA.unnoticed),
    _check("availability.replica-killed", "A replica dies unnoticed", "topology.replicas", DISRUPTIVE, 10, _KILLS,
           _A.replica_killed, _JA.unnoticed),
    _check("availability.supervisor-killed", "The supervisor dies unnoticed", "promises.availability", DISRUPTIVE, 8,
           _KILLS, _A.supervisor_killed, _JA.unnoticed),
    _check("availability.cold-start", "All nodes die and come back with their data", "promises.rpo", DISRUPTIVE, 12,
           {RECORD, HERE, SUPERVISOR}, _A.cold_start, _JA.cold_start),
    _check("availability.primary-killed", "A dead primary is replaced", "promises.failover", DISRUPTIVE, 15, _KILLS,
           _A.primary_killed, _JA.failover),
    _check("availability.primary-hung", "A hung primary is replaced", "promises.failover", DISRUPTIVE, 30, _KILLS,
           _A.primary_hung, _JA.failover),
    _check("availability.zone-lost", "A zone is lost", "topology.zones", DISRUPTIVE, 45, {*_KILLS, ZONES}, _A.zone_lost,
           _JA.failover),
    _check("availability.minority", "A primary cut off from its majority stops taking writes", "topology.node_timeout",
           DISRUPTIVE, 30, {*_KILLS, CLUSTER}, _A.minority, _JA.minority),
    _check("availability.promise", "The measured gaps keep the promised availability", "promises.availability", HARMLESS, 0,
           set(), _A.promise, _JA.promise),
)  # fmt: skip
