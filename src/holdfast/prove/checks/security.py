"""Attempts that must fail: without a password, beyond one's rights, from outside, by old TLS; and secrets that must not show."""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
import socket
import ssl
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from holdfast.engine.connection import Credentials, NodeDenied
from holdfast.errors import HoldfastError
from holdfast.load.workload import MARK
from holdfast.prove.check import Measured
from holdfast.prove.stage import Stage
from holdfast.spec.service import Access as ServiceAccess
from holdfast.topology.guards import enforcement
from holdfast.topology.record import Kind, Member

PROBE_BOUND_S = 3.0
SHORTEST_SECRET = 12
"""Shorter words would be found by chance."""
LARGEST_FILE_BYTES = 64 << 20
DRY = (
    ("FLUSHALL",),
    ("FLUSHDB",),
    ("SHUTDOWN",),
    ("DEBUG", "SLEEP", "0"),
    ("REPLICAOF", "NO", "ONE"),
    ("CONFIG", "SET", "maxmemory", "0"),
    ("ACL", "SETUSER", "intruder"),
    ("KEYS", "*"),
    ("MODULE", "LIST"),
    ("MONITOR",),
)
"""Commands that would do harm if they were allowed: asked by ACL DRYRUN, never sent."""
SENT = (("CONFIG", "GET", "maxmemory"), ("ACL", "LIST"), ("CLIENT", "LIST"))


async def authentication(stage: Stage) -> Measured:
    """No password, a wrong one, and the engine's own user `default`, at every node."""
    let_in: list[str] = []
    tried = 0
    users = ["default", *stage.secrets, f"{MARK}-nobody"]
    for member in stage.record.members:
        for user in ("", *users):
            tried += 1
            words = await enters(stage, member, user)
            if words:
                let_in.append(words)
    return {"tried": tried, "let_in": let_in, "users": len(users)}


async def enters(stage: Stage, member: Member, user: str) -> str:
    """What is wrong: that somebody was let in who should not be. Args: `user`, empty for no log-in at all."""
    from dataclasses import replace

    endpoint = replace(
        stage.access.endpoint(member),
        credentials=Credentials(user, secrets.token_urlsafe(16)) if user else None,
    )
    from holdfast.engine.connection import EngineNode

    who = f"user {user} with a wrong password" if user else "nobody's name and no password"
    try:
        async with await EngineNode.connect(endpoint, timeout_s=PROBE_BOUND_S) as node:
            await node.ask("DBSIZE" if member.kind is Kind.SERVER else "PING")
    except NodeDenied:
        return ""
    except HoldfastError as failed:
        return f"{member.name} could not be tried: {failed}"
    return f"{member.name} lets {who} in"


async def rights(stage: Stage) -> Measured:
    """Each service outside its keys and commands: sent where that is harmless, else asked of ACL DRYRUN."""
    allowed: list[str] = []
    notes: list[str] = []
    tried = 0
    seen = await stage.look()
    node = seen.shards[0].primary.name if seen.shards else ""
    spec = stage.spec
    for name, service in spec.services.items():
        user = spec.user_of(name)
        own = {*service.namespaces, *service.reads}
        only_read = set(service.reads) | (
            set(service.namespaces) if service.access is ServiceAccess.READ else set()
        )
        forbidden: list[tuple[str, ...]] = [
            ("GET", f"{MARK}:nobodys"),
            ("SET", f"{MARK}:nobodys", "x"),
            ("SET", f"{MARK}:nobodys", "x", "EX", "60"),
        ]
        for other, namespace in spec.keyspace.namespaces.items():
            sample = namespace.key_glob.replace("*", MARK)
            if other not in own:
                forbidden.append(("GET", sample))
            if (other not in own or other in only_read) and other not in service.namespaces:
                forbidden.append(("SET", sample, "x"))
        async with stage.at(node) as own_door:
            for words in (*forbidden, *DRY):
                reply = (await own_door.ask_all([("ACL", "DRYRUN", user, *words)]))[0]
                if isinstance(reply, HoldfastError):
                    notes = ["this engine has no ACL DRYRUN: commands that would do harm were not tried"]
                    break
                tried += 1
                if reply == "OK":
                    allowed.append(f"{user} may {' '.join(words)}")
        try:
            async with stage.at(node, stage.as_user(user)) as door:
                for sent in SENT:
                    tried += 1
                    if not isinstance((await door.ask_all([sent]))[0], NodeDenied):
                        allowed.append(f"{user} may {' '.join(sent)}")
        except (HoldfastError, KeyError) as failed:
            allowed.append(f"{user} could not be tried: {failed}")
    return {"tried": tried, "allowed": allowed, "notes": notes}


async def addresses(stage: Stage) -> Measured:
    """From this machine's other addresses, and whether a packet filter or the listening address keeps others out."""
    ports = {member.port for member in stage.record.members}
    listening = sorted(
        {
            str(connection.laddr[0])
            for connection in psutil.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr[1] in ports
        }
    )
    outside = [
        address.address
        for found in psutil.net_if_addrs().values()
        for address in found
        if address.family == socket.AF_INET and not ipaddress.ip_address(address.address).is_loopback
    ]
    bound = {member.address for member in stage.record.members}
    entered = []
    tried = 0
    for address in outside:
        for member in stage.record.members:
            tried += 1
            if address not in bound and await _connects(address, member.port):
                entered.append(f"{address}:{member.port}")
    held = await enforcement(stage.spec, stage.record, stage.hosts)
    return {
        "listening": listening,
        "tried": tried,
        "other_addresses": outside,
        "entered": entered,
        "enforced": {name: {"holds": each.enforced, "how": each.how, "why": each.why} for name, each in held.items()},
        "allow": [each.text for rule in stage.spec.network.allow.values() for each in rule.addresses],
    }  # fmt: skip


async def _connects(address: str, port: int) -> bool:
    try:
        async with asyncio.timeout(1.0):
            _, writer = await asyncio.open_connection(address, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


VERSIONS = {
    "1.0": ssl.TLSVersion.TLSv1,
    "1.1": ssl.TLSVersion.TLSv1_1,
    "1.2": ssl.TLSVersion.TLSv1_2,
}


async def tls_versions(stage: Stage) -> Measured:
    """A handshake by each version below the declared one, at every node."""
    below = [version for version in VERSIONS if version < stage.spec.security.tls.min_version.value]
    spoken: list[str] = []
    untried: list[str] = []
    tried = 0
    for version in below:
        for member in stage.record.members:
            tried += 1
            outcome = await _shakes(member, VERSIONS[version])
            if outcome == "spoken":
                spoken.append(f"{member.name} speaks TLS {version}")
            elif outcome:
                untried.append(f"TLS {version}: {outcome}")
    return {"below": below, "tried": tried, "spoken": spoken, "untried": sorted(set(untried))}


async def _shakes(member: Member, version: ssl.TLSVersion) -> str:
    """`spoken`, empty for a refusal by the server, or why this client could not try."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # who it is does not matter here, only what it speaks
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version = context.maximum_version = version
        except (ssl.SSLError, ValueError) as cannot:
            return f"this machine's TLS library cannot offer it ({cannot})"
    try:
        async with asyncio.timeout(PROBE_BOUND_S):
            _, writer = await asyncio.open_connection(member.address, member.port, ssl=context)
    except ssl.SSLError as refused:
        return (
            "this machine's TLS library cannot offer it"
            if "NO_PROTOCOLS_AVAILABLE" in str(refused) or "no protocols" in str(refused)
            else ""
        )
    except (OSError, TimeoutError):
        return ""
    writer.close()
    return "spoken"


async def secrets_hidden(stage: Stage) -> Measured:
    """Passwords in logs, process lists and environments; modes of every file of the cache."""
    if stage.state is None:
        return {"secrets": 0, "found": ["no state folder"], "open": [], "files": 0, "processes": 0}
    words = [word for word in stage.secrets.values() if len(word) >= SHORTEST_SECRET]
    return await asyncio.to_thread(_search, stage.state.path, stage.record.name, words)


def _search(state: Path, cache: str, words: list[str]) -> dict[str, Any]:
    found: list[str] = []
    opened: list[str] = []
    files = 0
    logs = [
        path
        for path in (
            state / "audit.log",
            *(state / "supervisor").glob("*"),
            *(state / "nodes" / cache).glob("*/*.log*"),
            *(state / "evidence" / cache).rglob("*"),
        )
        if path.is_file()
    ]
    found += [f"{path.relative_to(state)} holds a password" for path in logs if _holds(path, words)]
    for top in (state, state / "caches" / cache, state / "nodes" / cache):
        for path in (top, *top.rglob("*")) if top != state else (top,):
            files += 1
            try:
                mode = path.lstat().st_mode
            except FileNotFoundError:
                continue
            if not stat.S_ISLNK(mode) and mode & 0o077 and not stat.S_ISSOCK(mode):
                opened.append(
                    f"{path.relative_to(state) if path != state else path} has mode {mode & 0o777:04o}"
                )
    processes = 0
    for pid, line in _process_words():
        processes += 1
        if any(word.encode() in line for word in words):
            found.append(f"process {pid} has a password among its arguments or in its environment")
    return {
        "secrets": len(words),
        "logs": len(logs),
        "found": sorted(set(found)),
        "open": opened,
        "files": files,
        "processes": processes,
    }


def _holds(path: Path, words: list[str]) -> bool:
    with path.open("rb") as file:
        content = file.read(LARGEST_FILE_BYTES)
    return any(word.encode() in content for word in words)


def _process_words() -> Iterator[tuple[str, bytes]]:
    for folder in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                yield folder.name, (folder / name).read_bytes()
            except OSError:
                continue  # it has ended, or is another user's, whom nobody but root can read either
