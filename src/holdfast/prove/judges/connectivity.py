"""Whether services, topology and encryption are what the spec says."""

from __future__ import annotations

from holdfast.prove.check import Measured
from holdfast.prove.verdict import Verdict, judged, not_provable
from holdfast.spec.cache import Spec
from holdfast.spec.security import TlsMode
from holdfast.spec.topology import Mode

LEAST_DAYS = 14
"""A certificate that ends sooner is a fault: nobody is warned before."""


def services(measured: Measured, spec: Spec) -> Verdict:
    """Every service reads and writes all it may, everywhere."""
    promised = f"{len(spec.services)} services, each in all of its namespaces"
    told = f"{measured['tried']} uses over {measured['shards']} shards from this machine, {len(measured['failures'])} failed"
    if measured["by_one_user"]:
        told += f"; all as user {measured['by_one_user']}, for the services' own passwords are not known here"
    faults = list(measured["failures"])
    if not measured["tried"] and not faults:
        return not_provable(promised, "no namespace has a field to write keys of one's own in", "declare one")
    return judged(promised, told, faults)


def topology(measured: Measured, spec: Spec) -> Verdict:
    """As many shards, replicas and zones as declared; all slots served; replicas apart from their primaries."""
    wanted = spec.topology
    promised = (
        f"{wanted.mode.value}, {wanted.shards} shards x {wanted.replicas} replicas, {len(wanted.zones)} zones"
    )
    shards = measured["shards"]
    told = f"{measured['up']} of {measured['nodes']} nodes up, {len(shards)} shards"
    faults = [f"{name}: {words}" for name, words in measured["away"].items()]
    if measured["mode"] != wanted.mode.value:
        faults.append(f"it runs as {measured['mode']}")
    if len(shards) != wanted.shards:
        faults.append(f"{len(shards)} shards instead of {wanted.shards}")
    for shard in shards:
        replicas = shard["replicas"]
        in_sync = [name for name, each in replicas.items() if each["in_sync"]]
        if len(in_sync) < wanted.replicas:
            faults.append(
                f"{shard['primary']} has {len(in_sync)} replicas in sync instead of {wanted.replicas}"
            )
        faults += [
            f"{name} is in the zone of its primary {shard['primary']}"
            for name, each in replicas.items()
            if len(wanted.zones) > 1 and each["zone"] and each["zone"] == shard["zone"]
        ]
    if wanted.mode is Mode.CLUSTER:
        told += f", {measured['slots_served']} of {measured['slots']} slots served"
        if measured["slots_served"] != measured["slots"]:
            faults.append(f"{measured['slots'] - measured['slots_served']} slots are served by nobody")
        faults += [f"{name} does not hold the cluster for whole" for name in measured["unhealthy"]]
        if measured["redirects_right"] is False:
            faults.append("a node that does not own a key does not name the one that does")
    return judged(promised, told, faults)


def tls(measured: Measured, spec: Spec) -> Verdict:
    """Each node proves itself with the cache's own authority, by a version that is good enough, for long enough."""
    declared = spec.security.tls
    promised = f"TLS {declared.min_version.value} and up, {declared.mode.value}"
    if not measured["tls"]:
        if declared.mode is TlsMode.REQUIRED:
            return judged(promised, "plaintext", ["the nodes do not speak TLS"])
        return not_provable(promised, *_why_plaintext(measured, spec))
    nodes = measured["nodes"]
    faults = [f"{name}: {each['failed']}" for name, each in nodes.items() if "failed" in each]
    shaken = {name: each for name, each in nodes.items() if "failed" not in each}
    for name, each in shaken.items():
        if each["version"] not in _versions_from(declared.min_version.value):
            faults.append(f"{name} speaks {each['version']}")
        if each["days_left"] < LEAST_DAYS:
            faults.append(f"the certificate of {name} ends in {each['days_left']:g} days")
    versions = ", ".join(sorted({each["version"] for each in shaken.values()}))
    least = min((each["days_left"] for each in shaken.values()), default=0)
    return judged(promised, f"{versions or 'no handshake'}; certificates good for {least:.0f} days", faults)


def _why_plaintext(measured: Measured, spec: Spec) -> tuple[str, str]:
    """Why there is nothing to prove about TLS, and what would change that."""
    if measured["by_url"]:
        return "the URL is one for plaintext", "name its TLS port: rediss://HOST:PORT"
    if spec.security.tls.mode is TlsMode.OFF:
        return "nodes speak plaintext as the spec says", "declare security.tls: required"
    instead = "declare security.tls: required and add an engine with TLS (holdfast engines add valkey-8.0)"
    return "nodes speak plaintext: this engine has no TLS", instead


def _versions_from(least: str) -> tuple[str, ...]:
    return ("TLSv1.2", "TLSv1.3") if least == "1.2" else ("TLSv1.3",)


def plaintext(measured: Measured, spec: Spec) -> Verdict:
    """No node answers without TLS, where TLS is on."""
    declared = spec.security.tls.mode
    promised = f"tls: {declared.value}"
    answered = {name: words for name, words in measured["nodes"].items() if words.startswith("ANSWERED")}
    told = (
        f"{len(measured['nodes']) - len(answered)} of {len(measured['nodes'])} nodes refuse a plaintext PING"
    )
    if not measured["tls"] and declared is not TlsMode.REQUIRED:
        return not_provable(promised, *_why_plaintext(measured, spec), told)
    return judged(promised, told, [f"{name} answers in plaintext" for name in answered])
