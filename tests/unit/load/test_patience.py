"""The ledger of patient clients: gaps, losses and doubles by shard and kind of acknowledgement."""

from __future__ import annotations

from holdfast.load.ledger import Account
from holdfast.load.patience import account_for


def account(key: str, shard: str, wait: int, times: list[float]) -> Account:
    return Account(key, shard, wait, acknowledged=list(range(1, len(times) + 1)), at_s=times)


def test_the_gap_is_the_longest_of_any_client_that_ends_after_the_event() -> None:
    one = account("a", "n1", 0, [10.0, 12.0, 12.1, 13.0, 13.1])
    two = account("b", "n1", 0, [10.0, 12.05, 12.4])
    ledger = account_for([one, two], {"a": [1, 2, 3, 4, 5], "b": [1, 2, 3]}, 10.0, since_s=12.05)
    (group,) = ledger.groups
    assert group.gap_ms == 2050.0  # it began before the event and ended with it: it may be its doing
    assert account_for([one], {"a": [1, 2, 3, 4, 5]}, 10.0, since_s=12.5).groups[0].gap_ms == 900.0


def test_a_wait_that_is_not_over_counts_and_is_told() -> None:
    """Whoever got no answer any more has waited the longest of all, not 0 ms."""
    stuck = account("a", "n1", 0, [10.0, 10.1])
    never = account("b", "n2", 0, [])
    fine = account("c", "n3", 0, [10.0, 10.1, 13.9])
    kept = {"a": [1, 2], "c": [1, 2, 3]}
    groups = {each.shard: each for each in account_for([stuck, never, fine], kept, 10.0, 11.0, 14.0).groups}
    assert (groups["n1"].gap_ms, groups["n1"].waiting) == (3900.0, 1)
    assert (groups["n2"].gap_ms, groups["n2"].waiting) == (4000.0, 1)
    assert (groups["n3"].gap_ms, groups["n3"].waiting) == (3800.0, 0)


def test_lost_and_doubled_ids_are_counted_one_by_one_and_apart_by_acknowledgement() -> None:
    plain = account("a", "n1", 0, [1.0, 2.0, 3.0, 4.0])
    waited = account("b", "n1", 1, [1.0, 2.0])
    ledger = account_for([plain, waited], {"a": [1, 4, 4, 9], "b": [1, 2]}, 0.0)
    assert (ledger.lost(wait=False), ledger.lost(wait=True)) == (2, 0)
    by_wait = {group.wait: group for group in ledger.groups}
    assert by_wait[0].doubled == 1
    assert by_wait[0].lost_span_s == 1.0


def test_a_list_that_is_gone_is_all_lost() -> None:
    ledger = account_for([account("a", "n1", 1, [1.0, 2.0])], {}, 0.0)
    assert ledger.lost(wait=True) == 2


def test_the_line_that_is_drawn_counts_every_write_once() -> None:
    ledger = account_for([account("a", "n1", 0, [5.0, 5.01, 5.5]), account("b", "n2", 0, [5.2])], {}, 5.0)
    assert {shard: sum(line) for shard, line in ledger.acks.items()} == {"n1": 3, "n2": 1}
    assert len({len(line) for line in ledger.acks.values()}) == 1
