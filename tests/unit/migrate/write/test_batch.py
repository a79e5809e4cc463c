"""A stretch of a stream made into units; any cut of it, and any replay, comes to the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.codec.crc import key_slot
from holdfast.codec.stream import write_command
from holdfast.migrate.write.batch import Batch, Batcher
from holdfast.migrate.write.databases import Databases
from holdfast.migrate.write.errors import DatabaseNotMapped


def stream(*commands: str) -> bytes:
    return b"".join(write_command([word.encode() for word in command.split()]) for command in commands)


def cluster(**more: object) -> Batcher:
    return Batcher(Databases(1), cluster=True, **more)  # type: ignore[arg-type]


def one(mapping: dict[int, int] | None = None) -> Batcher:
    return Batcher(Databases(16, mapping), cluster=False)


def plainly(batch: Batch) -> dict[int, tuple[bool, bytes]]:
    return {cell: (unit.marked, b"".join(unit.commands)) for cell, unit in batch.units.items()}


def test_commands_are_gathered_by_slot_and_marked_where_they_must_run_once() -> None:
    data = stream("SET a 1", "MULTI", "INCR b", "EXEC", "PING", "SET a 2", "DEL b")
    batch = cluster().make(data, 100, 0, {})
    assert plainly(batch) == {
        key_slot(b"a"): (False, stream("SET a 1", "SET a 2")),
        key_slot(b"b"): (True, stream("INCR b", "DEL b")),
    }
    assert (batch.end, batch.commands) == (100 + len(data), 4)


def test_outside_a_cluster_there_is_one_unit_with_the_databases_selected() -> None:
    data = stream("SET a 1", "SELECT 3", "SET b 1", "SET c 1", "MOVE c 0")
    batch = one({0: 5, 3: 0}).make(data, 0, 0, {})
    assert plainly(batch) == {
        0: (True, stream("SELECT 5", "SET a 1", "SELECT 0", "SET b 1", "SET c 1", "MOVE c 5"))
    }
    assert batch.database == 3


def test_a_flush_and_a_command_over_slots_end_the_stretch() -> None:
    for command in ("FLUSHALL", "RENAME a b", "SWAPDB 0 1", "FUNCTION DELETE lib"):
        data = stream("SET a 1") + stream(command) + stream("SET a 2")
        batch = cluster().make(data, 7, 0, {})
        assert batch.alone is not None
        assert batch.alone.offset == 7 + len(stream("SET a 1") + stream(command))
        assert batch.end == 7 + len(stream("SET a 1"))
        assert batch.commands == 1


def test_what_a_cell_has_already_is_left_out_for_that_cell_only() -> None:
    data = stream("INCR a", "INCR b", "INCR a")
    first = len(stream("INCR a"))
    batch = cluster().make(data, 0, 0, {key_slot(b"a"): first})
    assert plainly(batch) == {
        key_slot(b"a"): (True, stream("INCR a")),
        key_slot(b"b"): (True, stream("INCR b")),
    }


def test_a_slot_that_is_not_the_sources_own_ends_the_stretch_before_it() -> None:
    owned = frozenset({key_slot(b"a")})
    batch = cluster(owned=owned).make(stream("SET a 1", "RESTORE b 0 x", "SET a 2"), 0, 0, {})
    assert (batch.foreign, batch.end) == (key_slot(b"b"), len(stream("SET a 1")))
    assert plainly(batch) == {key_slot(b"a"): (False, stream("SET a 1"))}
    batch = cluster(owned=owned).make(stream("DEL a b"), 0, 0, {})
    assert (batch.foreign, batch.end, batch.units) == (key_slot(b"b"), 0, {})


def test_what_a_shard_clears_of_a_slot_that_it_has_given_away_is_left_out() -> None:
    owned = frozenset({key_slot(b"a")})
    batch = cluster(owned=owned).make(stream("DEL b", "UNLINK b", "SET a 1"), 0, 0, {})
    assert (batch.foreign, plainly(batch)) == (-1, {key_slot(b"a"): (False, stream("SET a 1"))})


def test_a_migrations_own_keys_are_not_carried() -> None:
    mark = "holdfast:migration:{a}:m:s0"
    data = stream(f"GETSET {mark} x", f"DEL {mark} b", "SET a 1")
    assert plainly(cluster().make(data, 0, 0, {})) == {key_slot(b"a"): (False, stream("SET a 1"))}


def test_a_database_without_a_place_is_an_error() -> None:
    with pytest.raises(DatabaseNotMapped):
        cluster().make(stream("SELECT 1", "SET a 1"), 0, 0, {})
    with pytest.raises(DatabaseNotMapped):
        one({0: 0}).make(stream("MOVE a 1"), 0, 0, {})


COMMANDS = st.lists(
    st.sampled_from(
        [
            "SET a 1",
            "INCR b",
            "DEL a b",
            "MSET a 1 c 2",
            "RPUSH l 1",
            "PING",
            "MULTI",
            "EXEC",
            "HSET h f v",
            "PING\n x",
        ]
    ),
    max_size=40,
)


@given(COMMANDS, st.integers(1, 300), st.integers(1, 9))
def test_any_pieces_give_the_same_commands_to_each_cell(commands: list[str], piece: int, most: int) -> None:
    data = stream(*commands).replace(b"$5\r\nPING\n", b"$4\r\nPING\r\n")
    whole = cluster().make(data, 0, 0, {})
    found: dict[int, bytes] = {}
    at, length = 0, piece
    batcher = cluster(most_commands=most)
    for _ in range(10_000):
        if at == len(data):
            break
        batch = batcher.make(data[at : at + length], at, 0, {})
        length = length * 2 if batch.end == at else piece
        at = batch.end
        for cell, unit in batch.units.items():
            found[cell] = found.get(cell, b"") + b"".join(unit.commands)
    assert at == len(data) == whole.end
    assert found == {cell: b"".join(unit.commands) for cell, unit in whole.units.items()}
