"""What goes over the wire to a supervisor comes out as it went in, by way of real JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from holdfast.engine.datafiles import DataFiles
from holdfast.host.firewall import Enforcement
from holdfast.host.nftables import FirewallRequest
from holdfast.supervisor import protocol
from holdfast.topology.hosts import HostFacts, NodeFile, NodeOrder, WatchOrder
from holdfast.topology.record import Kind, Member
from holdfast.topology.seen import ProcessState, SeenProcess

ORDER = NodeOrder(
    cache="orders",
    node="n1",
    kind=Kind.SERVER,
    engine="valkey-9.1.2@wheel",
    address="::1",
    port=7100,
    bus_port=17100,
    config="server.conf",
    probe_user="holdfast-supervisor",
    probe_password="s3cret",
    files=(NodeFile("server.conf", 'port 7100\ndir "a b"\n'), NodeFile("users.acl", "user é on\n")),
)
WATCH = WatchOrder(
    cache="orders",
    mode="cluster",
    members=(Member("n1", Kind.SERVER, "local", "a", "127.0.0.1", 7100, 17100, 0, True),),
    node_timeout_ms=5000,
    user="holdfast-supervisor",
    password="s3cret",
)


def over_the_wire(value: dict[str, Any]) -> dict[str, Any]:
    return dict(json.loads(json.dumps(value)))


def test_an_order() -> None:
    assert protocol.order_from_json(over_the_wire(protocol.order_to_json(ORDER))) == ORDER


def test_an_order_to_watch() -> None:
    assert protocol.watch_from_json(over_the_wire(protocol.watch_to_json(WATCH))) == WATCH


@pytest.mark.parametrize(
    "process",
    [
        SeenProcess(),
        SeenProcess(ProcessState.RUNNING, 4711),
        SeenProcess(
            ProcessState.EXITED, 0, "killed", DataFiles(True, False, 17, "2026-11-20T10:00:00+00:00")
        ),
    ],
)
def test_a_process(process: SeenProcess) -> None:
    assert protocol.process_from_json(over_the_wire(protocol.process_to_json(process))) == process


def test_the_facts_of_a_machine() -> None:
    facts = HostFacts("east-1", 12, "0.1.0", "/var/lib/holdfast")
    assert protocol.facts_from_json(over_the_wire(protocol.facts_to_json(facts))) == facts


def test_a_firewall_request_and_its_answer() -> None:
    request = FirewallRequest(
        "orders", (7100, 17100), ("10.0.1.0/24",), ("127.0.0.1",), ("127.0.0.1",), (17100,)
    )
    assert protocol.request_from_json(over_the_wire(protocol.request_to_json(request))) == request
    answer = Enforcement(True, "nftables", "packets are filtered", 3)
    assert protocol.enforcement_from_json(over_the_wire(protocol.enforcement_to_json(answer))) == answer


@pytest.mark.parametrize(
    "change",
    [{"kind": "ghost"}, {"files": [{"name": "x"}]}, {"files": None}, {"more": 1}, {"kind": None}],
)
def test_an_order_that_is_none_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        protocol.order_from_json(over_the_wire(protocol.order_to_json(ORDER)) | change)


@pytest.mark.parametrize("missing", ["cache", "node", "kind", "files", "port"])
def test_an_order_without_a_field_is_refused(missing: str) -> None:
    value = over_the_wire(protocol.order_to_json(ORDER))
    del value[missing]
    with pytest.raises((KeyError, TypeError)):
        protocol.order_from_json(value)


def test_no_secret_shows_in_what_a_log_would_print() -> None:
    assert "s3cret" not in repr(ORDER)
    assert "user é" not in repr(ORDER)
    assert "s3cret" not in repr(WATCH)


def test_another_machine_s_refusal_is_told_with_its_name() -> None:
    assert str(protocol.HostRefused("local", "no space left")) == "no space left"
    assert str(protocol.HostRefused("east-1", "no space left")) == "east-1: no space left"
    silent = str(protocol.HostUnreachable("east-1", "/run/s", "refused"))
    assert all(word in silent for word in ("east-1", "/run/s", "refused"))
