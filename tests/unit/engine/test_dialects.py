"""Which engine can copy from which: the pairs that were run, and those that lose data."""

from __future__ import annotations

import pytest
from tests.unit.engine.builds import EVERY

from holdfast.engine.dialects import EngineVersion, can_copy, loads, why_no_upgrade

R62, R70, R72 = (EngineVersion("redis", version) for version in ((6, 2, 14), (7, 0, 15), (7, 2, 4)))
R74, R80 = (EngineVersion("redis", version) for version in ((7, 4, 1), (8, 0, 6)))
V72, V80, V81, V91 = (
    EngineVersion("valkey", version) for version in ((7, 2, 5), (8, 0, 1), (8, 1, 1), (9, 1, 2))
)


@pytest.mark.parametrize(
    ("engine", "dialect"),
    [(R62, 9), (R70, 10), (R72, 11), (R74, 12), (R80, 12), (V72, 11), (V80, 11), (V81, 11), (V91, 80)],
)
def test_what_each_writes(engine: EngineVersion, dialect: int) -> None:
    assert engine.dialect == dialect
    assert loads(engine, dialect)


@pytest.mark.parametrize(
    ("replica", "primary", "able"),
    [
        (V80, R70, True),
        (V91, R62, True),
        (V91, V80, True),
        (V80, V91, True),  # it writes RDB 11 for one that says that it is older
        (R72, V91, True),
        (R70, V80, False),  # 0 of 100 keys left, link down for ever
        (R70, V91, False),
        (V80, R74, False),
        (V91, R80, False),
        (R80, R70, True),
        (R70, R80, False),
    ],
)
def test_who_can_take_a_full_copy(replica: EngineVersion, primary: EngineVersion, *, able: bool) -> None:
    assert can_copy(replica, primary) is able


def test_the_same_version_is_no_upgrade_and_nothing_is_said_against_it() -> None:
    for build in EVERY:
        engine = EngineVersion.of(build)
        assert why_no_upgrade(engine, engine) == ""


def test_an_older_version_of_one_family_is_refused_also_where_it_reads_the_files() -> None:
    assert "older" in why_no_upgrade(V81, V80)
    assert why_no_upgrade(EngineVersion("valkey", (8, 0, 7)), V80) == ""
