"""Where nodes are put, and how their zones are renamed."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.topology.layout import HostPlace, Spread, even_labels, first_zone, zone_labels

bounded = settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))

ABC = ("a", "b", "c")
LOCAL = (HostPlace("local", ABC),)
HOSTS = (HostPlace("h1", ("a",)), HostPlace("h2", ("b",)), HostPlace("h3", ("b",)), HostPlace("h4", ("c",)))


def test_nodes_go_where_the_fewest_are() -> None:
    spread = Spread(ABC, HOSTS)
    picked = [spread.pick() for _ in range(6)]
    assert picked == [("a", "h1"), ("b", "h2"), ("c", "h4"), ("a", "h1"), ("b", "h3"), ("c", "h4")]


def test_zones_of_the_same_shard_are_avoided_while_there_are_others() -> None:
    spread = Spread(ABC, LOCAL)
    for _ in range(3):
        spread.count("c", "local")
    assert spread.pick(avoid=["a", "b"]) == ("c", "local")
    assert spread.pick(avoid=["a", "b", "c", "c"]) == ("a", "local")


def test_a_zone_is_preferred_unless_it_is_avoided() -> None:
    spread = Spread(ABC, LOCAL)
    assert spread.pick(prefer="c")[0] == "c"
    assert spread.pick(prefer="c")[0] == "c"
    assert spread.pick(prefer="c", avoid=["c"])[0] == "a"


def test_the_primary_s_zone_is_taken_only_when_there_is_no_other() -> None:
    assert Spread(("a", "b"), (HostPlace("h", ("a", "b")),)).pick(avoid=["a", "b", "b"], apart="a")[0] == "b"
    assert Spread(("a",), (HostPlace("h", ("a",)),)).pick(avoid=["a"], apart="a")[0] == "a"


def test_a_zone_that_no_host_serves_is_never_picked() -> None:
    spread = Spread(ABC, HOSTS[:1])
    assert [spread.pick(avoid=["a"]) for _ in range(2)] == [("a", "h1")] * 2


@pytest.mark.parametrize("zones", [1, 2, 3, 4])
@pytest.mark.parametrize("shards", [1, 3, 4, 7])
def test_first_zones_keep_replicas_from_their_primary_and_primaries_apart(zones: int, shards: int) -> None:
    names = [f"z{number}" for number in range(zones)]
    primaries = Counter(first_zone(names, shard, 0) for shard in range(shards))
    assert max(primaries.values()) == -(-shards // zones)
    for shard in range(shards):
        replicas = [first_zone(names, shard, place) for place in range(1, zones)]
        assert len({first_zone(names, shard, 0), *replicas}) == zones
        if zones > 1:
            assert first_zone(names, shard, 0) not in {
                first_zone(names, shard, place) for place in range(1, 9)
            }


def everywhere(current: dict[str, str], zones: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    return dict.fromkeys(current, zones)


@st.composite
def labelled(draw: st.DrawFn) -> tuple[dict[str, str], list[list[str]], tuple[str, ...]]:
    zones = ABC[: draw(st.integers(1, 3))]
    shards = [
        [f"n{shard}-{place}" for place in range(draw(st.integers(1, 4)))]
        for shard in range(draw(st.integers(1, 5)))
    ]
    names = [name for shard in shards for name in shard]
    return {name: draw(st.sampled_from([*ABC, "gone"])) for name in names}, shards, zones


@given(labelled())
@bounded
def test_labels_keep_replicas_from_their_primary_and_use_every_zone(
    case: tuple[dict[str, str], list[list[str]], tuple[str, ...]],
) -> None:
    current, shards, zones = case
    labels = zone_labels(current, shards, everywhere(current, zones))
    after = current | labels
    assert all(current[node] != zone for node, zone in labels.items())
    assert set(after.values()) <= set(zones)
    for primary, *replicas in shards:
        if len(zones) > 1:
            assert after[primary] not in {after[name] for name in replicas}
        used = {after[name] for name in (primary, *replicas)}
        assert len(used) == min(len(zones), 1 + len(replicas))
        if current[primary] in zones:
            assert primary not in labels
    assert zone_labels(after, shards, everywhere(current, zones)) == {}


def test_as_few_labels_change_as_must() -> None:
    current = {"p": "a", "r1": "a", "r2": "b"}
    assert zone_labels(current, [["p", "r1", "r2"]], everywhere(current, ABC)) == {"r1": "c"}


def test_a_node_on_a_host_of_one_zone_is_in_that_zone() -> None:
    current = {"p": "a", "r": "a"}
    assert zone_labels(current, [["p", "r"]], {"p": ("a",), "r": ("a",)}) == {}
    assert zone_labels(current, [["p", "r"]], {"p": ("x",), "r": ("y",)}) == {"p": "x", "r": "y"}
    assert zone_labels(current, [["p", "r"]], {"p": (), "r": ()}) == {}


@given(st.lists(st.sampled_from([*ABC, "gone"]), min_size=1, max_size=9), st.integers(1, 3))
@bounded
def test_sentinels_are_spread_evenly(zones_now: list[str], count: int) -> None:
    zones = ABC[:count]
    current = {f"sentinel-{number}": zone for number, zone in enumerate(zones_now)}
    after = current | even_labels(current, everywhere(current, zones))
    crowds = Counter(after.values())
    assert set(crowds) <= set(zones)
    assert max(crowds.values()) == -(-len(current) // count)
    assert even_labels(after, everywhere(current, zones)) == {}
