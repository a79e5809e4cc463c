"""What is sent to a cell, and what its replies say."""

from __future__ import annotations

import pytest

from holdfast.migrate.write.units import DONE, Fate, Mark, Unit, packed, read_replies


class Error(Exception):
    """A refusal among replies."""


OK, QUEUED = b"OK", b"QUEUED"
PLAIN = Unit(1, [b"a", b"b", b"c"])
MARKED = Unit(1, [b"a", b"b"], marked=True)
MARK = Mark(b"k", b"new")


def told(unit: Unit, replies: list[object], expected: bytes | None = b"old", asking: bool = False) -> object:
    return read_replies(unit, replies, expected, Error, asking)


def test_a_plain_unit_is_its_commands() -> None:
    assert packed(PLAIN, None) == (b"abc", 3)
    assert packed(PLAIN, None, asking=True) == (
        b"*1\r\n$6\r\nASKING\r\na" + b"*1\r\n$6\r\nASKING\r\nb" + b"*1\r\n$6\r\nASKING\r\nc",
        6,
    )


def test_a_marked_unit_is_one_transaction_with_its_mark() -> None:
    body, replies = packed(MARKED, MARK)
    assert body == (
        b"*1\r\n$5\r\nMULTI\r\nab*3\r\n$6\r\nGETSET\r\n$1\r\nk\r\n$3\r\nnew\r\n*1\r\n$4\r\nEXEC\r\n"
    )
    assert replies == 5
    assert packed(MARKED, MARK, asking=True)[1] == 6


def test_done() -> None:
    assert told(PLAIN, [1, 2, 3]) is DONE
    assert told(MARKED, [OK, QUEUED, QUEUED, QUEUED, [1, 2, b"old"]]) is DONE
    assert told(MARKED, [OK, OK, QUEUED, QUEUED, QUEUED, [1, 2, b"old"]], asking=True) is DONE
    assert told(MARKED, [OK, QUEUED, QUEUED, QUEUED, [1, 2, None]], expected=None) is DONE


@pytest.mark.parametrize(
    "words", ["MOVED 1 h:1", "ASK 1 h:1", "TRYAGAIN x", "CLUSTERDOWN x", "LOADING x", "OOM x"]
)
def test_of_a_plain_unit_only_what_was_not_run_goes_again(words: str) -> None:
    found = told(PLAIN, [1, Error(words), Error(words)])
    assert (found.fate, found.again, found.words) == (Fate.AGAIN, (1, 2), words)  # type: ignore[attr-defined]


def test_a_refusal_for_good_is_told_and_the_rest_is_done() -> None:
    found = told(PLAIN, [1, Error("WRONGTYPE x"), 3])
    assert (found.fate, found.refused) == (Fate.DONE, ((1, "WRONGTYPE x"),))  # type: ignore[attr-defined]
    found = told(MARKED, [OK, QUEUED, QUEUED, QUEUED, [Error("WRONGTYPE x"), 2, b"old"]])
    assert (found.fate, found.refused) == (Fate.DONE, ((0, "WRONGTYPE x"),))  # type: ignore[attr-defined]


def test_a_transaction_that_was_not_run_goes_again_whole() -> None:
    moved = Error("MOVED 1 h:1")
    found = told(MARKED, [OK, QUEUED, moved, moved, Error("EXECABORT x")])
    assert (found.fate, found.words) == (Fate.AGAIN, "MOVED 1 h:1")  # type: ignore[attr-defined]
    found = told(MARKED, [OK, QUEUED, QUEUED, moved, Error("EXECABORT x")])
    assert found.fate is Fate.AGAIN, "only the mark was refused"  # type: ignore[attr-defined]
    found = told(MARKED, [OK, QUEUED, QUEUED, QUEUED, Error("TRYAGAIN x")])
    assert (found.fate, found.words) == (Fate.AGAIN, "TRYAGAIN x")  # type: ignore[attr-defined]


def test_a_command_that_the_target_does_not_know_is_left_out_and_told() -> None:
    found = told(MARKED, [OK, Error("ERR unknown command"), QUEUED, QUEUED, Error("EXECABORT x")])
    assert (found.fate, found.refused) == (Fate.WITHOUT, ((0, "ERR unknown command"),))  # type: ignore[attr-defined]


@pytest.mark.parametrize("was", [None, b"other"])
def test_a_mark_that_is_not_what_it_was_is_noticed(was: bytes | None) -> None:
    assert told(MARKED, [OK, QUEUED, QUEUED, QUEUED, [1, 2, was]]).fate is Fate.MARK_LOST  # type: ignore[attr-defined]
