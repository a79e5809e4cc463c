"""CLUSTER NODES as real servers of six engines answered it (tests/data/cluster-nodes), read."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.topology.cluster_view import ClusterView, read_cluster_nodes, read_peers
from holdfast.topology.slots import Slots

DATA = Path(__file__).resolve().parents[2] / "data" / "cluster-nodes"
ENGINES = ("redis-6.2", "redis-7.0", "redis-8.0", "valkey-8.0", "valkey-8.1", "valkey-9.1")

FIRST, SECOND, THIRD = (
    frozenset(range(5461)),
    frozenset(range(5461, 10923)),
    frozenset(range(10923, 16384)),
)

every_engine = pytest.mark.parametrize("engine", ENGINES)


def text_of(engine: str, case: str) -> str:
    return (DATA / f"{engine}-{case}.txt").read_text()


def view_of(engine: str, case: str) -> ClusterView:
    return read_cluster_nodes(text_of(engine, case))


def ids(engine: str, case: str) -> dict[str, str]:
    """First port of the case -> id, found without the code under test."""
    lines = [line.split(" ") for line in text_of(engine, case).splitlines()]
    return {line[1].split("@")[0].rpartition(":")[2]: line[0] for line in lines}


@every_engine
def test_a_node_alone_knows_itself_by_no_address(engine: str) -> None:
    view = view_of(engine, "alone")
    assert view.known == {view.own_id}
    assert len(view.own_id) == 40
    assert view.slots == frozenset()
    assert view.primary_id == ""
    assert view.addresses[view.own_id].startswith(" ")


@every_engine
def test_a_node_that_has_not_shaken_hands_is_not_known(engine: str) -> None:
    assert "handshake" in text_of(engine, "handshake")
    view = view_of(engine, "handshake")
    assert view.known == {view.own_id}
    assert set(view.addresses) == {view.own_id}


@every_engine
@pytest.mark.parametrize(
    ("case", "slots"),
    [
        ("primary", SECOND),
        ("replica", frozenset()),
        ("source", FIRST),
        ("target", THIRD),
        ("holes", SECOND - {5462, 10922}),
        ("failed", FIRST),
    ],
)
def test_own_slots_and_peers(engine: str, case: str, slots: Slots) -> None:
    view = view_of(engine, case)
    assert view.slots == slots
    assert len(view.known) == len(view.addresses) == 4
    assert {address.split(" ")[0] for address in view.addresses.values()} == {"127.0.0.1"}


@every_engine
def test_a_replica_names_its_primary(engine: str) -> None:
    view = view_of(engine, "replica")
    assert view.primary_id != view.own_id
    assert view.primary_id in view.known
    assert view_of(engine, "primary").primary_id == ""


@every_engine
def test_slots_on_their_way(engine: str) -> None:
    source, target = view_of(engine, "source"), view_of(engine, "target")
    assert [(each.slot, each.target, each.source) for each in source.moving] == [
        (7, target.own_id, ""),
        (5460, view_of(engine, "primary").own_id, ""),
    ]
    assert [(each.slot, each.target, each.source) for each in target.moving] == [(7, "", source.own_id)]


@every_engine
def test_a_failed_node_and_one_without_an_address(engine: str) -> None:
    failed, lost = view_of(engine, "failed"), view_of(engine, "noaddr")
    assert len(failed.failed) == 1
    assert failed.failed == lost.failed
    assert failed.failed <= failed.addresses.keys()
    assert not lost.failed & lost.addresses.keys()
    assert lost.failed <= lost.known


@every_engine
def test_ipv6_addresses(engine: str) -> None:
    view = view_of(engine, "ipv6")
    assert {address.rpartition(" ")[0] for address in view.addresses.values()} == {"::1"}
    assert {address.rpartition(" ")[2] for address in view.addresses.values()} == set(ids(engine, "ipv6"))


@pytest.mark.parametrize("engine", [engine for engine in ENGINES if engine != "redis-6.2"])
def test_a_hostname_is_no_part_of_the_port(engine: str) -> None:
    assert ",n2.example.test " in text_of(engine, "primary")
    view = view_of(engine, "replica")
    assert all(address.rpartition(" ")[2].isdigit() for address in view.addresses.values())


def test_a_suspected_node_is_not_a_failed_one() -> None:
    text = text_of("valkey-9.1", "failed").replace(",fail ", ",fail? ")
    assert read_cluster_nodes(text).failed == frozenset()


@every_engine
def test_peers_are_what_the_whole_view_says(engine: str) -> None:
    for case in ("primary", "replica", "source", "target", "holes", "failed", "handshake"):
        view = view_of(engine, case)
        own_id, peers = read_peers(text_of(engine, case))
        assert own_id == view.own_id
        assert peers.keys() == view.known
        assert peers[own_id].primary_id == view.primary_id
        assert peers[own_id].owns_slots == bool(view.slots)
        assert {each.node_id for each in peers.values() if each.failed} == view.failed
