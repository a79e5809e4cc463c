"""The packet filter of one cache as nftables text: who may reach its ports, and nothing else on the machine.

Every packet to the cache's ports is held against the allow list by its source address, so no connection tracking is
needed, and a network taken off the list loses its open connections too.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from holdfast.errors import HoldfastError

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

CACHE_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")


@dataclass(eq=False)
class FirewallRequestInvalid(HoldfastError):
    """A value that would go into the packet filter is not what it says it is."""

    field: str
    value: str
    wanted: str

    def __str__(self) -> str:
        return f"{self.field} {self.value!r} is not {self.wanted}: the packet filter was not touched; correct it in the spec"


@dataclass(frozen=True)
class FirewallRequest:
    """Who may reach one cache's ports on this machine."""

    cache: str
    ports: tuple[int, ...]
    """Client, bus and sentinel ports of the nodes on this machine."""
    allow: tuple[str, ...]
    """Addresses, networks (`10.0.1.0/24`) and ranges (`10.0.4.100-10.0.4.110`), IPv4 and IPv6; none: nobody is
    kept out by address, as in the spec."""
    peers: tuple[str, ...]
    """Addresses of the cache's own nodes on any machine."""
    bind: tuple[str, ...]
    """Addresses that the nodes listen on; none means every address."""
    peer_ports: tuple[int, ...] = ()
    """Those of the ports that only nodes of the cache have business with, such as the cluster bus."""


def table_name(cache: str) -> str:
    """The cache's own table. A cache name holds no `_`, so two caches never share one.
    Raises: FirewallRequestInvalid.
    """
    if not CACHE_NAME.fullmatch(cache):
        raise FirewallRequestInvalid("cache", cache, "a cache name (lower-case letters, digits, -)")
    return f"holdfast_{cache.replace('-', '_')}"


def loopback_only(bind: tuple[str, ...]) -> bool:
    """Whether nodes that listen on `bind` can be reached from this machine alone."""
    return bool(bind) and all(_is_loopback(address) for address in bind)


def nft_ruleset(request: FirewallRequest) -> str:
    """The script that puts `request` into force, for `nft -f -`: one transaction, in which an earlier table of the
    same cache is replaced; there is no moment without a filter.
    Raises: FirewallRequestInvalid, before any text is made.
    """
    table = table_name(request.cache)
    peer_ports = tuple(sorted(set(_ports(request.peer_ports))))
    ports = tuple(sorted(set(_ports(request.ports)) - set(peer_ports)))
    if not ports and not peer_ports:
        raise FirewallRequestInvalid("ports", "()", "at least one port")
    rules = [*_rules(ports, request.allow + request.peers), *_rules(peer_ports, request.peers)]
    body = "\n".join(
        f"    {rule}"
        for rule in ["type filter hook input priority -10; policy accept;", 'iifname "lo" accept', *rules]
    )
    mark = f'counter drop comment "holdfast {digest(request)}"'
    every_port = _elements(str(port) for port in sorted({*ports, *peer_ports}))
    return (
        f"add table inet {table}\n"
        f"delete table inet {table}\n"
        f"table inet {table} {{\n"
        f"  chain guard {{\n{body}\n    tcp dport {every_port} {mark}\n  }}\n"
        f"}}\n"
    )


def nft_removal(cache: str) -> str:
    """The script that takes the cache's table away, whether it is there or not."""
    table = table_name(cache)
    return f"add table inet {table}\ndelete table inet {table}\n"


def digest(request: FirewallRequest) -> str:
    """A mark in the rules by which `status` knows that they are those of `request`."""
    spoken = "\n".join(
        (
            request.cache,
            *(",".join(map(str, sorted(ports))) for ports in (request.ports, request.peer_ports)),
            *(",".join(sorted(names)) for names in (request.allow, request.peers)),
        )
    )
    return hashlib.sha256(spoken.encode()).hexdigest()[:16]


def _rules(ports: tuple[int, ...], sources: tuple[str, ...]) -> Iterator[str]:
    """The lines that let `sources` in to `ports`: one for each address family that has any."""
    if not ports:
        return
    wanted = _elements(str(port) for port in ports)
    blocks = [_block(source) for source in sources]
    for version, keyword in ((4, "ip"), (6, "ip6")):
        spans = _merged((first, last) for first, last in blocks if first.version == version)
        if spans:
            text = _elements(str(first) if first == last else f"{first}-{last}" for first, last in spans)
            yield f"{keyword} saddr {text} tcp dport {wanted} accept"


def _elements(texts: Iterable[str]) -> str:
    return "{ " + ", ".join(texts) + " }"


def _ports(ports: tuple[int, ...]) -> Iterator[int]:
    for port in ports:
        if not 1 <= port <= 65535:
            raise FirewallRequestInvalid("port", str(port), "a port from 1 to 65535")
        yield port


def _block(text: str) -> tuple[IpAddress, IpAddress]:
    """First and last address of a network, a range or a single address."""
    wanted = "an address, a network (10.0.1.0/24) or a range (10.0.4.100-10.0.4.110)"
    if "%" in text:
        raise FirewallRequestInvalid("network.allow", text, "an address without a zone such as %eth0")
    try:
        if "-" in text:
            first, last = (ipaddress.ip_address(part.strip()) for part in text.split("-", 1))
        else:
            network = ipaddress.ip_network(text.strip(), strict=False)
            first, last = network[0], network[-1]
    except ValueError as wrong:
        raise FirewallRequestInvalid("network.allow", text, wanted) from wrong
    if first.version != last.version or int(first) > int(last):
        raise FirewallRequestInvalid(
            "network.allow", text, "a range from a lower to a higher address of one family"
        )
    return first, last


def _merged(blocks: Iterable[tuple[IpAddress, IpAddress]]) -> list[tuple[IpAddress, IpAddress]]:
    """The same addresses as spans that neither overlap nor touch: nftables refuses sets that overlap."""
    merged: list[tuple[IpAddress, IpAddress]] = []
    for first, last in sorted(blocks, key=lambda block: (int(block[0]), int(block[1]))):
        if merged and int(first) <= int(merged[-1][1]) + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last, key=int))
        else:
            merged.append((first, last))
    return merged


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.lstrip("-")).is_loopback
    except ValueError:
        return address == "localhost"
