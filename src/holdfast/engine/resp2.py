"""Answers of engines that know no RESP3 (before 6.0), in the shapes that RESP3 gives them. Pure.

Only commands that control connections ask are known here: a pair of texts is what RESP2 has for an entry of a map.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_MAPS = frozenset({("CONFIG", "GET"), ("SENTINEL", "MASTER")})
_LISTS_OF_MAPS = frozenset(
    {
        ("SENTINEL", "MASTERS"),
        ("SENTINEL", "REPLICAS"),
        ("SENTINEL", "SLAVES"),
        ("SENTINEL", "SENTINELS"),
    }
)


def as_resp3(command: Sequence[str | bytes | int], reply: Any) -> Any:
    """The reply to `command` as RESP3 would have it; any other reply as it is."""
    name = tuple(str(word).upper() for word in command[:2])
    if not isinstance(reply, list):
        return reply
    if name in _MAPS:
        return _as_map(reply)
    if name in _LISTS_OF_MAPS:
        return [_as_map(each) if isinstance(each, list) else each for each in reply]
    return reply


def _as_map(flat: list[Any]) -> dict[Any, Any]:
    return dict(zip(flat[::2], flat[1::2], strict=True))
