"""The spool: what an earlier process left is taken up at a command's end, whatever it was writing when it was killed."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from holdfast.codec.stream import write_command
from holdfast.migrate.relay import spool as spooling
from holdfast.migrate.relay.filler import filler
from holdfast.migrate.relay.spool import Spool, SpoolFull

SELECT, MULTI, EXEC = (
    write_command([word]) if word != b"SELECT" else write_command([word, b"3"])
    for word in (b"SELECT", b"MULTI", b"EXEC")
)
SET = write_command([b"SET", b"k", b"v"])


def left(folder: Path, data: bytes) -> Spool:
    """A spool of a process that was killed with `data` written."""
    first = Spool(folder)
    first.begin_at("history", 1000)
    first.append(data, 0, at_command=True)
    first.close()
    again = Spool(folder)
    assert again.reopen()
    return again


@pytest.mark.parametrize(
    ("data", "kept", "db"),
    [
        (SET, len(SET), 0),
        (SELECT + SET, len(SELECT + SET), 3),
        (SET + SET[:-3], len(SET), 0),
        (SET + MULTI + SET, len(SET), 0),
        (SET + MULTI + SELECT + SET + EXEC, len(SET + MULTI + SELECT + SET + EXEC), 3),
        (SET + filler(40), len(SET), 0),
        (SET + b"\n\n" + filler(40)[:20], len(SET), 0),
        (SET + filler(33) + SET, len(SET + SET) + 33, 0),
        (b"", 0, 0),
    ],
)
def test_it_goes_on_at_the_end_of_a_whole_command(tmp_path: Path, data: bytes, kept: int, db: int) -> None:
    again = left(tmp_path, data)
    assert (again.end, again.db, again.replid) == (1000 + kept, db, "history")
    assert again.read(1000, 1 << 20) == data[:kept]


def test_every_cut_of_a_stream_leaves_whole_commands(tmp_path: Path) -> None:
    whole = SELECT + SET + MULTI + SET + EXEC + filler(27) + SET
    ends = {0, len(SELECT), len(SELECT + SET), len(SELECT + SET + MULTI + SET + EXEC), len(whole)}
    for cut in range(len(whole) + 1):
        assert left(tmp_path / str(cut), whole[:cut]).end - 1000 in ends


def test_segments_are_trimmed_behind_what_is_acknowledged_and_read_across(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spooling, "SEGMENT_BYTES", 100)
    spool = Spool(tmp_path)
    spool.begin_at("history", 0)
    for _ in range(40):
        spool.append(SET, 0, at_command=True)
    assert spool.end == 40 * len(SET)
    read, at = b"", 0
    while piece := spool.read(at, 64):
        read, at = read + piece, at + len(piece)
    assert read == SET * 40
    spool.trim(spool.end, keep_bytes=200)
    assert 0 < spool.start <= spool.end - 200
    with pytest.raises(KeyError):
        spool.read(0, 10)
    assert spool.held_bytes == spool.end - spool.start


def test_an_rdb_that_is_not_whole_and_another_boot_are_not_gone_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Spool(tmp_path)
    first.begin_full("history", 7)
    first.append_rdb(b"REDIS")
    first.close()
    assert not Spool(tmp_path).reopen()
    second = Spool(tmp_path)
    second.begin_full("history", 7)
    second.append_rdb(b"REDIS0011")
    second.end_rdb(2)
    second.close()
    third = Spool(tmp_path)
    assert third.reopen()
    assert (third.has_rdb, third.rdb_whole, third.db, third.read_rdb(0, 99)) == (True, True, 2, b"REDIS0011")
    third.close()
    monkeypatch.setattr(spooling, "_boot_id", lambda: "another")
    assert not Spool(tmp_path).reopen()
    assert not list(tmp_path.glob("rdb"))


def test_what_is_kept_behind_the_target_leaves_room_within_any_bound(tmp_path: Path) -> None:
    spool = Spool(tmp_path, bound_bytes=1 << 20)
    spool.begin_at("history", 0)
    piece = SET * 2000
    for _ in range(100):
        assert spool.has_room
        spool.append(piece, 0, at_command=True)
        spool.trim(spool.end)
        assert spool.held_bytes <= 1 << 20
    while spool.has_room:
        spool.append(piece, 0, at_command=True)
    assert spool.held_bytes <= 1 << 20


def test_a_piece_that_the_disk_does_not_take_leaves_what_was_there(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.begin_full("history", 0)
    spool.append_rdb(b"x" * 900)
    spool.end_rdb(0)
    spool.append(SET, 0, at_command=True)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(SpoolFull, match="goes on"):
            spool.append_rdb(b"y" * 500)
        with pytest.raises(SpoolFull):
            spool.append(SET * 100, 0, at_command=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (spool.read_rdb(0, 2000), spool.read(0, 2000)) == (b"x" * 900, SET)
    spool.append(SET, 0, at_command=True)
    spool.close()
    again = Spool(tmp_path)
    assert again.reopen()
    assert (again.end, again.read(0, 2000)) == (2 * len(SET), SET * 2)
