"""What `network.allow` means on each machine of a cache, and whether it holds there."""

from __future__ import annotations

import asyncio

from holdfast.host.firewall import Enforcement
from holdfast.host.nftables import FirewallRequest
from holdfast.spec.cache import Spec
from holdfast.topology import orders
from holdfast.topology.hosts import Hosts
from holdfast.topology.record import CacheRecord


def firewall_request(spec: Spec, record: CacheRecord, host: str) -> FirewallRequest:
    """Who may reach the ports of the cache's nodes on one machine."""
    here = [member for member in record.members if member.host == host]
    bus = tuple(member.bus_port for member in here if member.bus_port)
    return FirewallRequest(
        cache=record.name,
        ports=(*(member.port for member in here), *bus),
        allow=tuple(each.text for rule in spec.network.allow.values() for each in rule.addresses),
        peers=tuple(sorted({member.address for member in record.members})),
        bind=tuple(sorted({address for member in here for address in orders.binds(spec, member)})),
        peer_ports=bus,
    )


async def enforcement(spec: Spec, record: CacheRecord, hosts: Hosts) -> dict[str, Enforcement]:
    """For each machine that has nodes, whether `network.allow` holds there now. Raises: HostUnreachable."""
    names = sorted({member.host for member in record.members} & set(hosts))
    states = await asyncio.gather(
        *(hosts[name].guarded(firewall_request(spec, record, name)) for name in names)
    )
    return dict(zip(names, states, strict=True))
