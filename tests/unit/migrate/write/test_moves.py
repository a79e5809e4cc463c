"""Whether a stretch of a stream tells of a slot: what decides if one way may go on while another waits."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from holdfast.codec.crc import key_slot
from holdfast.codec.stream import write_command
from holdfast.migrate.relay.spool import Spool
from holdfast.migrate.write import moves

BEGIN = 100


def stream(*commands: str) -> bytes:
    return b"".join(write_command(command.encode().split()) for command in commands)


def way(folder: Path, data: bytes) -> Any:
    spool = Spool(folder)
    spool.begin_at("a" * 40, BEGIN)
    spool.append(data, 0, at_command=True)
    return SimpleNamespace(relay=SimpleNamespace(spool=spool), writer=SimpleNamespace(position=BEGIN))


@pytest.mark.parametrize(
    ("command", "tells"),
    [
        ("SET b 1", False),
        ("DEL b x", True),
        ("MSET b 1 x 2", True),
        ("EVAL s 2 b x", True),
        ("FLUSHALL", True),
        ("PING", False),
        ("CLUSTER SYNCSLOTS x", False),
        ("XGROUP CREATE x g 0", True),
    ],
)
def test_commands_that_touch_a_slot_are_found(command: str, tells: bool, tmp_path: Path) -> None:
    data = stream("SELECT 0", "SET b 1", command, "MULTI", "INCR b", "EXEC")
    assert moves.tells_of(way(tmp_path, data), BEGIN + len(data), frozenset({key_slot(b"x")})) is tells


def test_a_command_longer_than_what_is_read_at_once_is_looked_at_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moves, "PIECE_BYTES", 16)
    data = stream("SET b " + "v" * 500, "SET x 1")
    assert moves.tells_of(way(tmp_path, data), BEGIN + len(data), frozenset({key_slot(b"x")}))
    cut = data[:-3]
    assert moves.tells_of(way(tmp_path / "cut", cut), BEGIN + len(cut), frozenset({key_slot(b"x")}))
