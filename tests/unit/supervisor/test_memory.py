"""What is remembered of servers, from what they said one moment after the other."""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.supervisor.failover_rules import Voice
from holdfast.supervisor.memory import Memory
from holdfast.topology.cluster_view import Peer
from holdfast.topology.record import CacheRecord, Kind, Member

CLUSTER = CacheRecord(
    "shop",
    "cluster",
    "",
    False,
    tuple(
        Member(name, Kind.SERVER, "local", "a", "127.0.0.1", 7000 + at, 17000 + at)
        for at, name in enumerate("ab")
    ),
)


def said(name: str, offset: int, follows: str = "") -> Voice:
    peers: Mapping[str, Peer] = {name: Peer(name, follows, owns_slots=not follows, failed=False)}
    return Voice(name, name, not follows, follows, offset, peers=peers)


def test_a_primary_that_became_a_replica_was_voted_about_until_it_was_seen() -> None:
    memory = Memory(CLUSTER)
    memory.learn([said("a", 10), said("b", 9, "a")], 1.0)
    assert memory.voted_s == {}
    assert memory.followers == {"a": ("b",)}
    memory.learn([said("b", 20)], 2.0)  # a is dead and b has its place
    assert memory.voted_s == {}
    memory.learn([said("a", 21, "b"), said("b", 21)], 3.0)
    assert memory.voted_s == {"a": 3.0}
    memory.learn([said("a", 30, "b"), said("b", 31)], 9.0)
    assert memory.voted_s == {"a": 3.0}
    assert memory.offsets == {"a": 30, "b": 31}


def test_the_silent_are_remembered_and_strangers_forgotten() -> None:
    memory = Memory(CLUSTER)
    memory.ids["gone"] = "x"
    memory.learn([said("a", 10), said("b", 9, "a")], 1.0)
    memory.learn([], 2.0)
    assert memory.ids == {"a": "a", "b": "b"}
    assert memory.offsets == {"a": 10, "b": 9}
    assert memory.followers == {"a": ("b",)}
