"""A cache that exists only as values: it does a plan's steps the way real servers would, and can be stopped half way.

It is strict where servers are: a step that an engine would refuse, or that would lose data, fails the test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from holdfast.engine.dialects import EngineVersion, can_copy
from holdfast.spec.topology import Mode
from holdfast.topology.plan_replication import sentinel_settings
from holdfast.topology.record import CacheRecord, Kind, Member
from holdfast.topology.seen import MovingSlot, ProcessState, Reach, Role, SeenCache, SeenNode, SeenProcess
from holdfast.topology.settle import unsettled
from holdfast.topology.slots import ALL_SLOTS, Slots
from holdfast.topology.steps import (
    AddNode,
    AssignSlots,
    AttachReplica,
    AwaitSettled,
    Forget,
    Guard,
    JoinCluster,
    LookAgain,
    MoveSlots,
    RefreshSentinels,
    Relabel,
    RemoveNode,
    SaveSpec,
    SetConfig,
    SetUsers,
    StartNodes,
    Step,
    TuneSentinel,
    Unmark,
    WatchPrimary,
)
from holdfast.topology.steps_rolling import ChangeEngine, RestartNode, SwitchPrimary
from holdfast.topology.wanted import Wanted

T = TypeVar("T")
KEYS = 100
"""Keys of a cache that has been written to."""


@dataclass(frozen=True)
class Server:
    """One process as it truly is, a sentinel too."""

    name: str
    kind: Kind
    made: bool = False
    """Whether it was ever started: only then it has files that remember anything."""
    up: bool = False
    reach: Reach = Reach.UP
    """How it answers while it runs."""
    process: ProcessState = ProcessState.ABSENT
    role: Role = Role.UNKNOWN
    follows: str = ""
    keys: int = 0
    slots: Slots = frozenset()
    moving: tuple[MovingSlot, ...] = ()
    known: frozenset[str] = frozenset()
    config: Mapping[str, str] = field(default_factory=dict)
    acl: str = ""
    monitored: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    peers: frozenset[str] = frozenset()
    """Sentinel: other sentinels it knows, those that are gone among them."""
    replicas: frozenset[str] = frozenset()
    """Sentinel: replicas it knows, those that are gone among them."""

    life: int = 0
    """How often it lost all its files."""
    engine: EngineVersion = EngineVersion("valkey", (9, 1, 2))
    """What its process runs."""

    @property
    def node_id(self) -> str:
        return f"id-{self.name}-{self.life}"


@dataclass
class World:
    """Everything there is, and what has ever been."""

    record: CacheRecord
    servers: dict[str, Server] = field(default_factory=dict)
    names_ever: set[str] = field(default_factory=set)
    owned_ever: Slots = frozenset()
    written: bool = False
    """Whether clients have written to a cache with one primary."""
    moved: int = 0
    """Slots moved so far."""
    guarded: bool = True
    strangers: dict[str, str] = field(default_factory=dict)
    lost: dict[str, Slots] = field(default_factory=dict)
    """Ids of nodes that lost their files, with the slots they had: the others go on knowing them."""

    def copy(self) -> World:
        return replace(
            self,
            servers=dict(self.servers),
            names_ever=set(self.names_ever),
            strangers=dict(self.strangers),
            lost=dict(self.lost),
        )

    # What is seen of it

    def seen(self) -> SeenCache:
        nodes = tuple(self._seen_node(member) for member in self.record.members)
        return SeenCache(name=self.record.name, nodes=nodes, strangers=dict(self.strangers))

    def _seen_node(self, member: Member) -> SeenNode:
        server = self.servers[member.name]
        blank = SeenNode(
            name=member.name,
            kind=member.kind,
            host=member.host,
            zone=member.zone,
            address=member.address,
            port=member.port,
            process=SeenProcess(server.process, 100 if server.up else 0),
        )
        if not server.up:
            return replace(blank, reach=Reach.DOWN, words="connection refused")
        if server.reach is not Reach.UP:
            return replace(blank, reach=server.reach, words="no answer")
        common = replace(blank, reach=Reach.UP, role=server.role)
        common = replace(
            common, engine=server.engine.name, version=".".join(str(part) for part in server.engine.version)
        )
        if server.kind is Kind.SENTINEL:
            return replace(
                common,
                monitored=server.monitored,
                sentinels_known=len(server.peers),
                replicas_online=len(server.replicas),
                sentinel_settings=dict(server.settings),
            )
        primary = self.servers.get(server.follows)
        return replace(
            common,
            primary=server.follows if primary else "",
            link_up=bool(primary and primary.up),
            replicas_online=len(self.followers(member.name, up=True)),
            keys=server.keys,
            node_id=server.node_id if self._clustered else "",
            cluster_ok=self._clustered and self.owned == ALL_SLOTS,
            slots_known=len(self.owned) if self._clustered else 0,
            slots=server.slots,
            moving=server.moving,
            known=server.known,
            failed=server.known & self.lost.keys(),
            config=dict(server.config),
            acl=server.acl,
        )

    @property
    def _clustered(self) -> bool:
        return self.record.mode == Mode.CLUSTER

    @property
    def owned(self) -> Slots:
        return frozenset().union(*(each.slots for each in self.servers.values()))

    def followers(self, name: str, *, up: bool = False) -> list[str]:
        servers = self.of_kind(Kind.SERVER)
        return [each.name for each in servers if each.follows == name and (each.up or not up)]

    def of_kind(self, kind: Kind) -> list[Server]:
        return [each for each in self.servers.values() if each.kind is kind]

    def primary(self) -> Server:
        """The one primary of a cache that is no cluster."""
        (found,) = [each for each in self.of_kind(Kind.SERVER) if each.role is Role.PRIMARY]
        return found

    def change(self, name: str, **fields: object) -> None:
        self.servers[name] = replace(self.servers[name], **fields)  # type: ignore[arg-type]

    # Doing steps

    def do(self, wanted: Wanted, step: Step, part: float = 1.0) -> None:
        """Do the step, or with `part` < 1 only that much of it."""
        match step:
            case AddNode():
                self._add(wanted, step)
            case StartNodes(nodes=nodes):
                for name in _part_of(nodes, part):
                    self._start(wanted, name)
            case JoinCluster():
                self._join(part)
            case AssignSlots():
                self._assign(step, part)
            case AttachReplica():
                self._attach(step)
            case MoveSlots():
                self._move(step, part)
            case Forget(node_ids=node_ids):
                for server in self.of_kind(Kind.SERVER):
                    self.change(server.name, known=server.known - set(node_ids))
            case Unmark(node=node, slots=slots):
                _answers(self.servers[node], Role.PRIMARY)
                kept = tuple(each for each in self.servers[node].moving if each.slot not in slots)
                self.change(node, moving=kept)
            case RemoveNode():
                self._remove(step.node, part)
            case Relabel(node=node, zone=zone):
                places = {host.name: host.zones for host in wanted.hosts}
                member = self.record.member(node)
                assert zone in places[member.host], f"{node} stands on {member.host}, which is not in {zone}"
                self.record = self.record.with_member(replace(member, zone=zone))
            case WatchPrimary(node=node, primary=primary):
                self._watch(wanted, node, primary)
            case TuneSentinel(node=node, settings=settings):
                _answers(self.servers[node])
                self.change(node, settings={**self.servers[node].settings, **settings})
            case RefreshSentinels():
                self._refresh(part)
            case SetConfig(node=node, changes=changes):
                _answers(self.servers[node])
                values = {name: value for name, (_, value) in changes.items()}
                self.change(node, config={**self.servers[node].config, **values})
            case SetUsers(node=node):
                _answers(self.servers[node])
                self._users(wanted, node)
            case AwaitSettled():
                lacking = tuple(
                    unsettled(self.seen(), wanted.topology.mode, len(self.of_kind(Kind.SENTINEL)))
                )
                assert not lacking, f"would wait for ever: {lacking}"
            case LookAgain():
                for server in self.servers.values():
                    assert server.up, f"{server.name} is not started, so it will never answer"
                    self.change(server.name, reach=Reach.UP)
            case Guard():
                self.guarded = True
            case SaveSpec(digest=digest):
                mode = wanted.topology.mode.value
                self.record = replace(self.record, spec_digest=digest, mode=mode, engine_before="")
            case ChangeEngine(key=key):
                members = tuple(
                    replace(each, engine=each.engine or self.record.engine) for each in self.record.members
                )
                before = self.record.engine_before or self.record.engine
                self.record = replace(self.record, engine=key, engine_before=before, members=members)
            case RestartNode():
                self._restart(wanted, step, part)
            case SwitchPrimary(old=old, new=new):
                self._switch(old, new)
            case _:
                raise AssertionError(f"no model of {step}")
        self.owned_ever |= self.owned

    def _add(self, wanted: Wanted, step: AddNode) -> None:
        if step.node in {member.name for member in self.record.members}:
            return
        assert step.node not in self.names_ever, f"{step.node} was the name of a node that is gone"
        places = {host.name: host.zones for host in wanted.hosts}
        assert step.zone in places[step.host]
        self.names_ever.add(step.node)
        port = 7000 + len(self.names_ever)
        member = Member(
            step.node,
            step.kind,
            step.host,
            step.zone,
            "127.0.0.1",
            port,
            port + 10000 if self._clustered else 0,
            step.first_shard,
            step.first_primary,
        )
        self.record = self.record.with_member(member)
        # What it is told to follow is in its file from now on.
        self.servers[step.node] = Server(step.node, step.kind, follows=step.follows)

    def _start(self, wanted: Wanted, name: str, engine: EngineVersion | None = None) -> None:
        server = self.servers[name]
        if server.up:
            return
        engine = engine or (server.engine if server.made else EngineVersion.of(wanted.build))
        self.change(name, up=True, reach=Reach.UP, process=ProcessState.RUNNING, engine=engine)
        if server.kind is Kind.SENTINEL:
            if not server.made:
                self.change(name, made=True, role=Role.SENTINEL, follows="")
                self._watch(wanted, name, server.follows)
            return
        self._users(wanted, name)
        values = {each.name: each.value for each in wanted.directives.get(name, ())}
        self.change(name, config=values)
        if not server.made:
            known = frozenset({server.node_id}) if self._clustered else frozenset[str]()
            role = Role.REPLICA if server.follows else Role.PRIMARY
            self.change(name, made=True, role=role, known=known)
        self._sync()

    def _restart(self, wanted: Wanted, step: RestartNode, part: float) -> None:
        server = self.servers[step.node]
        _answers(server)
        others = self.followers(step.node)
        assert not others, f"{others} follow {step.node}, which would be away"
        serves = server.role is Role.PRIMARY and (server.slots or not self._clustered)
        assert not serves or step.alone, f"{step.node} serves, and nobody stands in for it"
        assert not step.alone or wanted.manner.allow_pause
        if server.role is Role.REPLICA:
            head = self.servers[server.follows]
            assert head.up, f"{step.node} holds the last copy"
            assert can_copy(EngineVersion.of(wanted.build), head.engine), "it could not copy from its primary"
        self.change(step.node, up=False, process=ProcessState.STOPPED)
        if part < 1.0:
            return
        self._start(wanted, step.node, EngineVersion.of(wanted.build))

    def _switch(self, old: str, new: str) -> None:
        former, heir = self.servers[old], self.servers[new]
        _answers(former, Role.PRIMARY)
        _answers(heir, Role.REPLICA)
        assert heir.follows == old
        others = [name for name in self.followers(old) if name != new]
        self.change(new, role=Role.PRIMARY, follows="", slots=former.slots)
        self.change(old, role=Role.REPLICA, follows=new, slots=frozenset())
        for name in others:
            self.change(name, follows=new)
        for sentinel in self.of_kind(Kind.SENTINEL):
            self.change(sentinel.name, monitored=new, replicas=sentinel.replicas - {new} | {old})
        self._sync()

    def _users(self, wanted: Wanted, name: str) -> None:
        listed = f"acl of {wanted.users_digest}"
        self.change(name, acl=listed)
        self.record = replace(self.record, acl={**self.record.acl, name: (wanted.users_digest, listed)})

    def _join(self, part: float) -> None:
        servers = self.of_kind(Kind.SERVER)
        for server in servers:
            _answers(server)
        everyone = frozenset(each.node_id for each in servers)
        for server in _part_of(servers, part):
            self.change(server.name, known=server.known | everyone)

    def _assign(self, step: AssignSlots, part: float) -> None:
        server = self.servers[step.node]
        _answers(server, Role.PRIMARY)
        taken = step.slots & frozenset().union(
            *(each.slots for each in self.servers.values() if each.name != step.node)
        )
        assert not taken, f"{len(taken)} slots are busy already"
        for ghost in server.known & self.lost.keys():
            assert not step.slots & self.lost[ghost], f"slots of {ghost}, which it still knows, are busy"
        self.change(step.node, slots=server.slots | frozenset(_part_of(sorted(step.slots), part)))

    def _attach(self, step: AttachReplica) -> None:
        node, primary = self.servers[step.node], self.servers[step.primary]
        _answers(node)
        _answers(primary)
        assert node.name != primary.name
        if self._clustered:
            assert primary.role is Role.PRIMARY, "an engine replicates only a primary"
            assert primary.node_id in node.known, "it does not know that node"
            assert not node.slots, "an owner of slots cannot become a replica"
        elif self.written:
            assert primary.keys, "what the replica holds would be replaced by nothing"
            assert node.role is Role.REPLICA or not node.keys, "keys that clients wrote would be lost"
        self.change(step.node, role=Role.REPLICA, follows=step.primary, moving=())
        self._sync()

    def _move(self, step: MoveSlots, part: float) -> None:
        source, target = self.servers[step.source], self.servers[step.target]
        _answers(source, Role.PRIMARY)
        _answers(target, Role.PRIMARY)
        assert source.node_id in target.known, "the target does not know the source"
        assert target.node_id in source.known, "the source does not know the target"
        strange = step.slots - source.slots - target.slots
        assert not strange, f"{len(strange)} slots belong to neither"
        going = sorted(step.slots)
        gone = frozenset(_part_of(going, part))
        self.moved += len(gone & source.slots)
        self.change(
            step.source,
            slots=source.slots - gone,
            moving=tuple(each for each in source.moving if each.slot not in gone),
        )
        self.change(
            step.target,
            slots=target.slots | gone,
            moving=tuple(each for each in target.moving if each.slot not in gone),
        )
        if len(gone) < len(going):
            self.mark(going[len(gone)], step.source, step.target)

    def mark(self, slot: int, source: str, target: str) -> None:
        """Leave a slot half moved, as an interruption does."""
        giver, taker = self.servers[source], self.servers[target]
        leaving, coming = MovingSlot(slot, target=taker.node_id), MovingSlot(slot, source=giver.node_id)
        self.change(source, moving=(*(m for m in giver.moving if m.slot != slot), leaving))
        self.change(target, moving=(*(m for m in taker.moving if m.slot != slot), coming))

    def _remove(self, name: str, part: float) -> None:
        if name not in self.servers:
            return
        server = self.servers[name]
        if server.kind is Kind.SERVER:
            assert not server.slots, f"{name} owns slots"
            assert not self.followers(name), f"{self.followers(name)} follow {name}"
            assert self._clustered or server.role is not Role.PRIMARY, f"{name} is the primary"
            assert not server.moving, f"{name} has slots half moved"
        self.change(name, up=False, process=ProcessState.STOPPED)
        if part < 0.3:
            return
        for other in self.servers.values():
            self.change(other.name, known=other.known - {server.node_id})
        if part < 0.6:
            return
        del self.servers[name]
        if part < 1.0:  # its folder is gone, and the record still names it
            self.servers[name] = Server(name, server.kind, life=server.life + 1)
            return
        self.record = self.record.without(name)

    def _watch(self, wanted: Wanted, name: str, primary: str) -> None:
        if primary not in self.servers or self.servers[primary].role is Role.SENTINEL:
            primary = next(member.name for member in self.record.servers if member.first_primary)
        settings = sentinel_settings(wanted)
        self.change(name, monitored=primary, settings=settings, peers=frozenset(), replicas=frozenset())
        self._hello()

    def _refresh(self, part: float) -> None:
        for server in _part_of(self.of_kind(Kind.SENTINEL), part):
            self.change(server.name, peers=frozenset(), replicas=frozenset())
        self._hello()

    def _hello(self) -> None:
        """Sentinels that run find each other and the replicas; what they knew before they keep."""
        sentinels = [each for each in self.of_kind(Kind.SENTINEL) if each.up]
        replicas = {each.name for each in self.of_kind(Kind.SERVER) if each.role is Role.REPLICA}
        for each in sentinels:
            peers = {other.name for other in sentinels if other.name != each.name}
            self.change(each.name, peers=each.peers | peers, replicas=each.replicas | replicas)

    def _sync(self) -> None:
        """Replicas that run take over what their primary holds, down the chain."""
        for _ in self.servers:
            for server in self.of_kind(Kind.SERVER):
                primary = self.servers.get(server.follows)
                if server.role is Role.REPLICA and server.up and primary and primary.up:
                    self.change(server.name, keys=primary.keys)
        self._hello()

    # What befalls it

    def write(self) -> None:
        """Clients write."""
        if not self._clustered:
            self.written = True
            self.change(self.primary().name, keys=KEYS)
            self._sync()

    def kill(self, name: str) -> None:
        """The process dies; what it wrote to disk is there when it comes back."""
        self.change(name, up=False, process=ProcessState.EXITED)

    def lose(self, name: str) -> None:
        """The machine comes back with an empty disk."""
        server = self.servers[name]
        self.lost[server.node_id] = server.slots
        self.owned_ever -= server.slots
        self.servers[name] = Server(name, server.kind, life=server.life + 1)

    def fail_over(self, name: str) -> str:
        """The engines elect a replica of the dead primary `name`; returns whom."""
        old = self.servers[name]
        heirs = self.followers(name, up=True)
        new = heirs[0]
        self.kill(name)
        self.change(new, role=Role.PRIMARY, follows="", slots=old.slots)
        self.change(name, role=Role.REPLICA, follows=new, slots=frozenset(), moving=())
        for other in heirs[1:]:
            self.change(other, follows=new)
        for sentinel in self.of_kind(Kind.SENTINEL):
            watched = sentinel.monitored
            self.change(
                sentinel.name,
                monitored=new if watched == name else watched,
                replicas=sentinel.replicas - {new} | {name},
            )
        self._sync()
        return new


def _part_of(values: Sequence[T], part: float) -> Sequence[T]:
    return values if part >= 1.0 else values[: int(len(values) * part)]


def _answers(server: Server, role: Role | None = None) -> None:
    assert server.up, f"{server.name} does not run"
    assert server.reach is Reach.UP, f"{server.name} does not answer"
    assert role in {None, server.role}, f"{server.name} is a {server.role}"
