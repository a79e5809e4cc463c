"""Any keyspace through its own words: asks one server of it what it is part of, and returns its shards; changes nothing.

For servers that Holdfast does not run as well as for its own: nothing here needs a record.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from holdfast.codec.crc import SLOTS
from holdfast.engine.connection import Endpoint, NodeGone
from holdfast.engine.pipeline import Pipeline, refusal
from holdfast.errors import HoldfastError
from holdfast.topology.observe import read_info
from holdfast.topology.slots import SlotRange, expand, ranges

ALL = (SlotRange(0, SLOTS - 1),)


@dataclass(eq=False)
class NotOneKeyspace(HoldfastError):
    """The server answers, and what it is part of cannot be worked with."""

    address: str
    why: str
    instead: str

    def __str__(self) -> str:
        return f"{self.address} {self.why}; {self.instead}"


@dataclass(frozen=True)
class Shard:
    """One primary, its replicas and its slots; outside a cluster it has all slots."""

    primary: Endpoint
    replicas: tuple[Endpoint, ...] = ()
    slots: tuple[SlotRange, ...] = ALL
    node_id: str = ""
    """Of the primary, in a cluster."""


@dataclass(frozen=True)
class Keyspace:
    """What one END is: its engine, and its shards in the order of their first slots."""

    engine: str
    """`redis` or `valkey`."""
    version: tuple[int, int, int]
    cluster: bool
    shards: tuple[Shard, ...]
    databases: int
    """How many it has; 16 where it does not say."""
    seeds: tuple[Endpoint, ...]
    """Where it can be asked again: every server of it that is known."""
    run_id: str = ""
    """Of the server that was asked."""
    as_named: bool = False
    """Whether a replica stands for itself here: one that follows a relay, say, and not for the keyspace of whom it follows."""

    def owners(self) -> list[int]:
        """The shard's index for each of the 16384 slots; -1 where nobody serves it."""
        found = [-1] * SLOTS
        for index, shard in enumerate(self.shards):
            for slot in expand(shard.slots):
                found[slot] = index
        return found


async def discover(seeds: Sequence[Endpoint], *, timeout_s: float = 5.0, as_named: bool = False) -> Keyspace:
    """The keyspace that the first seed which answers belongs to; a Sentinel is asked for the primary it watches.

    Args: `as_named`, a replica (outside a cluster) stands for itself.
    Raises: NodeGone, NodeSilent or NodeDenied of the last seed when none can be asked; NotOneKeyspace.
    """
    failed: HoldfastError | None = None
    for seed in seeds:
        try:
            async with await Pipeline.connect(seed, timeout_s=timeout_s) as node:
                return await _of(node, as_named=as_named)
        except NotOneKeyspace:
            raise
        except HoldfastError as reason:
            failed = reason
    raise failed or NodeGone("nowhere", "no address was given")


async def _of(node: Pipeline, *, as_named: bool = False) -> Keyspace:
    info = read_info(_text(await node.ask("INFO")))
    mode = info.get("redis_mode") or info.get("server_mode") or "standalone"
    if mode == "sentinel":
        return await _behind_sentinel(node)
    if info.get("loading") == "1":
        raise NodeGone(str(node.endpoint), "it is loading its data set")
    engine = "valkey" if "valkey_version" in info else "redis"
    version = info.get("valkey_version") or info.get("redis_version") or "0"
    found = Keyspace(
        engine=engine,
        version=read_version(version),
        cluster=mode == "cluster" or info.get("cluster_enabled") == "1",
        shards=(),
        databases=await _databases(node),
        seeds=(node.endpoint,),
        run_id=info.get("run_id", ""),
    )
    if found.cluster:
        shards = read_cluster_slots(await node.ask("CLUSTER", "SLOTS"), node.endpoint)
        if not shards:
            raise NotOneKeyspace(
                str(node.endpoint),
                "is in cluster mode and knows of no slots that are served",
                "join it to its cluster first, or name another node",
            )
        return replace(found, shards=shards, seeds=tuple(_servers(shards)) or found.seeds)
    if as_named:
        return replace(found, shards=(Shard(node.endpoint, ()),), as_named=True)
    if info.get("role") == "slave":
        primary = replace(node.endpoint, host=info["master_host"], port=int(info["master_port"]), socket=None)
        async with await Pipeline.connect(primary, timeout_s=node.timeout_s) as upstream:
            return await _of(upstream)
    shard = Shard(node.endpoint, tuple(_replicas(info, node.endpoint)))
    return replace(found, shards=(shard,), seeds=(shard.primary, *shard.replicas))


async def _behind_sentinel(node: Pipeline) -> Keyspace:
    watched = [
        dict(zip(each[::2], each[1::2], strict=False)) for each in await node.ask("SENTINEL", "MASTERS")
    ]
    if len(watched) != 1:
        names = ", ".join(sorted(_text(each.get(b"name")) for each in watched)) or "none"
        raise NotOneKeyspace(
            str(node.endpoint),
            f"is a Sentinel that watches {len(watched)} primaries ({names})",
            "name the primary itself",
        )
    primary = replace(
        node.endpoint, host=_text(watched[0][b"ip"]), port=int(watched[0][b"port"]), socket=None
    )
    async with await Pipeline.connect(primary, timeout_s=node.timeout_s) as upstream:
        return await _of(upstream)


async def _databases(node: Pipeline) -> int:
    (reply,) = await node.ask_all([("CONFIG", "GET", "databases")])
    if not refusal(reply) and len(reply) == 2 and reply[1].isdigit():
        return int(reply[1])
    return 16


def read_cluster_slots(reply: Sequence[Sequence[object]], asked: Endpoint) -> tuple[Shard, ...]:
    """The shards in a reply of CLUSTER SLOTS. Args: `asked`, whose credentials and TLS the others share."""
    spans: dict[str, list[SlotRange]] = {}
    members: dict[str, tuple[Endpoint, tuple[Endpoint, ...]]] = {}
    for row in reply:
        first, last, *nodes = row
        assert isinstance(first, int)
        assert isinstance(last, int)
        primary, *replicas = (_endpoint(each, asked) for each in nodes)
        node_id = _text(nodes[0][2]) if len(nodes[0]) > 2 else str(primary)  # type: ignore[index, arg-type]
        spans.setdefault(node_id, []).append(SlotRange(first, last))
        members[node_id] = (primary, tuple(replicas))
    shards = [
        Shard(primary, replicas, ranges(expand(spans[node_id])), node_id)
        for node_id, (primary, replicas) in members.items()
    ]
    return tuple(sorted(shards, key=lambda shard: shard.slots[0]))


def _endpoint(node: object, asked: Endpoint) -> Endpoint:
    assert isinstance(node, list)
    host = _text(node[0])
    if host in {"", "?"}:  # "the address you have asked"
        host = asked.host
    return replace(asked, host=host, port=int(node[1]), socket=None)


def _servers(shards: Iterable[Shard]) -> Iterable[Endpoint]:
    found = list(shards)
    yield from (shard.primary for shard in found)
    yield from (replica for shard in found for replica in shard.replicas)


def _replicas(info: dict[str, str], primary: Endpoint) -> Iterable[Endpoint]:
    for name, value in sorted(info.items()):
        if name.startswith("slave") and name[5:].isdigit():
            facts = dict(part.split("=", 1) for part in value.split(",") if "=" in part)
            port = int(facts.get("port", "0"))
            if (
                facts.get("state") == "online" and 0 < port < 65_536
            ):  # others read the stream and are no servers
                yield replace(primary, host=facts["ip"], port=port, socket=None)


def read_version(text: str) -> tuple[int, int, int]:
    """`"8.1.1"` -> (8, 1, 1); what is no number counts as 0."""
    parts = [int(part) if part.isdigit() else 0 for part in text.split(".")[:3]]
    return (*parts, 0, 0, 0)[:3]  # type: ignore[return-value]


def _text(value: object) -> str:
    return value.decode(errors="surrogateescape") if isinstance(value, bytes) else str(value or "")
