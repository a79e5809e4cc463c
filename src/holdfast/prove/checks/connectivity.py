"""Services, topology and encryption, as a client meets them."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from datetime import UTC, datetime
from typing import Any

from cryptography import x509

from holdfast.codec.crc import SLOTS
from holdfast.engine.connection import EngineNode
from holdfast.errors import HoldfastError
from holdfast.prove.check import Measured
from holdfast.prove.stage import Stage
from holdfast.spec.service import Access as ServiceAccess
from holdfast.topology.record import Member
from holdfast.topology.seen import SeenCache, SeenShard

MOST_CONNECTIONS = 50
"""Of one service's pool that are opened at once."""
PROBE_BOUND_S = 3.0


TRIES = 3


async def services(stage: Stage) -> Measured:
    """Each service, with its own user and timeouts: every namespace, in every shard, with the declared TTL.

    Done again when a primary changed meanwhile: a client would have followed.
    """
    for left in reversed(range(TRIES)):
        before = await stage.look()
        measured = await _services(stage, before)
        after = await stage.look()
        if not measured["failures"] or not left or _primaries(before) == _primaries(after):
            break
    return measured


def _primaries(seen: SeenCache) -> list[str]:
    return [shard.primary.name for shard in seen.shards]


async def _services(stage: Stage, seen: SeenCache) -> Measured:
    failures: list[str] = []
    told: dict[str, Any] = {}
    tried = 0
    for name, service in stage.spec.services.items():
        user = stage.spec.user_of(name)
        pool = service.pool
        writes = set(service.namespaces) if service.access is ServiceAccess.READWRITE else set()
        began_s = time.monotonic()
        if user not in stage.secrets and not stage.is_elsewhere:
            failures.append(f"{name}: the password of user {user} is not known here")
            continue
        access = stage.as_user(user) if user in stage.secrets else stage.access
        untouched = []
        for shard in seen.shards:
            try:
                async with stage.at(
                    shard.primary.name, access, timeout_s=pool.connect_timeout_ms / 1000
                ) as node:
                    for namespace in (*service.namespaces, *service.reads):
                        if not stage.spec.keyspace.namespaces[namespace].fields:
                            untouched.append(namespace)
                            continue
                        tried += 1
                        words = await _use(
                            stage, node, shard, namespace, pool.command_timeout_ms / 1000, namespace in writes
                        )
                        if words:
                            failures.append(f"{name}, {namespace} on {shard.primary.name}: {words}")
            except HoldfastError as failed:
                failures.append(f"{name} on {shard.primary.name}: {failed}")
        took_ms = round((time.monotonic() - began_s) * 1000, 1)
        opened, refused = await _pool(stage, seen.shards, access, min(pool.max_total, MOST_CONNECTIONS))
        failures += [f"{name}: {words}" for words in refused[:1]]
        told[name] = {
            "user": access.credentials.user or "default",
            "took_ms": took_ms,
            "connections_opened": opened,
            "not_touched": sorted(set(untouched)),
        }
    if not seen.shards:
        failures.append("no primary answers")
    return {
        "tried": tried,
        "shards": len(seen.shards),
        "services": told,
        "failures": failures,
        "by_one_user": stage.access.credentials.user or "default" if stage.is_elsewhere else "",
    }


async def _use(
    stage: Stage, node: EngineNode, shard: SeenShard, namespace: str, timeout_s: float, writes: bool
) -> str:
    """Write, read, see the TTL, remove; read only where the service may do no more. Returns: what went wrong."""
    declared = stage.spec.keyspace.namespaces[namespace]
    key = stage.key_in(declared.keys, shard)
    try:
        if not writes:
            await node.ask("GET", key, timeout_s=timeout_s)
            return ""
        ttl: tuple[str | int, ...] = ("EX", declared.ttl_s) if declared.ttl_s else ()
        await node.ask("SET", key, stage.run, *ttl, timeout_s=timeout_s)
        value, left_s = await node.ask_all([("GET", key), ("TTL", key)], timeout_s=timeout_s)
        if value != stage.run:
            return "what was written was not read back"
        wanted_s = declared.ttl_s or -1
        if left_s != wanted_s and not (declared.ttl_s and wanted_s - 2 <= left_s <= wanted_s):
            return f"its TTL is {left_s} s, declared are {wanted_s} s"
    except HoldfastError as failed:
        return str(failed)
    finally:
        with contextlib.suppress(HoldfastError):
            if writes:
                await node.ask("UNLINK", key, timeout_s=timeout_s)
    return ""


async def _pool(
    stage: Stage, shards: tuple[SeenShard, ...], access: Any, count: int
) -> tuple[int, list[str]]:
    """Open a whole pool at once on the first primary. Returns: how many answered, and why others did not."""
    if not shards:
        return 0, []
    refused: list[str] = []

    async def one() -> int:
        try:
            async with stage.at(shards[0].primary.name, access) as node:
                await node.ask("PING")
                return 1
        except HoldfastError as failed:
            refused.append(str(failed))
            return 0

    return sum(await asyncio.gather(*(one() for _ in range(count)))), refused


async def topology(stage: Stage) -> Measured:
    """Shards, replicas, zones and slots as the nodes themselves tell; in a cluster also that a wrong node redirects."""
    seen = await stage.look()
    redirects = await _redirects(stage) if stage.record.mode == "cluster" and len(seen.shards) > 1 else None
    return {
        "mode": stage.record.mode,
        "nodes": len(seen.nodes),
        "up": sum(node.is_up for node in seen.nodes),
        "away": {node.name: node.words or node.reach.value for node in seen.nodes if not node.is_up},
        "slots_served": sum(len(shard.primary.slots) for shard in seen.shards),
        "slots": SLOTS,
        "redirects_right": redirects,
        "unhealthy": [
            node.name for node in seen.servers if node.is_up and node.node_id and not node.cluster_ok
        ],
        "sentinels_up": sum(node.is_up for node in seen.sentinels),
        "shards": [
            {
                "primary": shard.primary.name,
                "zone": shard.primary.zone,
                "replicas": {
                    node.name: {"zone": node.zone, "in_sync": node.link_up} for node in shard.replicas
                },
            }
            for shard in seen.shards
        ],
    }


async def _redirects(stage: Stage) -> bool:
    """Whether a node that does not own a key's slot names the one that does."""
    seen = await stage.look()
    first, second = seen.shards[0].primary, seen.shards[1].primary
    async with stage.at(first.name) as node:
        slot = min(second.slots)
        key = next(
            f"holdfast:{number}" for number in range(1_000_000) if _slot(f"holdfast:{number}") in second.slots
        )
        try:
            await node.ask("GET", key)
        except HoldfastError as refused:
            return f"MOVED {_slot(key)} {second.address}:{second.port}" in str(refused) and slot >= 0
    return False


def _slot(key: str) -> int:
    from holdfast.codec.crc import key_slot

    return key_slot(key.encode())


async def tls(stage: Stage) -> Measured:
    """A handshake with each node: version, cipher, whose certificate, and for how long."""
    if not stage.record.tls and stage.is_elsewhere:
        return {"tls": False, "nodes": {}, "by_url": True}
    found = await asyncio.gather(*(_handshake(stage, member) for member in stage.record.members))
    return {"tls": stage.record.tls, "nodes": dict(found), "by_url": stage.is_elsewhere}


async def _handshake(stage: Stage, member: Member) -> tuple[str, dict[str, Any]]:
    trust = stage.access.tls
    context = ssl.create_default_context(cafile=trust.ca_file if trust and trust.ca_file else None)
    try:
        async with asyncio.timeout(PROBE_BOUND_S):
            _, writer = await asyncio.open_connection(
                member.address, member.port, ssl=context, server_hostname=member.address
            )
    except (OSError, TimeoutError) as failed:
        return member.name, {"failed": str(failed) or type(failed).__name__}
    wire: ssl.SSLObject = writer.get_extra_info("ssl_object")
    certificate = x509.load_der_x509_certificate(wire.getpeercert(binary_form=True) or b"")
    cipher = wire.cipher()
    writer.close()
    ends = certificate.not_valid_after_utc
    return member.name, {
        "version": wire.version(),
        "cipher": cipher[0] if cipher else "",
        "issuer": certificate.issuer.rfc4514_string(),
        "valid_until": ends.isoformat(),
        "days_left": round((ends - datetime.now(UTC)).total_seconds() / 86400, 1),
    }


async def plaintext(stage: Stage) -> Measured:
    """A PING without TLS to each node's port, and to the plaintext port that clients would guess."""

    async def one(member: Member) -> tuple[str, str]:
        try:
            async with asyncio.timeout(PROBE_BOUND_S):
                reader, writer = await asyncio.open_connection(member.address, member.port)
                try:
                    writer.write(b"PING\r\n")
                    await writer.drain()
                    answer = await reader.read(64)
                finally:
                    writer.close()
        except TimeoutError:
            return member.name, "no answer"
        except OSError as failed:
            return member.name, f"refused: {failed.strerror or failed}"
        if answer.startswith((b"+", b"-")):
            return member.name, f"ANSWERED {answer[:24]!r}"
        return member.name, "refused" if not answer or answer[:1] == b"\x15" else f"sent {answer[:8]!r}"

    found = dict(await asyncio.gather(*(one(member) for member in stage.record.members)))
    return {"tls": stage.record.tls, "nodes": found, "by_url": stage.is_elsewhere}
