"""`holdfast uninstall` as it is typed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.host.belongings import users_of
from holdfast.state import StateFolder
from holdfast.supervisor.launch import ensure_running, is_running


@pytest.fixture
def supervised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StateFolder]:
    """A state folder of the test's own whose supervisor runs; whoever works in it is ended with the test."""
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    state = StateFolder.open()
    asyncio.run(ensure_running(state))
    yield state
    for left in users_of(state.path):
        os.kill(left.pid, signal.SIGKILL)


def lay_out(folder: Path) -> Path:
    for name in (
        "engines/valkey-8.0/bin/valkey-server",
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


def command(folder: Path, *arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"HOLDFAST_STATE": str(folder)}
    return subprocess.run(
        [sys.executable, "-m", "holdfast.cli.main", "uninstall", *arguments],
        capture_output=True, text=True, timeout=60, check=False, env=environment, input=given or "",
    )  # fmt: skip


def test_the_command_lists_asks_and_removes(tmp_path: Path) -> None:
    folder = lay_out(tmp_path / "state")
    said = command(folder)
    assert said.returncode == 1, "no terminal: nobody said yes"
    assert "shop/n1" in said.stdout
    assert "nothing was removed" in said.stderr
    listed = json.loads(command(folder, "--json").stdout)
    assert listed["removed"] is False
    assert len(listed["own"]) == 7
    assert folder.exists()
    said = command(folder, "--yes")
    assert said.returncode == 0, said.stderr
    assert not folder.exists()
    said = command(folder, "--yes")
    assert said.returncode == 0
    assert "keeps nothing" in said.stdout
    assert not folder.exists(), "listing makes nothing"


def test_a_newer_holdfasts_folder_is_refused(tmp_path: Path) -> None:
    folder = lay_out(tmp_path / "state")
    (folder / "version").write_text("99\n")
    said = command(folder, "--yes")
    assert said.returncode == 1
    assert "newer Holdfast" in said.stderr
    assert (folder / "nodes/shop/n1/dump.rdb").exists()


def test_an_idle_supervisor_is_ended_first(supervised: StateFolder) -> None:
    state = supervised
    (supervisor,) = users_of(state.path)
    assert supervisor.is_supervisor_of(state.path)
    said = command(state.path, "--yes")
    assert said.returncode == 0, said.stderr
    assert f"pid {supervisor.pid}" in said.stdout
    assert not state.path.exists()
    assert not users_of(state.path)


def test_while_a_node_works_there_nothing_goes_and_the_supervisor_stays(supervised: StateFolder) -> None:
    state = supervised
    node = lay_out(state.path) / "nodes/shop/n1"
    worker = subprocess.Popen(
        [sys.executable, "-c", "import sys; print('up', flush=True); sys.stdin.read()"],
        cwd=node, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "up\n"
        said = command(state.path, "--yes")
        assert said.returncode == 1
        assert f"pid {worker.pid}" in said.stderr
        assert "holdfast down shop" in said.stderr
        assert (node / "dump.rdb").exists()
        assert asyncio.run(is_running(state))
    finally:
        worker.kill()
        worker.communicate(timeout=10)
    said = command(state.path, "--yes")
    assert said.returncode == 0, said.stderr
    assert not state.path.exists()
