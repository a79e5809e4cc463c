"""Where a call goes and what it does when that fails: the seeds' table of four situations, redirects, retries, breakers."""

from __future__ import annotations

import hiredis
import pytest
from tests.unit.client.drive import PRIMARY, REPLICA, Hand

from holdfast.client.calls import ask, read, request
from holdfast.client.errors import CacheDenied, CacheUnavailable, CommandRefused, NodeLost, NodeUnreached
from holdfast.client.keys import slot_of
from holdfast.client.layout import Address, Layout, ShardAt
from holdfast.client.operations import Send
from holdfast.client.rules import BreakerState


def says(value: object):  # type: ignore[no-untyped-def]
    return lambda send: value


def fails(send: Send) -> object:
    raise NodeUnreached(str(send.node.address), "connection refused")


def hangs(send: Send) -> object:
    raise NodeLost(str(send.node.address), "it did not answer in time")


def get(hand: Hand, where: str = "replica_preferred", bound_ms: int | None = None) -> object:
    sent = request(hand.shared, "bill:1", ("GET", "bill:1"))
    return hand.run(read(hand.shared, sent, where, lambda reply: reply is None, bound_ms, "bill:1"))  # type: ignore[arg-type]


# The seeds' table: situation, first try, second try, what comes of it.
SITUATIONS = {
    "normal": (says(b"v"), says(b"v"), [REPLICA], b"v"),
    "replication lag": (says(None), says(b"v"), [REPLICA, PRIMARY], b"v"),
    "replica down": (fails, says(b"v"), [REPLICA, PRIMARY], b"v"),
    "replica hangs": (hangs, says(b"v"), [REPLICA, PRIMARY], b"v"),
    "missing everywhere": (says(None), says(None), [REPLICA, PRIMARY], None),
    "replica is loading": (says(hiredis.ReplyError("LOADING")), says(b"v"), [REPLICA, PRIMARY], b"v"),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_seeds_table(situation: str) -> None:
    replica, primary, asked, value = SITUATIONS[situation]
    hand = Hand({REPLICA: replica, PRIMARY: primary})
    assert get(hand) == value
    assert hand.sent == asked
    assert hand.shared.figures.replica_fallbacks == len(asked) - 1


def test_the_seeds_table_all_down() -> None:
    hand = Hand({REPLICA: fails, PRIMARY: fails})
    with pytest.raises(CacheUnavailable, match="connection refused"):
        get(hand)
    assert hand.sent[:2] == [REPLICA, PRIMARY]


def test_a_critical_read_asks_the_primary_alone() -> None:
    hand = Hand({REPLICA: says(b"old"), PRIMARY: says(b"new")})
    assert get(hand, "primary") == b"new"
    assert hand.sent == [PRIMARY]


def test_replica_only_never_asks_the_primary() -> None:
    hand = Hand({REPLICA: says(None), PRIMARY: says(b"v")})
    assert get(hand, "replica") is None
    hand = Hand({REPLICA: fails, PRIMARY: says(b"v")})
    with pytest.raises(CacheUnavailable):
        get(hand, "replica")
    assert PRIMARY not in hand.sent


def test_a_replica_beyond_the_stale_bound_is_not_read() -> None:
    hand = Hand({REPLICA: says(b"old"), PRIMARY: says(b"new")})
    assert get(hand, bound_ms=100) == b"new", "nothing is known of its lag"
    hand.shared.node(REPLICA).fresh_as_of = hand.now - 0.05
    assert get(hand, bound_ms=100) == b"old"
    hand.now += 0.06
    assert get(hand, bound_ms=100) == b"new"


def test_a_replica_that_lost_its_primary_is_read_only_when_the_primary_is_lost_too() -> None:
    hand = Hand({REPLICA: says(b"old"), PRIMARY: says(b"new")})
    hand.shared.lose(hand.shared.node(REPLICA))
    assert get(hand) == b"new"
    assert get(hand, "nearest") == b"new"
    assert get(hand, "replica") == b"old", "nobody else may be read"
    hand.shared.lose(hand.shared.node(PRIMARY))
    assert get(hand) == b"old"


def test_a_caller_reads_its_own_writes() -> None:
    from holdfast.client.shared import OWN_WRITES

    hand = Hand({REPLICA: says(b"old"), PRIMARY: says(b"new")})
    outer = OWN_WRITES.set({"bill:1": hand.now})
    try:
        hand.shared.node(REPLICA).fresh_as_of = hand.now - 0.001
        assert get(hand) == b"new"
        hand.shared.node(REPLICA).fresh_as_of = hand.now
        assert get(hand) == b"old", "it has the write by now"
    finally:
        OWN_WRITES.reset(outer)


def test_the_nearest_is_the_one_that_answers_soonest() -> None:
    hand = Hand({REPLICA: says(b"r"), PRIMARY: says(b"p")})
    hand.shared.node(REPLICA).round_trip_s, hand.shared.node(PRIMARY).round_trip_s = 0.002, 0.001
    assert get(hand, "nearest") == b"p"
    hand.shared.node(REPLICA).round_trip_s = 0.0005
    assert get(hand, "nearest") == b"r"


def test_moved_is_followed_and_remembered() -> None:
    there = Address("other", 3)
    hand = Hand({PRIMARY: says(hiredis.ReplyError("MOVED 5 other:3")), there: says(b"v")})
    hand.shared.put_layout(Layout((ShardAt(PRIMARY),), (0,) * 16_384))
    for _ in range(2):
        sent = request(hand.shared, "bill:1", ("GET", "bill:1"))
        assert hand.run(ask(hand.shared, sent)) == b"v"
    assert hand.sent == [PRIMARY, there, there]
    assert hand.shared.moved == {slot_of(b"bill:1"): there}


def test_ask_goes_to_a_node_nobody_knew_and_is_not_remembered() -> None:
    there = Address("other", 3)
    payloads = []

    def importing(send: Send) -> object:
        payloads.append((send.payload, send.replies))
        return [b"OK", b"v"]

    hand = Hand({PRIMARY: says(hiredis.ReplyError("ASK 5 other:3")), there: importing})
    assert hand.run(ask(hand.shared, request(hand.shared, "bill:1", ("GET", "bill:1")))) == b"v"
    assert payloads[0][0].startswith(b"*1\r\n$6\r\nASKING\r\n")
    assert payloads[0][1] == 2
    assert not hand.shared.moved


@pytest.mark.parametrize(
    "said", ["MOVED 5 primary:1", "ASK 5 primary:1", "MOVED x", "MOVED 5 nowhere", "ASK 5 a:99999"]
)
def test_nodes_that_send_calls_around_end_the_call(said: str) -> None:
    hand = Hand(
        {
            PRIMARY: lambda send: (
                [b"OK", hiredis.ReplyError(said)] if send.replies == 2 else hiredis.ReplyError(said)
            )
        }
    )
    with pytest.raises(CacheUnavailable, match="around"):
        hand.run(ask(hand.shared, request(hand.shared, "bill:1", ("GET", "bill:1"))))
    assert len(hand.sent) < 12


def test_a_write_whose_fate_is_unknown_is_not_sent_again() -> None:
    hand = Hand({PRIMARY: hangs})
    with pytest.raises(CacheUnavailable, match="may have been done") as told:
        hand.run(ask(hand.shared, request(hand.shared, "bill:1", ("SET", "bill:1", b"v"), repeatable=False)))
    assert told.value.may_have_run
    assert hand.sent == [PRIMARY]


def test_a_write_that_was_not_sent_is_tried_again() -> None:
    tries = iter([fails, fails, says(b"OK")])
    hand = Hand({PRIMARY: lambda send: next(tries)(send)})
    assert (
        hand.run(ask(hand.shared, request(hand.shared, "bill:1", ("SET", "bill:1", b"v"), repeatable=False)))
        == b"OK"
    )


def test_a_call_ends_with_its_time() -> None:
    hand = Hand({PRIMARY: says(hiredis.ReplyError("CLUSTERDOWN"))})
    began = hand.now
    with pytest.raises(CacheUnavailable, match="CLUSTERDOWN"):
        hand.run(ask(hand.shared, request(hand.shared, "bill:1", ("GET", "bill:1"), within_s=0.3)))
    assert hand.now - began <= 0.31


@pytest.mark.parametrize(
    ("said", "error"), [("NOPERM no", CacheDenied), ("NOAUTH", CacheDenied), ("ERR odd", CommandRefused)]
)
def test_what_no_other_try_would_mend_is_raised_at_once(said: str, error: type[Exception]) -> None:
    hand = Hand({PRIMARY: says(hiredis.ReplyError(said))})
    with pytest.raises(error, match=said):
        hand.run(ask(hand.shared, request(hand.shared, "bill:1", ("GET", "bill:1"))))
    assert hand.sent == [PRIMARY]


def test_the_breaker_spares_a_dead_node_and_its_callers() -> None:
    hand = Hand({PRIMARY: fails})
    node = hand.shared.node(PRIMARY)

    def call() -> object:
        return hand.run(ask(hand.shared, request(hand.shared, "bill:1", ("GET", "bill:1"), within_s=10)))

    calls = 0
    while node.breaker.state(hand.now) is BreakerState.CLOSED:
        calls += 1
        with pytest.raises(CacheUnavailable, match="refused"):
            call()
    assert calls == 5, "five calls that failed open it"
    sent = len(hand.sent)
    assert node.breaker.state(hand.now) is BreakerState.OPEN
    with pytest.raises(CacheUnavailable, match="left alone"):
        call()
    assert len(hand.sent) == sent
    hand.now += 61
    hand.answers[PRIMARY] = says(b"v")
    for _ in range(3):
        assert node.breaker.state(hand.now) is not BreakerState.CLOSED
        assert call() == b"v"
    assert node.breaker.state(hand.now) is BreakerState.CLOSED


def opened_breaker() -> Hand:
    hand = Hand({PRIMARY: fails})
    for _ in range(5):
        hand.shared.node(PRIMARY).breaker.failed(hand.now)
    return hand


def test_a_failed_trial_opens_it_again() -> None:
    hand = opened_breaker()
    hand.now += 61
    with pytest.raises(CacheUnavailable):
        hand.run(ask(hand.shared, request(hand.shared, "bill:1", ("GET", "bill:1"), within_s=1)))
    assert len(hand.sent) == 1


def test_a_sign_of_life_from_its_watcher_ends_the_wait() -> None:
    hand = opened_breaker()
    hand.shared.node(PRIMARY).breaker.seen_alive(hand.now)
    hand.answers[PRIMARY] = says(b"v")
    assert hand.run(ask(hand.shared, request(hand.shared, "bill:1", ("GET", "bill:1")))) == b"v"


def test_retries_are_a_share_of_the_calls() -> None:
    hand = Hand({PRIMARY: says(hiredis.ReplyError("LOADING"))})
    for _ in range(50):
        with pytest.raises(CacheUnavailable):
            hand.run(ask(hand.shared, request(hand.shared, "bill:1", ("GET", "bill:1"))))
    assert hand.shared.figures.retries <= 20
    assert len(hand.sent) <= 70
