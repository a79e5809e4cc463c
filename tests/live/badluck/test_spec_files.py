"""Spec files that are none, or are hostile: refused in one sentence, in bounded time, with nothing made."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.live.badluck.caches import TRACEBACK, bring_up, healthy, refusal, spec_text
from tests.live.conftest import Bench

BOUND_S = 20.0
"""A command that reads without end is ended by this, and fails the test."""


def a_folder(path: Path) -> None:
    path.mkdir()


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


def a_hundred_megabytes(path: Path) -> None:
    with path.open("wb") as file:
        file.write(b"cache: {name: shop}\n")
        file.truncate(100 << 20)


def a_loop(path: Path) -> None:
    path.symlink_to(path)


def nothing_there(path: Path) -> None:
    path.unlink(missing_ok=True)


def bytes_of_a_server(path: Path) -> None:
    path.write_bytes(b"REDIS0011\xfa\x09redis-ver\x057.2.4\xff\x00\x80")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (a_folder, ("is a folder",)),
        (a_pipe, ("is not a regular file",)),
        (zeros, ("is not a regular file",)),
        (a_hundred_megabytes, ("bytes",)),
        (a_loop, ("cannot be read",)),
        (nothing_there, ("does not exist", "holdfast init")),
        (bytes_of_a_server, ("UTF-8",)),
    ],
    ids=lambda each: each.__name__ if callable(each) else "",
)
def test_what_is_no_spec_is_refused(bench: Bench, make: object, words: tuple[str, ...]) -> None:
    assert callable(make)
    path = bench.folder / "cache.yaml"
    make(path)
    done = bench.run("up", str(path), bound_s=BOUND_S)
    assert done.code == 1
    assert not TRACEBACK.search(done.err), done.err
    assert str(path) in done.err
    for word in words:
        assert word in done.err, done.err
    assert not (bench.state / "caches").exists()
    assert not (bench.state / "supervisor").exists()


def test_an_unreadable_file_is_said_to_be_one(bench: Bench) -> None:
    path = bench.spec(spec_text())
    path.chmod(0)
    done = bench.run("check", str(path))
    if os.geteuid() == 0:  # nothing is unreadable to root
        assert done.code == 0
    else:
        refusal(done, "may not be read")


def test_every_fault_of_a_file_is_told_at_once(bench: Bench) -> None:
    path = bench.spec("cache: {name: shop}\ntopologie: {}\nmemory: {maxmemory: lots}\nmemory: {}\n")
    done = bench.run("up", str(path))
    assert done.code == 1
    assert not TRACEBACK.search(done.err), done.err
    for word in ("topologie", "topology", ":2:1:", "line 3"):
        assert word in done.err, done.err


def test_an_overlay_for_another_cache_changes_nothing(bench: Bench) -> None:
    path = bring_up(bench, spec_text())
    bench.spec("cache: {name: other}\nmemory: {maxmemory: 64mb}\n", "cache.local.yaml")
    done = bench.run("up", str(path))
    assert done.code == 1
    assert not TRACEBACK.search(done.err), done.err
    assert "other" in done.err
    assert "shop" in done.err
    (bench.folder / "cache.local.yaml").unlink()
    assert healthy(bench)["nodes"][0]["maxmemory_bytes"] == 32 << 20
    refusal(bench.run("status", "other"), "there is no cache other", "known here: shop")
