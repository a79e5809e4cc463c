"""Whether data is kept as promised."""

from __future__ import annotations

from holdfast.prove.check import Measured
from holdfast.prove.verdict import Verdict, judged, not_provable
from holdfast.spec.cache import Spec
from holdfast.spec.persistence import WritePromise
from holdfast.spec.units import duration_text


def config(measured: Measured, spec: Spec) -> Verdict:
    """Each server is configured as the spec says."""
    wanted = wanted_config(spec)
    rdb, aof = spec.persistence.rdb, spec.persistence.aof
    promised = (
        f"{'snapshots by ' + str(len(rdb.save)) + ' rules' if rdb.enabled else 'no snapshots'}, "
        f"{'append-only file, fsync ' + aof.fsync.value if aof.enabled else 'no append-only file'}"
    )
    refused = [told["refused"] for told in measured["nodes"].values() if "refused" in told]
    if refused:
        return not_provable(promised, refused[0], "give it a user that may read CONFIG")
    faults = []
    for node, told in measured["nodes"].items():
        if "failed" in told:
            faults.append(f"{node}: {told['failed']}")
            continue
        faults += [
            f"{node} has {name} {told.get(name) or '(empty)'} instead of {value or '(empty)'}"
            for name, value in wanted.items()
            if told.get(name) != value
        ]
    told = f"{len(measured['nodes'])} servers, {len(wanted)} settings each, {len(faults)} differ"
    return judged(promised, told, faults)


def wanted_config(spec: Spec) -> dict[str, str]:
    """The settings that hold the data, as the engines write them."""
    rdb, aof, durability = spec.persistence.rdb, spec.persistence.aof, spec.persistence.durability
    wanted = {
        "save": " ".join(rule.text for rule in rdb.save) if rdb.enabled else "",
        "appendonly": "yes" if aof.enabled else "no",
        "maxmemory": str(spec.memory.maxmemory_bytes),
        "maxmemory-policy": spec.memory.policy.value,
        "min-replicas-to-write": str(
            durability.replicas if durability.writes is WritePromise.MIN_REPLICAS else 0
        ),
    }
    if aof.enabled:
        wanted |= {
            "appendfsync": aof.fsync.value,
            "auto-aof-rewrite-percentage": str(aof.rewrite_percentage),
            "auto-aof-rewrite-min-size": str(aof.rewrite_min_size_bytes),
            "aof-load-truncated": "yes" if aof.load_truncated else "no",
        }
    return wanted


def aof_tail(measured: Measured, spec: Spec) -> Verdict:
    """A file that ends in the middle of a write is loaded up to there, or refused, as declared."""
    if not spec.persistence.aof.enabled:
        return not_provable("no append-only file", "there is none to truncate", "declare persistence.aof")
    loads = spec.persistence.aof.load_truncated
    promised = "a truncated file loads up to the cut" if loads else "a truncated file is refused"
    told, faults = [], []
    for run in measured["runs"]:
        names = ", ".join(run["nodes"])
        lost = run["written"] - run["keys_after"]
        if not run["cut_bytes"]:
            faults.append(f"{names}: set as it is, a server writes no append-only file")
        elif run["refused"]:
            told.append("refused to start")
            if loads:
                faults.append(f"{names}: set as it is, a server does not start: {run['refused']}")
        else:
            told.append(
                f"{run['cut_bytes']} bytes cut off: {run['keys_after']} of {run['written']} keys back in {run['took_ms']:.0f} ms"
            )
            if not loads:
                faults.append(f"{names}: set as it is, a server loads a truncated file without a word")
            elif lost > 1:
                faults.append(f"{names}: {lost} keys are gone where one write was cut")
    return judged(promised, "; ".join(told), faults, SCRATCH_NOTE)


SCRATCH_NOTE = "tried on a server of the same build and settings, beside the cache"


def disk_full(measured: Measured, spec: Spec) -> Verdict:
    """Writes are refused in words, nothing acknowledged is lost, and it goes on when there is room."""
    promised = "no acknowledged write is lost on a full disk"
    if not spec.persistence.aof.enabled:
        return not_provable(
            promised, "without an append-only file a write touches no disk", "declare persistence.aof"
        )
    told, faults = [], []
    for run in measured["runs"]:
        names = ", ".join(run["nodes"])
        again = run["accepted_again_after_s"]
        after = "it ended" if run["ended"] else "refused" if run["refused_with"] else "none refused"
        told.append(
            f"fsync {run['settings'].get('appendfsync', 'unknown')}: {run['acknowledged']} writes acknowledged, then {after}; "
            f"accepted again {f'{again:g} s after there was room' if again is not None else 'never'}; "
            f"{run['kept_after_a_crash']} kept after a crash"
        )
        if not run["refused_with"]:
            faults.append(f"{names}: set as it is, a server goes on acknowledging writes that it cannot keep")
        if again is None:
            faults.append(f"{names}: it did not take writes again when there was room")
        if run["kept_after_a_crash"] < run["acknowledged"]:
            gone = run["acknowledged"] - run["kept_after_a_crash"]
            faults.append(f"{names}: {gone} acknowledged writes were gone after a crash")
    return judged(promised, "; ".join(told), faults, SCRATCH_NOTE)


def backup(measured: Measured, spec: Spec) -> Verdict:
    """Not in this version."""
    rto, rpo = spec.promises.rto_s, spec.promises.rpo_s
    promised = f"back within {duration_text(rto * 1000)}" if rto is not None else "no rto"
    if rpo is not None:
        promised += f", at most {duration_text(rpo * 1000)} lost"
    return not_provable(
        promised,
        "this version takes no backups, so none can be restored",
        "a restore drill would make it provable; until then availability.cold-start measures what the nodes' own files bring back",
    )


def region(measured: Measured, spec: Spec) -> Verdict:
    """Needs the other region."""
    if spec.dr.region is None:
        return not_provable("nothing", "no copy in another region is promised", "declare dr.region")
    return not_provable(
        f"a copy in {spec.dr.region}",
        "a copy in another region cannot be tried from one place",
        "run holdfast prove on a second cache there",
    )


def alerts(measured: Measured, spec: Spec) -> Verdict:
    """Not in this version."""
    if not spec.alerts:
        return not_provable("no alerts", "none is declared", "declare alerts")
    return not_provable(
        f"{len(spec.alerts)} alert rules",
        "this version evaluates no alert rules, so none can fire",
        "a watcher that evaluates them would make it provable, for each rule can be provoked",
    )
