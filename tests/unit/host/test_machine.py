"""What a spec asks of one machine, and what a machine has to give."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.host.machine import Machine, demand_of
from holdfast.spec.cache import Spec

GB = 1 << 30


def spec(**sections: Any) -> Spec:
    return Spec.model_validate({"format": 1, "cache": {"name": "shop"}, **sections})


def hosts(count: int) -> dict[str, dict[str, str]]:
    return {
        f"h{number}": {
            "address": f"10.0.0.{number}",
            "zone": f"z{number}",
            "supervisor": f"https://10.0.0.{number}:7800",
        }
        for number in range(1, count + 1)
    }


CLUSTER = {"mode": "cluster", "shards": 3, "replicas": 1, "zones": ["z1", "z2", "z3"]}
SENTINEL = {"mode": "sentinel", "replicas": 2, "zones": ["z1", "z2", "z3"]}


@pytest.mark.parametrize(
    ("sections", "nodes", "sentinels"),
    [
        ({}, 1, 0),
        ({"topology": CLUSTER}, 6, 0),
        ({"topology": SENTINEL}, 3, 3),
        ({"topology": CLUSTER, "place": {"kind": "hosts", "hosts": hosts(3)}}, 2, 0),
        ({"topology": {**CLUSTER, "shards": 4}, "place": {"kind": "hosts", "hosts": hosts(3)}}, 3, 0),
    ],
)
def test_a_machine_carries_all_nodes_or_its_share(
    sections: dict[str, Any], nodes: int, sentinels: int
) -> None:
    demand = demand_of(spec(**sections))
    assert (demand.nodes, demand.sentinels) == (nodes, sentinels)


def test_figures_come_from_the_spec() -> None:
    demand = demand_of(
        spec(
            topology=CLUSTER,
            memory={"maxmemory": "5gb"},
            network={"bind": ["0.0.0.0"], "allow": {"app": "10.0.1.0/24"}, "maxclients": 500, "backlog": 600},
            persistence={"rdb": {"enabled": False}, "aof": {"enabled": True}},
        )
    )
    assert demand.data_bytes == 30 * GB
    assert demand.disk_bytes == 90 * GB
    assert demand.open_files == 532
    assert (demand.bind, demand.allow, demand.backlog) == (("0.0.0.0",), ("10.0.1.0/24",), 600)


def test_the_tighter_of_machine_and_control_group_holds() -> None:
    machine = Machine(platform="linux", memory_total_bytes=8 * GB, memory_available_bytes=6 * GB)
    assert (machine.usable_memory_bytes, machine.free_memory_bytes) == (8 * GB, 6 * GB)
    limited = Machine(
        platform="linux",
        memory_total_bytes=8 * GB,
        memory_available_bytes=6 * GB,
        memory_limit_bytes=2 * GB,
        memory_limit_used_bytes=3 * GB,
    )
    assert (limited.usable_memory_bytes, limited.free_memory_bytes) == (2 * GB, 0)
