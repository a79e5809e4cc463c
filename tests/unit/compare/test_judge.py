"""One key on two sides: what counts as the same."""

from __future__ import annotations

import pytest

from holdfast.compare.judge import ABSENT, Kind, Look, Tolerance, Verdict, judge

FOOTER_7 = b"\x0a\x00" + b"c" * 8
FOOTER_8 = b"\x0b\x00" + b"d" * 8


def look(body: bytes, expires_ms: int | None = None, margin_ms: int = 0, footer: bytes = FOOTER_7) -> Look:
    return Look(True, body + footer, expires_ms, margin_ms, len(body))


@pytest.mark.parametrize(
    ("one", "other", "verdict", "kind"),
    [
        (ABSENT, ABSENT, Verdict.SAME, None),
        (look(b"\x00\x01a"), ABSENT, Verdict.DIFFERENT, Kind.MISSING),
        (ABSENT, look(b"\x00\x01a"), Verdict.DIFFERENT, Kind.EXTRA),
        (look(b"\x00\x01a"), look(b"\x00\x01a", footer=FOOTER_8), Verdict.SAME, None),
        (look(b"\x00\x01a"), look(b"\x00\x01b"), Verdict.UNDECIDED, None),
        (look(b"\x00\x01a", 5_000), look(b"\x00\x01a"), Verdict.DIFFERENT, Kind.TTL),
        (look(b"\x00\x01a"), look(b"\x00\x01a", 5_000), Verdict.DIFFERENT, Kind.TTL),
        (look(b"\x00\x01a", 5_000), look(b"\x00\x01a", 6_000), Verdict.SAME, None),
        (look(b"\x00\x01a", 5_000), look(b"\x00\x01a", 6_001), Verdict.DIFFERENT, Kind.TTL),
        (look(b"\x00\x01a", 6_001), look(b"\x00\x01a", 5_000), Verdict.DIFFERENT, Kind.TTL),
        (look(b"\x00\x01a", 5_000, 30), look(b"\x00\x01a", 6_040, 10), Verdict.SAME, None),
        (Look(True, None, None, 0, 1 << 30), look(b"\x00\x01a"), Verdict.UNDECIDED, None),
    ],
)
def test_two_looks(one: Look, other: Look, verdict: Verdict, kind: Kind | None) -> None:
    found, difference = judge(one, other, Tolerance(ttl_ms=1000))
    assert found is verdict
    assert (difference.kind if difference else None) is kind


def test_no_difference_tells_a_value() -> None:
    _, difference = judge(look(b"\x00\x06secret", 1), look(b"\x00\x06secret"), Tolerance())
    assert difference is not None
    assert "secret" not in difference.detail
