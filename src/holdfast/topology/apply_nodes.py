"""Steps on processes: adding, starting and removing nodes."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace

from holdfast.engine.build import EngineBuild
from holdfast.engine.dialects import EngineVersion, loads
from holdfast.engine.facts import Address
from holdfast.engine.sentinel_config import monitored
from holdfast.errors import HoldfastError
from holdfast.spec.topology import Mode
from holdfast.topology import orders
from holdfast.topology.health import let_in_again
from holdfast.topology.live import LiveCache, Told
from holdfast.topology.observe import users_digest
from holdfast.topology.record import Kind, Member
from holdfast.topology.seen import ProcessState, Reach, Role, SeenCache, SeenProcess
from holdfast.topology.steps import AddNode, AwaitSuccessor, RemoveNode, RenewCertificates, StartNodes

BUS_OFFSET = 10_000
ANSWER_BOUND_S = 30.0
HUNG_MORE_S = 3.0
"""How much longer than the node timeout a process that runs and does not answer is waited for."""
SHUT_BOUND_S = 3.0
"""Nobody but a person opens a node that does not let Holdfast in; one whose users are just being set may, in a moment."""
FORGET_ROUNDS = 3
SUCCESSION_TIMEOUTS, SUCCESSION_MORE_S = 2, 6.0
"""The engine's election takes a node timeout, its gossip another, and a second or two for the votes."""


@dataclass(eq=False)
class NodeMute(HoldfastError):
    """A node's process runs and does not answer, so its role and data cannot be seen."""

    node: str
    waited_s: float
    words: str
    pid: int

    def __str__(self) -> str:
        return (
            f"{self.node} (pid {self.pid}) runs but does not answer for {self.waited_s:.0f} s: {self.words}. Nothing was "
            f"changed on it. See what it is busy with (`holdfast logs CACHE {self.node}`); if it hangs, kill -9 "
            f"{self.pid} and run `holdfast up` again"
        )


@dataclass(eq=False)
class NodeShut(HoldfastError):
    """A node does not let Holdfast in, so its role and data cannot be seen."""

    cache: str
    node: str
    words: str
    pid: int

    def __str__(self) -> str:
        return (
            f"{self.node} does not let Holdfast in ({self.words.rstrip('.')}). Nothing was changed on it: "
            f"{let_in_again(self.cache, self.node, self.pid)}"
        )


@dataclass(eq=False)
class StillNeeded(HoldfastError):
    """A node that was to be removed still owns something."""

    node: str
    why: str

    def __str__(self) -> str:
        return f"{self.node} was not removed: {self.why}; run the command again, the plan is then made from what is"


@dataclass(eq=False)
class NoSuccessor(HoldfastError):
    """No replica was elected in the place of a dead primary that would come back empty."""

    cache: str
    node: str
    replica: str
    waited_s: float

    def __str__(self) -> str:
        return (
            f"{self.node} of {self.cache} would come back empty, and no replica was elected in its place in "
            f"{self.waited_s:.0f} s: it was not started. See why not (`holdfast logs {self.cache} {self.replica}`), or have "
            f"{self.replica} take over without a vote: holdfast repair {self.cache}"
        )


async def add(cache: LiveCache, step: AddNode) -> None:
    """Give the node a place in the record, then write its files; a step done before leaves it as it is."""
    known = {member.name: member for member in cache.record.members}
    if step.node not in known:
        host = cache.hosts[step.host]
        clustered = cache.spec.topology.mode is Mode.CLUSTER and step.kind is Kind.SERVER
        address = cache.addresses[step.host]
        listening = tuple(cache.spec.network.bind) if step.host == "local" else (address,)
        first = cache.spec.topology.port
        (port,) = await host.free_ports(listening, 1, first, clustered)
        member = Member(
            name=step.node,
            kind=step.kind,
            host=step.host,
            zone=step.zone,
            address=address,
            port=port,
            bus_port=port + BUS_OFFSET if clustered else 0,
            first_shard=step.first_shard,
            first_primary=step.first_primary,
            engine=cache.build.key,
        )
        cache.save(cache.record.with_member(member))
    member = cache.record.member(step.node)
    await cache.prepare(member, cache.address(step.follows) if step.follows else None)
    cache.tell(Told(step.node, "prepared"))


async def start(cache: LiveCache, step: StartNodes) -> None:
    """Start all of them at once and wait for each; the first failure is raised after all have ended."""
    primary = await _primary_now(cache)
    results = await asyncio.gather(
        *(_start(cache, name, primary) for name in step.nodes), return_exceptions=True
    )
    for result in results:
        if isinstance(result, BaseException):
            raise result


async def _primary_now(cache: LiveCache) -> Member | None:
    """Outside a cluster, the one node that is primary and has keys; its own file no longer names a primary then.

    An empty one is nobody to throw another node's data away for.
    """
    if cache.spec.topology.mode is Mode.CLUSTER:
        return None
    primaries = [node.name for node in (await cache.look()).primaries if node.is_up and node.keys]
    if len(primaries) != 1:
        return None
    member = cache.record.member(primaries[0])
    if await _remembered_primary(cache, member):  # promoted while it ran
        await cache.prepare(member, None)
    return member


async def _start(cache: LiveCache, name: str, primary: Member | None) -> None:
    member = cache.record.member(name)
    host = cache.hosts[member.host]
    process = (await host.processes(cache.record.name)).get(name)
    if process is None or process.state is not ProcessState.RUNNING:
        # A node that its machine does not know yet was interrupted while it was added: it has no file to remember by.
        follows = (
            _first_primary(cache, member) if process is None else await _remembered_primary(cache, member)
        )
        if primary is not None and member.kind is Kind.SERVER:
            follows = primary.address, primary.port
        member = await _with_engine(cache, member, process)
        await cache.prepare(member, follows)
        cache.tell(Told(name, "starting"))
    # Also of one that runs by now: its supervisor may have started it a moment ago, and it does not listen yet.
    left_out = await host.start(cache.record.name, name)
    cache.tell(Told(name, "up"))
    await note_users(cache, member)
    if left_out:
        async with await cache.connect(name) as node:
            if (await node.ask("ROLE"))[0] == "master":  # a replica copies what it lacks
                cache.tell(Told(name, left_out, is_loss=True))


async def note_users(cache: LiveCache, member: Member) -> None:
    """Remember what the spec's users look like to an engine that has just read its file."""
    async with await cache.connect(member.name) as node:
        listed = users_digest(await node.ask("ACL", "LIST"))
    wanted = orders.digest(cache.users_text(member.kind, cache.build_of(member)))
    cache.save(replace(cache.record, acl={**cache.record.acl, member.name: (wanted, listed)}))


async def _with_engine(cache: LiveCache, member: Member, process: SeenProcess | None) -> Member:
    """The member with the engine that it is started on: the one it had, while its machines have that; the wanted one
    where a change is taken back. A replica's data that this engine would not load is put aside: its primary has it.
    """
    key = member.engine or cache.record.engine
    if key in cache.builds and not cache.manner.going_back:
        return member
    if process is not None and process.files is not None and process.files.follows:
        await put_aside_unreadable(cache, member, cache.build)
    return cache.assign_engine(member.name, cache.build.key)


async def put_aside_unreadable(cache: LiveCache, member: Member, build: EngineBuild) -> None:
    """Put the data files of a stopped replica aside where they may be in a dialect that `build` does not load."""
    wrote = cache.build_of(member)
    if not loads(EngineVersion.of(build), EngineVersion.of(wrote).dialect):
        aside = await cache.hosts[member.host].put_aside(cache.record.name, member.name, f"of-{wrote.name}")
        if aside:
            cache.tell(Told(member.name, f"its files of {wrote.title} are in {aside}"))


async def _remembered_primary(cache: LiveCache, member: Member) -> Address | None:
    """Whom a stopped node followed by its own file: its role is kept, not guessed.

    A sentinel that has run keeps its file, so it gets none. A server in a cluster knows by its own nodes.conf.
    """
    host = cache.hosts[member.host]
    if member.kind is Kind.SENTINEL:
        text = await host.read(cache.record.name, member.name, orders.SENTINEL_CONFIG)
        return None if monitored(text, cache.record.name) else _first_primary(cache, member)
    if cache.spec.topology.mode is Mode.CLUSTER:
        return None
    text = await host.read(cache.record.name, member.name, orders.SERVER_CONFIG)
    for line in text.splitlines():
        words = line.replace('"', " ").split()
        if len(words) == 3 and words[0].lower() in {"replicaof", "slaveof"} and words[2].isdigit():
            return words[1], int(words[2])
    return None


def _first_primary(cache: LiveCache, member: Member) -> Address | None:
    """Outside a cluster, whom a new node follows or watches: the node that was made to be the first primary."""
    first = [each for each in cache.record.servers if each.first_primary and each.name != member.name]
    clustered = cache.spec.topology.mode is Mode.CLUSTER
    return (first[0].address, first[0].port) if first and not clustered else None


async def await_successor(cache: LiveCache, step: AwaitSuccessor) -> None:
    """Wait for the engine's election; without one, start the dead primary again if its own files hold data.

    Raises: NoSuccessor.
    """
    bound_s = SUCCESSION_TIMEOUTS * cache.spec.topology.node_timeout_ms / 1000 + SUCCESSION_MORE_S
    began = time.monotonic()
    while time.monotonic() - began < bound_s:
        seen = await cache.look()
        former = seen.node(step.node)
        followers = [node for node in seen.servers if node.is_up and node.primary == step.node]
        if former.is_up or not followers:
            return
        await asyncio.sleep(0.1)
    if not step.holds_data:
        raise NoSuccessor(cache.record.name, step.node, step.successor, bound_s)
    await _start(cache, step.node, None)


async def await_answers(cache: LiveCache) -> None:
    """Wait until every member answers. Raises: NodeMute, NodeShut."""
    began = time.monotonic()
    # By then a supervisor that watches over it has ended it: nothing is gained by waiting for it any longer.
    hung_bound_s = HUNG_MORE_S + cache.spec.topology.node_timeout_ms / 1000
    while True:
        seen = await cache.look()
        away = [node for node in seen.nodes if not node.is_up]
        if not away:
            return
        waited_s = time.monotonic() - began
        loading = any(node.reach == "loading" for node in away)
        hung = [
            node for node in away if node.reach == "silent" and node.process.state is ProcessState.RUNNING
        ]
        bound_s = min(ANSWER_BOUND_S, hung_bound_s) if hung else ANSWER_BOUND_S
        shut = [node for node in away if node.reach is Reach.DENIED]
        if shut and waited_s > SHUT_BOUND_S:
            raise NodeShut(cache.record.name, shut[0].name, shut[0].words, shut[0].process.pid)
        if waited_s > bound_s and not loading:
            node = (hung or away)[0]
            raise NodeMute(node.name, waited_s, node.words, node.process.pid)
        await asyncio.sleep(0.1)


async def remove(cache: LiveCache, step: RemoveNode) -> None:
    """Check afresh that the node owns nothing, stop it, make the others forget it, delete its files."""
    if step.node not in {member.name for member in cache.record.members}:
        return
    member = cache.record.member(step.node)
    seen = await cache.look()
    _refuse_needed(seen, member)
    host = cache.hosts[member.host]
    node_id = seen.node(step.node).node_id
    await host.stop(cache.record.name, member.name)
    if node_id:
        await _forgotten(cache, seen, member.name, node_id)
    await host.remove(cache.record.name, member.name)
    cache.save(cache.record.without(member.name))
    cache.tell(Told(step.node, "removed"))


async def renew_certificates(cache: LiveCache, step: RenewCertificates) -> None:
    """Write new certificates, then have each server read them through its own socket, for its TLS may be dead."""
    name = cache.record.name
    for node in step.nodes:
        member = cache.record.member(node)
        host = cache.hosts[member.host]
        if member.kind is Kind.SENTINEL:  # it cannot reload, and nothing is lost when it starts anew
            await host.stop(name, node)
            await cache.prepare(member, None)
            await host.start(name, node)
            continue
        role = await host.ask(name, node, ("ROLE",))
        follows = (str(role[1]), int(role[2])) if isinstance(role, list) and role[0] == "slave" else None
        await cache.prepare(member, follows)
        folder = orders.folder_of(cache.host_facts[member.host].state, name, node)
        await host.ask(name, node, ("CONFIG", "SET", "tls-cert-file", f"{folder}/{orders.CERT}"))
        cache.tell(Told(node, "up"))


def _refuse_needed(seen: SeenCache, member: Member) -> None:
    node = seen.node(member.name)
    if member.kind is Kind.SENTINEL:
        return
    if node.slots:
        raise StillNeeded(member.name, f"it owns {len(node.slots)} slots")
    if followers := [each.name for each in seen.servers if each.primary == member.name]:
        raise StillNeeded(member.name, f"{', '.join(followers)} follow it")
    if node.is_up and node.role is Role.PRIMARY and not node.node_id:
        raise StillNeeded(member.name, "it is the primary")


async def _forgotten(cache: LiveCache, seen: SeenCache, gone: str, node_id: str) -> None:
    """CLUSTER FORGET on every other node; gossip between them may bring it back once, so look again."""
    for _ in range(FORGET_ROUNDS):
        left = 0
        for node in seen.servers:
            if node.name == gone or not node.is_up:
                continue
            async with await cache.connect(node.name) as connection:
                (reply,) = await connection.ask_all([("CLUSTER", "FORGET", node_id)])
                left += reply == "OK"
        if not left:
            return
