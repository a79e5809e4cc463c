"""Asks the servers of an end what they are; changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace

from holdfast.engine.connection import EngineNode, NodeDenied
from holdfast.engine.facts import Address
from holdfast.errors import HoldfastError
from holdfast.migrate.ends import End, EndUnusable, Layout
from holdfast.migrate.seen import SeenEnd, SeenServer
from holdfast.migrate.watchers import find_watchers
from holdfast.topology.cluster_view import read_cluster_nodes
from holdfast.topology.observe import read_info
from holdfast.topology.seen import Role

SERVERS_MAX = 1000
"""More than the largest cluster that is known to work; a server that lists replicas without end stops here."""
AT_ONCE = 64
TIMEOUT_S = 3.0


async def see_end(end: End, *, strangers: Iterable[Address] = (), timeout_s: float = TIMEOUT_S) -> SeenEnd:
    """Look at every server of the end that is known, and at those that they name.

    Args: `strangers`, addresses that are named and are not of this end: the relay, and the other end.
    Never raises because a server does not answer: that is part of what is seen.
    """
    skipped = set(strangers)
    pending = [each for each in end.servers if each not in skipped]
    asked: set[Address] = set()
    found: dict[Address, SeenServer] = {}
    silent: dict[Address, str] = {}
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(address: Address) -> None:
        async with turns:
            try:
                found[address] = await see_server(end, address, timeout_s=timeout_s)
            except HoldfastError as failed:
                silent[address] = str(failed)

    while pending and len(asked) < SERVERS_MAX:
        asked.update(pending)
        await asyncio.gather(*(one(address) for address in pending))
        named = {near for each in found.values() for near in _neighbours(each)}
        pending = sorted(named - asked - skipped)[: SERVERS_MAX - len(asked)]
    order = list(dict.fromkeys((*end.servers, *sorted(found))))
    servers = _once(found[address] for address in order if address in found)
    return SeenEnd(end.label, end.layout, servers, silent, frozenset(asked))


def _once(servers: Iterable[SeenServer]) -> tuple[SeenServer, ...]:
    """One entry for each process, for a server may be reached by several names (localhost, 127.0.0.1)."""
    by_run: dict[str, SeenServer] = {}
    for server in servers:
        by_run.setdefault(server.run_id or str(server.address), server)
    return tuple(by_run.values())


def _neighbours(server: SeenServer) -> tuple[Address, ...]:
    near = [*server.replicas]
    if server.primary is not None:
        near.append(server.primary)
    return tuple(near)


async def see_server(end: End, address: Address, *, timeout_s: float = TIMEOUT_S) -> SeenServer:
    """Look at one server. Raises: NodeGone, NodeSilent, NodeDenied, NodeLoading, CommandRefused."""
    async with await EngineNode.connect(end.endpoint(address), timeout_s=timeout_s) as node:
        return await ask_server(node, address, cluster=end.layout is Layout.CLUSTER)


async def ask_server(node: EngineNode, address: Address, *, cluster: bool = False) -> SeenServer:
    """The same over a connection that is there."""
    seen = read_server(address, read_info(str(await node.ask("INFO"))))
    if not cluster:
        return seen
    view = read_cluster_nodes(str(await node.ask("CLUSTER", "NODES")))
    named = tuple(_address(text) for each, text in view.addresses.items() if each != view.own_id)
    return replace(seen, node_id=view.own_id, slots=frozenset(view.slots), replicas=named)


def _address(text: str) -> Address:
    host, _, port = text.rpartition(" ")
    return host, int(port)


def read_server(address: Address, info: Mapping[str, str]) -> SeenServer:
    """What INFO says; every engine from 5.0 on."""
    replica = info.get("role") == "slave"
    engine = "valkey" if "valkey_version" in info else "redis"
    primary = None
    if replica and info.get("master_host"):
        primary = (info["master_host"], _int(info.get("master_port")))
    return SeenServer(
        address=address,
        role=Role.REPLICA if replica else Role.PRIMARY,
        engine=engine,
        version=_version(info.get("valkey_version") or info.get("redis_version") or "0"),
        run_id=info.get("run_id", ""),
        replid=info.get("master_replid", ""),
        replid2=info.get("master_replid2", ""),
        second_offset=_int(info.get("second_repl_offset"), -1),
        offset=_int(info.get("slave_repl_offset" if replica else "master_repl_offset")),
        primary=primary,
        link_up=info.get("master_link_status") == "up",
        syncing=info.get("master_sync_in_progress") == "1",
        loading=info.get("loading") == "1",
        replicas=tuple(_replicas(info)),
        keys=sum(
            _keys(value) for name, value in info.items() if name.startswith("db") and name[2:].isdigit()
        ),
        info=info,
    )


def _replicas(info: Mapping[str, str]) -> Iterable[Address]:
    for name, value in info.items():
        if name.startswith("slave") and name[5:].isdigit():
            fields = dict(pair.partition("=")[::2] for pair in value.split(","))
            port = _int(fields.get("port"))
            if (
                fields.get("ip") and 0 < port < 65_536
            ):  # what reads a stream without being a server tells another
                yield fields["ip"], port


def _keys(value: str) -> int:
    return sum(_int(pair.partition("=")[2]) for pair in value.split(",") if pair.startswith("keys="))


def _int(text: str | None, otherwise: int = 0) -> int:
    try:
        return int(text or "")
    except ValueError:
        return otherwise


def _version(text: str) -> tuple[int, int, int]:
    numbers = [_int(part) for part in text.split(".")]
    major, minor, patch = (*numbers, 0, 0)[:3]
    return major, minor, patch


async def recognise(end: End, *, timeout_s: float = TIMEOUT_S) -> End:
    """What stands behind the one address of a URL: a server with its replicas, a cluster, or Sentinels, found by asking.

    Sentinels of a server that was named itself are looked for, too; where they cannot be found, `assess` says so.
    Raises: EndUnusable, NodeGone, NodeSilent, NodeDenied.
    """
    (first, *_) = end.servers
    try:
        node = await EngineNode.connect(end.endpoint(first), timeout_s=timeout_s)
    except NodeDenied as denied:
        # Sentinels often have no password, though what they watch has one.
        try:
            return await _behind_sentinel(replace(end, sentinels=(first,)), timeout_s)
        except HoldfastError:
            raise denied from None
    async with node:
        info = read_info(str(await node.ask("INFO", "server")))
    mode = info.get("redis_mode") or info.get("server_mode") or "standalone"
    if mode == "sentinel":
        asked = replace(end, sentinels=(first,), sentinel_credentials=end.credentials)
        return await _behind_sentinel(asked, timeout_s)
    found = replace(end, layout=Layout.CLUSTER if mode == "cluster" else Layout.REPLICATED)
    seen = await see_end(found, timeout_s=timeout_s)
    found = found.knowing(each.address for each in seen.servers)
    return found if mode == "cluster" else await _with_watchers(found, timeout_s)


async def _with_watchers(end: End, timeout_s: float) -> End:
    """The same, with the Sentinels that watch its servers, where they can be heard and asked."""
    try:
        heard = await find_watchers(end.endpoint(end.servers[0]))
    except HoldfastError:
        return end
    for watcher in heard:
        for login in dict.fromkeys((end.credentials, None)):
            asked = replace(
                end,
                sentinels=(watcher.address,),
                sentinel_credentials=login,
                watched_name=watcher.watched_name,
            )
            try:
                found = await _behind_sentinel(asked, timeout_s)
            except HoldfastError:
                continue
            return replace(found, servers=end.knowing(found.servers).servers)
    return end


async def _behind_sentinel(end: End, timeout_s: float) -> End:
    """What the first of its Sentinels says of it. Raises: EndUnusable, and the connection's errors."""
    address = end.sentinels[0]
    async with await EngineNode.connect(end.sentinel_endpoint(address), timeout_s=timeout_s) as node:
        watched = [dict(each) for each in await node.ask("SENTINEL", "MASTERS")]
        names = sorted(str(each["name"]) for each in watched)
        name = end.watched_name or (names[0] if len(names) == 1 else "")
        chosen = next((each for each in watched if each["name"] == name), None)
        if chosen is None:
            raise EndUnusable(
                end.label,
                f"its Sentinel watches {', '.join(names) or 'nothing'}",
                "Name one of them: redis://HOST:PORT?primary=NAME.",
            )
        peers = [dict(each) for each in await node.ask("SENTINEL", "SENTINELS", name)]
        replicas = [dict(each) for each in await node.ask("SENTINEL", "REPLICAS", name)]
    return replace(
        end,
        layout=Layout.SENTINEL,
        servers=tuple((str(each["ip"]), int(each["port"])) for each in (chosen, *replicas)),
        sentinels=(address, *((str(each["ip"]), int(each["port"])) for each in peers)),
        watched_name=name,
    )
