"""Where the nodes run."""

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from holdfast.spec.model import Flaw, Model
from holdfast.spec.names import Name, ZoneName
from holdfast.spec.network import AddressRangeField, IpAddressText
from holdfast.spec.units import Bytes

_SUPERVISOR = re.compile(r"unix:/[^\s\x00]+|https://[^\s/@]+(:\d{1,5})?")
_ENDPOINT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):\d{1,5}")
HIGHEST_PORT = 65535


def _supervisor(text: str) -> str:
    if _SUPERVISOR.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not a supervisor: write unix:/run/x.sock or https://10.0.0.1:7800")
    return text


def _endpoint(text: str) -> str:
    if _ENDPOINT.fullmatch(text) is None or not 0 < int(text.rpartition(":")[2]) <= HIGHEST_PORT:
        raise ValueError(f"{text!r} is not an endpoint: write host:port")
    return text


class PlaceKind(StrEnum):
    """Where nodes can run."""

    LOCAL = "local"
    HOSTS = "hosts"
    KUBERNETES = "kubernetes"
    AWS = "aws"
    AZURE = "azure"
    EXTERNAL = "external"

    @property
    def is_managed(self) -> bool:
        """Whether the engine's settings belong to a cloud service."""
        return self in {PlaceKind.AWS, PlaceKind.AZURE}


class HostSpec(Model):
    """A machine of yours."""

    address: IpAddressText
    """How the others reach it."""
    zone: ZoneName
    """The failure domain it is in."""
    supervisor: Annotated[str, AfterValidator(_supervisor)]
    """How its Holdfast supervisor is reached: `unix:/run/x.sock` or `https://10.0.0.1:7800`."""


class KubernetesSpec(Model):
    """A Kubernetes cluster of yours."""

    namespace: str = Field(default="default", pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
    """Where the objects are made."""
    storage_class: str | None = Field(default=None, max_length=253)
    """What the volumes are made of."""
    storage_bytes: Bytes | None = Field(default=None, alias="storage", ge=1 << 20)
    """How large each is."""


class AwsSpec(Model):
    """ElastiCache."""

    region: str | None = Field(default=None, max_length=50)
    """Where."""
    node_type: str | None = Field(default=None, max_length=50)
    """Of what size."""
    subnet_group: str | None = Field(default=None, max_length=255)
    """In which subnets."""
    serverless: bool = False
    """Whether it is a serverless cache."""


class SecurityRuleSpec(Model):
    """A rule of a network security group."""

    priority: int = Field(ge=100, le=4096)
    """The lowest number is looked at first."""
    access: Annotated[str, Field(pattern=r"^(allow|deny)$")]
    """`allow` or `deny`."""
    protocol: Annotated[str, Field(pattern=r"^(tcp|udp|any)$")] = "tcp"
    """`tcp`, `udp` or `any`."""
    source: AddressRangeField | None = None
    """Who; without it, everybody."""
    ports: str | None = Field(default=None, pattern=r"^\d{1,5}(-\d{1,5})?$")
    """To which ports (`6379-6380`); without it, all."""


class AzureSpec(Model):
    """Azure Cache for Redis or Azure Managed Redis. Names of what exists there, never secrets."""

    product: Annotated[str, Field(pattern=r"^(cache-for-redis|managed-redis)$")] = "managed-redis"
    """`cache-for-redis` (retires on 2028-09-30) or `managed-redis`."""
    tier: str | None = Field(default=None, max_length=50)
    """Service tier."""
    sku: str | None = Field(default=None, max_length=50)
    """Size, as the product calls it."""
    sku_memory_bytes: Bytes | None = Field(default=None, alias="sku_memory", ge=1)
    """Memory of that size."""
    region: str | None = Field(default=None, max_length=100)
    """Where."""
    resource_group: str | None = Field(default=None, max_length=90)
    """In which group."""
    dr_resource_group: str | None = Field(default=None, max_length=90)
    """In which group the copy in the other region is."""
    vnet: str | None = Field(default=None, max_length=80)
    """Virtual network."""
    vnet_addresses: AddressRangeField | None = None
    """Its addresses."""
    subnet: str | None = Field(default=None, max_length=80)
    """Subnet of the cache."""
    subnet_addresses: AddressRangeField | None = None
    """Its addresses."""
    private_endpoint: str | None = Field(default=None, max_length=80)
    """The private endpoint."""
    private_endpoint_connection: str | None = Field(default=None, max_length=80)
    """Its connection."""
    private_dns_zone: str | None = Field(default=None, max_length=253)
    """The zone that its name is in."""
    public_network_access: bool = False
    """Whether it is reachable from outside."""
    host_name: str | None = Field(default=None, max_length=253)
    """What clients connect to."""
    entra: bool = False
    """Whether clients sign in with Microsoft Entra ID; else with access keys."""
    log_workspace: str | None = Field(default=None, max_length=63)
    """Log Analytics workspace for numbers and logs."""
    security_rules: Mapping[Name, SecurityRuleSpec] = Field(default_factory=dict)
    """Rules of the network security group."""
    monthly_budget_usd: Mapping[Name, float] = Field(default_factory=dict)
    """What each part was expected to cost in a month."""


class ExternalSpec(Model):
    """A cache that somebody else runs; Holdfast reads it and moves data, and changes nothing there."""

    endpoints: tuple[Annotated[str, AfterValidator(_endpoint)], ...] = Field(default=(), max_length=1000)
    """Where it is reached, `host:port`."""


class PlaceSpec(Model):
    """Where the nodes run. `place: local` alone stands for `place: {kind: local}`."""

    scalar_key: ClassVar[str | None] = "kind"

    kind: PlaceKind = PlaceKind.LOCAL
    """`local`: this machine; `hosts`: machines of yours; `kubernetes`, `aws`, `azure`: rendered for there; `external`:
    run by somebody else."""
    hosts: Mapping[Name, HostSpec] = Field(default_factory=dict)
    """Machines, for `hosts`."""
    kubernetes: KubernetesSpec = KubernetesSpec.model_construct()
    """Settings for `kubernetes`."""
    aws: AwsSpec = AwsSpec.model_construct()
    """Settings for `aws`."""
    azure: AzureSpec = AzureSpec.model_construct()
    """Settings for `azure`."""
    external: ExternalSpec = ExternalSpec.model_construct()
    """Settings for `external`."""

    def flaws(self) -> Iterator[Flaw]:
        if self.kind is PlaceKind.HOSTS and not self.hosts:
            yield Flaw(
                ("hosts",),
                "no machine is named",
                "write hosts: {NAME: {address: ..., zone: ..., supervisor: ...}}",
            )
        if self.kind is PlaceKind.EXTERNAL and not self.external.endpoints:
            yield Flaw(("external", "endpoints"), "no endpoint is named", 'write endpoints: ["host:6379"]')
        supervisors = [host.supervisor for host in self.hosts.values()]
        for name, host in self.hosts.items():
            if supervisors.count(host.supervisor) > 1:
                yield Flaw(
                    ("hosts", name, "supervisor"),
                    f"{host.supervisor} is the supervisor of more than one host",
                    "give each its own",
                )
