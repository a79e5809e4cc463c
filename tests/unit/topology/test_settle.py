"""What keeps a cache from being at rest."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.topology.test_health import whole, with_node

from holdfast.spec.topology import Mode
from holdfast.topology.seen import Reach
from holdfast.topology.settle import unsettled


@pytest.mark.parametrize(("mode", "sentinels"), [("cluster", 0), ("replicated", 0), ("sentinel", 3)])
def test_a_whole_cache_is_at_rest(mode: str, sentinels: int) -> None:
    assert list(unsettled(whole(mode), Mode(mode), sentinels)) == []


@pytest.mark.parametrize(
    ("mode", "node", "fields", "says"),
    [
        ("replicated", "n2", {"reach": Reach.LOADING}, "n2 is loading"),
        ("replicated", "n2", {"link_up": False}, "n2 is not in sync with n1"),
        ("replicated", "n2", {"syncing": True}, "n2 is not in sync with n1"),
        ("replicated", "n2", {"primary": "", "link_up": False}, "n2 is not in sync with any node"),
        ("replicated", "n1", {"replicas_online": 0}, "n1 has 0 of 1 replicas online"),
        ("cluster", "n3", {"cluster_ok": False}, "n3 does not say that the cluster is ok"),
        ("cluster", "n2", {"slots_known": 10_923}, "n2 knows the owner of 10923 of 16384 slots"),
        ("sentinel", "sentinel-2", {"monitored": "n2"}, "sentinel-2 watches n2"),
        ("sentinel", "sentinel-2", {"monitored": ""}, "sentinel-2 watches nothing"),
        ("sentinel", "sentinel-2", {"sentinels_known": 1}, "sentinel-2 knows 1 of 2 other sentinels"),
        ("sentinel", "sentinel-2", {"replicas_online": 0}, "sentinel-2 knows 0 of 1 replicas"),
    ],
)
def test_one_thing_that_is_lacking(mode: str, node: str, fields: dict[str, Any], says: str) -> None:
    told = list(unsettled(with_node(whole(mode), node, **fields), Mode(mode), 3))
    assert any(each.startswith(says) for each in told), told
