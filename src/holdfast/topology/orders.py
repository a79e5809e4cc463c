"""From the spec to one node's files: what a machine is told so that it can run the node. Pure.

Secrets and certificates come in ready made; this only puts things where the engine looks for them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from holdfast.engine.acl import (
    REPLICATION_USER,
    SENTINEL_USER,
    SUPERVISOR_USER,
    acl_rules,
    render_acl,
    sentinel_acl_rules,
)
from holdfast.engine.build import EngineBuild
from holdfast.engine.config import server_config, server_directives, server_secrets
from holdfast.engine.directive import Directive
from holdfast.engine.facts import Address, NodeFacts, SentinelFacts, TlsFiles
from holdfast.engine.issued import Issued
from holdfast.engine.sentinel_config import sentinel_config, sentinel_directives
from holdfast.spec.cache import Spec
from holdfast.spec.topology import Mode
from holdfast.topology.hosts import NodeFile, NodeOrder
from holdfast.topology.record import Kind, Member

CA, CERT, KEY = "ca.pem", "node.pem", "node.key"
SERVER_CONFIG, SECRETS, USERS, SENTINEL_CONFIG = "server.conf", "secrets.conf", "users.acl", "sentinel.conf"
SOCKET = "node.sock"


@dataclass(frozen=True)
class Keys:
    """What a node proves itself and others with."""

    passwords: Mapping[str, str] = field(repr=False)
    hashes: Mapping[str, tuple[str, ...]] = field(repr=False)
    certificate: Issued | None
    ca_pem: bytes


def all_users(spec: Spec) -> tuple[str, ...]:
    """Every user that needs a password."""
    own = (REPLICATION_USER, SUPERVISOR_USER, "holdfast-backup", SENTINEL_USER)
    return (*own, *spec.security.access.operators, *(spec.user_of(name) for name in spec.services))


def binds(spec: Spec, member: Member) -> tuple[str, ...]:
    """Addresses that the node listens on: those of the spec on this machine; its own on a declared host."""
    if member.host == "local":
        return tuple(spec.network.bind)
    return (member.address,)


def folder_of(state: str, cache: str, node: str) -> str:
    """A node's folder below its machine's state folder."""
    return f"{state}/nodes/{cache}/{node}"


def node_facts(
    spec: Spec, member: Member, state: str, keys: Keys | None, primary: Address | None, *, tls: bool
) -> NodeFacts:
    """Where one server lives. Args: `keys`, None when no secret is wanted, as for a comparison."""
    folder = folder_of(state, spec.cache.name, member.name)
    return NodeFacts(
        cache=spec.cache.name,
        node=member.name,
        zone=member.zone,
        address=member.address,
        bind=binds(spec, member),
        port=member.port,
        folder=folder,
        bus_port=member.bus_port or None,
        socket=f"{folder}/{SOCKET}" if len(f"{folder}/{SOCKET}".encode()) <= 107 else f"./{SOCKET}",
        tls=_tls_files(folder) if tls else None,
        primary=primary,
        replication_user=REPLICATION_USER,
        replication_password=keys.passwords[REPLICATION_USER] if keys else "",
    )


def server_order(
    spec: Spec,
    build: EngineBuild,
    member: Member,
    state: str,
    keys: Keys,
    primary: Address | None,
    *,
    tls: bool,
) -> NodeOrder:
    """The files and facts of one server. Args: `primary`, whom it follows at its start (not in a cluster)."""
    facts = node_facts(spec, member, state, keys, primary, tls=tls)
    directives = server_directives(spec, build, facts)
    files = [
        NodeFile(SERVER_CONFIG, server_config(directives, build, facts)),
        NodeFile(SECRETS, server_secrets(directives, facts)),
        NodeFile(USERS, server_users(spec, build, keys.hashes)),
        *_tls_contents(keys, tls=tls),
    ]
    return _order(spec, build, member, SERVER_CONFIG, keys, files)


def server_users(spec: Spec, build: EngineBuild, hashes: Mapping[str, tuple[str, ...]]) -> str:
    """Text of the ACL file of every server."""
    return render_acl(acl_rules(spec, build, hashes))


def sentinel_users(spec: Spec, build: EngineBuild, hashes: Mapping[str, tuple[str, ...]]) -> str:
    """Text of the ACL file of every sentinel."""
    return render_acl(sentinel_acl_rules(spec, build, hashes))


def digest(text: str) -> str:
    """Digest of a file's text."""
    return hashlib.sha256(text.encode()).hexdigest()


def compared_directives(
    spec: Spec, build: EngineBuild, member: Member, state: str, *, tls: bool
) -> tuple[Directive, ...]:
    """The directives that a running server is compared with; secrets, which it does not tell, are not among them."""
    facts = node_facts(spec, member, state, None, None, tls=tls)
    return tuple(each for each in server_directives(spec, build, facts) if not each.secret)


def sentinel_order(
    spec: Spec,
    build: EngineBuild,
    member: Member,
    state: str,
    keys: Keys,
    primary: Address | None,
    *,
    tls: bool,
) -> NodeOrder:
    """The files and facts of one sentinel.

    Args: `primary`, whom a new sentinel watches; None for one that has its own memory in its file, which is then
        left as it is.
    """
    folder = folder_of(state, spec.cache.name, member.name)
    files = [
        NodeFile(USERS, sentinel_users(spec, build, keys.hashes)),
        *_tls_contents(keys, tls=tls),
    ]
    if primary is not None:
        facts = SentinelFacts(
            cache=spec.cache.name,
            node=member.name,
            zone=member.zone,
            address=member.address,
            bind=binds(spec, member),
            port=member.port,
            folder=folder,
            primary=primary,
            socket=None,
            tls=_tls_files(folder) if tls else None,
            data_user=SENTINEL_USER,
            data_password=keys.passwords[SENTINEL_USER],
            peer_user=SENTINEL_USER,
            peer_password=keys.passwords[SENTINEL_USER],
        )
        text = sentinel_config(sentinel_directives(spec, build, facts), facts)
        files.append(NodeFile(SENTINEL_CONFIG, text))
    return _order(spec, build, member, SENTINEL_CONFIG, keys, files)


def _order(
    spec: Spec, build: EngineBuild, member: Member, config: str, keys: Keys, files: list[NodeFile]
) -> NodeOrder:
    return NodeOrder(
        cache=spec.cache.name,
        node=member.name,
        kind=member.kind,
        engine=build.key,
        address=member.address,
        port=member.port,
        bus_port=member.bus_port if spec.topology.mode is Mode.CLUSTER and member.kind is Kind.SERVER else 0,
        config=config,
        probe_user=SUPERVISOR_USER,
        probe_password=keys.passwords[SUPERVISOR_USER],
        files=tuple(files),
    )


def _tls_files(folder: str) -> TlsFiles:
    return TlsFiles(ca=f"{folder}/{CA}", cert=f"{folder}/{CERT}", key=f"{folder}/{KEY}")


def _tls_contents(keys: Keys, *, tls: bool) -> list[NodeFile]:
    if not tls or keys.certificate is None:
        return []
    return [
        NodeFile(CA, keys.ca_pem.decode()),
        NodeFile(CERT, keys.certificate.cert_pem.decode()),
        NodeFile(KEY, keys.certificate.key_pem.decode()),
    ]
