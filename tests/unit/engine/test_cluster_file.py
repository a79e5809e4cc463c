"""A replica whose shard id differs from its primary's on disk is given the primary's, and nothing else is touched."""

from __future__ import annotations

import pytest

from holdfast.engine.cluster_file import with_shards_agreed

A, B, C = "a" * 40, "b" * 40, "c" * 40
ONE, TWO = "1" * 40, "2" * 40
VARS = "vars currentEpoch 8 lastVoteEpoch 7\n"


def line(node: str, port: int, shard: str, role: str, rest: str = "0 1795298560828 0 connected") -> str:
    return f"{node} 127.0.0.1:{port}@{port + 10000},,tls-port=0,shard-id={shard} {role} {rest}\n"


PRIMARY = line(A, 7001, ONE, "myself,master -", "0 0 2 connected 0-5460 [5461->-" + C + "]")
AGREED = PRIMARY + line(B, 7002, ONE, f"slave {A}") + VARS


@pytest.mark.parametrize(
    "text",
    [
        AGREED,
        "",
        VARS,
        "not a file of a cluster\x00\xff at all",
        f"{B} 127.0.0.1:7002@17002 slave {A} 0 1 0 connected\n",  # before 7.2
        line(B, 7002, TWO, f"slave {A}"),  # a primary that nothing is known of
        line(B, 7002, TWO, "slave -"),
        AGREED.replace("\n", "\r\n"),
        AGREED.removesuffix("\n"),
    ],
)
def test_what_agrees_or_is_not_understood_stays_as_it_is(text: str) -> None:
    assert with_shards_agreed(text) == text


@pytest.mark.parametrize("replica_first", [True, False])
def test_a_replica_gets_the_shard_of_its_primary(replica_first: bool) -> None:
    replica = line(B, 7002, TWO, f"slave {A}")
    other = line(C, 7003, TWO, "master -")
    text = replica + PRIMARY + other if replica_first else PRIMARY + other + replica
    found = with_shards_agreed(text + VARS)
    assert found == (text + VARS).replace(replica, line(B, 7002, ONE, f"slave {A}"))


def test_two_replicas_of_one_primary_agree_and_the_node_itself_may_be_one() -> None:
    text = (
        PRIMARY.replace("myself,", "")
        + line(B, 7002, TWO, f"myself,slave {A}")
        + line(C, 7003, C, f"slave,fail {A}")
    )
    found = with_shards_agreed(text)
    assert found.count(ONE) == 3
    assert with_shards_agreed(found) == found
