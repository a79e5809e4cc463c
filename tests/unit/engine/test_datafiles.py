"""What a stopped node would come back with, read from heads of its files."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.engine.datafiles import DataFiles, look_at_files, read_snapshot_head


def aux(name: bytes, value: bytes) -> bytes:
    return b"\xfa" + bytes([len(name)]) + name + value


HEAD = b"REDIS0010" + aux(b"redis-ver", b"\x067.0.15") + aux(b"redis-bits", b"\xc0\x40")
OFFSET = aux(b"repl-offset", b"\xc1\x39\x30") + aux(b"ctime", b"\xc2\x00\x00\x00\x60")
END = b"\xff" + bytes(8)
KEY = b"\xfe\x00\xfb\x01\x00\x00\x01k\x01v"


def test_an_empty_snapshot_is_seen_as_empty_with_its_offset() -> None:
    empty = HEAD + OFFSET + END
    head = read_snapshot_head(empty)
    assert (head.keys_follow, head.end_at, head.offset) == (False, len(empty), 12345)


@pytest.mark.parametrize("magic", [b"REDIS0010", b"VALKEY080"])
def test_a_snapshot_with_a_key_is_seen_as_such(magic: bytes) -> None:
    head = read_snapshot_head(magic + OFFSET + KEY + END)
    assert (head.keys_follow, head.offset) == (True, 12345)


@pytest.mark.parametrize(
    "strange",
    [b"", b"REDIS", b"garbage" * 9, HEAD[:-1], HEAD + b"\xfa\x80\xff\xff\xff\xff", HEAD + b"\xfa\x3fshort"],
)
def test_what_cannot_be_read_counts_as_keys(strange: bytes) -> None:
    assert read_snapshot_head(strange).keys_follow


def config(folder: Path, *lines: str) -> None:
    (folder / "server.conf").write_text("\n".join(["# a comment", *lines]))


def test_only_what_the_server_would_load_counts(tmp_path: Path) -> None:
    config(tmp_path, "appendonly yes", 'replicaof "127.0.0.1" 7001')
    (tmp_path / "dump.rdb").write_bytes(HEAD + KEY + END)
    seen = look_at_files(tmp_path, "server.conf")
    assert seen == DataFiles(holds_keys=False, appended=True, follows="127.0.0.1 7001")
    parts = tmp_path / "appendonlydir"
    parts.mkdir()
    (parts / "appendonly.aof.1.base.rdb").write_bytes(HEAD + END)
    (parts / "appendonly.aof.1.incr.aof").write_bytes(b"")
    (parts / "appendonly.aof.manifest").write_text("file appendonly.aof.1.base.rdb seq 1 type b\n")
    assert not look_at_files(tmp_path, "server.conf").holds_keys
    (parts / "appendonly.aof.1.incr.aof").write_bytes(b"*3\r\n$3\r\nSET\r\n")
    assert look_at_files(tmp_path, "server.conf").holds_keys


def test_an_older_engines_append_only_file_may_begin_with_an_empty_snapshot(tmp_path: Path) -> None:
    config(tmp_path, "appendonly yes")
    (tmp_path / "appendonly.aof").write_bytes(HEAD + END)
    assert not look_at_files(tmp_path, "server.conf").holds_keys
    (tmp_path / "appendonly.aof").write_bytes(HEAD + END + b"*1\r\n$4\r\nPING\r\n")
    assert look_at_files(tmp_path, "server.conf").holds_keys


def test_a_snapshot_tells_its_offset_and_when_it_was_written(tmp_path: Path) -> None:
    config(tmp_path, "appendonly no")
    assert look_at_files(tmp_path, "server.conf") == DataFiles(holds_keys=False, appended=False)
    (tmp_path / "dump.rdb").write_bytes(HEAD + OFFSET + KEY + END)
    seen = look_at_files(tmp_path, "server.conf")
    assert (seen.holds_keys, seen.saved_offset, seen.follows) == (True, 12345, "")
    assert seen.written_at.startswith("20")


def test_in_a_cluster_the_nodes_own_memory_says_whom_it_follows(tmp_path: Path) -> None:
    config(tmp_path, "appendonly no", "cluster-enabled yes")
    (tmp_path / "nodes.conf").write_text(
        "aaa 127.0.0.1:7001@17001 master - 0 0 1 connected 0-5460\n"
        "bbb 127.0.0.1:7002@17002 myself,slave aaa 0 0 1 connected\n"
        "vars currentEpoch 6 lastVoteEpoch 0\n"
    )
    seen = look_at_files(tmp_path, "server.conf")
    assert (seen.node_id, seen.follows) == ("bbb", "aaa")
    (tmp_path / "nodes.conf").write_text("aaa 127.0.0.1:7001@17001 myself,master - 0 0 1 connected 0-5460\n")
    seen = look_at_files(tmp_path, "server.conf")
    assert (seen.node_id, seen.follows) == ("aaa", "")


def test_a_folder_without_anything_holds_nothing(tmp_path: Path) -> None:
    assert look_at_files(tmp_path, "server.conf") == DataFiles(holds_keys=False, appended=False)
