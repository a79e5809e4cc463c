"""The ledger of a worker: what counts as lost, doubled and stale."""

from __future__ import annotations

from holdfast.load.accounts import Accounts


def test_a_read_of_an_older_value_than_was_acknowledged_is_stale() -> None:
    accounts = Accounts(1)
    first, second = 1, 2
    accounts.wrote(0, 7, first, fill=False)
    accounts.wrote(0, 7, second, fill=False)
    assert accounts.get(0, 7, second, b"2;xx")
    assert accounts.stale == 0
    assert accounts.get(0, 7, second, b"1;xx")
    assert accounts.stale == 1
    assert not accounts.get(0, 7, second, None)
    assert (accounts.hits, accounts.misses) == (2, 1)


def test_a_newer_value_than_was_acknowledged_is_no_fault() -> None:
    accounts = Accounts(1)
    accounts.wrote(0, 7, 1, fill=False)
    accounts.get(0, 7, 1, b"5;written and not yet acknowledged")
    accounts.check_value(0, 7, b"5;xx", may_be_gone=False)
    assert (accounts.stale, accounts.lost) == (0, 0)


def test_no_second_write_of_a_key_while_one_is_under_way() -> None:
    accounts = Accounts(1)
    version = accounts.begin_write(0, 3)
    assert version
    assert accounts.begin_write(0, 3) == 0
    accounts.give_up(0, 3)
    assert accounts.begin_write(0, 3) > version


def test_a_key_that_is_gone_is_lost_unless_keys_were_evicted() -> None:
    accounts = Accounts(1)
    accounts.wrote(0, 1, 4, fill=False)
    accounts.check_value(0, 1, None, may_be_gone=True)
    assert accounts.lost == 0
    accounts.check_value(0, 1, None, may_be_gone=False)
    accounts.check_value(0, 1, b"3;older", may_be_gone=True)
    assert accounts.lost == 2


def test_appended_ids_are_counted_one_by_one() -> None:
    accounts = Accounts(1)
    for version in (1, 2, 3):
        accounts.appended_one(0, 1, version)
    accounts.check_list(0, 1, [b"1", b"3", b"3", b"9"])
    assert (accounts.lost, accounts.doubled) == (1, 1)
