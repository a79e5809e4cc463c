"""Whether latency, throughput, hit rate and memory are as promised."""

from __future__ import annotations

from typing import Any

from holdfast.prove.check import Measured
from holdfast.prove.verdict import Verdict, judged, not_provable
from holdfast.spec.cache import Spec

MET = 0.99
"""A rate is carried when at least this share of it was answered."""
PREDICTED_WITHIN = 0.25
"""Memory may differ by this share from what is predicted: engines differ in what they add to a key."""
_ENTRIES_BYTES = 112
"""Of a key with a TTL, beside key and value: its object, its entries in two tables, and its share of their buckets."""
_HEADER_BYTES = 6
"""Before and after a string."""
MOST_FRAGMENTATION = 1.5
SMALL_FRAGMENT_BYTES = 64 << 20
"""Below this a ratio says nothing: an empty server has one of 3 and more."""


def latency(measured: Measured, spec: Spec) -> Verdict:
    """At the promised rate, the promised percentile is below the promised time."""
    promises = spec.promises
    rate = measured["offer"]["rate_per_s"]
    told = (
        f"p{measured['percentile']:g} {measured['at_percentile_ms']:.2f} ms at {measured['rate_per_s']:,.0f}/s "
        f"(p50 {measured['overall']['percentiles_ms']['50']:.2f}, max {measured['overall']['max_ms']:.1f} ms)"
    )
    if promises.latency_ms is None:
        return not_provable("no latency", "none is promised", "declare promises.latency", told)
    promised = f"p{promises.percentile:g} <= {promises.latency_ms:g} ms at {rate:,.0f}/s"
    faults = []
    if measured["at_percentile_ms"] > promises.latency_ms:
        faults.append(f"p{promises.percentile:g} is {measured['at_percentile_ms']:.2f} ms")
    faults += _load_faults(measured)
    if faults and measured["limit_words"]:
        faults.append(measured["limit_words"])
    return judged(promised, told, faults, measured["limit_words"])


def most(measured: Measured, spec: Spec) -> Verdict:
    """The most that it gives is at least what is promised."""
    promised_ops = spec.promises.throughput_ops
    told = f"{measured['rate_per_s']:,.0f}/s at the most (p99 {measured['overall']['percentiles_ms']['99']:.2f} ms)"
    if promised_ops is None:
        return not_provable("no throughput", "none is promised", "declare promises.throughput", told)
    faults = []
    if measured["rate_per_s"] < promised_ops:
        faults.append(f"{measured['rate_per_s']:,.0f}/s is less than {promised_ops:,.0f}/s")
        if measured["limit_words"]:
            faults.append(measured["limit_words"])
    faults += _ledger_faults(measured)
    return judged(f">= {promised_ops:,.0f}/s", told, faults, measured["limit_words"])


def _load_faults(measured: Measured) -> list[str]:
    faults = []
    if measured["answered"] < MET * measured["offered"]:
        share = measured["answered"] / max(measured["offered"], 1)
        faults.append(f"only {share:.0%} of what was offered was answered in its time")
    return faults + _ledger_faults(measured)


def _ledger_faults(measured: Measured) -> list[str]:
    faults = []
    if measured["lost"]:
        faults.append(f"{measured['lost']:,} acknowledged writes were not there afterwards")
    if measured["stale"]:
        faults.append(f"{measured['stale']:,} reads from primaries answered an older value")
    errors = sum(measured["errors"].values())
    if errors:
        kinds = ", ".join(sorted(measured["errors"]))
        faults.append(f"{errors:,} commands failed ({kinds})")
    return faults


def pipelining(measured: Measured, spec: Spec) -> Verdict:
    """Sending together is worth it."""
    one, many = measured["one_by_one"], measured["together"]
    gain = many["rate_per_s"] / max(one["rate_per_s"], 1)
    told = f"{one['rate_per_s']:,.0f}/s one by one, {many['rate_per_s']:,.0f}/s in pipelines of {measured['size']}: {gain:.1f} x"
    faults = [f"the gain is {gain:.2f} x"] if gain <= 1 else []
    for how, load in (("one by one", one), ("in pipelines", many)):
        if failed := sum(load["errors"].values()):
            faults.append(f"{failed:,} commands {how} failed ({', '.join(sorted(load['errors']))})")
    return judged(f"pipelines of {measured['size']} carry more", told, faults)


def hit_rate(measured: Measured, spec: Spec) -> Verdict:
    """Warm, the promised share of reads hit."""
    promised = spec.promises.hit_rate_percent
    warm, cold = measured["warm"]["hit_percent"], measured["cold"]["hit_percent"]
    told = f"{_percent(warm)} warm, {_percent(cold)} cold"
    if measured["evicted"]:
        told += f"; {measured['evicted']:,} keys evicted"
    if promised is None:
        return not_provable("no hit rate", "none is promised", "declare promises.hit_rate", told)
    faults = []
    if warm is None or warm < promised:
        faults.append(f"{_percent(warm)} of reads hit")
        if measured["evicted"]:
            faults.append(
                f"the declared {measured['keys']:,} keys ({_size(measured['data_bytes'])}) do not fit in maxmemory"
            )
    return judged(f">= {promised:g} % of reads hit", told, faults)


def _percent(value: float | None) -> str:
    return "no reads" if value is None else f"{value:.1f} %"


def memory(measured: Measured, spec: Spec) -> Verdict:
    """The declared keys fit, take what is predicted, and a snapshot under load leaves room."""
    most_bytes = measured["maxmemory_bytes"]
    off = measured["used_bytes"] / max(measured["predicted_bytes"], 1) - 1
    needed = int(measured["declared_bytes"] * (1 + max(off, 0)))
    snapshot: dict[str, Any] = measured["snapshot"]
    told = (
        f"{measured['bytes_per_key']:,.0f} bytes a key ({off:+.0%} of predicted); all declared keys need "
        f"{_size(needed)} of {_size(most_bytes)}"
    )
    faults = []
    if most_bytes and needed > most_bytes:
        faults.append(
            f"the declared keys need {_size(needed)}, maxmemory of all primaries is {_size(most_bytes)}"
        )
    if abs(off) > PREDICTED_WITHIN:
        faults.append(f"it takes {off:+.0%} of what was predicted")
    for name, each in measured["fragmentation"].items():
        if each["ratio"] > MOST_FRAGMENTATION and each["bytes"] > SMALL_FRAGMENT_BYTES:
            faults.append(f"{name} has a fragmentation of {each['ratio']:.2f}")
    if "refused" in snapshot:
        faults.append(f"no snapshot could be taken: {snapshot['refused']}")
    else:
        told += f"; a snapshot under load copied {_size(snapshot['copied_bytes'])} in {snapshot['took_ms']:.0f} ms"
        if snapshot["status"] != "ok":
            faults.append(f"the snapshot ended with {snapshot['status']}")
        limit = measured["limit_bytes_per_node"]
        if limit and snapshot["rss_peak_bytes"] + snapshot["copied_bytes"] > limit:
            faults.append(
                f"{snapshot['node']} came to {_size(snapshot['rss_peak_bytes'] + snapshot['copied_bytes'])} with its copy, the limit is {_size(limit)}"
            )
    return judged(f"all declared keys in {_size(most_bytes)}", told, faults)


def predicted_bytes(key_bytes: int, value_bytes: int) -> int:
    """What one string key with a TTL takes: as the engines' allocator (jemalloc) rounds it up."""
    return _ENTRIES_BYTES + allocated(key_bytes + _HEADER_BYTES) + allocated(value_bytes + _HEADER_BYTES)


def allocated(size: int) -> int:
    """Bytes that jemalloc takes for `size`: multiples of 16 up to 128, then four steps for each doubling."""
    if size <= 128:
        return max(16, -(-size // 16) * 16)
    step = 1 << ((size - 1).bit_length() - 3)
    return -(-size // step) * step


def _size(count: int) -> str:
    for unit, factor in (("GB", 1 << 30), ("MB", 1 << 20), ("kB", 1 << 10)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} B"
