"""What one data node's configuration file says, directive by directive, for its engine and version (pure).

Everything the spec decides is written, defaults too: a file that is whole can be compared with the live node.
What the spec does not decide is written only where Holdfast needs it, and then the reason stands in its place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.engine.build import EngineBuild
from holdfast.engine.directive import Directive, directive, known_to, knows, render, words
from holdfast.engine.elections import PLAIN_HZ, elects_at_timer
from holdfast.engine.facts import NodeFacts, TlsFiles
from holdfast.errors import HoldfastError
from holdfast.spec.persistence import WritePromise
from holdfast.spec.topology import Mode

if TYPE_CHECKING:  # the supervisor needs what is here, and no spec
    from holdfast.spec.cache import Spec

BUS_PORT_OFFSET = 10_000
"""The engines' own rule; only 7.0 and later can be told another bus port."""
PORT_MAX = 65_535
SNAPSHOT_NAME = "dump.rdb"
APPEND_ONLY_NAME = "appendonly.aof"
APPEND_ONLY_FOLDER = "appendonlydir"
CLUSTER_STATE_NAME = "nodes.conf"
SECRETS_NAME = "secrets.conf"
SAVE_RULES_ON_ONE_LINE = (7, 0, 0)
SHUTDOWN_TIMEOUT_S = 10
"""How long a primary that stops waits for its replicas; whoever stops it must wait longer."""
QUICK_HZ = 100
"""A timer's rounds per second where elections wait for it: the most that the engines' own manuals advise."""
SLOW_COMMAND_US = 10_000
SLOW_EVENT_MS = 100


@dataclass(eq=False)
class BusPortImpossible(HoldfastError):
    """A cluster bus port that the engine cannot use."""

    node: str
    port: int
    bus_port: int
    engine: str

    def __str__(self) -> str:
        fixed = self.bus_port <= PORT_MAX
        why = (
            f"{self.engine} always uses the client port + {BUS_PORT_OFFSET}"
            if fixed
            else "ports end at 65535"
        )
        return (
            f"node {self.node} on port {self.port} cannot have the cluster bus port {self.bus_port}: {why}. "
            f"Nothing was written. Use a client port below {PORT_MAX - BUS_PORT_OFFSET + 1}, or an engine from 7.0 on."
        )


def server_directives(spec: Spec, build: EngineBuild, facts: NodeFacts) -> tuple[Directive, ...]:
    """Every directive of the node's files, in the order they are written; none that `build` does not know.

    Raises: ValueNotWritable, BusPortImpossible.
    """
    every = (
        *_replication_secret(build, facts),
        *_network(spec, facts),
        *tls_directives(
            facts.tls, facts.port, spec.security.tls.min_version, "network: from the cache's ports"
        ),
        *_replication_under_tls(spec, facts),
        *_memory(spec, build),
        *_persistence(spec, facts),
        *_replication(spec, facts),
        *(_cluster(spec, build, facts) if spec.topology.mode is Mode.CLUSTER else ()),
        *_following(spec, build, facts),
        *_access(facts),
        *_running(facts),
    )
    return known_to(build, every)


def server_config(directives: tuple[Directive, ...], build: EngineBuild, facts: NodeFacts) -> str:
    """Text of the node's configuration file (0600); secrets are not in it but in `server_secrets`."""
    include = directive(
        "include", SECRETS_NAME, "holdfast: secrets have a file of their own, beside this one"
    )
    shown = tuple(each for each in directives if not each.secret)
    return render(
        (include, *shown), _opening(facts), save_rule_per_line=build.version < SAVE_RULES_ON_ONE_LINE
    )


def server_secrets(directives: tuple[Directive, ...], facts: NodeFacts) -> str:
    """Text of the file that `server_config` includes (0600)."""
    return render((each for each in directives if each.secret), _opening(facts))


def bus_port(build: EngineBuild, facts: NodeFacts) -> int:
    """The port of the node's cluster bus.

    Raises: BusPortImpossible when the engine cannot use it.
    """
    by_rule = facts.port + BUS_PORT_OFFSET
    wanted = by_rule if facts.bus_port is None else facts.bus_port
    if wanted > PORT_MAX or (wanted != by_rule and not knows(build, "cluster-port")):
        raise BusPortImpossible(facts.node, facts.port, wanted, build.title)
    return wanted


def tls_directives(files: TlsFiles | None, port: int, min_version: str, why_port: str) -> Iterator[Directive]:
    """Ports, and under TLS what the server proves itself with; the plaintext port is then off."""
    if files is None:
        yield directive("port", port, why_port)
        return
    yield directive("port", 0, "security.tls")
    yield directive("tls-port", port, why_port)
    yield directive("tls-ca-cert-file", files.ca, "security.tls")
    yield directive("tls-cert-file", files.cert, "security.tls")
    yield directive("tls-key-file", files.key, "security.tls")
    protocols = "TLSv1.3" if min_version == "1.3" else "TLSv1.2 TLSv1.3"
    yield directive("tls-protocols", protocols, "security.tls.min_version")
    # A client certificate that is shown must be ours, but services prove themselves by password. The cluster
    # bus asks for one in any case.
    yield directive(
        "tls-auth-clients", "optional", "holdfast: services prove themselves by user and password"
    )


def _network(spec: Spec, facts: NodeFacts) -> Iterator[Directive]:
    network = spec.network
    yield words("bind", facts.bind, "network.bind")
    if facts.socket is not None:
        door = "holdfast: the supervisor's own door, for this user of the machine only"
        yield directive("unixsocket", facts.socket, door)
        yield directive("unixsocketperm", 700, door)
    yield directive("protected-mode", True, "holdfast: without users, only this machine may connect")
    yield directive("tcp-backlog", network.backlog, "network.backlog")
    yield directive("tcp-keepalive", network.keepalive_s, "network.keepalive")
    yield directive("timeout", network.idle_timeout_s, "network.timeout")
    yield directive("maxclients", network.maxclients, "network.maxclients")


def _replication_under_tls(spec: Spec, facts: NodeFacts) -> Iterator[Directive]:
    if facts.tls is None:
        return
    yield directive("tls-replication", True, "security.tls")
    if spec.topology.mode is Mode.CLUSTER:
        yield directive("tls-cluster", True, "security.tls")


def _memory(spec: Spec, build: EngineBuild) -> Iterator[Directive]:
    memory = spec.memory
    yield directive("maxmemory", memory.maxmemory_bytes, "memory.maxmemory")
    yield directive("maxmemory-policy", memory.policy.value, "memory.policy")
    yield directive("maxmemory-samples", memory.samples, "memory.samples")
    if memory.timer_hz is not None or spec.topology.mode is not Mode.CLUSTER or not elects_at_timer(build):
        yield directive("hz", memory.timer_hz or PLAIN_HZ, "memory.hz")
    else:
        yield directive("hz", QUICK_HZ, "holdfast: so that a forced election need not wait for the timer")
    yield directive("lazyfree-lazy-expire", memory.lazy_expire, "memory.lazy_expire")


def _persistence(spec: Spec, facts: NodeFacts) -> Iterator[Directive]:
    rdb, aof = spec.persistence.rdb, spec.persistence.aof
    yield directive("dir", facts.folder, "holdfast: the node's own folder")
    rules = [str(part) for rule in rdb.save for part in (rule.after_s, rule.changes)] if rdb.enabled else [""]
    yield words("save", rules, "persistence.rdb.save")
    yield directive("rdbcompression", rdb.compression, "persistence.rdb.compression")
    yield directive("rdbchecksum", rdb.checksum, "persistence.rdb.checksum")
    yield directive("dbfilename", SNAPSHOT_NAME, "holdfast: where backups look")
    # A cache that promised snapshots and cannot write them stops taking writes; one that did not, goes on.
    yield directive("stop-writes-on-bgsave-error", rdb.enabled, "persistence.rdb.enabled")
    yield directive("appendonly", aof.enabled, "persistence.aof.enabled")
    yield directive("appendfilename", APPEND_ONLY_NAME, "holdfast: where backups look")
    yield directive("appenddirname", APPEND_ONLY_FOLDER, "holdfast: where backups look")
    yield directive("appendfsync", aof.fsync.value, "persistence.aof.fsync")
    yield directive(
        "auto-aof-rewrite-percentage", aof.rewrite_percentage, "persistence.aof.rewrite_percentage"
    )
    yield directive(
        "auto-aof-rewrite-min-size", aof.rewrite_min_size_bytes, "persistence.aof.rewrite_min_size"
    )
    yield directive("aof-load-truncated", aof.load_truncated, "persistence.aof.load_truncated")


def _replication(spec: Spec, facts: NodeFacts) -> Iterator[Directive]:
    yield directive("repl-backlog-size", spec.memory.replication_backlog_bytes, "memory.replication_backlog")
    durability = spec.persistence.durability
    refuses = durability.writes is WritePromise.MIN_REPLICAS
    yield directive(
        "min-replicas-to-write", durability.replicas if refuses else 0, "persistence.durability.writes"
    )
    yield directive("min-replicas-max-lag", durability.max_lag_s, "persistence.durability.max_lag")
    yield directive("replica-read-only", True, "holdfast: a write taken by a replica would be lost")
    yield directive(
        "replica-serve-stale-data", True, "holdfast: clients choose by themselves how old a read may be"
    )
    yield directive("repl-diskless-sync", True, "holdfast: a full copy goes straight to the replica")
    replicas = max(1, spec.topology.replicas)
    # A lone replica has nobody to wait for; several that come up together share one copy.
    delay = "holdfast: a replica that comes up does not wait for others that will not come"
    yield directive("repl-diskless-sync-delay", 0 if replicas == 1 else 1, delay)
    yield directive("repl-diskless-sync-max-replicas", replicas, delay)
    # swapdb would keep two data sets in memory, and a cluster node may not serve the old one meanwhile anyway.
    yield directive(
        "repl-diskless-load",
        "on-empty-db",
        "holdfast: a replica that has data keeps it until the copy is here",
    )
    if spec.topology.mode in {Mode.REPLICATED, Mode.SENTINEL}:
        announced = "holdfast: what Sentinel and clients are told"
        yield directive("replica-announce-ip", facts.address, announced)
        yield directive("replica-announce-port", facts.port, announced)


def _cluster(spec: Spec, build: EngineBuild, facts: NodeFacts) -> Iterator[Directive]:
    topology = spec.topology
    yield directive("cluster-enabled", True, "topology.mode")
    yield directive(
        "cluster-config-file", CLUSTER_STATE_NAME, "holdfast: the node's own memory of the cluster"
    )
    yield directive("cluster-node-timeout", topology.node_timeout_ms, "topology.node_timeout")
    validity = topology.replica_validity_factor
    yield directive("cluster-replica-validity-factor", validity, "topology.replica_validity_factor")
    yield directive("cluster-require-full-coverage", topology.require_full_coverage, "topology.full_coverage")
    yield directive("cluster-allow-replica-migration", False, "holdfast: places replicas itself, by zone")
    announced = "holdfast: what other nodes and clients are told"
    bus = bus_port(build, facts)
    yield directive("cluster-port", bus, announced)
    yield directive("cluster-announce-ip", facts.address, announced)
    yield directive("cluster-announce-bus-port", bus, announced)
    # Under TLS both, though the plaintext port is off: on the Unix socket a node tells the plaintext one, and it
    # would be 0.
    yield directive("cluster-announce-port", facts.port, announced)
    if facts.tls is not None:
        yield directive("cluster-announce-tls-port", facts.port, announced)


def _replication_secret(build: EngineBuild, facts: NodeFacts) -> Iterator[Directive]:
    if not facts.replication_password:
        return
    modern = knows(build, "primaryauth")
    who = "holdfast: the user that replicas are on their primary"
    yield directive("primaryuser" if modern else "masteruser", facts.replication_user, who)
    yield directive("primaryauth" if modern else "masterauth", facts.replication_password, who, secret=True)


def _following(spec: Spec, build: EngineBuild, facts: NodeFacts) -> Iterator[Directive]:
    if facts.primary is None or spec.topology.mode is Mode.CLUSTER:
        return
    name = "replicaof" if knows(build, "replicaof") else "slaveof"
    yield words(name, facts.primary, "holdfast: its primary when it was started")


def _access(facts: NodeFacts) -> Iterator[Directive]:
    yield directive("aclfile", facts.acl_path, "security.access")
    yield directive("acl-pubsub-default", "resetchannels", "security.access")
    for name in ("enable-debug-command", "enable-module-command", "enable-protected-configs"):
        yield directive(name, False, "holdfast: nobody may do this to a running server")


def _running(facts: NodeFacts) -> Iterator[Directive]:
    parent = "holdfast: the supervisor is the server's parent and keeps its log"
    yield directive("daemonize", False, parent)
    yield directive("supervised", False, parent)
    yield directive("logfile", facts.log_path, parent)
    yield directive("syslog-enabled", False, parent)
    yield directive("loglevel", "notice", parent)
    yield directive("always-show-logo", False, parent)
    yield directive("crash-log-enabled", True, "holdfast: the last words of a crash are evidence")
    yield directive(
        "shutdown-timeout", SHUTDOWN_TIMEOUT_S, "holdfast: a primary that stops lets its replicas catch up"
    )
    yield directive("latency-monitor-threshold", SLOW_EVENT_MS, "holdfast: slow events can be asked for")
    yield directive("slowlog-log-slower-than", SLOW_COMMAND_US, "holdfast: slow commands can be asked for")
    yield directive("slowlog-max-len", 512, "holdfast: slow commands can be asked for")


def _opening(facts: NodeFacts) -> str:
    return (
        f"Node {facts.node} of cache {facts.cache}, zone {facts.zone}. Written by Holdfast from the cache's spec: the\n"
        "comment above a line names the field it comes from, or why Holdfast sets it. Change the spec, not this file."
    )
