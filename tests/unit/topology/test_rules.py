"""What is refused before anything is touched: the sentence, the reason, the way, and where the line runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.engine.builds import REDIS_6_2, REDIS_7_0, REDIS_8_0, VALKEY_8_0, VALKEY_9_1
from tests.unit.topology.drive import Wish, reach
from tests.unit.topology.model import World
from tests.unit.topology.wishes import GB, nothing, wish

from holdfast.engine.build import EngineBuild
from holdfast.errors import HoldfastError, Refused
from holdfast.topology.layout import HostPlace
from holdfast.topology.plan import topology_steps
from holdfast.topology.rules import FILL, NoPrimary, TwoPrimaries, refuse_impossible
from holdfast.topology.seen import Reach, SeenCache

MB = 1 << 20
STANDALONE = wish("standalone")
CLUSTER = wish("cluster", shards=4, replicas=0)


def brought_up(topology: Mapping[str, Any], **options: Any) -> World:
    world = nothing(topology["mode"])
    reach(world, Wish.of(topology, **options))
    return world


def using(world: World, **fields: Any) -> SeenCache:
    seen = world.seen()
    return replace(seen, nodes=tuple(replace(node, **fields) for node in seen.nodes))


def refusal(
    world: World, topology: Mapping[str, Any], seen: SeenCache | None = None, **options: Any
) -> Refused:
    with pytest.raises(Refused) as told:
        refuse_impossible(Wish.of(topology, **options).wanted(world), seen or world.seen())
    assert "Nothing was changed." in str(told.value)
    return told.value


def allowed(world: World, topology: Mapping[str, Any], seen: SeenCache | None = None, **options: Any) -> None:
    refuse_impossible(Wish.of(topology, **options).wanted(world), seen or world.seen())


@pytest.mark.parametrize(
    ("made", "asked"),
    [
        (wish("sentinel", replicas=1), wish("cluster", shards=3)),
        (STANDALONE, wish("cluster", shards=3)),
        (wish("cluster", shards=3), wish("replicated", replicas=1)),
    ],
)
def test_a_cluster_is_not_made_of_one_primary_nor_the_other_way(
    made: dict[str, Any], asked: dict[str, Any]
) -> None:
    told = refusal(brought_up(made), asked)
    assert told.what == f"changing orders from {made['mode']} to {asked['mode']}"
    assert "cannot be split" in told.why
    assert "migration" in told.instead


def test_the_mode_may_change_before_anything_is_made() -> None:
    world = nothing("sentinel")
    allowed(world, wish("cluster", shards=3))


@pytest.mark.parametrize(
    ("runs", "asked", "why"),
    [
        (REDIS_7_0, VALKEY_8_0, ""),
        (REDIS_6_2, VALKEY_9_1, ""),
        (VALKEY_8_0, VALKEY_9_1, ""),
        (REDIS_7_0, REDIS_8_0, ""),
        (REDIS_8_0, VALKEY_9_1, "does not load what Redis 8.0.6 writes (RDB 12)"),
        (REDIS_8_0, VALKEY_8_0, "does not load what Redis 8.0.6 writes (RDB 12)"),
        (VALKEY_9_1, VALKEY_8_0, "does not load what Valkey 9.1.2 writes (RDB 80)"),
        (VALKEY_8_0, REDIS_8_0, "different families"),
        (REDIS_7_0, REDIS_6_2, "does not load"),
    ],
)
def test_an_engine_is_changed_only_in_directions_that_replicate(
    runs: EngineBuild, asked: EngineBuild, why: str
) -> None:
    world = brought_up(STANDALONE, build=runs)
    if not why:
        allowed(world, STANDALONE, build=asked)
        return
    told = refusal(world, STANDALONE, build=asked)
    assert why in told.why
    assert "holdfast migrate" in told.instead


def test_an_engine_that_does_not_answer_or_tells_no_version_is_not_judged() -> None:
    world = brought_up(STANDALONE, build=REDIS_8_0)
    allowed(world, STANDALONE, using(world, reach=Reach.SILENT), build=VALKEY_9_1)
    allowed(world, STANDALONE, using(world, version=""), build=VALKEY_9_1)


@pytest.mark.parametrize(
    ("has", "mode", "then"),
    [
        (False, "required", "turning TLS on"),
        (True, "off", "turning TLS off"),
        (True, "where_available", None),
        (False, "where_available", None),
        (True, "required", None),
        (False, "off", None),
    ],
)
def test_tls_is_not_turned_on_or_off_in_place(has: bool, mode: str, then: str | None) -> None:
    world = brought_up(STANDALONE)
    world.record = replace(world.record, tls=has)
    security = {"tls": {"mode": mode}}
    if then is None:
        allowed(world, STANDALONE, security=security)
    else:
        told = refusal(world, STANDALONE, security=security)
        assert told.what.startswith(then)
        assert "second cache" in told.instead


@pytest.mark.parametrize(
    ("used", "now", "fits"),
    [
        (2 * GB, GB, True),
        (2 * GB + 1, GB, False),
        (2 * GB + 1, 2 * GB, True),  # it is the limit already: nothing changes
        (2 * GB + 1, 0, False),
    ],
)
def test_maxmemory_below_what_is_used_is_refused(used: int, now: int, fits: bool) -> None:
    world = brought_up(STANDALONE)
    seen = using(world, used_bytes=used, maxmemory_bytes=now)
    memory = {"maxmemory": "2gb"}
    if fits:
        allowed(world, STANDALONE, seen, memory=memory)
    else:
        told = refusal(world, STANDALONE, seen, memory=memory)
        assert told.what == "maxmemory 2048 MB"
        assert "n1 already uses 2048 MB" in told.why
        assert "delete data first" in told.instead


@pytest.mark.parametrize(
    ("per_node", "fits"), [(GB * 3 * FILL / 4 - 1, True), (GB * 3 * FILL / 4 + 2, False)]
)
def test_fewer_shards_than_the_data_fits_in_are_refused(per_node: float, fits: bool) -> None:
    world = brought_up(CLUSTER, memory={"maxmemory": "1gb"})
    seen = using(world, used_bytes=int(per_node), maxmemory_bytes=GB)
    fewer = {**CLUSTER, "shards": 3}
    if fits:
        allowed(world, fewer, seen, memory={"maxmemory": "1gb"})
    else:
        told = refusal(world, fewer, seen, memory={"maxmemory": "1gb"})
        assert told.what == "shrinking orders from 4 to 3 shards"
        assert "90% of maxmemory" in told.why
        assert told.instead == "Ask for at least 4 shards, or for a larger maxmemory"
        allowed(world, fewer, seen, memory={"maxmemory": "2gb"})
    allowed(world, {**CLUSTER, "shards": 5}, seen, memory={"maxmemory": "1gb"})


def test_the_fewest_shards_told_are_never_more_than_there_are() -> None:
    world = brought_up(CLUSTER, memory={"maxmemory": "1gb"})
    seen = using(world, used_bytes=int(GB * 0.99), maxmemory_bytes=GB)
    told = refusal(world, {**CLUSTER, "shards": 3}, seen, memory={"maxmemory": "1gb"})
    assert "at least 4 shards" in told.instead


def test_a_host_that_nodes_are_on_cannot_be_left_out() -> None:
    hosts = (HostPlace("h1", ("zone-a",)), HostPlace("h2", ("zone-b",)))
    two = wish("replicated", replicas=1, zones=2)
    world = brought_up(two, hosts=hosts)
    told = refusal(world, wish("replicated", replicas=1, zones=1), hosts=hosts[:1])
    assert told.what == "leaving host h2 out of orders"
    assert "n2 still run there" in told.why
    allowed(world, two, hosts=(*hosts, HostPlace("h3", ("zone-b",))))


def test_a_refusal_comes_before_nodes_are_started() -> None:
    world = brought_up(STANDALONE)
    world.kill("n1")
    with pytest.raises(Refused):
        topology_steps(Wish.of(wish("cluster", shards=3)).wanted(world), world.seen())


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (
            TwoPrimaries("orders", (("n1", 5, 70), ("n2", 6, 80))),
            (
                "2 primaries",
                "n1 has 5 keys, offset 70",
                "n2 has 6",
                "Nothing was changed",
                "holdfast repair orders",
            ),
        ),
        (
            NoPrimary("orders", (("n1", "n2", 5, 70), ("n2", "", 6, 80))),
            ("no primary", "n1 follows n2", "n2 follows a node outside", "holdfast repair orders --keep n2"),
        ),
    ],
)
def test_what_only_a_person_can_judge_is_told_with_all_that_is_known(
    told: HoldfastError, says: tuple[str, ...]
) -> None:
    for each in says:
        assert each in str(told)
