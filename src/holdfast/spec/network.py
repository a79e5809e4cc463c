"""Who may reach the nodes, and how connections are kept."""

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field, InstanceOf, PlainSerializer, WithJsonSchema

from holdfast.spec.model import Flaw, Model
from holdfast.spec.names import Name
from holdfast.spec.units import Seconds

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class AddressRange:
    """Addresses that belong together, as written: `10.0.1.0/24`, `10.0.4.100-10.0.4.110` or one address."""

    text: str
    first: IpAddress
    last: IpAddress

    @classmethod
    def parse(cls, text: str) -> "AddressRange":
        """Read a network, a range or an address; ValueError that says which part is wrong."""
        wanted = text.strip()
        if "-" in wanted:
            low, _, high = (part.strip() for part in wanted.partition("-"))
            first, last = _address(low), _address(high)
            if first.version != last.version or int(first) > int(last):
                raise ValueError(f"{text!r} does not go from a lower to a higher address of one kind")
            return cls(f"{first}-{last}", first, last)
        if "/" in wanted:
            try:
                network = ipaddress.ip_network(wanted)
            except ValueError as wrong:
                raise ValueError(f"{text!r} is not a network: {wrong}") from None
            return cls(str(network), network.network_address, network.broadcast_address)
        only = _address(wanted)
        return cls(str(only), only, only)

    @property
    def networks(self) -> tuple[IpNetwork, ...]:
        """The fewest networks that are exactly these addresses."""
        return tuple(ipaddress.summarize_address_range(self.first, self.last))

    @property
    def everywhere(self) -> bool:
        """Whether this is every address there is."""
        return any(network.prefixlen == 0 for network in self.networks)

    def holds(self, address: IpAddress) -> bool:
        """Whether `address` is one of these."""
        return address.version == self.first.version and int(self.first) <= int(address) <= int(self.last)


def _address(text: str) -> IpAddress:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise ValueError(
            f"{text!r} is not an IP address, a network (10.0.1.0/24) or a range (10.0.4.100-10.0.4.110)"
        ) from None


def _address_range(given: Any) -> Any:
    return AddressRange.parse(given) if isinstance(given, str) else given


def _address_text(given: str) -> str:
    return str(_address(given.strip()))


def _one_is_a_list(given: Any) -> Any:
    return (given,) if isinstance(given, str | AddressRange) else given


IpAddressText = Annotated[str, AfterValidator(_address_text)]
AddressRangeField = Annotated[
    InstanceOf[AddressRange],
    BeforeValidator(_address_range),
    PlainSerializer(lambda addresses: addresses.text, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "examples": ["10.0.1.0/24", "10.0.4.100-10.0.4.110", "127.0.0.1"]}),
]
_ADDRESS_SCHEMA = {"type": "string", "examples": ["10.0.1.0/24", "10.0.4.100-10.0.4.110", "127.0.0.1"]}
AddressRanges = Annotated[
    tuple[AddressRangeField, ...],
    BeforeValidator(_one_is_a_list),
    Field(max_length=1000),
    WithJsonSchema(
        {"anyOf": [{"type": "array", "items": _ADDRESS_SCHEMA, "maxItems": 1000}, _ADDRESS_SCHEMA]}
    ),
]


class AllowRule(Model):
    """Addresses that may connect, and why. One address, network or range alone may stand for the whole rule."""

    scalar_key: ClassVar[str | None] = "addresses"

    addresses: AddressRanges = Field(min_length=1)
    """Networks (`10.0.1.0/24`), ranges (`10.0.4.100-10.0.4.110`) or single addresses."""
    description: str = Field(default="", max_length=1000)
    """Who that is."""


class NetworkSpec(Model):
    """Who may reach the nodes, and how connections are kept."""

    bind: tuple[IpAddressText, ...] = Field(default=("127.0.0.1",), min_length=1, max_length=16)
    """Addresses that the nodes listen on."""
    allow: Mapping[Name, AllowRule] = Field(default_factory=dict)
    """Who may connect. Empty: nobody is kept out by address; else everybody else is."""
    keepalive_s: Seconds = Field(default=300, alias="keepalive", ge=0, le=86_400)
    """Silence after which a connection is probed (tcp-keepalive); 0: never."""
    idle_timeout_s: Seconds = Field(default=0, alias="timeout", ge=0)
    """Idle time after which a client is disconnected; 0: never."""
    backlog: int = Field(default=511, ge=1, le=65_535)
    """Connections that may wait to be accepted (tcp-backlog); the system's somaxconn must allow it."""
    maxclients: int = Field(default=10_000, ge=1, le=1_000_000)
    """Clients per node at the same time."""

    def flaws(self) -> Iterator[Flaw]:
        if len(set(self.bind)) != len(self.bind):
            yield Flaw(("bind",), "an address is named more than once", "name each address once")
