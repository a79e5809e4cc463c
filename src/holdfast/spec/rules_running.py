"""Advice on how the cache runs: how fast it fails over, how much memory saving takes, how clients connect."""

from collections.abc import Iterator

from holdfast.spec.cache import Spec
from holdfast.spec.hint import AdviceSeverity, Hint, Rule
from holdfast.spec.memory import MemorySpec
from holdfast.spec.topology import FEWEST_SHARDS, Mode
from holdfast.spec.units import duration_text, size_text
from holdfast.spec.watch import Metric

ELECTION_MS = 2000
"""What the engines' own vote takes once a majority holds the primary for dead: 0.5 s, up to 0.5 s at random, and 1 s for
each replica that is ahead."""
SHARE_READ_HEAVY = 0.75
SHARE_WRITE_HEAVY = 0.6
WRITE_HEAVY_FROM = 0.2
"""Share of writes from which a namespace's pages are copied fast while a child saves."""
SLOW_AFTER_MS = 1000
FAST_PROMISE_MS = 100


def _self_run(spec: Spec) -> bool:
    return not spec.place.kind.is_managed


def slow_election(spec: Spec) -> Iterator[Hint]:
    """HF-HA-004."""
    promised_s = spec.promises.failover_s
    topology = spec.topology
    if (
        promised_s is None
        or not _self_run(spec)
        or topology.mode not in {Mode.CLUSTER, Mode.SENTINEL}
        or not topology.replicas
    ):
        return
    refresh_ms = max(
        (
            0 if service.pool.adaptive_refresh else service.pool.refresh_ms
            for service in spec.services.values()
        ),
        default=0,
    )
    worst_ms = 2 * topology.node_timeout_ms + ELECTION_MS + refresh_ms
    if worst_ms > promised_s * 1000:
        learnt = f" and clients learn of it after up to {duration_text(refresh_ms)}" if refresh_ms else ""
        yield Hint(
            ("topology", "node_timeout"),
            f"with {duration_text(topology.node_timeout_ms)} the engines alone take up to"
            f" {duration_text(2 * topology.node_timeout_ms + ELECTION_MS)} to elect{learnt};"
            f" promised are {promised_s:g} s",
        )


def one_zone_takes_all(spec: Spec) -> Iterator[Hint]:
    """HF-HA-005."""
    topology = spec.topology
    if topology.replicas and len(topology.zones) < 2:
        yield Hint(("topology", "zones"), f"primaries and their replicas are all in zone {topology.zones[0]}")
    elif topology.mode is Mode.CLUSTER and len(topology.zones) < FEWEST_SHARDS:
        yield Hint(
            ("topology", "zones"),
            f"one of {len(topology.zones)} zones holds at least half of the {topology.shards} primaries",
        )


def no_room_to_save(spec: Spec) -> Iterator[Hint]:
    """HF-MEM-005."""
    memory = spec.memory
    copies = spec.persistence.rdb.enabled or spec.persistence.aof.enabled or spec.topology.replicas > 0
    if memory.limit_bytes is None or not copies or not _self_run(spec):
        return
    share = _share_for_data(spec)
    if memory.maxmemory_bytes > memory.limit_bytes * share:
        yield Hint(("memory", "maxmemory"), _too_much(memory, share))


def _share_for_data(spec: Spec) -> float:
    reads = sum(namespace.traffic.reads_per_s for namespace in spec.keyspace.namespaces.values())
    writes = sum(namespace.traffic.writes_per_s for namespace in spec.keyspace.namespaces.values())
    return SHARE_WRITE_HEAVY if writes and writes >= WRITE_HEAVY_FROM * (reads + writes) else SHARE_READ_HEAVY


def _too_much(memory: MemorySpec, share: float) -> str:
    limit_bytes = memory.limit_bytes or 0
    return (
        f"maxmemory {size_text(memory.maxmemory_bytes)} is {memory.maxmemory_bytes / limit_bytes:.0%} of the limit"
        f" {size_text(limit_bytes)}; with this traffic at most {share:.0%} leaves room to save"
    )


def more_clients_than_planned(spec: Spec) -> Iterator[Hint]:
    """HF-OPS-003."""
    at_once = sum(service.instances.max * service.pool.max_total for service in spec.services.values())
    counted = f"{at_once} connections at the busiest (instances.max x pool.max_total over all services)"
    if at_once > spec.network.maxclients:
        yield Hint(("network", "maxclients"), f"{counted} are more than maxclients {spec.network.maxclients}")
    for name, alert in spec.alerts.items():
        if alert.metric is Metric.CONNECTED_CLIENTS and at_once > alert.threshold:
            yield Hint(
                ("alerts", name, "threshold"), f"{counted} raise alert {name}, set at {alert.threshold:g}"
            )


def slow_to_give_up(spec: Spec) -> Iterator[Hint]:
    """HF-OPS-006."""
    latency_ms = spec.promises.latency_ms
    if latency_ms is None or latency_ms > FAST_PROMISE_MS:
        return
    for name, service in spec.services.items():
        pool = service.pool
        waits = (("command_timeout", pool.command_timeout_ms), ("max_wait", pool.max_wait_ms))
        for key, wait_ms in waits:
            if wait_ms > SLOW_AFTER_MS:
                yield Hint(
                    ("services", name, "pool", key),
                    f"{name} waits up to {duration_text(wait_ms)} for what is promised in {duration_text(latency_ms)}",
                )


RUNNING_RULES = (
    Rule(
        "HF-HA-004",
        AdviceSeverity.ERROR,
        "The engines' own election is slower than the failover that is promised",
        "A node is suspected after node_timeout, held for dead once a majority has reported it, and only then is there a"
        " vote. Holdfast's supervisor is faster where it can reach a dead node's machine; where it cannot, this vote is"
        " all there is. A vote that fails is tried again only after four times node_timeout.",
        "Write node_timeout: 5s and adaptive_refresh: true, or promise less.",
        "Cluster specification, valkey.io/topics/cluster-spec",
        slow_election,
    ),
    Rule(
        "HF-HA-005",
        AdviceSeverity.WARN,
        "One lost zone takes a shard, or the majority, with it",
        "With a primary and its replica in one zone their data is gone with the zone; with half of the primaries in one"
        " zone nobody is left to outvote them.",
        "Name three zones.",
        "Cluster specification, valkey.io/topics/cluster-spec",
        one_zone_takes_all,
    ),
    Rule(
        "HF-MEM-005",
        AdviceSeverity.ERROR,
        "No room to save",
        "Snapshots, append-only file rewrites and a replica's first copy fork: every page that is written meanwhile is"
        " held twice, up to twice the data. Past the limit the system kills the node.",
        "Write maxmemory at 60 % of the limit where much is written, at 75 % where little is.",
        "valkey.io/topics/forkless; the shares are from practice",
        no_room_to_save,
    ),
    Rule(
        "HF-OPS-003",
        AdviceSeverity.WARN,
        "More connections than the alert or the servers expect",
        "Each instance of a service has a pool of its own, in a cluster one for each node. An alert below what is normal at"
        " the peak teaches people to ignore it; above maxclients the engine refuses.",
        "Derive the alert and maxclients from instances and pools, or make the pools smaller.",
        "arithmetic over this spec",
        more_clients_than_planned,
    ),
    Rule(
        "HF-OPS-006",
        AdviceSeverity.WARN,
        "Clients wait far longer than an answer may take",
        "When a node stops answering, every caller holds a connection for the whole wait: the pools fill, and a slow cache"
        " becomes a stopped application.",
        "Write 500ms to 1s, retry, and go on without the cache.",
        "from practice",
        slow_to_give_up,
    ),
)
