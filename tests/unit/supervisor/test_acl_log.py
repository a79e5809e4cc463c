"""What a server refused: read from every engine's form of its log, told once, however it grows, moves or begins anew."""

from __future__ import annotations

import json
from typing import Any

import pytest

from holdfast.supervisor.acl_log import REMEMBERED, Known, entries_of, fresh

CLIENT = "id=6 addr=10.0.0.7:5124 laddr=10.0.0.1:6379 fd=7 name= cmd=auth user=default"
RUN = "f00d"


def raw(user: str, count: int, age_s: float, number: Any = None, **changed: Any) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "count": count, "reason": "auth", "context": "toplevel", "object": "AUTH", "username": user, "age-seconds": str(age_s),
        "client-info": CLIENT,
    }  # fmt: skip
    if number is not None:
        entry |= {
            "entry-id": number,
            "timestamp-created": 1795286235210,
            "timestamp-last-updated": 1795286235224,
        }
    return entry | changed


def told(
    known: Known, now_s: float, *entries: dict[str, Any], run: str = RUN
) -> tuple[list[tuple[str, int]], Known]:
    new, now_known = fresh(known, run, entries_of(list(entries), now_s))
    return [(entry.user, times) for entry, times in new], now_known


def test_maps_and_flat_lists_say_the_same() -> None:
    entry = raw("eve", 2, 0.5, 3)
    flat = [word for pair in entry.items() for word in pair]
    (one,) = entries_of([entry], 100.0)
    (two,) = entries_of([flat], 100.0)
    assert one == two
    assert (one.reason, one.user, one.what, one.address, one.count) == (
        "auth",
        "eve",
        "auth",
        "10.0.0.7:5124",
        2,
    )
    assert one.at_s == pytest.approx(99.5)


def test_of_a_command_its_name_is_told_and_of_a_key_not() -> None:
    command = raw("cart", 1, 0, reason="command", object="config|get")
    key = raw("cart", 1, 0, reason="key", object="session:kim", **{"client-info": "cmd=get addr=x"})
    assert [each.what for each in entries_of([command, key], 1.0)] == ["config|get", "get"]


@pytest.mark.parametrize(
    "reply", [None, "OK", [None], [[1]], [{}], [["count", "x"]], [raw("x", 1, 0, **{"age-seconds": "?"})]]
)
def test_what_is_no_log_is_left_out(reply: Any) -> None:
    assert entries_of(reply, 1.0) == ()


def test_names_of_any_bytes_can_be_written() -> None:
    (entry,) = entries_of([raw("\udcff\x1b[31m\n" + "x" * 9000, 1, 0)], 1.0)
    json.dumps(entry.user, ensure_ascii=False).encode()
    assert len(entry.user) < 200


@pytest.mark.parametrize("numbers", [(0, 1, 2), (None, None, None)])
def test_each_refusal_is_told_once(numbers: tuple[int | None, ...]) -> None:
    """With the engine's numbers and without: 3 by eve, then 2 by bob, and eve again within the minute."""
    new, known = told(Known(), 10.0, raw("eve", 3, 1.0, numbers[0]))
    assert new == [("eve", 3)]
    new, known = told(known, 12.0, raw("eve", 3, 3.01, numbers[0]))
    assert new == []
    new, known = told(known, 14.0, raw("bob", 2, 0.5, numbers[1]), raw("eve", 3, 5.0, numbers[0]))
    assert new == [("bob", 2)]
    new, known = told(known, 16.0, raw("eve", 4, 0.5, numbers[0]), raw("bob", 2, 2.5, numbers[1]))
    assert new == [("eve", 1)]
    again = raw("eve", 1, 0.2, numbers[2]), raw("eve", 4, 70.7, numbers[0]), raw("bob", 2, 72.7, numbers[1])
    new, known = told(known, 86.2, *again)
    assert new == [("eve", 1)], "after a minute an entry of its own"
    assert (
        told(known, 88.2, *(each | {"age-seconds": float(each["age-seconds"]) + 2} for each in again))[0]
        == []
    )


@pytest.mark.parametrize("number", [None, 0])
def test_a_process_that_is_new_begins_anew(number: int | None) -> None:
    _, known = told(Known(), 10.0, raw("eve", 3, 1.0, number))
    assert told(known, 10.5, raw("eve", 3, 1.5, number), run="beef")[0] == [("eve", 3)]


def test_a_log_that_was_emptied_hides_nothing() -> None:
    _, known = told(Known(), 10.0, raw("eve", 3, 1.0))
    assert told(known, 20.0)[0] == []
    assert told(known, 22.0, raw("eve", 1, 0.1))[0] == [("eve", 1)]


def test_what_was_known_survives_its_file_and_is_bounded() -> None:
    known = Known()
    for number in range(REMEMBERED + 200):
        _, known = told(known, float(number), raw(f"u{number}", 1, 0.0, number))
    again = Known.from_json(json.loads(json.dumps(known.to_json())))
    assert again == known
    assert len(known.counts or {}) == REMEMBERED
    assert told(known, 9.0, raw("u1100", 1, 5.0, 1100))[0] == []


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        {"run_id": "x", "counts": 3, "moments": {}},
        {"run_id": "x", "counts": {"a": "b"}, "moments": {}},
    ],
)
def test_a_file_that_is_none_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Known.from_json(value)


def test_the_oldest_is_told_first() -> None:
    new, _ = told(Known(), 10.0, raw("late", 1, 0.1, 1), raw("early", 1, 3.0, 0))
    assert new == [("early", 1), ("late", 1)]
