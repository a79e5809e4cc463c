"""What a summary counts, whatever the pieces a file comes in."""

from __future__ import annotations

import pytest
from tests.unit.codec import corpus

from holdfast.codec.rdb.dialect import DIALECTS
from holdfast.codec.rdb.events import Function, Key, ModuleAux
from holdfast.codec.rdb.modules import module_name
from holdfast.codec.rdb.parser import events_of
from holdfast.codec.rdb.summary import summarize
from holdfast.codec.rdb.types import KIND_OF, STRING
from holdfast.codec.rdb.writer import Writer, write_string


@pytest.mark.parametrize("size", [1, 13, 1 << 20])
@pytest.mark.parametrize(
    "name",
    ["redis-7.4.1-moduleaux", "redis-8.0.6-functions-dbs-lfu", "redis-8.0.6-hashttl", "valkey-9.1.2-hashttl"],
)
def test_everything_is_counted_once(name: str, size: int) -> None:
    data = corpus.rdb(name)
    summary = summarize(data[at : at + size] for at in range(0, len(data), size))
    events = list(events_of(data))
    keys = [event for event in events if isinstance(event, Key)]
    assert summary.total_bytes == len(data)
    assert summary.total_keys == len(keys)
    assert summary.total_expiring == sum(key.expire_ms is not None for key in keys)
    assert summary.functions == sum(isinstance(event, Function) for event in events)
    for (db, kind), count in summary.keys.items():
        same = [key for key in keys if (key.db, KIND_OF[key.type]) == (db, kind)]
        assert count == len(same) > 0
        assert summary.value_bytes[db, kind] == sum(len(key.value or b"") for key in same)
    modules = [key.value or b"" for key in keys if KIND_OF[key.type] == "module"]
    assert summary.modules == {
        module_name(int.from_bytes(value[1:9], "big")): len(modules) for value in modules
    }
    assert summary.module_data == [event.module for event in events if isinstance(event, ModuleAux)]
    sizes = sorted((len(key.value or b"") for key in keys), reverse=True)[:10]
    assert [each.value_bytes for each in summary.biggest] == sizes
    by_name = {(key.db, key.key): len(key.value or b"") for key in keys}
    assert all(by_name[each.db, each.key] == each.value_bytes for each in summary.biggest)


def test_the_biggest_are_named_even_when_the_name_went_by_long_ago() -> None:
    writer = Writer(DIALECTS["redis-7.2"])
    for db in (0, 3):
        writer.select(db)
        for number in range(50):
            writer.key(b"k%02d" % number, STRING, write_string(b"x" * (number * 37 % 50) * 100))
    writer.end()
    data = writer.take()
    for size in (64, 1 << 20):
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        found = summarize(pieces, len(data), 3).biggest
        assert [(each.value_bytes // 100, each.db) for each in found] == [(49, 3), (49, 0), (48, 3)]
        assert all(int(each.key[1:]) * 37 % 50 == each.value_bytes // 100 for each in found)
        assert summarize(pieces, len(data), 0).biggest == []
