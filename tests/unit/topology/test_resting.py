"""How short a node timeout makes voters vote again, and what nodes tell of the last vote."""

from __future__ import annotations

import math

import pytest

from holdfast.engine.dialects import EngineVersion
from holdfast.topology.resting import (
    ASKS_AGAIN_AFTER_S,
    CALM_REST_S,
    is_shortened,
    read_rest,
    rests,
    shortened_timeout_ms,
)


@pytest.mark.parametrize(
    ("since_vote_s", "since_asked_s", "expected"),
    [
        (None, None, None),
        (40.0, None, None),
        (33.5, None, None),
        (30.0, None, 13627),
        (2.3, None, 1037),
        (4.6, 4.6, 1037),
        (4.05, 4.05, 997),
        (40.0, 44.0, 9997),
        (40.0, 70.0, None),
        (0.001, None, 7),
    ],
)
def test_voters_that_rest_are_given_the_longest_timeout_with_which_they_vote(
    since_vote_s: float | None, since_asked_s: float | None, expected: int | None
) -> None:
    found = shortened_timeout_ms(15_000, since_vote_s, since_asked_s)
    assert found == expected
    if found is not None and since_vote_s is not None and since_vote_s > 0.1:
        assert 2 * found < since_vote_s * 1000
    if found is not None and since_asked_s is not None:
        assert max(4 * found, 4000) < since_asked_s * 1000


def test_a_shortened_timeout_is_told_from_one_that_somebody_chose() -> None:
    for tenths in range(1, 330):
        short = shortened_timeout_ms(15_000, tenths / 10, None)
        assert short is not None
        assert is_shortened(short, 15_000)
    assert not any(is_shortened(chosen, 15_000) for chosen in (0, 500, 1000, 5000, 14_990, 15_000, 15_007))


@pytest.mark.parametrize(
    ("name", "version", "expected"),
    [("redis", (7, 0, 15), True), ("redis", (8, 0, 2), True), ("valkey", (8, 0, 7), True),
     ("valkey", (8, 1, 0), False), ("valkey", (9, 1, 2), False)],
)  # fmt: skip
def test_which_voters_rest(name: str, version: tuple[int, int, int], expected: bool) -> None:
    assert rests(EngineVersion(name, version)) is expected


SAID = "cluster_state:ok\r\ncluster_stats_messages_{}:5\r\ntotal_cluster_links_buffer_limit_exceeded:0\r\n"
ASKED, VOTED, QUIET = SAID.format("auth-req_sent"), SAID.format("auth-ack_sent"), SAID.format("ping_sent")


def link(age_s: int) -> str:
    return f"id=3 addr=127.0.0.1:7000 laddr=127.0.0.1:4711 fd=9 name= age={age_s} idle=0 flags=M db=0 user=(superuser)\n"


@pytest.mark.parametrize(
    ("own", "text", "voters", "lacking_s", "asker_ms", "voters_ms"),
    [
        (QUIET, link(0), [QUIET, QUIET], 0.0, None, None),  # nobody has ever voted
        (QUIET, link(0), [VOTED, QUIET], CALM_REST_S, None, 7),
        (VOTED, link(3), [ASKED, VOTED], 0.0, None, 907),
        (ASKED, link(3), [VOTED], ASKS_AGAIN_AFTER_S - 2, 997, 907),
        (ASKED, link(11), [VOTED], 0.0, 2267, 4537),
        (ASKED, link(41), [VOTED], 0.0, 9087, None),
        (ASKED, link(100), [VOTED], 0.0, None, None),
    ],
)
def test_what_a_shard_needs_for_one_more_vote(
    own: str, text: str, voters: list[str], lacking_s: float, asker_ms: int | None, voters_ms: int | None
) -> None:
    rest = read_rest(own, text, voters)
    assert rest.lacking_s == pytest.approx(lacking_s)
    assert (rest.asker_ms(15_000), rest.voters_ms(15_000)) == (asker_ms, voters_ms)


def test_what_is_not_told_makes_nobody_wait() -> None:
    rest = read_rest(ASKED, "", [VOTED])
    assert rest.since_s == math.inf
    assert rest.lacking_s == 0.0
    assert rest.asker_ms(15_000) is None
