"""The table of fates: whole for every pair of dialects, and the page says what it says."""

from __future__ import annotations

import itertools

import pytest
from tests.unit.codec import fates

from holdfast.codec.rdb import types
from holdfast.codec.rdb.convert import conversion
from holdfast.codec.rdb.dialect import DIALECTS, dialect_of_engine, dialect_of_header
from holdfast.codec.rdb.losses import MISSING, WORDS, Reason
from holdfast.codec.rdb.translate import Fate, translate, translate_parts
from holdfast.errors import WrongUsage

PAIRS = list(itertools.product(DIALECTS.values(), DIALECTS.values()))


def test_every_type_has_a_fate_that_the_target_can_live_with() -> None:
    for source, target in PAIRS:
        rules = translate(source, target)
        assert rules.keys() == source.loads
        for number, rule in rules.items():
            assert set(rule.to) <= target.loads
            assert bool(rule.to) == (rule.fate is not Fate.LOSE)
            if rule.fate is Fate.LOSE:
                assert set(rule.reasons) <= MISSING
                assert number in (types.MODULE, types.ARRAY) or target.version < 9
            elif rule.fate is Fate.CONVERT:
                assert callable(conversion(number, rule, source.has_valkey_numbers))
            if source.header == target.header and number != types.MODULE:
                assert rule.fate is Fate.CARRY
        assert all(rule.fate is not Fate.CONVERT for rule in translate_parts(source, target).values())


def test_field_ttls_survive_wherever_the_target_has_them() -> None:
    for source, target in PAIRS:
        if not (source.has_field_ttl and target.has_field_ttl):
            continue
        for number in (22, 23, 24, 25):
            rule = translate(source, target).get(number)
            assert rule is None or (rule.fate is not Fate.LOSE and not rule.reasons)


def test_every_reason_has_words() -> None:
    assert WORDS.keys() == set(Reason)
    assert all(not words.endswith(".") for words in WORDS.values())


def test_running_engines_between_the_named_ones_have_a_dialect() -> None:
    assert dialect_of_engine("redis", 8, 1).version == 12
    assert dialect_of_engine("redis", 9, 0).version == 14
    assert dialect_of_engine("valkey", 9, 2).header == b"VALKEY080"
    with pytest.raises(WrongUsage):
        dialect_of_engine("redis", 1, 0)
    with pytest.raises(WrongUsage):
        dialect_of_engine("keydb", 6, 3)
    for dialect in DIALECTS.values():
        assert dialect_of_header(dialect.header).header == dialect.header


def test_the_page_has_the_table() -> None:
    text = fates.PAGE.read_text()
    assert fates.BEGIN + fates.tables() + fates.END in text, "python -m tests.unit.codec.fates writes it"
