"""Whether failures are survived as promised, in time and without the writes that must not be lost."""

from __future__ import annotations

from collections.abc import Mapping
from math import floor
from typing import Any

from holdfast.prove.check import Measured
from holdfast.prove.verdict import Verdict, judged, not_provable
from holdfast.spec.cache import Spec
from holdfast.spec.persistence import WritePromise
from holdfast.spec.units import duration_text

MONTH_S = 30 * 86_400
SEAMLESS_MS = 1000.0
"""What clients may wait when a node dies that they do not talk to, and at a planned change."""
PLANNED = ("a planned switchover",)


def _lost_words(measured: Measured) -> str:
    ledger = measured["ledger"]
    told = f"{ledger['acknowledged']:,} writes, lost {ledger['lost_without_wait']} (no wait), {ledger['lost_with_wait']} (WAIT 1)"
    if not measured["judged_by_wait"] and measured["gap_with_wait_ms"] > 2 * measured["gap_ms"]:
        told += f", whose clients waited {gap_text(measured['gap_with_wait_ms'])} for a replica"
    return told + (f", {ledger['doubled']} doubled by retries" if ledger["doubled"] else "")


def _gap(measured: Measured) -> str:
    return gap_text(measured["gap_ms"])


def gap_text(gap_ms: float) -> str:
    """`93 ms`, `2.41 s`."""
    return f"{gap_ms:.0f} ms" if gap_ms < 1000 else f"{gap_ms / 1000:.2f} s"


def _loss_faults(measured: Measured, spec: Spec) -> list[str]:
    """Writes that a replica had acknowledged outlive one node; others only where the spec says so."""
    ledger = measured["ledger"]
    faults = []
    if ledger["lost_with_wait"]:
        faults.append(f"{ledger['lost_with_wait']} writes that a replica had acknowledged (WAIT 1) were lost")
    rpo_s = spec.promises.rpo_s
    if rpo_s is not None and ledger["lost_span_s"] > rpo_s:
        faults.append(f"writes of {ledger['lost_span_s']:.1f} s were lost, rpo is {rpo_s} s")
    if not ledger["acknowledged"]:
        faults.append("no write was acknowledged at all")
    return faults + _waiting_faults(ledger)


def _waiting_faults(ledger: Mapping[str, Any]) -> list[str]:
    """A gap that was not over is longer than was measured, by nobody knows how much."""
    waiting = sum(group.get("waiting", 0) for group in ledger["groups"])
    if not waiting:
        return []
    return [f"{waiting} clients waited for a write, and still did when the experiment ended"]


def failover(measured: Measured, spec: Spec) -> Verdict:
    """A failure of one primary, hung or dead, or of a zone: writes again within the promised time."""
    told = f"{_gap(measured)} without writes; {_lost_words(measured)}"
    least = spec.promises.failover_s
    if least is None:
        return not_provable("no failover time", "none is promised", "declare promises.failover", told)
    promised = f"writes again within {duration_text(least * 1000)}"
    faults = _too_long(measured["gap_ms"], least) + _loss_faults(measured, spec)
    more, worse = _with_min_replicas(measured, spec, least)
    told += more
    faults += worse
    return judged(promised, told, faults)


def _with_min_replicas(measured: Measured, spec: Spec, least_s: float) -> tuple[str, list[str]]:
    """The same failure where primaries took no write without a replica: the gap counts only where the spec sets it so."""
    second = measured.get("min_replicas")
    if second is None:
        return "", []
    faults = _loss_faults(second, spec)
    if spec.persistence.durability.writes is WritePromise.MIN_REPLICAS:
        faults += _too_long(second["gap_ms"], least_s)
    lost = second["ledger"]["lost_without_wait"]
    return f"; with min-replicas-to-write 1: {gap_text(second['gap_ms'])}, lost {lost}", faults


def _too_long(gap_ms: float, least_s: float) -> list[str]:
    return [f"clients waited {gap_text(gap_ms)}"] if gap_ms > least_s * 1000 else []


def unnoticed(measured: Measured, spec: Spec) -> Verdict:
    """A replica or the supervisor dies, or roles are switched: clients hardly notice and nothing is lost."""
    told = f"{_gap(measured)} at most; {_lost_words(measured)}"
    faults = _loss_faults(measured, spec)
    if measured["gap_ms"] > SEAMLESS_MS:
        faults.append(f"clients waited {_gap(measured)}")
    if measured["kind"] in PLANNED and measured["ledger"]["lost_without_wait"]:
        faults.append(f"{measured['ledger']['lost_without_wait']} acknowledged writes were lost")
    more, worse = _with_min_replicas(measured, spec, SEAMLESS_MS / 1000)
    told += more
    faults += worse
    if "not_switched" in measured:
        faults.append(str(measured["not_switched"]))
    if measured.get("same_processes") is False:
        faults.append("nodes were started anew")
    if measured.get("watches_again") is False:
        faults.append("the new supervisor did not bring a killed replica back")
    return judged(f"clients wait at most {gap_text(SEAMLESS_MS)}, nothing is lost", told, faults)


def cold_start(measured: Measured, spec: Spec) -> Verdict:
    """All nodes at once: back from their own files within rto, with no more lost than rpo."""
    ledger = measured["ledger"]
    span_s = ledger["lost_span_s"]
    lost = ledger["lost_without_wait"] + ledger["lost_with_wait"]
    told = f"writes again after {_gap(measured)}, whole after {measured['whole_after_s']:.1f} s; lost {lost} of {ledger['acknowledged']:,} writes"
    if lost:
        told += f", those of {span_s:.2f} s"
    promises = spec.promises
    if promises.rto_s is None and promises.rpo_s is None:
        return not_provable(
            "no rto or rpo", "none is promised", "declare promises.rto and promises.rpo", told
        )
    promised, faults = [], _waiting_faults(ledger)
    if promises.rto_s is not None:
        promised.append(f"back within {duration_text(promises.rto_s * 1000)}")
        faults += _too_long(measured["gap_ms"], promises.rto_s)
    if promises.rpo_s is not None:
        promised.append(f"at most {duration_text(promises.rpo_s * 1000)} lost")
        if span_s > promises.rpo_s:
            faults.append(f"writes of {span_s:.1f} s were lost")
        keeps = spec.persistence.rdb.enabled or spec.persistence.aof.enabled
        if lost and not keeps:
            faults.append("nothing is kept on disk (persistence): all that was ever written was lost")
    return judged(", ".join(promised), told, faults)


LATE_S = 2.0
"""Beside what the engine's own rule allows."""


def _engine_notices_within_s(node_timeout_s: float) -> float:
    """A peer is pinged when its last answer is half a timeout old, and given up a whole one later (clusterCron)."""
    return 1.5 * node_timeout_s


def minority(measured: Measured, spec: Spec) -> Verdict:
    """A primary without its majority stops taking writes as soon as the engine's rules let it notice."""
    bound_s = _engine_notices_within_s(measured["node_timeout_s"]) + LATE_S
    promised = f"refuses writes within {bound_s:g} s"
    stopped_s = measured["stopped_after_s"]
    if stopped_s is None:
        return judged(
            promised, f"{measured['writes_taken']} writes taken", ["it never stopped taking writes"]
        )
    told = f"refused after {stopped_s:.1f} s and {measured['writes_taken']} writes"
    return judged(promised, told, [f"it took writes for {stopped_s:.1f} s"] if stopped_s > bound_s else [])


def promise(measured: Measured, spec: Spec) -> Verdict:
    """How many failures a month the promised availability leaves room for, by the gaps that were measured."""
    wanted = spec.promises.availability_percent
    gaps = {kind: gap_ms for kind, gap_ms in measured["gaps_ms"].items() if gap_ms > 0}
    if wanted is None:
        return not_provable("no availability", "none is promised", "declare promises.availability")
    budget_s = MONTH_S * (1 - wanted / 100)
    promised = f"{wanted:g} %: at most {budget_s:,.0f} s a month without writes"
    if not gaps:
        return not_provable(
            promised,
            "no failure was measured in this run",
            "run it with the availability checks (place: local, or --disrupt)",
        )
    together_s = sum(gaps.values()) / 1000
    worst = max(gaps, key=lambda kind: gaps[kind])
    times = allowed_failures(wanted, gaps[worst])
    told = (
        f"{len(gaps)} {'kind' if len(gaps) == 1 else 'kinds'} of failure; one of each a month takes {together_s:.1f} s, "
        f"{_down(100 * (1 - together_s / MONTH_S)):.4f} %; "
        f"room for {times:,} a month of the worst ({worst}, {gap_text(gaps[worst])})"
    )
    faults = [f"one failure of each kind takes {together_s:.1f} s a month"] if together_s > budget_s else []
    return judged(promised, told, faults, "unmeasured kinds (power, network, people) are not in it")


def _down(percent: float) -> float:
    """With four digits and never rounded up: 99.99996 % is not 100 %."""
    return floor(percent * 10_000) / 10_000


def allowed_failures(availability_percent: float, gap_ms: float) -> int:
    """How often a month a gap of that length may happen."""
    budget_ms = MONTH_S * 1000 * (1 - availability_percent / 100)
    return int(round(budget_ms, 6) // gap_ms) if gap_ms > 0 else 0
