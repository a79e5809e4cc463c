"""State folders in strange places and on bad disks: refused before anything is touched, or working all the same."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.live.badluck.caches import (
    ENGINE,
    bring_up,
    call,
    healthy,
    pids,
    read,
    refusal,
    spec_text,
    supervisor_pid,
    write,
)
from tests.live.conftest import AT_HAND, ENGINES, Bench, until

from holdfast.engine.connection import CommandRefused

NOBODY = 65534
ROOM = "64m"
Mounter = Callable[[Path, str], None]


def move_state(bench: Bench, path: Path) -> None:
    """Have the bench work with a state folder at `path`, which need not exist."""
    bench.state = path
    bench.environ["HOLDFAST_STATE"] = str(path)
    if path.is_dir():
        (path / "engines").symlink_to(ENGINES)


@pytest.fixture
def mount(bench: Bench) -> Iterator[Mounter]:
    """Mounts a file system in memory at a path, with options; also changes the options of one that is mounted."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    with ExitStack() as stack:

        def mounted(path: Path, options: str) -> None:
            again = path.is_mount()
            path.mkdir(exist_ok=True)
            done = subprocess.run(
                ["mount", "-t", "tmpfs", "-o", f"{'remount,' * again}{options}", "tmpfs", path],
                capture_output=True,
            )
            if done.returncode:
                pytest.skip(f"a file system cannot be mounted here: {done.stderr.decode().strip()}")
            if not again:
                stack.callback(unmount, path)

        yield mounted
        bench.close()


def unmount(path: Path) -> None:
    """At once, whoever still uses it."""
    subprocess.run(["umount", "-l", path], check=True)


# Full, read-only and noexec disks


def refused_write(bench: Bench) -> str:
    """What the cache says to a write; empty when it takes it."""
    try:
        call(bench, "shop", "SET", "big", "x" * 5000)
    except CommandRefused as refused:
        return refused.words
    return ""


def fits(filler: Path, count: int) -> bool:
    """Make the file so many bytes longer; whether that went."""
    with filler.open("ab", buffering=0) as file:
        try:
            return file.write(bytes(count)) == count
        except OSError:
            return False


@pytest.mark.parametrize(
    "size_kb", [40, 100, *(pytest.param(kb, marks=pytest.mark.long) for kb in (8, 16, 28, 60, 72))]
)
def test_a_disk_that_fills_up_during_up(bench: Bench, mount: Mounter, size_kb: int) -> None:
    disk = bench.folder / "disk"
    mount(disk, f"size={size_kb}k,mode=700")
    move_state(bench, disk)
    path = bench.spec(spec_text(mode="replicated", persistence="aof"))
    refusal(bench.run("up", str(path)), "No space left on device", str(disk), "run the same command again")
    assert not [file for file in disk.rglob("*") if file.name.startswith(".")]  # nothing half written
    mount(disk, f"size={ROOM}")
    bench.run("up", str(path), check=True)
    kept = write(bench, "shop")
    assert read(bench, "shop", kept) == kept
    assert not bench.run("plan", str(path), "--json", check=True).facts["steps"]


def test_a_disk_that_fills_up_while_the_cache_works_shows_in_status(bench: Bench, mount: Mounter) -> None:
    disk = bench.folder / "disk"
    mount(disk, f"size={ROOM},mode=700")
    move_state(bench, disk)
    path = bring_up(bench, spec_text(persistence="aof"))
    kept = write(bench, "shop")
    filler = disk / "filler"
    while fits(filler, 1 << 20) or fits(filler, 1 << 10):
        pass
    # The engine refuses writes that it cannot append, and says so.
    until(lambda: "MISCONF" in refused_write(bench))
    status = bench.run("status", "shop")
    assert status.code == 3
    assert "n1 the append-only file cannot be written" in status.out
    # It can still be stopped; what was acknowledged comes back once there is room.
    bench.run("down", "shop", check=True)
    refusal(bench.run("up", str(path)), "No space left on device")
    filler.unlink()
    bench.run("up", str(path), check=True)
    healthy(bench)
    assert read(bench, "shop", kept) == kept


@pytest.mark.long
def test_a_snapshot_that_cannot_be_written_shows_in_status(bench: Bench) -> None:
    path = bring_up(bench, spec_text(persistence="rdb"))
    folder = bench.state / "nodes" / "shop" / "n1"
    (folder / "dump.rdb").mkdir(exist_ok=True)  # in its way
    (folder / "dump.rdb" / "x").touch()
    call(bench, "shop", "SET", "k", "v")
    call(bench, "shop", "BGSAVE")
    status = until(
        lambda: "n1 the last snapshot failed" in (seen := bench.run("status", "shop")).out and seen,
        bound_s=60,
    )
    assert status.code == 3
    assert "holdfast logs shop n1" in status.out
    refusal(bench.run("up", str(path)), "n1 failed BGSAVE again", "in memory is whole")
    shutil.rmtree(folder / "dump.rdb")
    assert "write its snapshot anew" in bench.run("plan", str(path)).out
    bench.run("up", str(path), check=True)
    healthy(bench)


def test_a_read_only_disk_is_said_to_be_one(bench: Bench, mount: Mounter) -> None:
    disk = bench.folder / "disk"
    mount(disk, "size=1m,mode=700")
    move_state(bench, disk)
    mount(disk, "ro")
    refusal(
        bench.run("up", str(bench.spec(spec_text()))), "Read-only file system", str(disk), "mount it writable"
    )
    mount(disk, f"rw,size={ROOM}")
    bench.run("up", str(bench.spec(spec_text())), check=True)


def test_engines_on_a_noexec_disk_are_named_as_such(bench: Bench, mount: Mounter) -> None:
    disk = bench.folder / "disk"
    mount(disk, f"size={ROOM},mode=700")
    move_state(bench, disk)
    build = AT_HAND[ENGINE]
    (disk / "engines").unlink()
    folder = next(parent for parent in Path(build.command[0]).parents if parent.parent.name == "engines")
    shutil.copytree(folder, disk / "engines" / folder.name, symlinks=True)
    path = bring_up(bench, spec_text(persistence="rdb"))
    kept = write(bench, "shop")
    bench.run("down", "shop", check=True)
    mount(disk, f"noexec,size={ROOM}")
    said = refusal(bench.run("up", str(path)))
    assert "noexec" in said or "Permission denied" in said or "may not be executed" in said
    mount(disk, f"exec,size={ROOM}")
    bench.run("up", str(path), check=True)
    assert read(bench, "shop", kept) == kept


@pytest.mark.long
def test_a_state_folder_on_a_noexec_disk_with_engines_elsewhere_works(bench: Bench, mount: Mounter) -> None:
    disk = bench.folder / "disk"
    mount(disk, f"noexec,size={ROOM},mode=700")
    move_state(bench, disk)
    bring_up(bench, spec_text(mode="replicated", persistence="aof"))
    healthy(bench)


# Strange paths


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        pytest.param("with spaces, 'quotes' \"both\" and 캐시-größe", "standalone", id="spaces and unicode"),
        pytest.param("/".join(["a-rather-long-folder-name"] * 6), "replicated", id="over 108 bytes"),
        pytest.param("/".join(["ein langer Name 🗄"] * 9), "sentinel", id="all of it", marks=pytest.mark.long),
    ],
)
def test_a_state_folder_with_any_path_works(bench: Bench, name: str, mode: str) -> None:
    path = bench.folder / name
    path.mkdir(parents=True)
    move_state(bench, path)
    file = bring_up(bench, spec_text(mode=mode, persistence="rdb", engine="redis-7.0", tls="where_available"))
    kept = write(bench, "shop")
    bench.run("down", "shop", check=True)
    bench.run("up", str(file), check=True)
    healthy(bench)
    assert read(bench, "shop", kept) == kept


def test_a_path_that_engines_would_take_for_a_pattern_is_refused(bench: Bench) -> None:
    move_state(bench, bench.folder / "state[1]")
    refusal(bench.run("up", str(bench.spec(spec_text()))), "state[1]", "pattern", "HOLDFAST_STATE")
    assert not bench.state.exists()


def test_without_home_and_state_folder(bench: Bench) -> None:
    path = bench.spec(spec_text())
    for name in ("HOME", "HOLDFAST_STATE"):
        del bench.environ[name]
    refusal(bench.run("up", str(path)), "neither HOLDFAST_STATE nor HOME is set", "set HOLDFAST_STATE")
    bench.environ["HOLDFAST_STATE"] = str(bench.state)
    bench.run("up", str(path), check=True)
    healthy(bench)


# Folders that are not ours, or not of our time


def test_a_state_folder_of_another_user_is_refused(bench: Bench) -> None:
    if os.geteuid() != 0:
        pytest.skip("giving a folder away needs root")
    (bench.state / "engines").unlink()
    os.chown(bench.state, NOBODY, NOBODY)
    try:
        refusal(
            bench.run("up", str(bench.spec(spec_text()))), f"belongs to user id {NOBODY}", "run as its owner"
        )
        assert list(bench.state.iterdir()) == []
    finally:
        os.chown(bench.state, 0, 0)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("99\n", ("newer Holdfast", "upgrade Holdfast")),
        ("one\n", ("version file", "'one'")),
        ("", ("version file",)),
    ],
)
def test_a_state_folder_of_another_version_is_left_alone(
    bench: Bench, content: str, words: tuple[str, ...]
) -> None:
    (bench.state / "version").write_text(content)
    refusal(bench.run("up", str(bench.spec(spec_text()))), *words)
    assert sorted(entry.name for entry in bench.state.iterdir()) == ["engines", "version"]


def test_a_file_in_the_place_of_the_state_folder_is_refused(bench: Bench) -> None:
    move_state(bench, bench.folder / "file")
    bench.state.write_text("something of mine")
    refusal(bench.run("up", str(bench.spec(spec_text()))), "is not a folder", "HOLDFAST_STATE")
    assert bench.state.read_text() == "something of mine"


def test_a_state_folder_that_others_may_read_is_closed_to_them(bench: Bench) -> None:
    bench.state.chmod(0o755)
    bring_up(bench, spec_text())
    assert bench.state.stat().st_mode & 0o777 == 0o700
    for entry in bench.state.rglob("*"):
        if not entry.is_symlink() and not entry.is_socket():
            assert entry.stat().st_mode & 0o077 == 0, entry
    assert pids(bench)
    assert supervisor_pid(bench)
