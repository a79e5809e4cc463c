"""Engines found, asked once, remembered; and what a broken one says of itself."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.live.engine.archives import bundled

from holdfast.engine.catalog import ANSWERS_FOLDER, find_engines, survey
from holdfast.engine.probe import ProbeFailed, probe


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "engines"


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def counting(path: Path) -> Path:
    """A program that notes each start beside itself and then is the real server."""
    return script(path, f'echo started >> "{path}.starts"\nexec "{bundled()}" "$@"')


def starts(program: Path) -> int:
    notes = program.with_name(program.name + ".starts")
    return len(notes.read_text().splitlines()) if notes.exists() else 0


def test_the_bundled_server_is_found_and_tells_what_it_can_do(folder: Path) -> None:
    (build,) = find_engines(folder, {"PATH": ""})
    assert build.key == f"valkey-{build.version_text}@wheel"
    assert build.version[:2] == (9, 1)
    assert build.rdb_magic == "VALKEY080"
    assert not build.tls  # though it takes `tls-port`
    assert build.knows_directive("tls-port")
    assert build.sentinel
    assert build.knows_command("cluster|migrateslots")
    assert {"maxmemory", "replicaof", "slaveof", "cluster-port"} <= build.config_names
    assert build.title == f"Valkey {build.version_text} (bundled wheel)"


def test_the_places_are_looked_at_in_their_order_and_a_program_counts_once(
    folder: Path, tmp_path: Path
) -> None:
    spec = counting(tmp_path / "spec" / "mine")
    named = counting(tmp_path / "named" / "bin" / "redis-server")
    on_path = counting(tmp_path / "path" / "valkey-server")
    again = tmp_path / "path" / "redis-server"
    again.symlink_to(named)
    environ = {
        "HOLDFAST_ENGINES": f"{tmp_path / 'named'}:{spec}::{on_path.parent / 'none'}",
        "PATH": str(on_path.parent),
    }
    seen = survey(folder, environ, str(spec))
    assert [(build.source, build.binary) for build in seen.found] == [
        ("spec path", str(spec)),
        ("HOLDFAST_ENGINES", str(named)),
        ("PATH", str(on_path)),
        ("wheel", str(bundled())),
    ]
    assert len({build.key for build in seen.found}) == 4
    assert [(engine.path, engine.words) for engine in seen.broken] == [
        (str(on_path.parent / "none"), "No such file or directory")
    ]


def test_answers_are_kept_until_the_file_changes(folder: Path, tmp_path: Path) -> None:
    program = counting(tmp_path / "valkey-server")
    environ = {"PATH": str(tmp_path)}
    first = find_engines(folder, environ)
    asked = starts(program)
    assert asked > 0
    assert find_engines(folder, environ) == first
    assert starts(program) == asked
    os.utime(program, ns=(1, 1))
    assert find_engines(folder, environ) == first
    assert starts(program) == 2 * asked


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff", b'{"identity": 1, "build": {}}'])
def test_torn_answers_are_asked_for_again(folder: Path, content: bytes) -> None:
    first = find_engines(folder, {"PATH": ""})
    (kept,) = (folder / ANSWERS_FOLDER).iterdir()
    kept.write_bytes(content)
    assert find_engines(folder, {"PATH": ""}) == first
    assert kept.read_bytes() != content


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_costs_only_the_memory(folder: Path) -> None:
    folder.mkdir(mode=0o500)
    assert find_engines(folder, {"PATH": ""})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("echo this machine is too old >&2; exit 3", "this machine is too old"),
        ("exit 3", r"nothing \(exit code 3\)"),
        ("printf 'bad \\033[31m word\\n'; exit 1", r"bad \?\[31m word"),
    ],
)
def test_a_broken_engine_is_named_with_its_own_words(
    folder: Path, tmp_path: Path, text: str, words: str
) -> None:
    program = script(tmp_path / "redis-server", text)
    seen = survey(folder, {"PATH": str(tmp_path)})
    (engine,) = seen.broken
    assert (engine.path, engine.source) == (str(program), "PATH")
    with pytest.raises(ProbeFailed, match=words):
        probe([str(program)])
    assert [build.source for build in seen.found] == ["wheel"]


def test_a_mended_engine_is_found_again_at_once(folder: Path, tmp_path: Path) -> None:
    program = script(
        tmp_path / "redis-server", f'test -e "{tmp_path}/library" && exec "{bundled()}" "$@"; exit 1'
    )
    assert survey(folder, {"PATH": str(tmp_path)}).broken
    (tmp_path / "library").touch()  # the program's file stays as it was
    assert str(program) in [build.binary for build in survey(folder, {"PATH": str(tmp_path)}).found]


def test_a_program_that_neither_ends_nor_listens_is_given_up_and_stopped(tmp_path: Path) -> None:
    program = script(
        tmp_path / "redis-server", f'echo $$ > "{tmp_path}/pid"; echo wait for it; exec sleep 60'
    )
    began = time.monotonic()
    with pytest.raises(ProbeFailed, match="did not listen in time; its last words: wait for it"):
        probe([str(program)], timeout_s=0.5)
    assert time.monotonic() - began < 5
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


def test_a_program_that_is_no_program_is_named(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ProbeFailed, match="Permission denied"):
        probe([str(tmp_path / "text")])
    with pytest.raises(ProbeFailed, match="No such file"):
        probe([str(tmp_path / "absent")])


@pytest.fixture
def deep_tmpdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    deep = tmp_path / ("d" * 100) / "with space"
    deep.mkdir(parents=True)
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    yield deep
    assert not list(deep.iterdir())


def test_a_deep_tmpdir_leaves_room_for_the_socket(deep_tmpdir: Path) -> None:
    assert probe([str(bundled())]).name == "valkey"


def test_nothing_is_left_of_a_probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    probe([str(bundled())])
    assert not list(tmp_path.iterdir())
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before
