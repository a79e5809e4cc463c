"""What goes over the wire between a supervisor and those who ask it: JSON forms of the topology's values. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from holdfast import __version__
from holdfast.engine.datafiles import DataFiles
from holdfast.errors import HoldfastError
from holdfast.host.firewall import Enforcement
from holdfast.host.nftables import FirewallRequest
from holdfast.topology.hosts import HostFacts, NodeFile, NodeOrder, WatchOrder
from holdfast.topology.record import Kind, Member
from holdfast.topology.seen import ProcessState, SeenProcess

API = "/v1"
LEVEL = 6
"""Raised with every change of what is spoken: a supervisor of another level is replaced, its nodes running on."""
SPOKEN = f"{__version__} level {LEVEL}"
IDLE_KEPT_S = 60
"""How long a supervisor keeps an idle connection, in seconds: far longer than a client does (5 s), so that it never closes
one on which a request is just under way."""
START_BOUND_S = 600.0
"""How long a start may take, with a large data set to load."""
STOP_BOUND_S = 60.0


@dataclass(eq=False)
class HostUnreachable(HoldfastError):
    """A machine's supervisor does not answer."""

    host: str
    endpoint: str
    why: str

    def __str__(self) -> str:
        return f"the supervisor of {self.host} at {self.endpoint} does not answer: {self.why}"


@dataclass(eq=False)
class HostRefused(HoldfastError):
    """A machine's supervisor did not do what it was asked, and says why."""

    host: str
    sentence: str
    code: str = ""
    """Name of the error at the supervisor: NodeRefusedToStart, NoFreePorts..."""

    def __str__(self) -> str:
        return self.sentence if self.host == "local" else f"{self.host}: {self.sentence}"


def order_to_json(order: NodeOrder) -> dict[str, Any]:
    return asdict(order)


def order_from_json(value: dict[str, Any]) -> NodeOrder:
    """Raises: KeyError, TypeError, ValueError."""
    return NodeOrder(
        **{
            **value,
            "kind": Kind(value["kind"]),
            "files": tuple(NodeFile(file["name"], file["text"]) for file in value["files"]),
        }
    )


def watch_to_json(order: WatchOrder) -> dict[str, Any]:
    return asdict(order)


def watch_from_json(value: dict[str, Any]) -> WatchOrder:
    """Raises: KeyError, TypeError, ValueError."""
    members = tuple(Member(**{**member, "kind": Kind(member["kind"])}) for member in value["members"])
    return WatchOrder(**{**value, "members": members})


def process_to_json(process: SeenProcess) -> dict[str, Any]:
    return asdict(process)


def process_from_json(value: dict[str, Any]) -> SeenProcess:
    files = value.get("files")
    return SeenProcess(
        ProcessState(value["state"]),
        int(value["pid"]),
        str(value["why"]),
        DataFiles(**files) if files else None,
    )


def facts_to_json(facts: HostFacts) -> dict[str, Any]:
    return asdict(facts)


def facts_from_json(value: dict[str, Any]) -> HostFacts:
    return HostFacts(**value)


def request_to_json(request: FirewallRequest) -> dict[str, Any]:
    return asdict(request)


def request_from_json(value: dict[str, Any]) -> FirewallRequest:
    """Raises: TypeError."""
    given: dict[str, Any] = {
        name: tuple(each) if isinstance(each, list) else each for name, each in value.items()
    }
    return FirewallRequest(**given)


def enforcement_to_json(enforcement: Enforcement) -> dict[str, Any]:
    return asdict(enforcement)


def enforcement_from_json(value: dict[str, Any]) -> Enforcement:
    return Enforcement(**value)
