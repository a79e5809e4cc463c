"""Data files that cannot be loaded: the node is named in the server's own words, the others run, the way out works."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.live.badluck.caches import (
    bring_up,
    call,
    copied,
    healthy,
    node,
    node_folder,
    pids,
    power_cut,
    read,
    refusal,
    spec_text,
    write,
)
from tests.live.conftest import Bench, until


def flipped(content: bytes) -> bytes:
    """Some bytes in the middle inverted."""
    middle = len(content) // 2
    return (
        content[:middle] + bytes(byte ^ 0xFF for byte in content[middle : middle + 8]) + content[middle + 8 :]
    )


def garbage_inside(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + b"\x99garbage" + content[middle:]


def without_its_beginning(content: bytes) -> bytes:
    return b"NODATA" + content[6:]


def snapshot(folder: Path) -> Path:
    return folder / "dump.rdb"


def append_only(folder: Path) -> Path:
    """The file that writes go to, on any engine."""
    return next(iter((folder / "appendonlydir").glob("*.incr.aof")), folder / "appendonly.aof")


DAMAGE = [
    pytest.param("rdb", snapshot, flipped, "its snapshot (dump.rdb) is damaged", id="snapshot flipped"),
    pytest.param(
        "aof",
        append_only,
        garbage_inside,
        "its append-only file is damaged",
        id="garbage in append-only",
        marks=pytest.mark.long,
    ),
    pytest.param(
        "rdb",
        snapshot,
        without_its_beginning,
        "its snapshot (dump.rdb) is damaged",
        id="no snapshot",
        marks=pytest.mark.long,
    ),
]


@pytest.mark.parametrize(("persistence", "find", "damage", "words"), DAMAGE)
def test_a_replica_with_a_damaged_file(
    bench: Bench, persistence: str, find: Callable[[Path], Path], damage: Callable[[bytes], bytes], words: str
) -> None:
    path = bring_up(bench, spec_text(mode="replicated", persistence=persistence))
    kept = write(bench, "shop", 40)
    copied(bench, "shop", "n2", len(kept))
    bench.run("down", "shop", check=True)
    file = find(node_folder(bench, "n2"))
    bad = damage(file.read_bytes())
    file.write_bytes(bad)

    refusal(bench.run("up", str(path)), "n2 did not start", words, "It said: '", "Move the damaged file away")
    status = bench.run("status", "shop")
    assert status.code == 3
    assert f"n2 ended: {words}" in status.out
    assert set(pids(bench)) == {"n1"}
    assert file.read_bytes() == bad
    assert read(bench, "shop", kept) == kept

    file.rename(bench.folder / "aside")
    if file.parent.name == "appendonlydir":
        file.parent.rename(bench.folder / "aside-folder")
    bench.run("up", str(path), check=True)
    healthy(bench)
    copied(bench, "shop", "n2", len(kept))


@pytest.mark.parametrize("mode", ["replicated", pytest.param("cluster", marks=pytest.mark.long)])
def test_a_primary_with_a_damaged_file_hands_over_to_its_replica(bench: Bench, mode: str) -> None:
    path = bring_up(bench, spec_text(mode=mode, persistence="rdb"))
    kept = write(bench, "shop", 40)
    replicas = [each["name"] for each in healthy(bench)["nodes"] if each["role"] == "replica"]
    until(lambda: sum(call(bench, "shop", "DBSIZE", node=name) for name in replicas) == len(kept))
    bench.run("down", "shop", check=True)
    file = snapshot(node_folder(bench, "n1"))
    file.write_bytes(flipped(file.read_bytes()))

    refusal(bench.run("up", str(path)), "n1 did not start", "its snapshot (dump.rdb) is damaged")
    assert "n1" not in pids(bench)
    assert "n2" in pids(bench)
    file.rename(bench.folder / "aside")
    refusal(bench.run("up", str(path)), "n1", "come back empty", "holdfast repair shop")
    bench.run("repair", "shop", "--yes", "--confirm", "shop", check=True)
    if mode == "cluster":
        until(lambda: node(bench.status("shop"), "n2")["role"] == "primary")
    bench.run("up", str(path), check=True)
    assert node(healthy(bench), "n1")["primary"] == "n2"
    assert read(bench, "shop", kept) == kept


def test_a_file_that_ends_in_the_middle_of_a_write_is_loaded_and_the_loss_told(bench: Bench) -> None:
    path = bring_up(bench, spec_text(persistence="aof"))
    kept = write(bench, "shop")
    time.sleep(2.1)  # everysec
    power_cut(bench)
    file = append_only(node_folder(bench, "n1"))
    content = file.read_bytes()
    file.write_bytes(content[:-3])
    whole = content[: content.rindex(b"*3\r\n")]
    done = bench.run("up", str(path), "--json", check=True)
    lost = f"found its append-only file ending in the middle of a write: what stood after byte {len(whole)} is lost"
    # Whoever starts the node first tells it: this command, or the supervisor that it has started.
    events = bench.run("events", "shop", "--json", check=True).out
    assert done.facts["losses"] == [f"n1 {lost}"] or lost in events
    last = list(kept)[-1]
    assert read(bench, "shop", kept) == kept | {last: None}
    healthy(bench)


@pytest.mark.long
def test_where_a_cut_file_is_not_to_be_loaded_it_is_refused(bench: Bench) -> None:
    text = spec_text(persistence="aof").replace("fsync: everysec", "fsync: always, load_truncated: false")
    path = bring_up(bench, text)
    write(bench, "shop")
    power_cut(bench)
    file = append_only(node_folder(bench, "n1"))
    good = file.read_bytes()
    file.write_bytes(good[:-3])
    refusal(bench.run("up", str(path)), "n1 did not start", "append-only file is damaged or incomplete")
    file.write_bytes(good)
    bench.run("up", str(path), check=True)
    healthy(bench)


@pytest.mark.long
def test_a_damaged_memory_of_the_cluster(bench: Bench) -> None:
    path = bring_up(bench, spec_text(mode="cluster", persistence="aof"))
    kept = write(bench, "shop")
    bench.run("down", "shop", check=True)
    file = node_folder(bench, "n2") / "nodes.conf"
    good = file.read_bytes()
    file.write_bytes(b"what is this\n")
    refusal(bench.run("up", str(path)), "n2 did not start", "nodes.conf", "damaged")
    file.write_bytes(good)
    bench.run("up", str(path), check=True)
    healthy(bench)
    assert read(bench, "shop", kept) == kept
