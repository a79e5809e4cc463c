"""One cache while a command works on it: its spec, record, machines and secrets, brought together at the edge."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from holdfast.engine.acl import SUPERVISOR_USER
from holdfast.engine.build import EngineBuild
from holdfast.engine.connection import EngineNode
from holdfast.engine.facts import Address
from holdfast.engine.issued import Subject
from holdfast.errors import HoldfastError
from holdfast.host.nftables import loopback_only
from holdfast.spec.cache import Spec
from holdfast.topology import orders
from holdfast.topology.hosts import HostFacts, Hosts, NodeOrder, WatchOrder
from holdfast.topology.layout import HostPlace
from holdfast.topology.observe import Access, observe
from holdfast.topology.orders import Keys
from holdfast.topology.record import CacheRecord, Kind, Member
from holdfast.topology.seen import SeenCache
from holdfast.topology.store import CacheStore
from holdfast.topology.wanted import CAREFUL, Manner, Wanted


@dataclass(frozen=True)
class Told:
    """Something a person who watches would like to know."""

    node: str
    """Empty when it is about the whole cache."""
    what: str
    is_loss: bool = False
    """Whether it is that data is lost, and must not go under."""


def _tell_nobody(_: Told) -> None:
    pass


@dataclass
class LiveCache:
    """What every step needs. The record is the only thing that changes, and is saved with each change."""

    spec: Spec
    digest: str
    record: CacheRecord
    store: CacheStore
    hosts: Hosts
    host_facts: Mapping[str, HostFacts]
    places: Sequence[HostPlace]
    build: EngineBuild
    """What its nodes are to run."""
    addresses: Mapping[str, str]
    """Machine -> address that nodes on it announce."""
    builds: Mapping[str, EngineBuild] = field(default_factory=dict)
    """Every build that all its machines have, by key."""
    manner: Manner = CAREFUL
    tell: Callable[[Told], None] = field(default=_tell_nobody)

    def save(self, record: CacheRecord) -> None:
        """Remember a changed record, on disk first."""
        self.store.save_record(record)
        self.record = record

    @property
    def access(self) -> Access:
        """How Holdfast itself speaks to the nodes."""
        return Access(self.store.own_credentials(), self.store.trust(tls_on=self.record.tls))

    async def look(self, *, with_config: bool = False) -> SeenCache:
        """Observe the cache now."""
        return await observe(self.record, self.access, self.hosts, with_config=with_config)

    async def connect(self, name: str, *, timeout_s: float = 5.0) -> EngineNode:
        """A connection to the node of that name, as Holdfast's own user; close it."""
        return await EngineNode.connect(self.access.endpoint(self.record.member(name)), timeout_s=timeout_s)

    def address(self, name: str) -> Address:
        """Where the node of that name is."""
        member = self.record.member(name)
        return member.address, member.port

    def order(self, member: Member, primary: Address | None) -> NodeOrder:
        """What the member's machine must know to run it. Args: `primary`, as for `orders`."""
        state = self.host_facts[member.host].state
        keys = self._keys(member)
        make = orders.sentinel_order if member.kind is Kind.SENTINEL else orders.server_order
        return make(self.spec, self.build_of(member), member, state, keys, primary, tls=self.record.tls)

    async def prepare(self, member: Member, primary: Address | None) -> None:
        """Write the member's files on its machine."""
        await self.hosts[member.host].prepare(self.order(member, primary))

    def build_of(self, member: Member) -> EngineBuild:
        """The build that the member's files are for: while nodes are moved to another engine, not all have the same."""
        return self.builds.get(member.engine or self.record.engine, self.build)

    def assign_engine(self, name: str, key: str) -> Member:
        """Write down that the member's files are for that build from now on."""
        self.save(self.record.with_member(replace(self.record.member(name), engine=key)))
        return self.record.member(name)

    def users_text(self, kind: Kind = Kind.SERVER, build: EngineBuild | None = None) -> str:
        """The ACL file that every node of that kind is to have."""
        make = orders.sentinel_users if kind is Kind.SENTINEL else orders.server_users
        return make(self.spec, build or self.build, self.store.hashes(orders.all_users(self.spec)))

    async def note(self, kind: str, node: str, **facts: object) -> None:
        """Add to the events of the node's machine (of the first one, for the whole cache). Raises nothing: what is
        done does not depend on being told.
        """
        host = self.record.member(node).host if node else next(iter(self.hosts))
        with contextlib.suppress(HoldfastError):
            await self.hosts[host].note(self.record.name, kind, node, facts)

    def wanted(self) -> Wanted:
        """All that a plan is made from, but for what is seen."""
        return Wanted(
            spec=self.spec,
            digest=self.digest,
            record=self.record,
            hosts=self.places,
            build=self.build,
            directives={
                member.name: orders.compared_directives(
                    self.spec, self.build, member, self.host_facts[member.host].state, tls=self.record.tls
                )
                for member in self.record.servers
            },
            users_digest=orders.digest(self.users_text()),
            sentinel_users_digest=orders.digest(self.users_text(Kind.SENTINEL))
            if self.record.sentinels
            else "",
            filtered=bool(self.spec.network.allow) and not loopback_only(self._listening()),
            stale_certificates=frozenset(
                member.name
                for member in self.record.members
                if self.record.tls and self._certificate_is_stale(member)
            ),
            manner=self.manner,
        )

    def watch_order(self) -> WatchOrder:
        """What a machine must know to watch over its nodes."""
        who = self.store.own_credentials()
        tls = self.spec.security.tls
        quiet = self.store.maintenance(datetime.now(UTC))
        return WatchOrder(
            cache=self.record.name,
            mode=self.spec.topology.mode.value,
            members=self.record.members,
            node_timeout_ms=self.spec.topology.node_timeout_ms,
            user=who.user,
            password=who.password,
            ca_pem=self.store.authority_cert(tls.ca_days).decode() if self.record.tls else "",
            machines=self._machines(),
            quiet_until_s=quiet.until_s if quiet else 0.0,
            unattended_takeover=self.spec.topology.unattended_takeover,
            audit=self.spec.security.audit,
        )

    def _machines(self) -> dict[str, str]:
        """Machines that have nodes and whose supervisors other machines can reach, with where."""
        used = {member.host for member in self.record.members}
        places = {name: str(host.supervisor) for name, host in self.spec.place.hosts.items() if name in used}
        return places if all(each.startswith("https://") for each in places.values()) else {}

    def _listening(self) -> tuple[str, ...]:
        """Addresses that nodes of the cache listen on, on all machines."""
        if set(self.addresses) == {"local"}:
            return tuple(self.spec.network.bind)
        return tuple(self.addresses.values())

    def _names(self, member: Member) -> tuple[str, ...]:
        """Addresses that the member's certificate is for."""
        return tuple(dict.fromkeys((member.address, *orders.binds(self.spec, member))))

    def _certificate_is_stale(self, member: Member) -> bool:
        days = self.spec.security.tls.certificate_days
        return self.store.kept_certificate(member.name, self._names(member), days=days) is None

    def _keys(self, member: Member) -> Keys:
        users = orders.all_users(self.spec)
        passwords = self.store.passwords([*users, SUPERVISOR_USER])
        tls = self.spec.security.tls
        certificate = None
        ca_pem = b""
        if self.record.tls:
            ca_pem = self.store.authority_cert(tls.ca_days)
            certificate = self.store.certificate(
                Subject.NODE,
                member.name,
                self._names(member),
                days=tls.certificate_days,
                ca_days=tls.ca_days,
            )
        return Keys(passwords, self.store.hashes(users), certificate, ca_pem)

    def renamed(self, member: Member, zone: str) -> None:
        """Write down another zone for a member."""
        self.save(self.record.with_member(replace(member, zone=zone)))
