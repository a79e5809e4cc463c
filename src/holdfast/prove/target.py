"""From a cache's own store, or from a URL, to the stage that experiments happen on."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from holdfast.engine.connection import Credentials, Endpoint, EngineNode, NodeDenied, TlsTrust
from holdfast.errors import HoldfastError, WrongUsage
from holdfast.prove.check import Need
from holdfast.prove.plan import Situation
from holdfast.prove.stage import Stage
from holdfast.spec.cache import Spec
from holdfast.spec.place import PlaceKind
from holdfast.spec.topology import Mode
from holdfast.topology.observe import Access, read_info
from holdfast.topology.record import CacheRecord, Kind, Member

DEFAULT_PORT = 6379


@dataclass(frozen=True)
class Elsewhere:
    """A cache that Holdfast did not start."""

    url: str
    user: str = ""
    password_file: Path | None = None
    ca_file: Path | None = None


@dataclass(eq=False)
class NotLetIn(HoldfastError):
    """A cache that Holdfast did not start does not let the given user in."""

    address: str
    user: str
    with_password: bool

    def __str__(self) -> str:
        how = "with the password given" if self.with_password else "without a password"
        return (
            f"{self.address} does not let the user {self.user} in {how}, so nothing was tried; give --user and "
            "--password-file (a file that holds the password alone)"
        )


async def situation_of(stage: Stage) -> Situation:
    """What there is to work with."""
    spec = stage.spec
    has: set[Need] = set()
    if stage.state is not None:
        has.add(Need.RECORD)
        if spec.place.kind is PlaceKind.LOCAL:
            has.add(Need.HERE)
    if stage.live is not None and stage.hosts:
        has.add(Need.SUPERVISOR)
    if spec.topology.replicas and stage.record.mode != Mode.STANDALONE.value:
        has.add(Need.REPLICAS)
    if stage.record.mode == Mode.CLUSTER.value:
        has.add(Need.CLUSTER)
    if len({member.zone for member in stage.record.members}) > 1:
        has.add(Need.ZONES)
    if spec.services:
        has.add(Need.SERVICES)
    if stage.record.tls:
        has.add(Need.TLS)
    flows = spec.keyspace.namespaces.values()
    if any(each.traffic.reads_per_s + each.traffic.writes_per_s > 0 and each.fields for each in flows):
        has.add(Need.TRAFFIC)
    return Situation(frozenset(has))


async def stage_elsewhere(spec: Spec, elsewhere: Elsewhere, tell: Callable[[str], None]) -> Stage:
    """The stage for a URL: its nodes as they tell of each other. Raises: WrongUsage, NodeGone and the like."""
    parts = urlsplit(elsewhere.url)
    if parts.scheme not in {"redis", "rediss"} or not parts.hostname:
        raise WrongUsage(
            f"{elsewhere.url} is no URL of a cache", "write redis://HOST:PORT or rediss://HOST:PORT"
        )
    if parts.password:
        raise WrongUsage(
            "the URL holds a password, which every user of this machine could read in the process list",
            "write it into a file and name that with --password-file",
        )
    try:
        port = parts.port or DEFAULT_PORT
    except ValueError:
        raise WrongUsage(
            f"{elsewhere.url} has no port that could be one", "write redis://HOST:PORT"
        ) from None
    user = elsewhere.user or unquote(parts.username or "")
    password = _password(elsewhere.password_file)
    trust = TlsTrust(_authority(elsewhere.ca_file)) if parts.scheme == "rediss" else None
    access = Access(Credentials(user, password), trust)
    try:
        record = await _discovered(spec.cache.name, parts.hostname, port, access)
    except NodeDenied as denied:
        raise NotLetIn(denied.address, user or "default", bool(password)) from denied
    return Stage(spec=spec, record=record, access=access, hosts={}, secrets={}, tell=tell)


def _password(file: Path | None) -> str:
    if file is None:
        return ""
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError) as failed:
        raise WrongUsage(f"the password file {file} cannot be read ({failed})", "name another file") from None


def _authority(file: Path | None) -> str:
    found = str(file) if file is not None else ssl.get_default_verify_paths().cafile or ""
    if not found or not Path(found).is_file():
        raise WrongUsage("there is no certificate authority to trust", "name one with --ca-file")
    return found


async def _discovered(name: str, host: str, port: int, access: Access) -> CacheRecord:
    credentials = access.credentials if access.credentials.password else None
    endpoint = Endpoint(host, port, credentials, access.tls)
    async with await EngineNode.connect(endpoint, timeout_s=access.timeout_s) as node:
        info = read_info(str(await node.ask("INFO")))
        engine = f"{'valkey' if 'valkey_version' in info else 'redis'}"
        places: list[tuple[str, int]] = [(host, port)]
        mode = Mode.STANDALONE
        if info.get("cluster_enabled") == "1":
            mode = Mode.CLUSTER
            found: list[tuple[str, int]] = []
            for _, _, *nodes in await node.ask("CLUSTER", "SLOTS"):
                found += [(str(each[0]) or host, int(each[1])) for each in nodes]
            places = list(dict.fromkeys(found)) or places
        elif int(info.get("connected_slaves", "0")) or info.get("role") == "slave":
            mode = Mode.REPLICATED
            places += _replicas(info)
    members = tuple(
        Member(f"{address}:{number}", Kind.SERVER, "elsewhere", "", address, number, 0)
        for address, number in places
    )
    return CacheRecord(name=name, mode=mode.value, engine=engine, tls=access.tls is not None, members=members)


def _replicas(info: dict[str, str]) -> list[tuple[str, int]]:
    found = []
    for key, value in info.items():
        if key.startswith("slave") and key[5:].isdigit():
            facts = dict(pair.split("=", 1) for pair in value.split(",") if "=" in pair)
            port = int(facts["port"]) if facts.get("port", "").isdigit() else 0
            if facts.get("ip") and 0 < port < 65_536:  # others read the stream and are no servers
                found.append((facts["ip"], port))
    if info.get("role") == "slave" and info.get("master_host") and info.get("master_port", "").isdigit():
        found.append((info["master_host"], int(info["master_port"])))
    return found
