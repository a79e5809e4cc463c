"""Looks at every node of a cache at once and returns what it saw; changes nothing."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from holdfast.engine.connection import (
    Credentials,
    Endpoint,
    EngineNode,
    NodeDenied,
    NodeGone,
    NodeLoading,
    NodeSilent,
    TlsTrust,
)
from holdfast.errors import HoldfastError
from holdfast.topology.cluster_view import ClusterView, read_cluster_nodes
from holdfast.topology.hosts import Hosts
from holdfast.topology.record import CacheRecord, Kind, Member
from holdfast.topology.seen import Reach, Role, SeenCache, SeenNode, SeenProcess

AT_ONCE = 64
"""Connections opened at the same time."""


@dataclass(frozen=True)
class Access:
    """How Holdfast speaks to the nodes of a cache."""

    credentials: Credentials
    tls: TlsTrust | None
    timeout_s: float = 2.0

    def endpoint(self, member: Member) -> Endpoint:
        """Where and how `member` is spoken to."""
        return Endpoint(member.address, member.port, self.credentials, self.tls)


async def observe(
    record: CacheRecord, access: Access, hosts: Hosts | None = None, *, with_config: bool = False
) -> SeenCache:
    """See all members of the cache.

    Args: `hosts`, asked for the processes too; without them `process` stays unknown. `with_config`, also ask for
        directives and users, which a plan needs and a status does not.
    Never raises because a node or a machine does not answer: that is part of what is seen.
    """
    began = time.perf_counter()
    turns = asyncio.Semaphore(AT_ONCE)
    processes, sightings = await asyncio.gather(
        _processes(record, hosts or {}),
        asyncio.gather(*(_see(member, access, record.name, turns, with_config) for member in record.members)),
    )
    nodes = [replace(node, process=processes.get(node.name, SeenProcess())) for node, _ in sightings]
    views = {node.name: view for node, view in sightings if view is not None}
    return replace(
        _relate(record, nodes, views),
        at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        took_ms=(time.perf_counter() - began) * 1000,
    )


async def _processes(record: CacheRecord, hosts: Hosts) -> dict[str, SeenProcess]:
    async def of_host(name: str) -> Mapping[str, SeenProcess]:
        try:
            return await hosts[name].processes(record.name)
        except HoldfastError:
            return {}

    found: dict[str, SeenProcess] = {}
    for each in await asyncio.gather(*(of_host(name) for name in hosts)):
        found |= each
    return found


async def _see(
    member: Member, access: Access, cache: str, turns: asyncio.Semaphore, with_config: bool
) -> tuple[SeenNode, ClusterView | None]:
    blank = SeenNode(
        name=member.name,
        kind=member.kind,
        host=member.host,
        zone=member.zone,
        address=member.address,
        port=member.port,
    )
    try:
        async with (
            turns,
            await EngineNode.connect(access.endpoint(member), timeout_s=access.timeout_s) as node,
        ):
            if member.kind is Kind.SENTINEL:
                return await _see_sentinel(node, blank, cache, with_config), None
            return await _see_server(node, blank, with_config)
    except NodeLoading as loading:
        return replace(blank, reach=Reach.LOADING, words=str(loading)), None
    except NodeSilent as silent:
        return replace(blank, reach=Reach.SILENT, words=str(silent)), None
    except NodeDenied as denied:
        return replace(blank, reach=Reach.DENIED, words=str(denied)), None
    except NodeGone as gone:
        return replace(blank, reach=Reach.DOWN, words=gone.why), None
    except HoldfastError as failed:
        return replace(blank, reach=Reach.DOWN, words=str(failed)), None


async def _see_server(
    node: EngineNode, blank: SeenNode, with_config: bool
) -> tuple[SeenNode, ClusterView | None]:
    commands: list[tuple[str, ...]] = [("INFO",), ("CLUSTER", "NODES"), ("CLUSTER", "INFO")]
    if with_config:
        commands += [("CONFIG", "GET", "*"), ("ACL", "LIST")]
    info_text, nodes_text, cluster_text, *more = await node.ask_all(commands)
    if isinstance(info_text, HoldfastError):
        raise info_text
    seen = _read_info(blank, read_info(str(info_text)))
    view = None
    if isinstance(nodes_text, str):
        view = read_cluster_nodes(nodes_text)
        seen = replace(
            seen,
            node_id=view.own_id,
            slots=view.slots,
            moving=view.moving,
            known=view.known,
            failed=view.failed,
            cluster_ok=isinstance(cluster_text, str) and "cluster_state:ok" in cluster_text,
            slots_known=_int(read_info(str(cluster_text)).get("cluster_slots_assigned")),
        )
    if more:
        config, users = more
        if isinstance(config, dict):
            seen = replace(seen, config={str(name): str(value) for name, value in config.items()})
        elif isinstance(config, list):
            seen = replace(seen, config=dict(zip(config[::2], config[1::2], strict=True)))
        if isinstance(users, list):
            seen = replace(seen, acl=users_digest([str(user) for user in users]))
    return seen, view


def users_digest(listed: list[str]) -> str:
    """Digest of what ACL LIST answers; it holds password hashes, which are kept nowhere else.

    The words of a user are sorted: Redis 7.0 lists single commands in an order that changes with each start.
    """
    lines = sorted(" ".join(sorted(line.split())) for line in listed)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def read_info(text: str) -> dict[str, str]:
    """INFO's lines as a map."""
    pairs = (line.partition(":") for line in text.splitlines() if line and not line.startswith("#"))
    return {name: value for name, colon, value in pairs if colon}


def _read_info(blank: SeenNode, info: Mapping[str, str]) -> SeenNode:
    replica = info.get("role") == "slave"
    offset = info.get("slave_repl_offset") if replica else info.get("master_repl_offset")
    keys = sum(
        int(field.partition("=")[2])
        for name, value in info.items()
        if name.startswith("db") and name[2:].isdigit()
        for field in value.split(",")
        if field.startswith("keys=")
    )
    faults = [
        said
        for name, said in (
            ("rdb_last_bgsave_status", "the last snapshot failed"),
            ("aof_last_write_status", "the append-only file cannot be written"),
            ("aof_last_bgrewrite_status", "the last rewrite of the append-only file failed"),
        )
        if info.get(name, "ok") != "ok"
    ]
    return replace(
        blank,
        reach=Reach.LOADING if info.get("loading") == "1" else Reach.UP,
        role=Role.REPLICA if replica else Role.PRIMARY,
        primary=f"{info.get('master_host', '')} {info.get('master_port', '')}" if replica else "",
        link_up=info.get("master_link_status") == "up",
        syncing=info.get("master_sync_in_progress") == "1",
        offset=_int(offset),
        replicas_online=sum(
            1 for name, value in info.items() if _numbered(name, "slave") and "state=online" in value
        ),
        engine="valkey" if "valkey_version" in info else "redis",
        version=info.get("valkey_version") or info.get("redis_version", ""),
        run_id=info.get("run_id", ""),
        uptime_s=_int(info.get("uptime_in_seconds")),
        keys=keys,
        used_bytes=_int(info.get("used_memory")),
        maxmemory_bytes=_int(info.get("maxmemory")),
        clients=_int(info.get("connected_clients")),
        ops_per_s=_int(info.get("instantaneous_ops_per_sec")),
        persistence_error="; ".join(faults),
        unwritten=tuple(
            command
            for command, name in (
                ("BGSAVE", "rdb_last_bgsave_status"),
                ("BGREWRITEAOF", "aof_last_bgrewrite_status"),
            )
            if info.get(name, "ok") != "ok"
        ),
    )


async def _see_sentinel(node: EngineNode, blank: SeenNode, cache: str, with_config: bool) -> SeenNode:
    commands: list[tuple[str, ...]] = [
        ("INFO",),
        ("SENTINEL", "MASTER", cache),
        ("SENTINEL", "SENTINELS", cache),
    ]
    if with_config:
        commands.append(("ACL", "LIST"))
    info_text, watched, others, *more = await node.ask_all(commands)
    info = read_info(str(info_text))
    seen = replace(
        blank,
        reach=Reach.UP,
        role=Role.SENTINEL,
        engine="valkey" if "valkey_version" in info else "redis",
        version=info.get("valkey_version") or info.get("redis_version", ""),
        run_id=info.get("run_id", ""),
        uptime_s=_int(info.get("uptime_in_seconds")),
        clients=_int(info.get("connected_clients")),
        used_bytes=_int(info.get("used_memory")),
        acl=users_digest([str(user) for user in more[0]]) if more and isinstance(more[0], list) else "",
    )
    if isinstance(watched, HoldfastError):
        return seen
    facts = as_map(watched)
    return replace(
        seen,
        monitored=f"{facts.get('ip', '')} {facts.get('port', '')}",
        replicas_online=_int(facts.get("num-slaves")),
        sentinels_known=len(others) if isinstance(others, list) else 0,
        sentinel_settings=facts,
    )


def as_map(reply: Any) -> dict[str, str]:
    """A flat list or a map of the protocol, as a map of text."""
    if isinstance(reply, dict):
        return {str(name): str(value) for name, value in reply.items()}
    return {str(name): str(value) for name, value in zip(reply[::2], reply[1::2], strict=True)}


def _relate(record: CacheRecord, nodes: list[SeenNode], views: Mapping[str, ClusterView]) -> SeenCache:
    """Turn the addresses and ids by which nodes name each other into members' names, and reckon the lags."""
    by_address = {f"{member.address} {member.port}": member.name for member in record.members}
    by_id = {node.node_id: node.name for node in nodes if node.node_id}
    offsets = {node.name: node.offset for node in nodes}
    related = []
    for node in nodes:
        view = views.get(node.name)
        primary = by_address.get(node.primary, "")
        if view is not None and view.primary_id:
            primary = by_id.get(view.primary_id, primary)
        lag_bytes = max(0, offsets.get(primary, 0) - node.offset) if node.role is Role.REPLICA else 0
        related.append(
            replace(
                node,
                primary=primary,
                monitored=by_address.get(node.monitored, ""),
                lag_bytes=lag_bytes,
            )
        )
    strangers = {
        node_id: address
        for view in views.values()
        for node_id, address in view.addresses.items()
        if node_id not in by_id and address not in by_address
    }
    return SeenCache(name=record.name, nodes=tuple(related), strangers=strangers)


def _numbered(name: str, prefix: str) -> bool:
    return name.startswith(prefix) and name[len(prefix) :].isdigit()


def _int(text: str | None) -> int:
    try:
        return int(text or 0)
    except ValueError:
        return 0
