"""Advice on who can reach the cache and what they can read there."""

import ipaddress
from collections.abc import Iterator

from holdfast.spec.cache import Spec
from holdfast.spec.hint import AdviceSeverity, Hint, Rule
from holdfast.spec.security import TlsMode


def _bound_beyond_this_machine(spec: Spec) -> tuple[str, ...]:
    return tuple(address for address in spec.network.bind if not ipaddress.ip_address(address).is_loopback)


def open_to_all(spec: Spec) -> Iterator[Hint]:
    """HF-SEC-005."""
    outside = _bound_beyond_this_machine(spec)
    if spec.place.kind.is_managed or not outside:
        return
    if not spec.network.allow:
        yield Hint(("network", "allow"), f"nodes listen on {', '.join(outside)} and no address is kept out")
    for name, rule in spec.network.allow.items():
        if any(addresses.everywhere for addresses in rule.addresses):
            yield Hint(("network", "allow", name), f"{name} lets every address in")


def readable_on_the_way(spec: Spec) -> Iterator[Hint]:
    """HF-SEC-006."""
    outside = _bound_beyond_this_machine(spec)
    mode = spec.security.tls.mode
    if outside and mode is not TlsMode.REQUIRED:
        on_the_wire = (
            "are in clear" if mode is TlsMode.OFF else "may be in clear: an engine without TLS will do"
        )
        yield Hint(
            ("security", "tls", "mode"), f"nodes listen on {', '.join(outside)} and connections {on_the_wire}"
        )


def wider_than_its_namespace(spec: Spec) -> Iterator[Hint]:
    """HF-SEC-007."""
    namespaces = spec.keyspace.namespaces
    for service_name, service in spec.services.items():
        granted = (*service.namespaces, *service.reads)
        for granted_name in granted:
            keys = namespaces[granted_name].keys
            for other_name, other in namespaces.items():
                if other_name not in granted and other.owner != service_name and keys.opens(other.keys):
                    yield Hint(
                        ("keyspace", "namespaces", granted_name, "pattern"),
                        f"{service_name} may use {keys.glob}, which also opens {other_name} ({other.pattern})",
                    )


ACCESS_RULES = (
    Rule(
        "HF-SEC-005",
        AdviceSeverity.ERROR,
        "The nodes listen to everybody",
        "Open caches are found by scanners within minutes; users and passwords are then the only fence.",
        "Name under network.allow who may connect, or bind a loopback or private address.",
        "AWS, preparing a source for online migration (why such a window must be short)",
        open_to_all,
    ),
    Rule(
        "HF-SEC-006",
        AdviceSeverity.WARN,
        "TLS 1.2 or newer is not assured on the network",
        "Passwords and values can be read on the way.",
        'Write tls: required (and min_version: "1.3" where every client can).',
        "Azure Managed Redis, how it differs (2026-03): 1.2 and 1.3 are what is spoken today",
        readable_on_the_way,
    ),
    Rule(
        "HF-SEC-007",
        AdviceSeverity.WARN,
        "A service's key pattern opens keys that are not its own",
        "In the engines' access rules '*' also crosses ':', so the shorter pattern covers the longer one.",
        "Tell the patterns apart by literal text, for example user:profile:{id} and user:cart:{id}:{item}.",
        "valkey.io/topics/acl",
        wider_than_its_namespace,
    ),
)
