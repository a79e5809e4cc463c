"""Replies of engines before 6.0 in the shapes of RESP3."""

from __future__ import annotations

import pytest

from holdfast.engine.resp2 import as_resp3


def test_pairs_become_maps_where_resp3_has_maps() -> None:
    assert as_resp3(("CONFIG", "GET", "d*"), ["databases", "16", "dir", "/x"]) == {
        "databases": "16",
        "dir": "/x",
    }
    assert as_resp3(("config", "get", "none"), []) == {}
    assert as_resp3(("SENTINEL", "MASTER", "m"), ["name", "m"]) == {"name": "m"}
    assert as_resp3(("SENTINEL", "REPLICAS", "m"), [["ip", "::1"], ["ip", "h"]]) == [
        {"ip": "::1"},
        {"ip": "h"},
    ]


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        (("INFO",), "x"),
        (("MODULE", "LIST"), []),
        (("LRANGE", "k", 0, -1), ["a", "b"]),
        (("CONFIG", "GET", "a"), None),
    ],
)
def test_others_stay_as_they_are(command: tuple[str | int, ...], reply: object) -> None:
    assert as_resp3(command, reply) == reply
