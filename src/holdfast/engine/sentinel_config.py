"""What one Sentinel's configuration file says when it is started for the first time (pure).

A Sentinel writes what it learns (replicas, other Sentinels, the primary after a failover, its own id) back into this
file. Once it has run, the file is its memory: it must not be written again, only changed by SENTINEL SET.
"""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.engine.build import EngineBuild
from holdfast.engine.config import tls_directives
from holdfast.engine.directive import Directive, directive, knows, render, words
from holdfast.engine.facts import SentinelFacts
from holdfast.spec.cache import Spec

FAILOVER_TIMEOUT_FACTOR = 6
"""Failover timeout by node timeout: the proportion of the engines' own defaults (180 s to 30 s)."""
FAILOVER_TIMEOUT_MIN_MS = 10_000
"""Room for a replica to be chosen and reconfigured, however short the node timeout is."""


def sentinel_directives(spec: Spec, build: EngineBuild, facts: SentinelFacts) -> tuple[Directive, ...]:
    """Every directive of a new Sentinel's file, in the order they are written.

    Raises: ValueNotWritable.
    """
    general = (each for each in _general(spec, facts) if knows(build, each.name))
    return (*general, *_watching(spec, facts), *_answering(facts))


def sentinel_config(directives: tuple[Directive, ...], facts: SentinelFacts) -> str:
    """Text of the Sentinel's first file (0600: it holds passwords, for a Sentinel reads no include when it rewrites)."""
    return render(
        directives,
        f"{facts.node}, a Sentinel of cache {facts.cache}, zone {facts.zone}. First written by Holdfast; from then on the\n"
        "Sentinel keeps its memory here. Change the spec, not this file.",
    )


def monitored(text: str, cache: str) -> tuple[str, int, int] | None:
    """The primary (address, port) and quorum that a Sentinel's file names now, or None where it watches nothing.

    Raises nothing: a line that is not understood is not the one looked for.
    """
    for line in text.splitlines():
        found = line.replace('"', " ").split()
        if found[:3] == ["sentinel", "monitor", cache] and len(found) == 6 and "".join(found[4:]).isdecimal():
            return found[3], int(found[4]), int(found[5])
    return None


def failover_timeout_ms(spec: Spec) -> int:
    return max(FAILOVER_TIMEOUT_MIN_MS, spec.topology.node_timeout_ms * FAILOVER_TIMEOUT_FACTOR)


def _general(spec: Spec, facts: SentinelFacts) -> Iterator[Directive]:
    yield words("bind", facts.bind, "network.bind")
    if facts.socket is not None:
        door = "holdfast: the supervisor's own door, for this user of the machine only"
        yield directive("unixsocket", facts.socket, door)
        yield directive("unixsocketperm", 700, door)
    yield directive("protected-mode", True, "holdfast: without users, only this machine may connect")
    yield directive("tcp-backlog", spec.network.backlog, "network.backlog")
    yield directive("tcp-keepalive", spec.network.keepalive_s, "network.keepalive")
    yield from tls_directives(
        facts.tls, facts.port, spec.security.tls.min_version, "network: from the cache's ports"
    )
    if facts.tls is not None:
        # This one makes the Sentinel itself use TLS towards nodes and other Sentinels.
        yield directive("tls-replication", True, "security.tls")
    yield directive("dir", facts.folder, "holdfast: the Sentinel's own folder")
    yield directive("aclfile", facts.acl_path, "security.access")
    parent = "holdfast: the supervisor is the Sentinel's parent and keeps its log"
    yield directive("daemonize", False, parent)
    yield directive("logfile", facts.log_path, parent)
    yield directive("loglevel", "notice", parent)


def _watching(spec: Spec, facts: SentinelFacts) -> Iterator[Directive]:
    cache, topology = facts.cache, spec.topology
    address, port = facts.primary
    yield _sentinel(
        "holdfast: addresses, never names, so that no name service can stop a failover",
        "resolve-hostnames",
        "no",
    )
    yield _sentinel("topology.quorum", "monitor", cache, address, port, topology.quorum)
    yield _sentinel("topology.node_timeout", "down-after-milliseconds", cache, topology.node_timeout_ms)
    yield _sentinel("topology.node_timeout", "failover-timeout", cache, failover_timeout_ms(spec))
    yield _sentinel("topology.parallel_syncs", "parallel-syncs", cache, topology.parallel_syncs)
    who = "holdfast: the user it is on the nodes"
    yield _sentinel(who, "auth-user", cache, facts.data_user)
    yield _sentinel(who, "auth-pass", cache, facts.data_password, secret=True)


def _answering(facts: SentinelFacts) -> Iterator[Directive]:
    announced = "holdfast: what other Sentinels are told"
    yield _sentinel(announced, "announce-ip", facts.address)
    yield _sentinel(announced, "announce-port", facts.port)
    yield _sentinel(
        "holdfast: nobody may make a running Sentinel start programs", "deny-scripts-reconfig", "yes"
    )
    who = "holdfast: the user it is on the other Sentinels"
    yield _sentinel(who, "sentinel-user", facts.peer_user)
    yield _sentinel(who, "sentinel-pass", facts.peer_password, secret=True)


def _sentinel(field: str, *values: object, secret: bool = False) -> Directive:
    return words("sentinel", values, field, secret=secret)
