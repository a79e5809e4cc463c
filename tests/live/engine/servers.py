"""Real servers for the tests of this folder: files rendered as for a cache, each process stopped by its own pid."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.live.ports import LOOPBACK, free_port

from holdfast.engine.acl import (
    OWN_USERS,
    REPLICATION_USER,
    SENTINEL_USER,
    acl_rules,
    render_acl,
    sentinel_acl_rules,
)
from holdfast.engine.build import EngineBuild
from holdfast.engine.config import server_config, server_directives, server_secrets
from holdfast.engine.connection import Credentials, Endpoint, EngineNode, TlsTrust
from holdfast.engine.directive import Directive
from holdfast.engine.facts import Address, NodeFacts, SentinelFacts, TlsFiles
from holdfast.engine.issued import Issued, Subject
from holdfast.engine.process import Launch, ServerProcess
from holdfast.engine.sentinel_config import sentinel_config, sentinel_directives
from holdfast.engine.tls import issue, make_authority
from holdfast.spec.cache import Spec

NAMESPACES = {
    "bill.inquiry": {"pattern": "bill:inquiry:{customerId}:{month}", "ttl": "1h"},
    "auth.session": {"pattern": "auth:session:{userId}:{sessionId}", "ttl": "1h"},
}
SERVICES = {
    "bill": {"namespaces": ["bill.inquiry"], "reads": ["auth.session"]},
    "auth": {"namespaces": ["auth.session"]},
    "report": {"namespaces": ["bill.inquiry"], "access": "read"},
}
USERS = (*OWN_USERS, "operator", *SERVICES)


def password(user: str) -> str:
    return f'{user}\'s "secret" \\ word'


HASHES = {user: (hashlib.sha256(password(user).encode()).hexdigest(),) for user in USERS}


def cache_spec(**sections: Any) -> Spec:
    whole = {
        "cache": {"name": "cart"},
        "services": SERVICES,
        "keyspace": {"namespaces": NAMESPACES},
        **sections,
    }
    return Spec.model_validate(whole)


def make_tls(folder: Path, now: datetime.datetime | None = None, days: int = 30) -> TlsFiles:
    """An authority and a node's certificate, written as a node has them."""
    now = now or datetime.datetime.now(datetime.UTC)
    authority = make_authority("cart", 365, now)
    return write_tls(
        folder, authority, issue(authority, Subject.NODE, "cart-1", ("localhost", LOOPBACK), days, now)
    )


def write_tls(folder: Path, authority: Issued, node: Issued) -> TlsFiles:
    folder.mkdir(parents=True, exist_ok=True)
    files = TlsFiles(str(folder / "ca.crt"), str(folder / "node.crt"), str(folder / "node.key"))
    for path, content in (
        (files.ca, authority.cert_pem),
        (files.cert, node.cert_pem),
        (files.key, node.key_pem),
    ):
        Path(path).write_bytes(content)
    return files


@dataclass
class Server:
    """A started server and how it is reached."""

    facts: NodeFacts | SentinelFacts
    directives: tuple[Directive, ...]
    process: ServerProcess

    def door(self, user: str = "operator") -> Endpoint:
        """Its Unix socket."""
        return Endpoint("", 0, Credentials(user, password(user)), socket=self.facts.socket)

    def front(self, user: str = "operator") -> Endpoint:
        """Its port, as applications reach it."""
        trust = TlsTrust(self.facts.tls.ca) if self.facts.tls else None
        return Endpoint(LOOPBACK, self.facts.port, Credentials(user, password(user)), tls=trust)

    @asynccontextmanager
    async def link(self, user: str = "operator") -> AsyncIterator[EngineNode]:
        async with await EngineNode.connect(self.door(user)) as node:
            yield node

    async def ping(self) -> None:
        async with self.link() as node:
            await node.ask("PING")


def write_node(
    build: EngineBuild, folder: Path, spec: Spec, **changes: Any
) -> tuple[NodeFacts, tuple[Directive, ...], Launch]:
    """All files of a node, from the spec."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    port = free_port()
    facts = NodeFacts(
        cache="cart",
        node="cart-1",
        zone="local",
        address=LOOPBACK,
        bind=(LOOPBACK,),
        port=port,
        folder=str(folder),
        socket=str(folder / "s"),
        replication_user=REPLICATION_USER,
        replication_password=password(REPLICATION_USER),
    )
    facts = dataclasses.replace(facts, **changes)
    directives = server_directives(spec, build, facts)
    Path(facts.config_path).write_text(server_config(directives, build, facts))
    Path(facts.secrets_path).write_text(server_secrets(directives, facts))
    Path(facts.acl_path).write_text(render_acl(acl_rules(spec, build, HASHES)))
    return facts, directives, Launch(facts.node, build.command, folder)


@asynccontextmanager
async def running(
    build: EngineBuild, folder: Path, spec: Spec | None = None, *, ready: bool = True, **changes: Any
) -> AsyncIterator[Server]:
    """A data node; stopped hard at the end."""
    facts, directives, launch = write_node(build, folder, spec or cache_spec(), **changes)
    async with _started(Server(facts, directives, await ServerProcess.start(launch)), ready) as server:
        yield server


@asynccontextmanager
async def running_sentinel(
    build: EngineBuild, folder: Path, spec: Spec, primary: Address, **changes: Any
) -> AsyncIterator[Server]:
    """A Sentinel that watches `primary`."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    facts = SentinelFacts(
        cache="cart",
        node="sentinel-1",
        zone="local",
        address=LOOPBACK,
        bind=(LOOPBACK,),
        port=free_port(),
        folder=str(folder),
        primary=primary,
        socket=str(folder / "s"),
        data_user=SENTINEL_USER,
        data_password=password(SENTINEL_USER),
        peer_user=SENTINEL_USER,
        peer_password=password(SENTINEL_USER),
    )
    facts = dataclasses.replace(facts, **changes)
    directives = sentinel_directives(spec, build, facts)
    Path(facts.config_path).write_text(sentinel_config(directives, facts))
    Path(facts.acl_path).write_text(render_acl(sentinel_acl_rules(spec, build, HASHES)))
    launch = Launch(facts.node, build.command, folder, "sentinel.conf", sentinel=True)
    async with _started(Server(facts, directives, await ServerProcess.start(launch)), ready=True) as server:
        yield server


@asynccontextmanager
async def _started(server: Server, ready: bool) -> AsyncIterator[Server]:
    try:
        if ready:
            await server.process.wait_ready(server.ping)
        yield server
    finally:
        await server.process.kill()


async def until(look: Callable[[], Any], bound_s: float = 40.0) -> Any:
    """What the coroutine function `look` returns once that is true."""
    import asyncio

    async with asyncio.timeout(bound_s):
        while not (found := await look()):
            await asyncio.sleep(0.02)
        return found
