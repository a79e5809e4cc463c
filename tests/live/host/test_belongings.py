"""Uninstalling: what is ours goes, what is not stays, and a folder in use is left whole."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.host.belongings import NotEmptied, StillInUse, belongings_in, remove, users_of


def lay_out(folder: Path) -> Path:
    for name in (
        "engines/valkey-8.0/bin/valkey-server",
        "engines/.answers/8.0.json",
        "caches/shop/record.json",
        "nodes/shop/n1/dump.rdb",
        "nodes/shop/n2/dump.rdb",
        "supervisor/log",
        "audit.log",
        "version",
    ):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("1\n")
    return folder


def test_all_that_is_ours_is_listed_and_goes_and_the_folder_with_it(tmp_path: Path) -> None:
    folder = lay_out(tmp_path / "state")
    seen = belongings_in(folder)
    assert [(each.kind, each.name) for each in seen.own] == [
        ("engine notes", ".answers"),
        ("engine", "valkey-8.0"),
        ("cache", "shop"),
        ("node", "shop/n1"),
        ("node", "shop/n2"),
        ("supervisor", "supervisor"),
        ("audit log", "audit.log"),
        ("layout version", "version"),
    ]
    assert all(each.size_bytes > 0 for each in seen.own)
    assert seen.caches == ("shop",)
    remove(seen)
    assert not folder.exists()


def test_what_is_not_ours_stays_and_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    folder = lay_out(tmp_path / "state")
    (folder / "notes.txt").write_text("mine")
    (folder / "engines" / "linked").symlink_to(outside)
    (folder / "nodes" / "shop" / "n1" / "elsewhere").symlink_to(outside)
    seen = belongings_in(folder)
    assert seen.foreign == (folder / "notes.txt",)
    remove(seen)
    assert [entry.name for entry in folder.iterdir()] == ["notes.txt"]
    assert (outside / "precious").read_text() == "x"


def test_a_folder_that_holdfast_did_not_make_is_left_alone(tmp_path: Path) -> None:
    folder = lay_out(tmp_path / "home")
    (folder / "version").unlink()
    seen = belongings_in(folder)
    assert seen.own == ()
    remove(seen)
    assert (folder / "nodes/shop/n1/dump.rdb").exists()
    assert belongings_in(tmp_path / "missing").own == ()


@pytest.mark.parametrize("how", ["working folder", "open file"])
def test_a_process_that_works_in_the_folder_keeps_it_whole(tmp_path: Path, how: str) -> None:
    folder = lay_out(tmp_path / "state")
    node = folder / "nodes/shop/n1"
    script = "import sys; file = open(sys.argv[1]) if sys.argv[1] else None; print('up', flush=True); sys.stdin.read()"
    worker = subprocess.Popen(
        [sys.executable, "-c", script, str(node / "dump.rdb") if how == "open file" else ""],
        cwd=node if how == "working folder" else tmp_path,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "up\n"
        assert [user.pid for user in users_of(folder)] == [worker.pid]
        with pytest.raises(
            StillInUse, match=r"nothing was removed; stop the caches first: holdfast down shop"
        ):
            remove(belongings_in(folder))
        assert (node / "dump.rdb").exists()
    finally:
        worker.kill()
        worker.communicate(timeout=10)
    assert users_of(folder) == ()


def test_what_cannot_be_removed_is_named_with_what_is_gone(tmp_path: Path) -> None:
    folder = lay_out(tmp_path / "state")
    if os.geteuid() == 0:
        tried = subprocess.run(
            ["chattr", "+i", str(folder / "nodes/shop/n1/dump.rdb")], capture_output=True, check=False
        )
        if tried.returncode != 0:
            pytest.skip("needs a file system with immutable files, or a user that is not root")
    else:
        (folder / "nodes/shop/n1").chmod(0o500)
    try:
        with pytest.raises(NotEmptied, match=r"dump\.rdb could not be removed: .*; 2 of 6 things are gone"):
            remove(belongings_in(folder))
    finally:
        if os.geteuid() == 0:
            subprocess.run(["chattr", "-i", str(folder / "nodes/shop/n1/dump.rdb")], check=True)
        else:
            (folder / "nodes/shop/n1").chmod(0o700)
    remove(belongings_in(folder))
    assert not folder.exists()
